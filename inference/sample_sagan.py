"""The SAGAN's 1,000 faces, for problem 1 of DLCV 2021 homework 2.

sample_sagan.py [--checkpoint FILE] DIR        # DIR gets 0000.png … 0999.png
"""

try:
    from dlcv import cli
    from dlcv.checkpoint import load_model
    from dlcv.files import check_writable
    from dlcv.models.sagan import SAGANGenerator
    from dlcv.repro import noise
    from dlcv.sampling import SEED, command_line, sample_images, save_folder
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}: python3 needs the packages in requirements.txt (torch, numpy, pillow)") from None

COUNT = 1_000


def main() -> None:
    checkpoint, folder = command_line("sagan", __doc__, "DIR")
    names = [f"{index:04d}.png" for index in range(COUNT)]
    check_writable(folder / names[0])  # before the work, not after it
    model = load_model(SAGANGenerator, checkpoint).double()
    save_folder(folder, names, sample_images(model, noise(SEED, COUNT, model.config.latent_dim)))


if __name__ == "__main__":
    cli.run(main, "sample_sagan.py")
