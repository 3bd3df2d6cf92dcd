"""Draws the strips of the page's sliders over an inversion: each portrait, then what the search makes of it.

    python inference/invert_faces.py TARGETS --out RUN --loss own --evaluate-every 25 --frames
    python report/inversion_frames.py TARGETS RUN

Writes report/figures/inversion_iterations_strips.png: a row for each of the first images.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    from inversion_figures import beside
    from plotting import add_out, draw_strips

    from dlcv.data.folders import list_images


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("targets", type=Path, help="folder of the images that were inverted")
    parser.add_argument("run", type=Path, help="folder that invert_faces.py --out wrote to, with --frames")
    parser.add_argument("--count", type=int, default=6, help="images, from the first (6)")
    add_out(parser)
    args = parser.parse_args()
    frames = sorted(path for path in (args.run / "frames").glob("*") if path.is_dir())
    if not frames:
        raise cli.UserError(f"{args.run / 'frames'} holds nothing; run: python inference/invert_faces.py … --frames")
    rows = [beside(args.targets / name, frames) for name in list_images(args.targets)[: args.count]]
    draw_strips(rows, args.out / "inversion_iterations.png")
    print(args.out / "inversion_iterations_strips.png")


if __name__ == "__main__":
    cli.run(main, "inversion_frames.py")
