"""The ACGAN's 100 digits of each class, for problem 2 of DLCV 2021 homework 2.

sample_acgan.py [--checkpoint FILE] DIR        # DIR gets 0_001.png … 9_100.png
"""

try:
    import torch

    from dlcv import cli
    from dlcv.checkpoint import load_model
    from dlcv.files import check_writable
    from dlcv.models.acgan import ACGANGenerator
    from dlcv.repro import noise
    from dlcv.sampling import SEED, command_line, sample_digits, save_folder
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}: python3 needs the packages in requirements.txt (torch, numpy, pillow)") from None

EACH = 100  # digits of each class


def main() -> None:
    checkpoint, folder = command_line("acgan", __doc__, "DIR")
    names = [f"{digit}_{number:03d}.png" for digit in range(10) for number in range(1, EACH + 1)]
    check_writable(folder / names[0])  # before the work, not after it
    model = load_model(ACGANGenerator, checkpoint).double()
    z = noise(SEED, 10 * EACH, model.config.latent_dim)
    save_folder(folder, names, sample_digits(model, z, torch.arange(10).repeat_interleave(EACH)))


if __name__ == "__main__":
    cli.run(main, "sample_acgan.py")
