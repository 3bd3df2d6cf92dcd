"""Whether a portrait to invert is among the training faces: the nearest of them, by squared distance of the pixels.

    python experiments/target_copies.py data/inversion/aligned

Each portrait, and its mirror image, is compared with every training face, in their size. Writes
docs/results/inversion_nearest.csv: the L2 distance (mean squared difference of pixels in [0, 1]) and the face's name.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import torch

    from dlcv.data.faces import read_faces
    from dlcv.data.folders import list_images, read_images
    from dlcv.files import write_rows
    from dlcv.images import to_float

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "inversion_nearest.csv"


def nearest(targets: torch.Tensor, faces: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For uint8 images (N, 3, H, W): the least L2 distance (N,) to a face or its mirror image, and its row (N,)."""
    wanted = to_float(targets).flatten(1).double()
    least, row = torch.full((len(wanted),), torch.inf, dtype=torch.float64), torch.zeros(len(wanted), dtype=torch.long)
    for mirrored in (False, True):
        for start in range(0, len(faces), 1_000):
            part = to_float(faces[start : start + 1_000])
            part = (part.flip(3) if mirrored else part).flatten(1).double()
            distance, index = (torch.cdist(wanted, part).square() / part.shape[1]).min(1)
            row = torch.where(distance < least, index + start, row)
            least = torch.minimum(least, distance)
    return least, row


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("targets", type=Path, help="folder of aligned portraits, *.png or *.jpg")
    parser.add_argument("--data", type=Path, help="folder of the faces (default: hw3_data or data/hw3_data)")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="csv to write (docs/results/inversion_nearest.csv)"
    )
    args = parser.parse_args()
    names, faces = read_faces(args.data, "train")
    targets = list_images(args.targets)
    least, row = nearest(read_images(args.targets, targets, faces.shape[2]), faces)
    write_rows(
        args.results,
        [
            {"image_name": Path(target).stem, "l2": f"{distance:.4f}", "face": names[index], "faces": len(names)}
            for target, distance, index in zip(targets, least.tolist(), row.tolist(), strict=True)
        ],
    )
    print(f"{args.results}: least L2 distance {least.min():.4f}")


if __name__ == "__main__":
    cli.run(main, "target_copies.py")
