"""Trains the auxiliary classifier GAN on MNIST-M's training digits and their labels.

    python train/train_acgan.py               # data in hw3_data/ or data/hw3_data/, everything else by default

Writes model.pth (the averaged generator, for inference), snapshots/, samples_*.png (a column for each digit, the same
latents at every save), log.jsonl, TensorBoard and last.pt (for --resume) to --out. The course's classifier, which
grades the digits, has no part in it.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli, recipe

HELD_OUT = 5_000  # training digits on which only the auxiliary classifier is looked at


@dataclass(frozen=True)
class Recipe:
    latent_dim: int = 100  # components of the latent vector
    width: int = 48  # channels of the generator: see ACGANGeneratorConfig
    width_d: int = 48  # channels of the discriminator: see ACGANDiscriminatorConfig
    steps: int = 30_000  # steps of the whole training
    batch_size: int = 64  # real digits a step, and as many generated ones
    lr_g: float = 2e-4  # learning rate of the generator (Adam)
    lr_d: float = 4e-4  # learning rate of the discriminator (Adam)
    beta1: float = 0.0  # beta1 of Adam; its beta2 is 0.99
    decay: float = 0.3  # share of the steps at the end over which both learning rates fall to 0
    class_weight: float = 1.0  # weight of the digit's cross entropy in the generator's loss
    augment: bool = True  # train the auxiliary classifier on rotated, scaled and shifted digits
    ema: float = 0.999  # decay of the moving average of the generator, which is what is saved
    seed: int = 0  # random seed of the initial weights, the batches and the noise
    evaluate_every: int = 1_500  # steps between snapshots and grids of samples
    bf16: bool = True  # bfloat16 autocast in training, on hardware that computes in it: dlcv.repro.bf16

    def __post_init__(self) -> None:
        recipe.require_positive(self, "latent_dim", "width", "width_d")
        recipe.require_between(self, 2, math.inf, "batch_size")  # batch norm needs two
        recipe.require_between(self, 0, 0.999, "beta1")
        recipe.require_between(self, 0, 1, "decay")
        recipe.require_between(self, 0, math.inf, "class_weight")


QUICK = {"steps": 400, "evaluate_every": 200, "ema": 0.97}  # a short run needs a faster moving average


def main() -> None:
    r, args = recipe.parse(Recipe, "Trains the auxiliary classifier GAN on MNIST-M.", QUICK)
    out = recipe.run_folder(args, f"acgan_seed{r.seed}")

    import torch
    import torch.nn.functional as F

    from dlcv import repro
    from dlcv.averaging import ema
    from dlcv.data import augment, splits
    from dlcv.data.digits import read_split
    from dlcv.data.folders import fingerprint
    from dlcv.distributed import parallel, part, start
    from dlcv.images import save_grid, to_float
    from dlcv.losses import discriminator_loss, generator_loss
    from dlcv.models.acgan import ACGANDiscriminator, ACGANDiscriminatorConfig, ACGANGenerator, ACGANGeneratorConfig
    from dlcv.schedule import constant_then_linear, set_lr
    from dlcv.trainer import Run

    device = start(r.batch_size)

    # Data: whole in memory; no test digit is read.
    _, images, labels = read_split(args.data, "mnistm", "train")
    training, held_out = splits.hold_out(len(images), HELD_OUT)

    # Models.
    repro.seed_everything(r.seed)
    g = ACGANGenerator(ACGANGeneratorConfig(r.latent_dim, r.width)).to(device).to(memory_format=torch.channels_last)
    d = ACGANDiscriminator(ACGANDiscriminatorConfig(r.width_d)).to(device).to(memory_format=torch.channels_last)
    average = ema(g, r.ema)
    averaged = cast(ACGANGenerator, average.module)
    optimizer_g = torch.optim.Adam(g.parameters(), lr=r.lr_g, betas=(r.beta1, 0.99))
    optimizer_d = torch.optim.Adam(d.parameters(), lr=r.lr_d, betas=(r.beta1, 0.99))
    parallel_g, parallel_d = parallel(g), parallel(d)  # averages gradients over torchrun's processes, if several

    def digits(rows: torch.Tensor) -> torch.Tensor:
        return (to_float(images[rows].to(device)) * 2 - 1).contiguous(memory_format=torch.channels_last)

    def held_out_digit_accuracy() -> float:
        """Accuracy in [0, 1] of the auxiliary classifier on training digits that were held out."""
        d.eval()
        with torch.no_grad():
            predictions = torch.cat([d(digits(rows))[1].argmax(1).cpu() for rows in held_out.split(250)])
        d.train()
        return float((predictions == labels[held_out]).float().mean())

    fixed = repro.noise(0, 8, r.latent_dim).float().to(device).repeat_interleave(10, dim=0)
    columns = torch.arange(10, device=device).repeat(8)
    state = {"g": g, "d": d, "average": average, "optimizer_g": optimizer_g, "optimizer_d": optimizer_d}
    data = {"training": len(training), "held_out": len(held_out), "images": fingerprint(images, labels)}
    run = Run(out, r, steps=r.steps, state=state, data=data, **args.run)
    for step in run:
        share = constant_then_linear(step, r.steps, r.decay)
        set_lr(optimizer_g, r.lr_g * share)
        set_lr(optimizer_d, r.lr_d * share)
        rng = repro.seed_step(r.seed, step)
        rows = training[torch.randint(len(training), (r.batch_size,), generator=rng)]
        z = part(torch.randn((r.batch_size, r.latent_dim), generator=rng)).to(device)
        wanted = part(torch.randint(0, 10, (r.batch_size,), generator=rng)).to(device)
        real, y = digits(rows), part(labels[rows]).to(device)

        # 1. D: real up, fake down; the digits of real images alone, so that bad fakes do not mislead the classifier.
        with repro.bf16(device, r.bf16):
            fake = parallel_g(z, wanted).float()
            logits_real, digit_real = parallel_d(part(real))
            logits_fake, _ = parallel_d(fake.detach())
            if r.augment:
                _, digit_real = parallel_d(part(augment.random_affine(real, rng)))
        loss_class = F.cross_entropy(digit_real.float(), y)
        loss_d = discriminator_loss(logits_real.float(), logits_fake.float())
        optimizer_d.zero_grad()
        (loss_d + loss_class).backward()
        optimizer_d.step()

        # 2. G: the same fake up, and recognised as the digit that was asked for.
        d.requires_grad_(False)
        with repro.bf16(device, r.bf16):
            logits, digit_fake = d(fake)
        loss_g = generator_loss(logits.float())
        loss_wanted = F.cross_entropy(digit_fake.float(), wanted)
        optimizer_g.zero_grad()
        (loss_g + r.class_weight * loss_wanted).backward()
        optimizer_g.step()
        d.requires_grad_(True)
        average.update_parameters(g)

        run.log(loss_d=loss_d, loss_g=loss_g, loss_class=loss_class, loss_wanted=loss_wanted)
        run.log(accuracy_real=(logits_real > 0).float().mean(), accuracy_fake=(logits_fake < 0).float().mean())
        if run.due(r.evaluate_every):
            with torch.no_grad():
                samples = save_grid(out / f"samples_{run.done:06d}.png", averaged(fixed, columns), columns=10)
            run.log(samples=samples, held_out_digit_accuracy=held_out_digit_accuracy())
            run.snapshot(averaged)
    run.finish(ACGANGenerator)


if __name__ == "__main__":
    cli.run(main, "train_acgan.py")
