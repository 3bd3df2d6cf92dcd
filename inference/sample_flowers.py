"""Writes samples of the flowers' DCGAN as one picture, eight in a row: TU Dresden, homework 3, problem 5.

OUT ends in .png or .jpg; folders that are missing are made. The pixels are the same
on every x86-64 CPU that was tried.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

MOST = 1_000  # more would exceed dlcv.images.MAX_PIXELS, so that no program here could read the picture


def main() -> None:
    parser = cli.script_parser("sample_flowers.py", "OUT", __doc__)
    parser.add_argument(
        "--checkpoint", type=cli.path, metavar="FILE", help="weights to use instead of checkpoints/flowers.pth"
    )
    parser.add_argument("--n", type=int, default=32, help="number of samples (32)")
    parser.add_argument("--seed", type=int, default=0, help="of the latents (0)")
    args, words = parser.parse_words(OUT="where the samples are written")
    out = cli.path(words[0])
    if not 1 <= args.n <= MOST:
        raise cli.UsageError(f"--n {args.n}: must be between 1 and {MOST}")
    if not 0 <= args.seed < 2**32:
        raise cli.UsageError(f"--seed {args.seed}: must be between 0 and {2**32 - 1}")
    from dlcv import repro
    from dlcv.checkpoint import CHECKPOINTS, load_model
    from dlcv.images import check_image_path, make_grid, save_image
    from dlcv.models.dcgan import DCGANGenerator
    from dlcv.sampling import sample_images

    check_image_path(out)  # before the work, not after it
    g = load_model(DCGANGenerator, args.checkpoint or CHECKPOINTS / "flowers.pth").double()
    images = sample_images(g, repro.noise(args.seed, args.n, g.config.latent_dim), progress="samples, in eights")
    save_image(out, make_grid(images, min(8, args.n)))


if __name__ == "__main__":
    cli.run(main, "sample_flowers.py")
