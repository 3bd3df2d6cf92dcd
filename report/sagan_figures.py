"""The SAGAN's figures: architecture, curves, the first 32 faces, where its attention looks.

python report/sagan_figures.py        # from checkpoints/sagan.pth and runs/sagan_seed0/log.jsonl
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    import torch.nn.functional as F
    from plotting import LogNorm, draw_gan_curves, draw_text, plt, save, training_arguments

    from dlcv.checkpoint import load_model, read_checkpoint
    from dlcv.images import make_grid, save_image
    from dlcv.models.sagan import SAGANDiscriminator, SAGANDiscriminatorConfig, SAGANGenerator, SelfAttention
    from dlcv.repro import noise
    from dlcv.sampling import SEED, sample_images

FACES = 4  # whose attention is shown
# Row and column (of 16) of an eye, the mouth, the hair and the background, read off each of the first faces by eye.
POINTS = (
    ((6, 9), (11, 8), (1, 8), (5, 15)),
    ((6, 6), (11, 8), (1, 9), (4, 2)),
    ((5, 10), (11, 8), (1, 11), (4, 1)),
    ((7, 6), (11, 8), (2, 9), (5, 1)),
)
TITLES = ("generated", "from an eye", "from the mouth", "from the hair", "from background")


@torch.inference_mode()
def draw_attention(model: SAGANGenerator, path: Path) -> None:
    """How much each place of the 16x16 maps gives to four others, one row for each face."""
    layer = next(module for module in model.modules() if isinstance(module, SelfAttention))
    seen: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _, inputs, __: seen.append(layer.weights(inputs[0])))
    z = noise(SEED, FACES, model.config.latent_dim)
    images = sample_images(model, z, FACES)
    handle.remove()
    side = int(seen[0].shape[1] ** 0.5)
    columns = len(TITLES)
    figure, grid = plt.subplots(FACES, columns, figsize=(6.6, 1.26 * FACES), layout="constrained")
    scale = 64 / side
    for row, image, weights, points in zip(grid, images, seen[0], POINTS, strict=True):
        row[0].imshow(image)
        for axes, (i, j) in zip(row[1:], points, strict=True):
            looked = weights[i * side + j].reshape(1, 1, side // 2, side // 2)  # keys are pooled
            times = F.interpolate(looked, (64, 64))[0, 0] * looked.numel()  # of what an even look would give
            axes.imshow(np.asarray(image).mean(-1), cmap="gray")
            shown = axes.imshow(times, cmap="inferno", norm=LogNorm(0.1, 10), alpha=0.6)
            axes.plot((j + 0.5) * scale, (i + 0.5) * scale, "o", color="cyan", markeredgecolor="black", markersize=6)
    for axes, title in zip(grid[0], TITLES, strict=True):
        axes.set_title(title, fontsize=9)
    for axes in grid.flat:
        axes.axis("off")
    bar = figure.colorbar(shown, ax=grid, shrink=0.6, label="attention, times an even share", ticks=(0.1, 1, 10))
    bar.ax.set_yticklabels(("≤ 0.1", "1", "≥ 10"))
    save(figure, path, dpi=220)


def main() -> None:
    args = training_arguments(cli.ArgumentParser(description=__doc__), "sagan")
    recipe = read_checkpoint(args.checkpoint)["provenance"]["recipe"]
    model = load_model(SAGANGenerator, args.checkpoint).double()
    discriminator = SAGANDiscriminator(SAGANDiscriminatorConfig(recipe["width_d"], recipe["attention"]))
    draw_text([str(model), str(discriminator)], args.out / "sagan_architecture.png")
    if args.curves:
        draw_gan_curves(args.log, args.out / "sagan_curves.png")
    first = sample_images(model, noise(SEED, 32, model.config.latent_dim))  # the same 32 as hw2_p1.sh's first
    save_image(args.out / "sagan_faces.png", make_grid(first, 8))
    if model.config.attention:
        draw_attention(model, args.out / "sagan_attention.png")


if __name__ == "__main__":
    cli.run(main, "sagan_figures.py")
