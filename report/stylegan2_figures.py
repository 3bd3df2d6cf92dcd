"""StyleGAN2's figures: 32 samples, style mixing, truncation, curves of the training.

python report/stylegan2_figures.py            # from checkpoints/stylegan2.pth and runs/stylegan2_seed0/log.jsonl
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    from plotting import draw_faces, draw_gan_curves, training_arguments

    from dlcv import repro
    from dlcv.images import make_grid, save_image
    from dlcv.models.stylegan2 import StyleGAN2Generator
    from dlcv.sampling import SEED, sample_images
    from dlcv.stylegan2_public import load_generator

TRUNCATIONS = (0.0, 0.25, 0.5, 0.7, 0.85, 1.0, 1.25)
MIXED = 6  # rows and columns of the style mixing


def mixing(g: StyleGAN2Generator, w: torch.Tensor, coarse: int = 4) -> list[np.ndarray]:
    """Rows of images: row i has the first `coarse` styles of w[i], column j the others of w[MIXED + j].

    The first row and the first column are the faces that the styles come from; the corner is empty. w is (2 MIXED, D).
    """
    rows, columns = w[:MIXED], w[MIXED : 2 * MIXED]
    size = g.size
    plus = w[:, None].expand(-1, g.layers, -1)
    source = sample_images(lambda part: g.synthesise(part), w)
    grid = [np.concatenate([np.full((1, size, size, 3), 255, np.uint8), source[MIXED:]])]
    for index in range(len(rows)):
        mixed = torch.cat([plus[index, :coarse].expand(len(columns), -1, -1), plus[MIXED:, coarse:]], dim=1)
        grid.append(np.concatenate([source[index : index + 1], sample_images(g.synthesise, mixed)]))
    return grid


def main() -> None:
    args = training_arguments(cli.ArgumentParser(description=__doc__), "stylegan2")
    g = load_generator(args.checkpoint).double()
    mean = g.style(repro.noise(0, 10_000, g.config.latent_dim)).mean(0).detach()
    w = g.style(repro.noise(SEED, 32, g.config.latent_dim)).detach()
    save_image(args.out / "stylegan2_faces.png", make_grid(sample_images(g.synthesise, w), 8))
    draw_faces(mixing(g, w[: 2 * MIXED]), args.out / "stylegan2_mixing.png")
    truncated = [sample_images(lambda part: g.synthesise(part), torch.stack(
        [g.truncate(face, mean, psi) for psi in TRUNCATIONS])) for face in w[:4]]  # fmt: skip
    draw_faces(truncated, args.out / "stylegan2_truncation.png", titles=[f"{psi:g}" for psi in TRUNCATIONS])
    if args.curves:
        draw_gan_curves(args.log, args.out / "stylegan2_curves.png", loss="non-saturating loss")


if __name__ == "__main__":
    cli.run(main, "stylegan2_figures.py")
