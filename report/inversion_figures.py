"""Figures of the inversion experiment: faces beside their reconstructions, curves, metric against metric, edits.

    python report/inversion_figures.py --targets data/inversion/aligned

After experiments/inversion_study.py and experiments/fit_directions.py.
"""

import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    from plotting import FIGURES, PRINT, TEXT_WIDTH, add_out, draw_faces, plot_log, plt, save
    from scipy.stats import rankdata, spearmanr
    from tables import SPACES, inversion_title

    from dlcv.checkpoint import CHECKPOINTS
    from dlcv.data.folders import list_images
    from dlcv.files import read_rows
    from dlcv.images import read_rgb
    from dlcv.inversion import METHODS, METRICS
    from dlcv.models.stylegan2 import StyleGAN2Generator
    from dlcv.sampling import sample_images
    from dlcv.stylegan2_public import load_generator
    from dlcv.trainer import read_log

Targets = Mapping[str, Path]  # name without suffix → file
NAMES = {"l2": "L2 distance", "lpips": "LPIPS", "cosine": "cosine distance"}
PART = 10  # targets in one picture
EDITED = 4  # targets that are edited
EVERY = 5  # every fifth target is in the picture of the face term, so that none is selected
FEATURES = (0.22, 0.31, 0.78, 0.87)  # left, top, right, bottom of eyes and mouth in an aligned face, as shares
FACE_RUNS = {"w+_own": "own loss", "w+_own_mse-for-face": "MSE instead", "w+_own_without-face": "no face term"}
MIXTURES = 9  # columns of the interpolation
MARKERS = {"coarse": "s", "pull": "^", "noise": "D", "tune": "v"}  # of a method
COLOURS = {"z": "C0", "w": "C4", "w+": "C2"}  # of a space in every plot: blue, orange and green of the style


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


def style_of(run: str) -> dict[str, str]:
    """Colour of the space, dashes for MSE; the methods in grey and the proposed one in black."""
    space, *rest = run.split("_")
    if len(rest) > 1:
        return {"color": "0.65", "linestyle": ("-", "--", "-.", ":")[METHODS.index(rest[1])]}
    return {"color": COLOURS.get(space, "black"), "linestyle": "--" if rest == ["mse"] else "-"}


def draw_curves(folder: Path, runs: list[str], path: Path) -> None:
    """Every metric over the iterations, mean over the images, a line for every run."""
    figure, axes = plt.subplots(1, len(METRICS), figsize=(13, 4))
    for run in runs:
        lines = read_log(folder / run / "log.jsonl")
        for axis, metric in zip(axes, METRICS, strict=True):
            plot_log(axis, lines, metric, label=inversion_title(run), **style_of(run))
            axis.set(xlabel="iteration", ylabel=f"{NAMES[metric]}, mean over the targets", yscale="log")
    figure.legend(*axes[0].get_legend_handles_labels(), ncols=6, loc="lower center", fontsize=10)
    figure.subplots_adjust(bottom=0.28, wspace=0.32)
    save(figure, path)


def disagreement(first: np.ndarray, second: np.ndarray) -> int:
    """The position at which the ranks of two metrics are furthest apart."""
    return int(np.abs(rankdata(first) - rankdata(second)).argmax())


def draw_metrics(runs: list[str], values: np.ndarray, path: Path) -> None:
    """Metric against metric, a mark for every run and image: all runs above, those with MSE alone below.

    Above each plot stands Spearman's correlation over its marks.
    """
    figure, grid = plt.subplots(2, 3, figsize=(TEXT_WIDTH, 5))
    chosen = {"all runs": runs, "MSE alone": [run for run in runs if run.endswith("_mse")]}
    for axes, (title, shown) in zip(grid, chosen.items(), strict=True):
        places = [runs.index(run) for run in shown]
        flat = values[places].reshape(-1, len(METRICS))
        for axis, (a, b) in zip(axes, combinations(range(len(METRICS)), 2), strict=True):
            for index, run in zip(places, shown, strict=True):
                colour, method = style_of(run)["color"], run.split("_")[-1]
                inside = "none" if method == "mse" or method in MARKERS else colour
                axis.scatter(values[index, :, a], values[index, :, b], s=12, label=inversion_title(run),
                             marker=MARKERS.get(method, "o"), edgecolors="0.35" if method in MARKERS else colour,
                             facecolors=inside, linewidths=0.7)  # fmt: skip
            axis.set(xlabel=NAMES[METRICS[a]], ylabel=NAMES[METRICS[b]])
            if shown == runs:  # over several decades
                axis.set(xscale="log", yscale="log")
            axis.set_title(f"{title}: {spearmanr(flat[:, a], flat[:, b]).statistic:.2f}")
    figure.tight_layout(rect=(0, 0.13, 1, 1))
    figure.legend(*grid[0, 0].get_legend_handles_labels(), ncols=4, loc="lower center")
    save(figure, path, dpi=PRINT)


