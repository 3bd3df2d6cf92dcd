"""Writes 32 samples of StyleGAN2 as one picture, 4 rows of 8.

OUT ends in .png or .jpg; folders that are missing are made.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli


def main() -> None:
    parser = cli.script_parser("sample_stylegan2.py", "OUT", __doc__)
    parser.add_argument(
        "--checkpoint",
        type=cli.path,
        metavar="FILE",
        help="weights to use instead of checkpoints/stylegan2.pth: of this project (.pth) or public ones (.pt)",
    )
    parser.add_argument("--truncation", type=float, default=1.0, help="1 leaves w as it is, 0 gives the mean face (1)")
    args, words = parser.parse_words(OUT="where the samples are written")
    out = cli.path(words[0])
    from dlcv import repro
    from dlcv.checkpoint import CHECKPOINTS
    from dlcv.images import check_image_path, make_grid, save_image
    from dlcv.sampling import SEED, sample_images
    from dlcv.stylegan2_public import load_generator

    check_image_path(out)  # before the work, not after it
    g = load_generator(args.checkpoint or CHECKPOINTS / "stylegan2.pth").double()
    mean = g.style(repro.noise(0, 10_000, g.config.latent_dim)).mean(0)
    images = sample_images(
        lambda z: g.synthesise(g.truncate(g.style(z), mean, args.truncation)),
        repro.noise(SEED, 32, g.config.latent_dim),
        progress="samples, in eights",
    )
    save_image(out, make_grid(images, 8))


if __name__ == "__main__":
    cli.run(main, "sample_stylegan2.py")
