"""The GAN's 32 samples, for problem 2 of DLCV 2020 homework 3.

sample_gan.py [--checkpoint FILE] OUT        # OUT ends in .png or .jpg
"""

try:
    from dlcv import cli
    from dlcv.models.gan import Generator
    from dlcv.sampling import sample_command
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}: python3 needs the packages in requirements.txt (torch, numpy, pillow)") from None


def main() -> None:
    sample_command(Generator, "gan", lambda model, z: model(z), __doc__)


if __name__ == "__main__":
    cli.run(main, "sample_gan.py")
