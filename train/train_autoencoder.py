"""Trains the autoencoder on Fashion-MNIST (TU Dresden, homework 3, problem 4).

    python train/train_autoencoder.py         # data in data/fashion_mnist.npz: bash get_dataset.sh --only fashion_mnist

Writes below.pth (the first weights whose loss over the whole training set is below 0.03, as the problem asks),
model.pth (the last ones), snapshots/, log.jsonl, TensorBoard and last.pt (for --resume) to --out.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

try:
    import torch
    import torch.nn.functional as F

    from dlcv import cli, recipe, repro
    from dlcv.checkpoint import current_commit, load_model, save_checkpoint
    from dlcv.data.arrays import read_arrays
    from dlcv.images import to_float
    from dlcv.models.autoencoder import Autoencoder, AutoencoderConfig
    from dlcv.schedule import warmup_cosine
    from dlcv.trainer import read_log, run_steps
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Run `make setup` once, then use .venv/bin/python (or: . .venv/bin/activate)") from None


@dataclass(frozen=True)
class Recipe:
    latent_dim: int = 3  # components of the latent vector; the problem says 3
    steps: int = 28_000  # of the whole training: 60 epochs
    batch_size: int = 128  # images a step
    lr: float = 2e-3  # peak of a cosine schedule with 200 steps of warm-up, Adam
    below: float = 0.03  # squared error over the whole training set that the problem asks for
    seed: int = 0  # of the initial weights and the batches
    evaluate_every: int = 470  # steps between two looks at the whole training set: an epoch

    def __post_init__(self) -> None:
        recipe.require_positive(self, "latent_dim", "steps", "batch_size", "lr", "evaluate_every")
        recipe.require_between(self, 0, math.inf, "seed", "below")


QUICK = {"steps": 1_400}


def main() -> None:
    r, args = recipe.parse(Recipe, "Trains the autoencoder on Fashion-MNIST.", QUICK)
    out = args.out or Path("runs") / f"autoencoder_seed{r.seed}{'_quick' if args.quick else ''}"
    device = repro.choose_device()
    current_commit()  # of the code that runs now, whatever is committed meanwhile
    images = read_arrays(args.data, "fashion_mnist", "train").images

    repro.seed_everything(r.seed)
    model = Autoencoder(AutoencoderConfig(r.latent_dim)).to(device)  # PyTorch's default initialisation
    optimizer = torch.optim.Adam(model.parameters(), lr=r.lr)

    def batches(step: int) -> torch.Tensor:
        generator = repro.seed_step(r.seed, step)
        return to_float(images[torch.randint(len(images), (r.batch_size,), generator=generator)].to(device))

    def train_step(step: int, x: torch.Tensor) -> dict[str, torch.Tensor]:
        for group in optimizer.param_groups:
            group["lr"] = r.lr * warmup_cosine(step, r.steps, warmup=200)
        loss = F.mse_loss(model(x), x)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return {"loss": loss}

    @torch.no_grad()
    def loss_over_training_set() -> float:
        """The mean over all training images with fixed parameters: what the problem calls the validation loss."""
        parts = [to_float(batch.to(device)) for batch in images.split(500)]
        return sum(float(F.mse_loss(model(x), x)) * len(x) for x in parts) / len(images)

    def provenance(step: int, loss: float) -> dict[str, object]:
        return {"recipe": asdict(r), "step": step, "metrics": {"training_mse": loss}, "data": {"training": len(images)}}

    def evaluate(done: int) -> dict[str, float]:
        loss = loss_over_training_set()
        save_checkpoint(out / "snapshots" / f"step_{done:06d}.pth", model, provenance(done, loss))
        if loss < r.below and not (out / "below.pth").exists():
            save_checkpoint(out / "below.pth", model, provenance(done, loss) | {"selection": f"first below {r.below}"})
        return {"training_mse": loss}

    run_steps(
        train_step, batches, steps=r.steps, recipe=asdict(r), out=out, resume=args.resume,
        save_seconds=args.save_seconds, evaluate=evaluate, evaluate_every=r.evaluate_every,
        state={"model": model, "optimizer": optimizer},
    )  # fmt: skip

    last = [line for line in read_log(out / "log.jsonl") if "training_mse" in line][-1]
    kept = load_model(Autoencoder, out / "snapshots" / f"step_{r.steps:06d}.pth")
    save_checkpoint(out / "model.pth", kept, provenance(r.steps, last["training_mse"]) | {"selection": "last step"})
    print(f"{out / 'model.pth'}: squared error over the training set {last['training_mse']:.5f}")
    if not (out / "below.pth").exists():
        print(f"it never came below {r.below}: train longer (--steps), or with another --seed (ReLUs may have died)")


if __name__ == "__main__":
    cli.run(main, "train_autoencoder.py")
