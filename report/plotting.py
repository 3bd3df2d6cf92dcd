"""What the report's figures share: where they lie, how they are written, text and rows of faces as pictures.

Scripts take matplotlib's names from here, for they write files: a notebook's MPLBACKEND, which commands that it starts
inherit, would end the import where that notebook's packages are missing.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ["MPLBACKEND"] = "Agg"
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm as LogNorm
from matplotlib.colors import to_hex as to_hex
from matplotlib.ticker import MaxNLocator as MaxNLocator
from PIL import Image

from dlcv import cli
from dlcv.checkpoint import CHECKPOINTS
from dlcv.files import atomic_path
from dlcv.images import make_grid, save_image
from dlcv.trainer import read_log

FIGURES = Path(__file__).resolve().parent / "figures"
plt.style.use(Path(__file__).with_name("style.mplstyle"))


def add_out(parser: cli.ArgumentParser) -> None:
    """Adds --out, the folder of the figures."""
    parser.add_argument(
        "--out", type=Path, default=FIGURES, help="folder that the figures are written to (default: report/figures)"
    )


def add_checkpoint(parser: cli.ArgumentParser, name: str, option: str = "--checkpoint") -> None:
    """Adds the option for a trained model's file; checkpoints/`name`.pth where it is not given."""
    parser.add_argument(
        option, type=Path, default=CHECKPOINTS / f"{name}.pth", help=f"the trained model (checkpoints/{name}.pth)"
    )


def training_arguments(parser: cli.ArgumentParser, name: str) -> argparse.Namespace:
    """Adds --checkpoint, --log, --no-curves and --out of train_`name`.py's figures and reads the command line.

    Raises UserError when the log is not there.
    """
    add_checkpoint(parser, name)
    log = Path(f"runs/{name}_seed0/log.jsonl")
    parser.add_argument("--log", type=Path, default=log, help=f"log of its training ({log})")
    parser.add_argument(
        "--curves", action=argparse.BooleanOptionalAction, default=True, help="without, they stay as they are"
    )
    add_out(parser)
    args = parser.parse_args()
    if args.curves and not args.log.exists():
        raise cli.UserError(
            f"{args.log} is not there: train first (python train/train_{name}.py), or give --log or --no-curves"
        )
    return args


TEXT_WIDTH = 6.5  # inches of a report's page between its margins: figures of this width are printed at their own size
PRINT = 200  # dots per inch of such figures


def save(figure: plt.Figure, path: Path, dpi: int = 110) -> None:
    """Writes a figure as PNG, whole or not at all, without the library's version in it; closes it."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=dpi, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    print(path)


def plot_log(axes: plt.Axes, lines: Sequence[dict[str, Any]], key: str, smooth: bool = False, **style: Any) -> None:
    """Plots a column of a log.jsonl over the steps; lines that lack it are left out.

    `smooth`: a moving average over a fiftieth of the lines, in front of the pale column itself.
    """
    some = [line for line in lines if key in line]
    steps, values = [line["step"] for line in some], np.array([line[key] for line in some])
    window = max(1, len(values) // 50) if smooth else 1
    if window > 1:
        raw = axes.plot(steps, values, alpha=0.25, linewidth=0.8, color=style.get("color"))[0]
        style = {"color": raw.get_color()} | style
        steps, values = steps[window - 1 :], np.convolve(values, np.full(window, 1 / window), mode="valid")
    axes.plot(steps, values, **style)


def tidy(*plots: plt.Axes, **legend: Any) -> None:
    """A legend for each plot; `legend`: its options."""
    for axes in plots:
        axes.legend(**legend)


def draw_text(columns: Sequence[str], path: Path) -> None:
    """Columns of text, as print() shows it, side by side in one readable picture."""
    lines = max(column.count("\n") + 1 for column in columns)
    widths = [max(len(line) for line in column.splitlines()) + 3 for column in columns]
    figure = plt.figure(figsize=(sum(widths) * 0.072, lines * 0.15))
    for column, left in zip(columns, np.cumsum([0, *widths[:-1]]), strict=True):
        figure.text(left / sum(widths), 1, column, family="monospace", fontsize=8, va="top")
    save(figure, path)


def draw_faces(
    rows: Sequence[np.ndarray],
    path: Path,
    *,
    row_titles: Sequence[str] = (),
    titles: Sequence[str] = (),
    fontsize: float = 9,
) -> None:
    """Rows of images (N, H, W, 3) uint8 with a title left of each row, and above each image of the first."""
    columns = max(len(row) for row in rows)
    figure, grid = plt.subplots(len(rows), columns, figsize=(columns * 1.05, len(rows) * 1.05), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for index, row in enumerate(rows):
        for axes, picture in zip(grid[index], row, strict=False):
            axes.imshow(picture)
        if row_titles:
            grid[index, 0].text(-0.08, 0.5, row_titles[index], transform=grid[index, 0].transAxes,
                                ha="right", va="center", fontsize=fontsize)  # fmt: skip
    for axes, title in zip(grid[0], titles, strict=False):
        axes.set_title(title, fontsize=fontsize)
    figure.subplots_adjust(wspace=0.04, hspace=0.04)
    save(figure, path)


def draw_strips(rows: Sequence[np.ndarray], path: Path) -> None:
    """Rows of images (N, H, W, 3) uint8, bare, to <name>_strips.png: the page's sliders move over them."""
    save_image(path.with_name(f"{path.stem}_strips.png"), make_grid(np.concatenate(rows), len(rows[0]), padding=0))


def first_of_grid(path: Path, count: int, size: int) -> np.ndarray:
    """The first images (count, size, size, 3) uint8 of a picture by dlcv.images.save_grid, all in its first row."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    return np.stack([pixels[2 : 2 + size, left : left + size] for left in range(2, 2 + count * (size + 2), size + 2)])


def draw_gan_curves(log: Path, path: Path, last: int | None = None, loss: str = "hinge loss") -> None:
    """Losses and the discriminator's accuracies of a GAN's log.jsonl up to step `last`, and their moving averages."""
    lines = [line for line in read_log(log) if "loss_d" in line and (last is None or line["step"] <= last)]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8))
    for axes, key, label in (
        (left, "loss_d", "discriminator"),
        (left, "loss_g", "generator"),
        (right, "accuracy_real", "real judged real"),
        (right, "accuracy_fake", "generated judged generated"),
    ):
        plot_log(axes, lines, key, smooth=True, label=label)
    # The first steps, far from all others, would stretch the axis.
    late = [line[key] for line in lines if line["step"] > lines[-1]["step"] / 50 for key in ("loss_d", "loss_g")]
    margin = 0.05 * (max(late) - min(late))
    left.set(xlabel="step", ylabel=loss, ylim=(min(late) - margin, max(late) + margin))
    right.set(xlabel="step", ylabel="discriminator's accuracy in training", ylim=(0, 1.02))
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(5))
    tidy(left, right, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    save(figure, path)
