"""Draws the same target digits as three networks read them: trained on the source alone, DANN, the improved method.

    python report/adaptation_digits.py        # after train_dann.py --mode source for both pairs; see --help

Writes report/figures/adaptation.png. The digits are drawn with a fixed seed from the target's test images. Their true
labels are not read: a person sees them.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    from digit_figures import NAMES
    from digit_results import LETTER
    from plotting import PRINT, TEXT_WIDTH, add_out, plt, save

    from dlcv import repro
    from dlcv.checkpoint import CHECKPOINTS, load_model
    from dlcv.data.digits import read_images, read_labels, split_folder
    from dlcv.data.folders import list_images
    from dlcv.models.digit_net import SOURCE, DigitNet
    from dlcv.predict import predict_labels

PAIRS = (("usps", "mnistm"), ("mnistm", "svhn"))
COLUMNS = 10  # digits of each domain
ROWS = ("source only", "DANN", "improved")


def draw_digits(data: Path | None, domain: str, split: str) -> tuple[list[str], torch.Tensor]:
    """Names and images (COLUMNS, 3, H, W) uint8 of a split, at random with a fixed seed."""
    folder = split_folder(data, domain, split)
    every = list_images(folder)
    if len(every) < COLUMNS:
        raise cli.UserError(f"{folder} holds {len(every)} images; the picture shows {COLUMNS}")
    names = [every[row] for row in np.random.RandomState(0).choice(len(every), COLUMNS, replace=False)]
    return names, read_images(folder, names)


def read(path: Path, images: torch.Tensor, domain: int | None = None) -> np.ndarray:
    """A checkpoint's labels (N,) of the images; `domain`: whose batch-norm statistics, its own by default."""
    model = load_model(DigitNet, path)
    model.domain = model.domain if domain is None else domain
    return predict_labels(model, images)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the digits (default: hw3_data or data/hw3_data)")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"),
        help="folder of dann_SOURCE_TARGET_source_seed0/model.pth, where train_dann.py --mode source puts it (runs)",
    )  # fmt: skip
    add_out(parser)
    args = parser.parse_args()
    repro.exact_float32()
    figure = plt.figure(figsize=(TEXT_WIDTH, 1.9 * len(PAIRS)))
    parts = figure.subfigures(len(PAIRS))
    for part, (source, target) in zip(parts, PAIRS, strict=True):
        names, known = draw_digits(args.data, source, "train")
        labels = read_labels(args.data, source, "train", names).numpy()
        _, unknown = draw_digits(args.data, target, "test")
        pair = f"{source}_{target}"
        read_as = [
            read(args.runs / f"dann_{pair}_source_seed0" / "model.pth", unknown, SOURCE),
            read(CHECKPOINTS / f"dann_{pair}.pth", unknown),
            read(CHECKPOINTS / f"uda_{pair}.pth", unknown),
        ]
        top, bottom = part.subplots(
            2, COLUMNS, gridspec_kw={"hspace": 0.35, "wspace": 0.08, "bottom": 0.3, "top": 0.86}
        )
        for axes in (*top, *bottom):
            axes.axis("off")
        title = f"{LETTER[source]}→{LETTER[target]}: {NAMES[source]} with labels, {NAMES[target]} without"
        top[0].set_title(title, loc="left", fontsize=9)
        for column in range(COLUMNS):
            top[column].imshow(known[column].permute(1, 2, 0).numpy())
            below(top[column], 0, str(labels[column]))
            bottom[column].imshow(unknown[column].permute(1, 2, 0).numpy())
            for row, answers in enumerate(read_as):
                differs = answers[column] != read_as[-1][column]
                below(bottom[column], row, str(answers[column]), color="C1" if differs else "black")
        below(top[0], 0, "label", at=-0.15, ha="right")
        for row, title in enumerate(ROWS):
            below(bottom[0], row, title, at=-0.15, ha="right")
    save(figure, args.out / "adaptation.png", PRINT)


def below(axes: plt.Axes, row: int, text: str, at: float = 0.5, **style: str) -> None:
    """Writes `text` under an image, in the line `row`."""
    axes.text(
        at, -0.2 - 0.26 * row, text, transform=axes.transAxes, va="center", fontsize=8, **({"ha": "center"} | style)
    )


if __name__ == "__main__":
    cli.run(main, "adaptation_digits.py")
