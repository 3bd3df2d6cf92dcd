"""32 samples of StyleGAN2, one picture of 4 rows of 8.

sample_stylegan2.py [--checkpoint FILE] [--truncation PSI] OUT        # OUT ends in .png or .jpg
"""

import argparse
from pathlib import Path

try:
    from dlcv import cli, repro
    from dlcv.checkpoint import CHECKPOINTS
    from dlcv.images import check_image_path, make_grid, save_image
    from dlcv.sampling import SEED, sample_images
    from dlcv.stylegan2_public import load_generator
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}: python3 needs the packages in requirements.txt (torch, numpy, pillow)") from None


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--checkpoint", type=Path, default=CHECKPOINTS / "stylegan2.pth", help="of this project, or .pt"
    )
    parser.add_argument("--truncation", type=float, default=1.0, help="share of the distance from the mean w (1)")
    parser.add_argument("out", type=Path, metavar="OUT")
    args = parser.parse_args()
    check_image_path(args.out)  # before the work, not after it
    g = load_generator(args.checkpoint).double()
    mean = g.style(repro.noise(0, 10_000, g.config.latent_dim)).mean(0)
    images = sample_images(
        lambda z: g.synthesise(g.truncate(g.style(z), mean, args.truncation)),
        repro.noise(SEED, 32, g.config.latent_dim),
    )
    save_image(args.out, make_grid(images, 8))


if __name__ == "__main__":
    cli.run(main, "sample_stylegan2.py")
