"""Trains the DCGAN of TU Dresden's homework 3, problem 5, on photographs of flowers at 256x256.

    python train/train_flowers.py             # data in data/flowers or data/flowers-102, everything else by default
    python train/train_flowers.py --no-mirror --decay 0 --ema 0 --augment-from 999 --out runs/flowers_plain    # plain

Writes model.pth (the averaged generator, for inference), snapshots/, samples_*.png (the same 32 latents after every
epoch) and training.webp (all of them as an animation), log.jsonl, TensorBoard and last.pt (for --resume) to --out.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli, recipe


@dataclass(frozen=True)
class Recipe:
    latent_dim: int = 128  # components of the latent vector, the assignment's LATENT_DIM
    channels: int = 512  # channels of both networks at 4x4, the assignment's CHANNEL_NUM
    size: int = 256  # height and width of the images in pixels
    epochs: int = 236  # passes over the photographs
    batch_size: int = 16  # photographs a step, and as many generated images
    lr_g: float = 2e-4  # learning rate of the generator (Adam)
    lr_d: float = 2e-4  # learning rate of the discriminator (Adam)
    beta1: float = 0.5  # beta1 of Adam; its beta2 is 0.99
    decay: float = 0.3  # share of the steps at the end over which both learning rates fall to 0
    mirror: bool = True  # half of the photographs are mirrored
    augment_from: int = 102  # epoch from which DiffAugment changes all that the discriminator sees (0: always)
    turn_from: int = 200  # epoch from which half of that is turned by up to 30 degrees and zoomed by up to e^0.3, too
    ema: float = 0.998  # decay of the moving average of the generator, with warm-up; 0: the last weights are saved
    seed: int = 0  # random seed of the initial weights, the batches and the noise
    keep_every: int = 5  # epochs between two snapshots of the weights
    bf16: bool = True  # bfloat16 autocast in training, on hardware that computes in it: dlcv.repro.bf16

    def __post_init__(self) -> None:
        recipe.require_positive(self, "latent_dim", "channels", "keep_every")
        recipe.require_between(self, 0, math.inf, "augment_from", "turn_from")
        recipe.require_between(self, 2, math.inf, "batch_size")  # batch norm needs two
        recipe.require_between(self, 0, 0.999, "beta1", "ema")
        recipe.require_between(self, 0, 1, "decay")


QUICK = {"epochs": 2, "channels": 64, "keep_every": 1}


def main() -> None:
    r, args = recipe.parse(Recipe, "Trains the DCGAN on photographs of flowers.", QUICK)
    out = recipe.run_folder(args, f"flowers_seed{r.seed}")

    import torch
    import torch.nn.functional as F

    from dlcv import repro
    from dlcv.averaging import ema
    from dlcv.data import augment
    from dlcv.data.flowers import read_flowers
    from dlcv.data.folders import fingerprint
    from dlcv.distributed import parallel, part, start
    from dlcv.images import save_grid, to_float
    from dlcv.models.dcgan import (
        DCGANDiscriminator,
        DCGANDiscriminatorConfig,
        DCGANGenerator,
        DCGANGeneratorConfig,
    )
    from dlcv.schedule import constant_then_linear, set_lr
    from dlcv.trainer import Run

    device = start(r.batch_size)
    images, _, categories = read_flowers(args.data, size=r.size)  # whole in memory
    if len(images) < r.batch_size:
        raise cli.UsageError(f"--batch-size {r.batch_size}: there are only {len(images)} photographs")
    steps_per_epoch = len(images) // r.batch_size  # an incomplete last batch is left out; each epoch shuffles anew

    repro.seed_everything(r.seed)
    g = DCGANGenerator(DCGANGeneratorConfig(r.latent_dim, r.channels, r.size)).to(device)
    d = DCGANDiscriminator(DCGANDiscriminatorConfig(r.channels, r.size)).to(device)
    g, d = g.to(memory_format=torch.channels_last), d.to(memory_format=torch.channels_last)
    average = ema(g, r.ema, warmup=True)  # batch norm's statistics, too
    optimizer_g = torch.optim.Adam(g.parameters(), lr=r.lr_g, betas=(r.beta1, 0.99))
    optimizer_d = torch.optim.Adam(d.parameters(), lr=r.lr_d, betas=(r.beta1, 0.99))
    parallel_g, parallel_d = parallel(g), parallel(d)  # averages gradients over torchrun's processes, if several

    def photographs(step: int, rng: torch.Generator) -> torch.Tensor:
        """The step's batch from its epoch's random order, mirrored at random: (B, 3, size, size) in [-1, 1]."""
        epoch, number = divmod(step, steps_per_epoch)
        order = torch.randperm(len(images), generator=repro.seed_step(r.seed + 1_000_003, epoch))
        x = to_float(images[order[number * r.batch_size : (number + 1) * r.batch_size]].to(device)) * 2 - 1
        x = augment.random_flips(x, rng) if r.mirror else x
        return x.contiguous(memory_format=torch.channels_last)

    def changed(x: torch.Tensor, step: int, rng: torch.Generator) -> torch.Tensor:
        """What the discriminator sees of the images x (B, 3, size, size): augmented once it overfits, then more."""
        if step < r.augment_from * steps_per_epoch:
            return x
        turned = step >= r.turn_from * steps_per_epoch
        return augment.diff_augment(x, rng, degrees=30.0 if turned else 0.0, scale=0.3 if turned else 0.0)

    def after_epoch(epoch: int) -> None:
        """Saves the fixed latents' images (the assignment wants them after each epoch), animation and snapshots."""
        with torch.no_grad():
            run.log(samples=save_grid(out / f"samples_{epoch:04d}.png", average.module(fixed)))
        if epoch % r.keep_every == 0 or run.done == run.steps:
            run.snapshot(average.module)
            animate(sorted(out.glob("samples_*.png")), out / "training.webp")

    fixed = repro.noise(0, 32, r.latent_dim).float().to(device)
    state = {"g": g, "d": d, "average": average, "optimizer_g": optimizer_g, "optimizer_d": optimizer_d}
    data = {"training": len(images), "categories": len(categories), "images": fingerprint(images)}
    steps = r.epochs * steps_per_epoch
    run = Run(out, r, steps=steps, state=state, data=data, **args.run)
    for step in run:
        rng = repro.seed_step(r.seed, step)
        photos = part(photographs(step, rng))
        z = part(torch.randn((r.batch_size, r.latent_dim), generator=rng)).to(device)
        for optimizer, lr in ((optimizer_g, r.lr_g), (optimizer_d, r.lr_d)):
            set_lr(optimizer, lr * constant_then_linear(step, steps, r.decay))

        # 1. D: photographs up, generated images down. softplus(-l) is -log D, softplus(l) -log(1 - D).
        with repro.bf16(device, r.bf16):
            fake = parallel_g(z)
            seen_real, seen_fake = (changed(x, step, rng) for x in (photos, fake.detach()))
            logits_real, logits_fake = (parallel_d.logits(x).float() for x in (seen_real, seen_fake))
        loss_d = F.softplus(-logits_real).mean() + F.softplus(logits_fake).mean()
        optimizer_d.zero_grad()
        loss_d.backward()
        optimizer_d.step()

        # 2. G: the same images up (non-saturating: -log D instead of log(1 - D)).
        d.requires_grad_(False)
        with repro.bf16(device, r.bf16):
            logits = d.logits(changed(fake, step, rng)).float()
        loss_g = F.softplus(-logits).mean()
        optimizer_g.zero_grad()
        loss_g.backward()
        optimizer_g.step()
        d.requires_grad_(True)
        average.update_parameters(g)

        run.log(loss_d=loss_d, loss_g=loss_g, d_real=logits_real.sigmoid().mean(), d_fake=logits_fake.sigmoid().mean())
        if run.due(steps_per_epoch):
            after_epoch(run.done // steps_per_epoch)
    run.finish(DCGANGenerator)


def animate(grids: list[Path], path: Path, milliseconds: int = 200) -> None:
    """The pictures `grids` as one animated WebP, at most 100 of them, halved in size so that it stays small."""
    from PIL import Image

    from dlcv.files import atomic_path

    frames = [Image.open(grid).reduce(2) for grid in grids[:: -(-len(grids) // 100)] + grids[-1:]]
    with atomic_path(path) as temporary:
        frames[0].save(temporary, save_all=True, append_images=frames[1:], duration=milliseconds, quality=60)


if __name__ == "__main__":
    cli.run(main, "train_flowers.py")
