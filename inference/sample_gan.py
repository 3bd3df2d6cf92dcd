"""Writes 32 samples of the GAN as one picture, 4 rows of 8: DLCV 2020, homework 3, problem 2.

OUT ends in .png or .jpg; folders that are missing are made. It takes some seconds, and the pixels are the same on every
x86-64 CPU that was tried.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli


def main() -> None:
    checkpoint, out = cli.sampling_arguments("gan", __doc__, "OUT")
    from dlcv.checkpoint import CHECKPOINTS
    from dlcv.models.gan import Generator
    from dlcv.sampling import sample_grid

    sample_grid(Generator, checkpoint or CHECKPOINTS / "gan.pth", out, lambda model, z: model(z))


if __name__ == "__main__":
    cli.run(main, "sample_gan.py")
