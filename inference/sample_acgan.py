"""Writes 100 digits of each class of the ACGAN into the folder DIR, 0_001.png to 9_100.png: DLCV 2021, homework 2,
problem 2.

DIR is made if it is not there; its other files stay. It takes some seconds, and the pixels are the same on every
x86-64 CPU that was tried.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

EACH = 100  # digits of each class


def main() -> None:
    checkpoint, folder = cli.sampling_arguments("acgan", __doc__, "DIR")
    import torch

    from dlcv.checkpoint import CHECKPOINTS, load_model
    from dlcv.files import check_folder
    from dlcv.models.acgan import ACGANGenerator
    from dlcv.repro import noise
    from dlcv.sampling import SEED, sample_digits, save_folder

    names = [f"{digit}_{number:03d}.png" for digit in range(10) for number in range(1, EACH + 1)]
    check_folder(folder, names)  # before the work, not after it
    model = load_model(ACGANGenerator, checkpoint or CHECKPOINTS / "acgan.pth").double()
    z = noise(SEED, 10 * EACH, model.config.latent_dim)
    digits = torch.arange(10).repeat_interleave(EACH)
    save_folder(folder, names, sample_digits(model, z, digits, progress="digits, in eights"))


if __name__ == "__main__":
    cli.run(main, "sample_acgan.py")
