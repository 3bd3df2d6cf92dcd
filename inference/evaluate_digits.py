"""Grades a folder of generated digits with the classifier of DLCV 2021: the share recognised as what they should be.

    python inference/evaluate_digits.py DIR        # 0_001.png … 9_100.png, as hw2_p2.sh writes them

The first character of a name is the digit. If the real data are found, a second line shows how the classifier does on
MNIST-M test digits, the first 100 of each.
"""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

if TYPE_CHECKING:
    import numpy as np

EACH = 100  # real digits of each kind


def shares(right: "np.ndarray", digits: "np.ndarray") -> list[float]:
    """Percent right of each digit 0 … 9, and of all."""
    parts = [right[digits == digit] for digit in range(10)]
    return [100 * float(part.mean()) if len(part) else float("nan") for part in [*parts, right]]


def print_line(title: str, values: list[float], count: int) -> None:
    print(f"{title:<18}" + "".join(f"{value:7.1f}" for value in values) + f"   n = {count}", flush=True)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder with the digits")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="the classifier's weights, if not ours")
    parser.add_argument("--data", type=Path, help="folder with the real digits; hw3_data or data/hw3_data if not given")
    args = parser.parse_args()
    import numpy as np

    from dlcv import repro
    from dlcv.checkpoint import CHECKPOINTS, load_model
    from dlcv.data.digits import read_images, read_labels, split_folder
    from dlcv.data.folders import list_images
    from dlcv.models.digit_classifier import DigitClassifier
    from dlcv.predict import predict_labels

    repro.exact_float32()
    names = list_images(args.folder)
    for name in names:
        if not re.match(r"[0-9]_", name):
            raise cli.UserError(f"{args.folder / name}: the name must begin with the digit, as in 3_057.png")
    digits = np.array([int(name[0]) for name in names])
    if len(missing := sorted(set(range(10)) - set(digits.tolist()))):
        raise cli.UserError(f"{args.folder} holds no image of the digit {missing[0]}")
    model = load_model(DigitClassifier, args.checkpoint or CHECKPOINTS / "digit_classifier.pth")
    print(f"{'% recognised':<18}" + "".join(f"{digit:>7}" for digit in (*range(10), "all")))
    print_line(
        "generated", shares(predict_labels(model, read_images(args.folder, names)) == digits, digits), len(names)
    )
    try:
        folder = split_folder(args.data, "mnistm", "test")
        every = list_images(folder)
        labels = read_labels(args.data, "mnistm", "test", every).numpy()
        chosen = np.concatenate([np.flatnonzero(labels == digit)[:EACH] for digit in range(10)])
        images = read_images(folder, [every[row] for row in chosen])
    except cli.UserError as error:
        if args.data is not None:
            raise
        print(f"no line for real digits: {error}")
        return
    print_line("real test digits", shares(predict_labels(model, images) == labels[chosen], labels[chosen]), len(chosen))


if __name__ == "__main__":
    cli.run(main, "evaluate_digits.py")
