"""The ACGAN's figures: architecture, curves, a hundred digits (columns: digits, rows: noise).

python report/acgan_figures.py        # from checkpoints/acgan.pth and runs/acgan_seed0/log.jsonl
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import torch
    from plotting import draw_gan_curves, draw_text, training_arguments

    from dlcv.checkpoint import load_model, read_checkpoint
    from dlcv.images import make_grid, save_image
    from dlcv.models.acgan import ACGANDiscriminator, ACGANDiscriminatorConfig, ACGANGenerator
    from dlcv.repro import noise
    from dlcv.sampling import SEED, sample_digits

ROWS = 10


def main() -> None:
    args = training_arguments(cli.ArgumentParser(description=__doc__), "acgan")
    recipe = read_checkpoint(args.checkpoint)["provenance"]["recipe"]
    model = load_model(ACGANGenerator, args.checkpoint).double()
    discriminator = ACGANDiscriminator(ACGANDiscriminatorConfig(recipe["width_d"]))
    draw_text([str(model), str(discriminator)], args.out / "acgan_architecture.png")
    if args.curves:
        draw_gan_curves(args.log, args.out / "acgan_curves.png")
    z = noise(SEED, ROWS, model.config.latent_dim).repeat_interleave(10, dim=0)
    images = sample_digits(model, z, torch.arange(10).repeat(ROWS))
    save_image(args.out / "acgan_digits.png", make_grid(images, 10).repeat(2, axis=0).repeat(2, axis=1))


if __name__ == "__main__":
    cli.run(main, "acgan_figures.py")
