"""Problem 2's figures: architecture, curves, samples, VAE beside GAN, interpolations, nearest training faces.

python report/gan_figures.py          # from checkpoints/gan.pth, vae.pth and runs/gan_seed0/log.jsonl
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    from plotting import (
        add_checkpoint,
        draw_faces,
        draw_gan_curves,
        draw_strips,
        draw_text,
        first_of_grid,
        plt,
        save,
        training_arguments,
    )

    from dlcv import metrics
    from dlcv.checkpoint import load_model, read_checkpoint
    from dlcv.data.faces import hold_out, read_faces
    from dlcv.images import make_grid, save_image
    from dlcv.models.gan import Discriminator, DiscriminatorConfig, Generator
    from dlcv.models.vae import VAE
    from dlcv.repro import noise
    from dlcv.sampling import SEED, sample_images

NEAREST_OF = 8  # generated faces whose nearest training faces are shown
CANDIDATES = 300  # nearest in pixels, whose features are compared


def draw_side_by_side(vae: np.ndarray, gan: np.ndarray, path: Path) -> None:
    """The first 16 samples of each."""
    figure, grid = plt.subplots(1, 2, figsize=(9, 4.8))
    for axes, images, title in zip(grid, (vae, gan), ("VAE", "GAN"), strict=True):
        axes.imshow(make_grid(images[:16], 4))
        axes.set_title(title)
        axes.axis("off")
    figure.subplots_adjust(wspace=0.05)
    save(figure, path)


def draw_interpolations(model: Generator, path: Path) -> None:
    """Great circles between pairs of latents: a straight line would pass latents shorter than any that training saw."""
    z = noise(SEED, 8, model.config.latent_dim)
    rows = []
    for a, b in zip(z[0::2], z[1::2], strict=True):
        angle = torch.acos(a @ b / (a.norm() * b.norm()))
        shares = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None]
        line = (torch.sin((1 - shares) * angle) * a + torch.sin(shares * angle) * b) / torch.sin(angle)
        rows.append(sample_images(model, line))
    draw_faces(rows, path)
    draw_strips(rows, path)


def draw_training(run: Path, path: Path, count: int = 5, side: int = 64) -> None:
    """The first latents' faces in each grid of samples that the training has drawn, for the page's sliders.

    Nothing is drawn where the grids are gone, as beside a log in docs/results.
    """
    grids = sorted(run.glob("samples_*.png"))
    if not grids:
        return
    draw_strips([*np.stack([first_of_grid(grid, count, side) for grid in grids], axis=1)], path)


def draw_nearest(generated: np.ndarray, training: torch.Tensor, path: Path) -> None:
    """Each generated face above its nearest training faces: in pixels, and in features among the pixels' nearest 300.

    Mirror images of training faces count, too: the GAN saw them.

    Features of all training faces would take ten minutes; those of 300 for each face take one.
    """
    training = torch.cat([training, training.flip(3)])
    fake = torch.from_numpy(generated).permute(0, 3, 1, 2)
    distances = torch.cdist(fake.flatten(1).float(), training.flatten(1).float())
    candidates = distances.topk(min(CANDIDATES, len(training)), largest=False).indices  # (N, 300), nearest first
    network = metrics.efficientnet_lite0()
    features = torch.from_numpy(metrics.extract(network, fake))
    nearest = []
    for own, rows in zip(features, candidates, strict=True):
        others = torch.from_numpy(metrics.extract(network, training[rows]))
        nearest.append(rows[(others - own).norm(dim=1).argmin()])
    pictures = (training[rows].permute(0, 2, 3, 1).numpy() for rows in (candidates[:, 0], torch.stack(nearest)))
    titles = ["generated", "nearest training\nface, pixels", "nearest training\nface, features"]
    draw_faces([generated, *pictures], path, row_titles=titles)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    add_checkpoint(parser, "vae", "--vae")
    parser.add_argument("--data", type=Path, help="folder of the faces (default: hw3_data or data/hw3_data)")
    args = training_arguments(parser, "gan")
    provenance = read_checkpoint(args.checkpoint)["provenance"]
    model, vae = load_model(Generator, args.checkpoint).double(), load_model(VAE, args.vae).double()
    discriminator = Discriminator(DiscriminatorConfig(provenance["recipe"]["width_d"]))
    draw_text([str(model), str(discriminator)], args.out / "fig2_1.png")
    if args.curves:
        draw_gan_curves(args.log, args.out / "gan_curves.png", provenance["step"])
        draw_training(args.log.parent, args.out / "gan_training.png")
    samples = sample_images(model, noise(SEED, 32, model.config.latent_dim))
    save_image(args.out / "fig2_2.png", make_grid(samples, 8))  # as hw3_p2.sh writes it
    others = sample_images(lambda z: vae.sample(z) * 2 - 1, noise(SEED, 32, vae.config.latent_dim))
    draw_side_by_side(others, samples, args.out / "fig2_4.png")
    draw_interpolations(model, args.out / "gan_interpolations.png")
    _, images = read_faces(args.data, "train")
    training, _ = hold_out(len(images))
    draw_nearest(samples[:NEAREST_OF], images[training], args.out / "gan_nearest.png")


if __name__ == "__main__":
    cli.run(main, "gan_figures.py")
