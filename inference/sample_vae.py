"""The VAE's 32 samples, for problem 1 of DLCV 2020 homework 3.

sample_vae.py [--checkpoint FILE] OUT        # OUT ends in .png or .jpg
"""

import argparse
import sys
from pathlib import Path

try:
    from dlcv import cli, repro
    from dlcv.checkpoint import load_model
    from dlcv.images import check_image_path, make_grid, save_image
    from dlcv.models.vae import VAE
    from dlcv.sampling import sample_images
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}: python3 needs the packages in requirements.txt (torch, numpy, pillow)") from None

CHECKPOINT = Path(__file__).resolve().parents[1] / "checkpoints" / "vae.pth"
SEED = 0  # of the noise; fixed before any picture was looked at


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prog", default="sample_vae.py", help=argparse.SUPPRESS)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("out", nargs="*", metavar="OUT")
    args = parser.parse_args()
    if len(args.out) != 1:
        raise cli.UsageError(f"expected 1 argument, got {len(args.out)}; usage: {args.prog} OUT.png")
    out = Path(args.out[0])
    check_image_path(out)  # before the work, not after it
    model = load_model(VAE, args.checkpoint).double()
    noise = repro.noise(SEED, 32, model.config.latent_dim)
    save_image(out, make_grid(sample_images(lambda z: model.sample(z) * 2 - 1, noise), 8))


if __name__ == "__main__":
    prog = sys.argv[sys.argv.index("--prog") + 1] if "--prog" in sys.argv[:-1] else "sample_vae.py"
    cli.run(main, prog)
