"""The VAE's 32 samples, for problem 1 of DLCV 2020 homework 3.

sample_vae.py [--checkpoint FILE] OUT        # OUT ends in .png or .jpg
"""

try:
    from dlcv import cli
    from dlcv.models.vae import VAE
    from dlcv.sampling import sample_command
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}: python3 needs the packages in requirements.txt (torch, numpy, pillow)") from None


def main() -> None:
    sample_command(VAE, "vae", lambda model, z: model.sample(z) * 2 - 1, __doc__)


if __name__ == "__main__":
    cli.run(main, "sample_vae.py")