def draw_disagreements(
    targets: Targets, folder: Path, runs: list[str], images: list[str], values: np.ndarray, path: Path
) -> None:
    """For each two metrics the reconstruction that one ranks far above the other, beside its target."""
    ranks = rankdata(values.reshape(-1, len(METRICS)), axis=0)
    pairs = list(combinations(range(len(METRICS)), 2))
    figure, grid = plt.subplots(1, 2 * len(pairs), figsize=(13, 3))
    for (a, b), left, right in zip(pairs, grid[::2], grid[1::2], strict=True):
        place = disagreement(ranks[:, a], ranks[:, b])
        which, image = divmod(place, len(images))
        for axis, face in zip((left, right), read_row(targets[images[image]], folder, [runs[which]]), strict=True):
            axis.imshow(face)
        left.set_title(f"target {images[image]}", fontsize=11)
        shown = "\n".join(f"{NAMES[METRICS[m]]}: rank {int(ranks[place, m])}" for m in (a, b))
        right.set_title(f"{inversion_title(runs[which])}\n{shown}", fontsize=11)
    for axis in grid:
        axis.axis("off")
    figure.subplots_adjust(wspace=0.08)
    save(figure, path)


def read_row(target: Path, folder: Path, runs: Sequence[str]) -> np.ndarray:
    """uint8 (1 + runs, H, W, 3): a target in the generator's size, and what each run in `folder` makes of it."""
    return beside(target, [folder / run / "reconstructions" for run in runs])


def beside(target: Path, folders: Sequence[Path]) -> np.ndarray:
    """uint8 (1 + folders, H, W, 3): a target, and the picture of its name in each folder, in whose size it is."""
    made = [read_rgb(folder / f"{target.stem}.png") for folder in folders]
    return np.stack([np.asarray(face) for face in (read_rgb(target, made[0].width), *made)])


def draw_reconstructions(targets: Targets, folder: Path, runs: list[str], images: list[str], path: Path) -> None:
    """A row for each target: the target and what every run makes of it."""
    rows = [read_row(targets[name], folder, runs) for name in images]
    titles = ["target", *(inversion_title(run).replace(", ", "\n") for run in runs)]
    draw_faces(rows, path, row_titles=images, titles=titles, fontsize=15)


def draw_terms(targets: Targets, folder: Path, images: list[str], path: Path) -> None:
    """What the face term does: a row for each target, with the faces on the left and eyes and mouth on the right."""
    titles = ["target", *FACE_RUNS.values()]
    figure, grid = plt.subplots(len(images), 2 * len(titles) + 1, squeeze=False, figsize=(TEXT_WIDTH, 3.3),
                                width_ratios=[*[1] * len(titles), 0.15, *[1] * len(titles)])  # fmt: skip
    for axis in grid.flat:
        axis.axis("off")
    grid = np.delete(grid, len(titles), axis=1)  # the gap between faces and parts
    for axes, name in zip(grid, images, strict=True):
        faces = read_row(targets[name], folder, list(FACE_RUNS))
        left, top, right, bottom = (round(share * faces.shape[1]) for share in FEATURES)
        for axis, face in zip(axes, (*faces, *faces[:, top:bottom, left:right]), strict=True):
            axis.imshow(face, interpolation="bicubic")
        axes[0].text(-0.08, 0.5, name, transform=axes[0].transAxes, ha="right", va="center")
    for axis, title in zip(grid[0], 2 * titles, strict=True):
        axis.set_title(title, fontsize=7.5)
    figure.subplots_adjust(left=0.045, right=1, bottom=0, top=0.95, wspace=0.04, hspace=0.04)
    save(figure, path, dpi=PRINT)


