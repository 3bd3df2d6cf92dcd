"""Figures of the inversion experiment: faces beside their reconstructions, curves, metric against metric.

    python report/inversion_figures.py --targets data/inversion/aligned        # after experiments/inversion_study.py

The faces and their reconstructions are pictures of people and stay out of the repository where their licence says so.
"""

import sys
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    from plotting import FIGURES, draw_faces, plot_log, plt, save
    from scipy.stats import rankdata, spearmanr

    from dlcv.data.folders import list_images
    from dlcv.files import read_rows
    from dlcv.images import read_rgb
    from dlcv.inversion import METRICS
    from dlcv.trainer import read_log

NAMES = {"l2": "L2 distance", "lpips": "LPIPS", "cosine": "cosine distance"}


def read_results(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Runs (in their order), image names, and the metrics (runs, images, 3) of docs/results/inversion.csv.

    Raises UserError where it is missing or some image of some run is not in it.
    """
    try:
        lines = {(row["run"], row["image_name"]): row for row in read_rows(path)}
        rows = {key: [float(row[metric]) for metric in METRICS] for key, row in lines.items()}
        runs, images = (list(dict.fromkeys(key[i] for key in rows)) for i in (0, 1))
        return runs, images, np.array([[rows[run, image] for image in images] for run in runs])
    except (OSError, KeyError, ValueError) as error:
        raise cli.UserError(f"{path} is not whole ({error}); run: python experiments/inversion_study.py") from None


def draw_curves(folder: Path, runs: list[str], path: Path) -> None:
    """Every metric over the iterations, mean over the images, a line for every run."""
    figure, axes = plt.subplots(1, len(METRICS), figsize=(13, 3.8))
    for run in runs:
        lines = read_log(folder / run / "log.jsonl")
        for axis, metric in zip(axes, METRICS, strict=True):
            plot_log(axis, lines, metric, label=run)
            axis.set(xlabel="iteration", ylabel=NAMES[metric], yscale="log")
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, ncols=6, loc="lower center", fontsize=8)
    figure.subplots_adjust(bottom=0.32, wspace=0.3)
    save(figure, path)


def disagreement(first: np.ndarray, second: np.ndarray) -> int:
    """The position at which the ranks of two metrics are furthest apart."""
    return int(np.abs(rankdata(first) - rankdata(second)).argmax())


def draw_metrics(runs: list[str], images: list[str], values: np.ndarray, path: Path) -> None:
    """Metric against metric, a dot for every run and image; Spearman's correlation, and the dot that differs most."""
    flat = values.reshape(-1, len(METRICS))
    figure, axes = plt.subplots(1, 3, figsize=(13, 4))
    for axis, (a, b) in zip(axes, combinations(range(len(METRICS)), 2), strict=True):
        for index, run in enumerate(runs):
            axis.scatter(values[index, :, a], values[index, :, b], s=9, label=run)
        worst = disagreement(flat[:, a], flat[:, b])
        which, image = divmod(worst, len(images))
        axis.annotate(f"{images[image]}, {runs[which]}", (flat[worst, a], flat[worst, b]), fontsize=8)
        correlation = spearmanr(flat[:, a], flat[:, b]).statistic
        axis.set(xlabel=NAMES[METRICS[a]], ylabel=NAMES[METRICS[b]], title=f"Spearman {correlation:.2f}", xscale="log")
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, ncols=6, loc="lower center", fontsize=8)
    figure.subplots_adjust(bottom=0.28, wspace=0.3)
    save(figure, path)


def draw_reconstructions(targets: Path, folder: Path, runs: list[str], images: list[str], path: Path) -> None:
    """The targets in the first row, below them a row for every run."""
    files = {Path(name).stem: name for name in list_images(targets)}
    made = [[read_rgb(folder / run / "reconstructions" / f"{name}.png") for name in images] for run in runs]
    rows = [[read_rgb(targets / files[name], made[0][0].width) for name in images], *made]
    draw_faces([np.stack([np.asarray(face) for face in row]) for row in rows], path, row_titles=["target", *runs])


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=Path, required=True, help="folder of the aligned portraits")
    parser.add_argument("--runs", type=Path, default=Path("runs/inversion"), help="folder of the experiment's runs")
    parser.add_argument("--results", type=Path, default=FIGURES.parents[1] / "docs" / "results" / "inversion.csv")
    parser.add_argument("--out", type=Path, default=FIGURES)
    args = parser.parse_args()
    runs, images, values = read_results(args.results)
    folder = args.runs / "targets"
    draw_reconstructions(args.targets, folder, runs, images, args.out / "inversion_faces.png")
    draw_curves(folder, runs, args.out / "inversion_curves.png")
    draw_metrics(runs, images, values, args.out / "inversion_metrics.png")


if __name__ == "__main__":
    cli.run(main, "inversion_figures.py")
