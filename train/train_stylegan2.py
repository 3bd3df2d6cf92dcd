"""Trains StyleGAN2 on the face data set: first at 32x32, then at the full resolution.

    python train/train_stylegan2.py           # data in hw3_data/ or data/hw3_data/, everything else by default

Writes model.pth (the averaged generator, for inference), snapshots/, samples_*.png (the same 32 latents at every save:
watch it learn), log.jsonl, TensorBoard and last.pt (for --resume) to --out.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli, recipe

CHANNELS = {4: 128, 8: 128, 16: 64, 32: 48, 64: 24, 128: 16}  # of both networks at each resolution
PATH_LENGTH_EVERY = 4  # steps between path length penalties; each is multiplied by this number (lazy regularisation)


@dataclass(frozen=True)
class Recipe:
    resolution: int = 64  # height and width of the images in pixels: 16, 32, 64 or 128
    begin: int = 32  # resolution that the training begins with; it doubles every grow_steps steps
    grow_steps: int = 3_600  # steps at each resolution below the full one
    fade_steps: int = 800  # steps over which a new resolution's layers are faded in
    steps: int = 7_900  # steps of the whole training
    latent_dim: int = 128  # components of z and of w
    mapping_layers: int = 4  # layers of the mapping network
    width: float = 1.0  # factor of the channels of both networks: 128, 128, 64, 48, 24 at 4, 8, 16, 32, 64 pixels
    batch_size: int = 32  # real faces a step, and as many generated ones
    lr: float = 2e-3  # learning rate of both networks, Adam (0, 0.99); the mapping network's is a hundredth of it
    decay: float = 0.2  # share of the steps at the end over which the learning rate falls to 0
    r1: float = 0.2  # weight gamma of the R1 penalty at 32x32; it grows with the pixels, as in StyleGAN2-ADA's set-up
    r1_every: int = 16  # steps between R1 penalties; each is multiplied by this number (lazy regularisation)
    mixing: float = 0.9  # probability that an image has two styles, one before and one after a random layer
    path_length: float = 0.0  # weight of the path length regularisation (the paper's is 2); every 4th step, 0: none
    augment: bool = False  # DiffAugment on real and generated faces, against a discriminator that memorises its faces
    ema: float = 0.998  # decay of the moving average of the generator, which is what is saved
    seed: int = 0  # random seed of the initial weights, the batches and the noise
    evaluate_every: int = 250  # steps between snapshots and grids of samples
    bf16: bool = True  # bfloat16 autocast in training, on hardware that computes in it: dlcv.repro.bf16

    def __post_init__(self) -> None:
        recipe.require_positive(self, "latent_dim", "mapping_layers", "width", "r1_every", "grow_steps", "fade_steps")
        recipe.require_between(self, 0, 1, "decay", "mixing")
        recipe.require_between(self, 0, math.inf, "r1", "path_length")
        if self.resolution not in (16, 32, 64, 128):
            raise cli.UsageError(f"--resolution {self.resolution}: must be 16, 32, 64 or 128")
        if self.begin not in CHANNELS or self.begin > self.resolution:
            raise cli.UsageError(f"--begin {self.begin}: must be a power of two from 4 to --resolution")

    def stage(self, step: int) -> tuple[int, float]:
        """Resolution in pixels at a step, and the factor in (0, 1] by which its newest layers are faded in."""
        size = min(self.resolution, self.begin * 2 ** (step // self.grow_steps))
        since = step - self.grow_steps * ((size // self.begin).bit_length() - 1)
        return size, min(1.0, (since + 1) / self.fade_steps) if size > self.begin else 1.0


QUICK = {"steps": 400, "grow_steps": 300, "fade_steps": 50, "evaluate_every": 200, "ema": 0.97}


def main() -> None:
    r, args = recipe.parse(Recipe, "Trains StyleGAN2 on the face data set.", QUICK)
    out = recipe.run_folder(args, f"stylegan2_seed{r.seed}")

    import torch
    import torch.nn.functional as F

    from dlcv import repro
    from dlcv.averaging import ema
    from dlcv.data import augment
    from dlcv.data.faces import hold_out, read_faces
    from dlcv.data.folders import fingerprint
    from dlcv.distributed import parallel, part, start, world_size
    from dlcv.images import save_grid, to_float
    from dlcv.losses import PathLength, r1_penalty
    from dlcv.metrics import share_above
    from dlcv.models.stylegan2 import (
        StyleGAN2Discriminator,
        StyleGAN2DiscriminatorConfig,
        StyleGAN2Generator,
        StyleGAN2GeneratorConfig,
    )
    from dlcv.schedule import constant_then_linear, set_lr
    from dlcv.trainer import Run

    device = start(r.batch_size)

    # Data: whole in memory. A part is held out, to see whether the discriminator remembers the faces.
    _, images = read_faces(args.data, "train", max(r.resolution, 64))
    training, held_out = hold_out(len(images))

    # Models.
    repro.seed_everything(r.seed)
    channels = tuple(max(1, round(r.width * c)) for size, c in CHANNELS.items() if size <= r.resolution)
    g = StyleGAN2Generator(StyleGAN2GeneratorConfig(channels, r.latent_dim, r.mapping_layers)).to(device)
    d = StyleGAN2Discriminator(StyleGAN2DiscriminatorConfig(channels)).to(device)
    g, d = g.to(memory_format=torch.channels_last), d.to(memory_format=torch.channels_last)
    average, path_length = ema(g, r.ema, warmup=True), PathLength().to(device)
    averaged = cast(StyleGAN2Generator, average.module)
    optimizer_g = torch.optim.Adam(g.parameters(), lr=r.lr, betas=(0.0, 0.99))
    optimizer_d = torch.optim.Adam(d.parameters(), lr=r.lr, betas=(0.0, 0.99))
    # These average the gradients where torchrun started several processes. Layers above the current size get none.
    parallel_g, parallel_d = parallel(g, some_unused=True), parallel(d, some_unused=True)

    def faces(rows: torch.Tensor, size: int) -> torch.Tensor:
        """Images (B, 3, size, size) in [-1, 1]."""
        x = to_float(images[rows].to(device)) * 2 - 1
        return F.avg_pool2d(x, x.shape[2] // size).contiguous(memory_format=torch.channels_last)

    def styles(rng: torch.Generator) -> torch.Tensor:
        """w (B, layers, D) of new latents; with probability r.mixing a second w takes over at a random layer."""
        z = torch.cat([part(half) for half in torch.randn((2, r.batch_size, r.latent_dim), generator=rng)]).to(device)
        first, second = parallel_g.style(z)[:, None].chunk(2)
        crossing = part(torch.randint(1, g.layers, (r.batch_size, 1), generator=rng))
        mixed = part(torch.rand((r.batch_size, 1), generator=rng)) < r.mixing
        return torch.where((mixed & (torch.arange(g.layers) >= crossing)).to(device)[:, :, None], second, first)

    def noise(count: int, rng: torch.Generator) -> list[torch.Tensor]:
        return [part(layer) for layer in g.draw_noise(count, rng)]

    def judge(d: StyleGAN2Discriminator, x: torch.Tensor, fade: float, rng: torch.Generator) -> torch.Tensor:
        """The discriminator's logits (B,) of images (B, 3, size, size), augmented where the recipe says so."""
        return d(augment.diff_augment(x, rng) if r.augment else x, fade).float()

    fixed = repro.noise(0, 32, r.latent_dim).float().to(device)
    state: dict[str, Any] = {"g": g, "d": d, "average": average, "path_length": path_length}
    state |= {"opt_g": optimizer_g, "opt_d": optimizer_d}
    data = {"training": len(training), "held_out": len(held_out), "images": fingerprint(images)}
    run = Run(out, r, steps=r.steps, state=state, data=data, **args.run)
    for step in run:
        rng = repro.seed_step(r.seed, step)
        size, fade = r.stage(step)
        for optimizer in (optimizer_g, optimizer_d):
            set_lr(optimizer, r.lr * constant_then_linear(step, r.steps, r.decay))

        # 1. D: real up, fake down (non-saturating); every r1_every steps R1 on real faces, in float32.
        rows = training[torch.randint(len(training), (r.batch_size,), generator=rng)]
        real = part(augment.random_flips(faces(rows, size), rng))
        penalised = r.r1 > 0 and step % r.r1_every == 0
        with repro.bf16(device, r.bf16):
            fake = parallel_g.synthesise(styles(rng), noise(r.batch_size, rng), size, fade).float()
            logits_fake = judge(parallel_d, fake.detach(), fade, rng)
        with repro.bf16(device, r.bf16 and not penalised):
            logits_real = judge(parallel_d, real.requires_grad_(penalised), fade, rng)
        loss_d = F.softplus(logits_fake).mean() + F.softplus(-logits_real).mean()
        run.log(loss_d=loss_d, accuracy_real=(logits_real > 0).float().mean())
        if penalised:
            penalty = r1_penalty(logits_real, real)
            loss_d = loss_d + r.r1 * (size / 32) ** 2 * r.r1_every * penalty
            run.log(r1=penalty)
        optimizer_d.zero_grad()
        loss_d.backward()
        optimizer_d.step()

        # 2. G: the same fake up; every PATH_LENGTH_EVERY steps the path length penalty, in float32.
        d.requires_grad_(False)
        with repro.bf16(device, r.bf16):
            loss_g = F.softplus(-judge(d, fake, fade, rng)).mean()
        run.log(loss_g=loss_g, accuracy_fake=(logits_fake < 0).float().mean())
        if r.path_length and step % PATH_LENGTH_EVERY == 0:
            half = r.batch_size // 2 // world_size() * world_size()
            w = styles(rng)[: half // world_size()]
            made = parallel_g.synthesise(w, noise(half, rng), size, fade)
            y = part(torch.randn((half, *made.shape[1:]), generator=rng))
            penalty = path_length(made, w, y.to(device))
            loss_g = loss_g + r.path_length * PATH_LENGTH_EVERY * penalty
            run.log(path_length=penalty)
        optimizer_g.zero_grad()
        loss_g.backward()
        optimizer_g.step()
        d.requires_grad_(True)
        average.update_parameters(g)

        if run.due(r.evaluate_every):
            with torch.no_grad():
                samples = averaged.synthesise(averaged.style(fixed), size=size, fade=fade)
                grid = save_grid(out / f"samples_{run.done:06d}.png", samples)
                seen, unseen = (
                    torch.cat([d(faces(part, size), fade) for part in some[: 8 * r.batch_size].split(r.batch_size)])
                    for some in (training, held_out)
                )
            run.log(samples=grid, training_above_held_out=share_above(seen, unseen))
            run.snapshot(averaged)
    run.finish(StyleGAN2Generator)


if __name__ == "__main__":
    cli.run(main, "train_stylegan2.py")
