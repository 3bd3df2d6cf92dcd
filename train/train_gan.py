"""Trains the GAN on the face data set.

    python train/train_gan.py                 # data in hw3_data/ or data/hw3_data/, everything else by default

Writes model.pth (the averaged generator, for inference), snapshots/, samples_*.png (the same 32 latents at every save:
watch it learn), log.jsonl, TensorBoard and last.pt (for --resume) to --out.
"""

import dataclasses
import math
from dataclasses import asdict, dataclass
from pathlib import Path

try:
    import numpy as np
    import torch

    from dlcv import cli, recipe, repro
    from dlcv.adversarial import Players, keep_last_snapshot
    from dlcv.checkpoint import current_commit, save_checkpoint
    from dlcv.data import augment
    from dlcv.data.faces import detail_rows, hold_out, read_faces
    from dlcv.images import save_grid, to_float
    from dlcv.losses import discriminator_loss, generator_loss
    from dlcv.models.gan import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig, diff_augment
    from dlcv.trainer import run_steps
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Run `make setup` once, then use .venv/bin/python (or: . .venv/bin/activate)") from None


@dataclass(frozen=True)
class Recipe:
    latent_dim: int = 128  # components of the latent vector
    width: int = 48  # channels of the generator: see GeneratorConfig
    width_d: int = 32  # channels of the discriminator: see DiscriminatorConfig
    fine: int = 16  # channels of a layer at 64x64 in both networks, 0: none
    coarse_chroma: bool = True  # the generator's colour at half the resolution, as in the faces' files
    rows: int = 0  # of detail in the kept model's pictures, 0: as many as the training faces have
    steps: int = 30_000  # of the whole training
    batch_size: int = 64  # real faces a step, and as many generated ones
    lr_g: float = 2e-4  # of the generator, Adam
    lr_d: float = 4e-4  # of the discriminator, Adam: two time scales (Heusel et al. 2017)
    beta1: float = 0.0  # Adam's; its beta2 is 0.99
    decay: float = 0.3  # share of the steps at the end over which both learning rates fall to 0
    augment: bool = False  # DiffAugment, on real and generated faces alike
    ema: float = 0.999  # decay of the averaged generator that is kept
    seed: int = 0  # of the initial weights, the batches and the noise
    evaluate_every: int = 1_000  # steps between snapshots and grids of samples
    bf16: bool = True  # autocast in training, where the processor has it: dlcv.repro.bf16

    def __post_init__(self) -> None:
        recipe.require_positive(self, "latent_dim", "width", "width_d", "steps", "lr_g", "lr_d", "evaluate_every")
        recipe.require_between(self, 2, math.inf, "batch_size")  # batch norm needs two
        recipe.require_between(self, 0, 0.999, "beta1")
        recipe.require_between(self, 0, 1, "decay", "ema")
        recipe.require_between(self, 0, math.inf, "seed", "fine")
        recipe.require_between(self, 0, 64, "rows")


QUICK = {"steps": 300, "evaluate_every": 150, "ema": 0.97}  # a short run needs a short memory


def main() -> None:
    r, args = recipe.parse(Recipe, "Trains the GAN on the face data set.", QUICK)
    out = args.out or Path("runs") / f"gan_seed{r.seed}{'_quick' if args.quick else ''}"
    device = repro.choose_device()
    current_commit()  # of the code that runs now, whatever is committed meanwhile

    # Data: whole in memory. What choosing needs is held out of training; test faces are not read here.
    _, images = read_faces(args.data, "train")
    training, held_out = hold_out(len(images))

    # Models.
    repro.seed_everything(r.seed)
    g = Generator(GeneratorConfig(r.latent_dim, r.width, r.coarse_chroma, r.fine)).to(device)
    g = g.to(memory_format=torch.channels_last)
    d = Discriminator(DiscriminatorConfig(r.width_d, r.fine)).to(device).to(memory_format=torch.channels_last)
    players = Players(g, d, r, beta2=0.99)
    averaged = players.averaged
    # Training paints freely; what is kept has no finer rows than the faces (models/gan.py, limit_rows).
    averaged.config = dataclasses.replace(averaged.config, rows=r.rows or detail_rows(images[training]))

    Batch = tuple[torch.Tensor, torch.Tensor, torch.Generator]

    def batches(step: int) -> Batch:
        """Faces, half of them mirrored; latents; the draws of the augmentation."""
        generator = repro.seed_step(r.seed, step)
        rows = training[torch.randint(len(training), (r.batch_size,), generator=generator)]
        real = augment.random_flips(to_float(images[rows].to(device)) * 2 - 1, generator)
        real = real.contiguous(memory_format=torch.channels_last)
        return real, torch.randn((r.batch_size, r.latent_dim), generator=generator).to(device), generator

    def train_step(step: int, batch: Batch) -> dict[str, torch.Tensor]:
        real, z, generator = batch
        players.set_learning_rates(step)

        def judge(x: torch.Tensor) -> torch.Tensor:
            return d(diff_augment(x, generator) if r.augment else x).float()

        # 1. D: real up, fake down.
        with repro.bf16(device, r.bf16):
            fake = g(z).float()
            logits_real, logits_fake = judge(real), judge(fake.detach())
        loss_d = discriminator_loss(logits_real, logits_fake)
        players.step_d(loss_d)

        # 2. G: the same fake up; a fresh one would cost another forward pass.
        with players.frozen_d(), repro.bf16(device, r.bf16):
            loss_g = generator_loss(judge(fake))
        players.step_g(loss_g)
        return {
            "loss_d": loss_d,
            "loss_g": loss_g,
            "accuracy_real": (logits_real > 0).float().mean(),
            "accuracy_fake": (logits_fake < 0).float().mean(),
        }

    fixed = repro.noise(0, 32, r.latent_dim).float().to(device)

    def evaluate(done: int) -> dict[str, float | np.ndarray]:
        with torch.no_grad():
            samples = save_grid(out / f"samples_{done:06d}.png", averaged(fixed))
        save_checkpoint(out / "snapshots" / f"step_{done:06d}.pth", averaged, {"step": done, "recipe": asdict(r)})
        # How often a face that it trains on looks more real to D than one that it never saw: 0.5, unless D remembers.
        # (Accuracies at one step say little: the zero point of the logits swings.)
        d.eval()
        with torch.no_grad():
            seen, unseen = (
                torch.cat(
                    [
                        d(to_float(images[part].to(device)) * 2 - 1)
                        for part in rows[: 8 * r.batch_size].split(r.batch_size)
                    ]
                )
                for rows in (training, held_out)
            )
        d.train()
        return {"samples": samples, "training_above_held_out": float((seen[:, None] > unseen).float().mean())}

    run_steps(
        train_step, batches, steps=r.steps, recipe=asdict(r), out=out, resume=args.resume,
        save_seconds=args.save_seconds, evaluate=evaluate, evaluate_every=r.evaluate_every,
        state=players.state(),
    )  # fmt: skip

    keep_last_snapshot(Generator, out, r, {"training": len(training), "held_out": len(held_out)})


if __name__ == "__main__":
    cli.run(main, "train_gan.py")
