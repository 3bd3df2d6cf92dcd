"""The PyTorch tutorial's DCGAN on the same faces, for comparison: width 64, batch 128, binary cross entropy, Adam 2e-4.

    python experiments/tutorial_dcgan.py --steps 3000 --resume       # writes runs/tutorial_dcgan
    python experiments/face_scores.py runs/tutorial_dcgan/snapshots/*.pth

Networks, initialisation, losses and loop as in pytorch.org/tutorials/beginner/dcgan_faces_tutorial.html (no flips, no
averaging, float32); data loading is ours, and the generator is dlcv.models.gan.Generator, whose last layer has a bias.
"""

import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import torch
    import torch.nn.functional as F
    from torch import nn

    from dlcv import recipe, repro
    from dlcv.data.faces import hold_out, read_faces
    from dlcv.data.folders import fingerprint
    from dlcv.images import save_grid, to_float
    from dlcv.models.gan import Generator, GeneratorConfig
    from dlcv.trainer import Run


@dataclass(frozen=True)
class Recipe:
    width: int = 64  # channels at 32x32, both networks
    latent_dim: int = 100  # components of the latent vector
    steps: int = 3_000  # of the whole training
    batch_size: int = 128  # real faces a step, and as many generated ones
    lr: float = 2e-4  # of both networks, Adam with beta1 0.5
    seed: int = 0  # of the initial weights, the batches and the noise
    evaluate_every: int = 500  # steps between snapshots


def discriminator(w: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(3, w, 4, 2, 1, bias=False), nn.LeakyReLU(0.2)]
    for inputs, outputs in pairwise((w, 2 * w, 4 * w, 8 * w)):
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(8 * w, 1, 4, bias=False), nn.Flatten(0))


def initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)


def main() -> None:
    r, args = recipe.parse(Recipe, "Trains the tutorial's DCGAN on faces.", {"steps": 20, "evaluate_every": 20})
    out = args.out or Path("runs/tutorial_dcgan")
    device = repro.choose_device()
    _, images = read_faces(args.data, "train")
    training, _ = hold_out(len(images))
    repro.seed_everything(r.seed)
    g = Generator(GeneratorConfig(r.latent_dim, r.width)).to(device).apply(initialise)
    d = discriminator(r.width).to(device).apply(initialise)
    optimizer_g = torch.optim.Adam(g.parameters(), lr=r.lr, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(d.parameters(), lr=r.lr, betas=(0.5, 0.999))
    ones, zeros = torch.ones(r.batch_size, device=device), torch.zeros(r.batch_size, device=device)

    fixed = repro.noise(0, 32, r.latent_dim).float().to(device)
    state = {"g": g, "d": d, "optimizer_g": optimizer_g, "optimizer_d": optimizer_d}
    data = {"training": len(training), "images": fingerprint(images)}
    run = Run(out, r, steps=r.steps, state=state, data=data, **args.run)
    for step in run:
        rng = repro.seed_step(r.seed, step)
        rows = training[torch.randint(len(training), (r.batch_size,), generator=rng)]
        z = torch.randn((r.batch_size, r.latent_dim), generator=rng).to(device)
        real = to_float(images[rows].to(device)) * 2 - 1

        # 1. D: real to 1, fake to 0.
        optimizer_d.zero_grad()
        loss_real = F.binary_cross_entropy_with_logits(d(real), ones)
        loss_real.backward()
        fake = g(z)
        loss_fake = F.binary_cross_entropy_with_logits(d(fake.detach()), zeros)
        loss_fake.backward()
        optimizer_d.step()

        # 2. G: fake to 1.
        optimizer_g.zero_grad()
        loss_g = F.binary_cross_entropy_with_logits(d(fake), ones)
        loss_g.backward()
        optimizer_g.step()

        run.log(loss_d=loss_real + loss_fake, loss_g=loss_g)
        if run.due(r.evaluate_every):
            g.eval()
            with torch.no_grad():
                run.log(samples=save_grid(out / f"samples_{run.done:06d}.png", g(fixed)))
            g.train()
            run.snapshot(g)


if __name__ == "__main__":
    cli.run(main, "tutorial_dcgan.py")
