"""Writes 1,000 faces of the SAGAN into the folder DIR, 0000.png to 0999.png: DLCV 2021, homework 2, problem 1.

DIR is made if it is not there; its other files stay. It takes one to two minutes on two cores, and the pixels are the
same on every x86-64 CPU that was tried.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

COUNT = 1_000


def main() -> None:
    checkpoint, folder = cli.sampling_arguments("sagan", __doc__, "DIR")
    from dlcv.checkpoint import CHECKPOINTS, load_model
    from dlcv.files import check_folder
    from dlcv.models.sagan import SAGANGenerator
    from dlcv.repro import noise
    from dlcv.sampling import SEED, sample_images, save_folder

    names = [f"{index:04d}.png" for index in range(COUNT)]
    check_folder(folder, names)  # before the work, not after it
    model = load_model(SAGANGenerator, checkpoint or CHECKPOINTS / "sagan.pth").double()
    z = noise(SEED, COUNT, model.config.latent_dim)
    save_folder(folder, names, sample_images(model, z, progress="faces, in eights"))


if __name__ == "__main__":
    cli.run(main, "sample_sagan.py")
