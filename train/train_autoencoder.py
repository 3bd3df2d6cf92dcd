"""Trains the autoencoder on Fashion-MNIST (TU Dresden, homework 3, problem 4).

    python train/train_autoencoder.py         # data in data/fashion_mnist.npz: bash get_dataset.sh --only fashion_mnist

Writes below.pth (the first weights whose loss over the whole training set is below 0.03, as the problem asks),
model.pth (the last ones), snapshots/, log.jsonl, TensorBoard and last.pt (for --resume) to --out.
"""

import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli, recipe


@dataclass(frozen=True)
class Recipe:
    latent_dim: int = 3  # components of the latent vector; the problem says 3
    steps: int = 28_000  # steps of the whole training: 60 epochs
    batch_size: int = 128  # images a step
    lr: float = 2e-3  # peak learning rate of Adam; cosine schedule with 200 steps of warm-up
    below: float = 0.03  # mean squared error over the whole training set that the problem asks for
    seed: int = 0  # of the initial weights and the batches
    evaluate_every: int = 470  # steps between two looks at the whole training set: an epoch

    def __post_init__(self) -> None:
        recipe.require_positive(self, "latent_dim")
        recipe.require_between(self, 0, math.inf, "below")


QUICK = {"steps": 1_400}


def main() -> None:
    r, args = recipe.parse(Recipe, "Trains the autoencoder on Fashion-MNIST.", QUICK)
    out = recipe.run_folder(args, f"autoencoder_seed{r.seed}")

    import torch
    import torch.nn.functional as F

    from dlcv import repro
    from dlcv.checkpoint import save_checkpoint
    from dlcv.data.arrays import read_arrays
    from dlcv.data.folders import fingerprint
    from dlcv.distributed import parallel, part, start
    from dlcv.images import to_float
    from dlcv.models.autoencoder import Autoencoder, AutoencoderConfig
    from dlcv.schedule import set_lr, warmup_cosine
    from dlcv.trainer import Run, scores_of

    device = start(r.batch_size)
    images = read_arrays(args.data, "fashion_mnist", "train").images

    repro.seed_everything(r.seed)
    model = Autoencoder(AutoencoderConfig(r.latent_dim)).to(device)  # PyTorch's default initialisation
    optimizer = torch.optim.Adam(model.parameters(), lr=r.lr)
    parallel_model = parallel(model)  # averages gradients over torchrun's processes, if several

    @torch.no_grad()
    def loss_over_training_set() -> float:
        """The mean over all training images with fixed parameters: what the problem calls the validation loss."""
        parts = [to_float(batch.to(device)) for batch in images.split(500)]
        return sum(float(F.mse_loss(model(x), x)) * len(x) for x in parts) / len(images)

    state, data = {"model": model, "optimizer": optimizer}, {"training": len(images), "images": fingerprint(images)}
    run = Run(out, r, steps=r.steps, state=state, data=data, **args.run)
    below = out / "below.pth"
    for step in run:
        set_lr(optimizer, r.lr * warmup_cosine(step, r.steps, warmup=200))
        rows = torch.randint(len(images), (r.batch_size,), generator=repro.seed_step(r.seed, step))
        x = to_float(images[part(rows)].to(device))
        loss = F.mse_loss(parallel_model(x), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        run.log(loss=loss)
        if run.due(r.evaluate_every):
            scores = {"training_mse": loss_over_training_set()}
            run.log(**scores)
            run.snapshot(model, metrics=scores)
            if scores["training_mse"] < r.below and not below.exists():
                first = {"recipe": asdict(r), "step": run.done, "metrics": scores, "data": data}
                save_checkpoint(below, model, first | {"selection": f"first below {r.below}"})
    run.finish(Autoencoder, metrics=scores_of(run.lines("training_mse")[-1]))
    if not below.exists():
        print(f"it never came below {r.below}: train longer (--steps), or with another --seed (ReLUs may have died)")


if __name__ == "__main__":
    cli.run(main, "train_autoencoder.py")
