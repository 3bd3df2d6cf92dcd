"""Writes 32 samples of the VAE as one picture, 4 rows of 8: DLCV 2020, homework 3, problem 1.

OUT ends in .png or .jpg; folders that are missing are made. It takes some seconds, and the pixels are the same on every
x86-64 CPU that was tried.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli


def main() -> None:
    checkpoint, out = cli.sampling_arguments("vae", __doc__, "OUT")
    from dlcv.checkpoint import CHECKPOINTS
    from dlcv.models.vae import VAE
    from dlcv.sampling import sample_grid

    sample_grid(VAE, checkpoint or CHECKPOINTS / "vae.pth", out, lambda model, z: model.sample(z) * 2 - 1)


if __name__ == "__main__":
    cli.run(main, "sample_vae.py")