def draw_summary(targets: Targets, folder: Path, runs: Sequence[str], images: list[str], path: Path) -> None:
    """The targets in the first row, and a row below for each of the runs."""
    columns = np.stack([read_row(targets[name], folder, runs) for name in images])
    titles = ["target", *(inversion_title(run) for run in runs)]
    draw_faces(list(columns.swapaxes(0, 1)), path, row_titles=titles, fontsize=13)


def read_latents(folder: Path, run: str) -> dict[str, np.ndarray]:
    """latents.npz of a run: names, latent, w. Raises UserError where it is missing."""
    path = folder / run / "latents.npz"
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in ("names", "latent", "w")}
    except (OSError, ValueError, KeyError) as error:
        raise cli.UserError(f"cannot read {path} ({error}); run: python experiments/inversion_study.py") from None


def draw_edits(targets: Targets, folder: Path, g: StyleGAN2Generator, directions: Path, path: Path) -> None:
    """Targets, their reconstructions (W+, own loss), and these moved along each direction, back and forth."""
    try:
        with np.load(directions, allow_pickle=False) as file:
            attributes, steps = [str(name) for name in file["attributes"]], file["step"] * file["directions"]
    except (OSError, ValueError, KeyError) as error:
        raise cli.UserError(f"cannot read {directions} ({error}); run: python experiments/fit_directions.py") from None
    latents = read_latents(folder, "w+_own")
    moves = [np.zeros_like(steps[0]), *(sign * step for step in steps for sign in (-1, 1))]
    rows = []
    for name, w in list(zip(latents["names"], latents["w"], strict=True))[:EDITED]:
        edited = torch.from_numpy(np.stack([w + move for move in moves])).double()
        target = np.asarray(read_rgb(targets[str(name)], g.size))
        rows.append(np.concatenate([target[None], sample_images(g.synthesise, edited)]))
    words = [f"{sign} {name.replace('_', ' ').lower()}" for name in attributes for sign in ("−", "+")]
    draw_faces(rows, path, titles=["target", "W+, own", *words])


def draw_interpolations(folder: Path, g: StyleGAN2Generator, path: Path) -> None:
    """Between the first two targets, as each space found them with the own loss: linear, a row for each space."""
    shares = torch.linspace(0, 1, MIXTURES, dtype=torch.float64)
    rows = []
    for space in SPACES:
        first, second, *_ = torch.from_numpy(read_latents(folder, f"{space}_own")["latent"]).double()
        mixed = torch.stack([(1 - share) * first + share * second for share in shares])
        paint = g if space == "z" else g.synthesise
        rows.append(sample_images(paint, mixed))
    draw_faces(rows, path, row_titles=list(SPACES.values()), titles=[f"{share:.3g}" for share in shares])


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=Path, required=True, help="folder of the aligned portraits")
    parser.add_argument("--runs", type=Path, default=Path("runs/inversion"), help="folder of the experiment's runs")
    parser.add_argument(
        "--results",
        type=Path,
        default=FIGURES.parents[1] / "docs" / "results" / "inversion.csv",
        help="csv that the experiment wrote",
    )
    parser.add_argument("--generator", type=Path, default=CHECKPOINTS / "stylegan2.pth", help="that was inverted into")
    add_out(parser)
    args = parser.parse_args()
    runs, images, values = read_results(args.results)
    draw_metrics(runs, values, args.out / "inversion_metrics.png")  # first, for it needs no run
    folder = args.runs / "targets"
    targets = {Path(name).stem: args.targets / name for name in list_images(args.targets)}
    g = load_generator(args.generator).double()
    for part, start in enumerate(range(0, len(images), PART), 1):
        name = f"inversion_faces{f'_{part}' if part > 1 else ''}.png"
        draw_reconstructions(targets, folder, runs, images[start : start + PART], args.out / name)
    shown = [run for run in ("z_mse", "w+_mse", "proposed") if run in runs]
    draw_summary(targets, folder, shown, images[:PART], args.out / "inversion_summary.png")
    draw_terms(targets, folder, images[::EVERY], args.out / "inversion_terms.png")
    draw_curves(folder, runs, args.out / "inversion_curves.png")
    draw_disagreements(targets, folder, runs, images, values, args.out / "inversion_disagreements.png")
    draw_edits(targets, folder, g, args.runs / "directions.npz", args.out / "inversion_edits.png")
    draw_interpolations(folder, g, args.out / "inversion_interpolations.png")


if __name__ == "__main__":
    cli.run(main, "inversion_figures.py")
