"""The SAGAN's figures: architecture, curves, the first 32 faces, where its attention looks.

python report/sagan_figures.py        # from checkpoints/sagan.pth and runs/sagan_seed0/log.jsonl
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import torch
    import torch.nn.functional as F
    from plotting import draw_gan_curves, draw_text, gan_arguments, plt, save

    from dlcv.checkpoint import load_model, read_checkpoint
    from dlcv.images import make_grid, save_image
    from dlcv.models.sagan import SAGANDiscriminator, SAGANDiscriminatorConfig, SAGANGenerator, SelfAttention
    from dlcv.repro import noise
    from dlcv.sampling import SEED, sample_images

FACES = 4  # whose attention is shown
POINTS = ((6, 5), (11, 8), (2, 8), (8, 1))  # row and column of 16
TITLES = ("generated", "at an eye", "at the mouth", "at the hair", "at the background")


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
    figure, grid = plt.subplots(FACES, 1 + len(POINTS), figsize=(1.4 * (1 + len(POINTS)), 1.4 * FACES))
    for row, image, weights in zip(grid, images, seen[0], strict=True):
        row[0].imshow(image)
        for axes, (i, j) in zip(row[1:], POINTS, strict=True):
            looked = weights[i * side + j].reshape(1, 1, side // 2, side // 2)  # keys are pooled
            axes.imshow(image)
            axes.imshow(F.interpolate(looked, (64, 64), mode="bilinear")[0, 0], cmap="inferno", alpha=0.65)
            scale = 64 / side
            axes.plot((j + 0.5) * scale, (i + 0.5) * scale, "o", color="white", markeredgecolor="black", markersize=6)
    for axes, title in zip(grid[0], TITLES, strict=True):
        axes.set_title(title, fontsize=9)
    for axes in grid.flat:
        axes.axis("off")
    figure.subplots_adjust(wspace=0.04, hspace=0.04)
    save(figure, path)


def main() -> None:
    args = gan_arguments(__doc__, "sagan")
    recipe = read_checkpoint(args.checkpoint)["provenance"]["recipe"]
    model = load_model(SAGANGenerator, args.checkpoint).double()
    config = SAGANDiscriminatorConfig(*(recipe[name] for name in ("width_d", "attention", "norm_last", "fine")))
    discriminator = SAGANDiscriminator(config)
    draw_text([str(model), str(discriminator)], args.out / "sagan_architecture.png")
    if args.curves:
        draw_gan_curves(args.log, args.out / "sagan_curves.png")
    first = sample_images(model, noise(SEED, 32, model.config.latent_dim))  # the same 32 as hw2_p1.sh's first
    save_image(args.out / "sagan_faces.png", make_grid(first, 8))
    if model.config.attention:
        draw_attention(model, args.out / "sagan_attention.png")


if __name__ == "__main__":
    cli.run(main, "sagan_figures.py")
