"""Trains the GAN on the face data set.

    python train/train_gan.py                 # data in hw3_data/ or data/hw3_data/, everything else by default

Writes model.pth (the averaged generator, for inference), snapshots/, samples_*.png (the same 32 latents at every save:
watch it learn), log.jsonl, TensorBoard and last.pt (for --resume) to --out.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli, recipe


@dataclass(frozen=True)
class Recipe:
    latent_dim: int = 128  # components of the latent vector
    width: int = 48  # channels of the generator: see GeneratorConfig
    width_d: int = 32  # channels of the discriminator: see DiscriminatorConfig
    gain: float = 4.0  # factor of the discriminator's logits; at 1 the hinge loss never reaches its margin: docs/LOG.md
    steps: int = 30_000  # steps of the whole training
    batch_size: int = 32  # real faces a step, and as many generated ones
    lr_g: float = 5e-4  # learning rate of the generator (Adam)
    lr_d: float = 8e-4  # learning rate of the discriminator (Adam): two time scales (Heusel et al. 2017)
    beta1: float = 0.0  # beta1 of Adam; its beta2 is 0.99
    decay: float = 0.3  # share of the steps at the end over which both learning rates fall to 0
    ema: float = 0.9995  # decay of the moving average of the generator, which is what is saved
    seed: int = 0  # random seed of the initial weights, the batches and the noise
    evaluate_every: int = 1_000  # steps between snapshots and grids of samples
    bf16: bool = True  # bfloat16 autocast in training, on hardware that computes in it: dlcv.repro.bf16

    def __post_init__(self) -> None:
        recipe.require_positive(self, "latent_dim", "width", "width_d", "gain")
        recipe.require_between(self, 2, math.inf, "batch_size")  # batch norm needs two
        recipe.require_between(self, 0, 0.999, "beta1")
        recipe.require_between(self, 0, 1, "decay")


QUICK = {"steps": 300, "evaluate_every": 150, "ema": 0.97}  # a short run needs a faster moving average


def main() -> None:
    r, args = recipe.parse(Recipe, "Trains the GAN on the face data set.", QUICK)
    out = recipe.run_folder(args, f"gan_seed{r.seed}")

    import torch

    from dlcv import repro
    from dlcv.averaging import ema
    from dlcv.data import augment
    from dlcv.data.faces import hold_out, read_faces
    from dlcv.data.folders import fingerprint
    from dlcv.distributed import parallel, part, start
    from dlcv.images import save_grid, to_float
    from dlcv.losses import discriminator_loss, generator_loss
    from dlcv.metrics import share_above
    from dlcv.models.gan import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
    from dlcv.schedule import constant_then_linear, set_lr
    from dlcv.trainer import Run

    device = start(r.batch_size)

    # Data: whole in memory. Faces for model selection are held out of training; test faces are not read here.
    _, images = read_faces(args.data, "train")
    training, held_out = hold_out(len(images))

    # Models.
    repro.seed_everything(r.seed)
    g = Generator(GeneratorConfig(r.latent_dim, r.width)).to(device)
    d = Discriminator(DiscriminatorConfig(r.width_d, r.gain)).to(device)
    g, d = g.to(memory_format=torch.channels_last), d.to(memory_format=torch.channels_last)
    average = ema(g, r.ema, warmup=True)  # batch norm's statistics, too
    averaged = cast(Generator, average.module)
    optimizer_g = torch.optim.Adam(g.parameters(), lr=r.lr_g, betas=(r.beta1, 0.99))
    optimizer_d = torch.optim.Adam(d.parameters(), lr=r.lr_d, betas=(r.beta1, 0.99))
    parallel_g, parallel_d = parallel(g), parallel(d)  # averages gradients over torchrun's processes, if several

    def faces(rows: torch.Tensor) -> torch.Tensor:
        return to_float(images[rows].to(device)) * 2 - 1

    def training_above_held_out() -> float:
        """How often a training face looks more real to D than one that it never saw."""
        d.eval()
        with torch.no_grad():
            seen, unseen = (
                torch.cat([d(faces(part)) for part in some[: 8 * r.batch_size].split(r.batch_size)])
                for some in (training, held_out)
            )
        d.train()
        return share_above(seen, unseen)

    fixed = repro.noise(0, 32, r.latent_dim).float().to(device)
    state = {"g": g, "d": d, "average": average, "optimizer_g": optimizer_g, "optimizer_d": optimizer_d}
    data = {"training": len(training), "held_out": len(held_out), "images": fingerprint(images)}
    run = Run(out, r, steps=r.steps, state=state, data=data, **args.run)
    for step in run:
        for optimizer, lr in ((optimizer_g, r.lr_g), (optimizer_d, r.lr_d)):
            set_lr(optimizer, lr * constant_then_linear(step, r.steps, r.decay))

        rng = repro.seed_step(r.seed, step)
        rows = training[torch.randint(len(training), (r.batch_size,), generator=rng)]
        real = part(augment.random_flips(faces(rows), rng)).contiguous(memory_format=torch.channels_last)
        z = part(torch.randn((r.batch_size, r.latent_dim), generator=rng)).to(device)

        # 1. D: real up, fake down.
        with repro.bf16(device, r.bf16):
            fake = parallel_g(z).float()
            logits_real, logits_fake = parallel_d(real).float(), parallel_d(fake.detach()).float()
        loss_d = discriminator_loss(logits_real, logits_fake)
        optimizer_d.zero_grad()
        loss_d.backward()
        optimizer_d.step()

        # 2. G: the same fake up; a fresh one would cost another forward pass.
        d.requires_grad_(False)
        with repro.bf16(device, r.bf16):
            loss_g = generator_loss(d(fake).float())
        optimizer_g.zero_grad()
        loss_g.backward()
        optimizer_g.step()
        d.requires_grad_(True)
        average.update_parameters(g)

        run.log(loss_d=loss_d, loss_g=loss_g)
        run.log(accuracy_real=(logits_real > 0).float().mean(), accuracy_fake=(logits_fake < 0).float().mean())
        if run.due(r.evaluate_every):
            with torch.no_grad():
                samples = save_grid(out / f"samples_{run.done:06d}.png", averaged(fixed))
            run.log(samples=samples, training_above_held_out=training_above_held_out())
            run.snapshot(averaged)
    run.finish(Generator)


if __name__ == "__main__":
    cli.run(main, "train_gan.py")
