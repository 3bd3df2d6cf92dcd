"""Problem 3's and 4's figures: t-SNE, training curves, confusion matrices, worst images.

    python report/digit_figures.py dann --evaluate    # first: reads the test sets into runs/figures_dann
    python report/digit_figures.py dann               # draws report/figures/dann_*.png from what was kept
    python report/digit_figures.py uda                # likewise the improved method's

Seed 0 of each pair, fixed beforehand: the study's runs, or the published checkpoints where there is no study. The
curves are drawn only where the study's logs are there.
"""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    from answers import add_arguments, kept_result, look
    from plotting import FIGURES, PRINT, TEXT_WIDTH, plot_log, plt, save, tidy
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from sklearn.metrics import confusion_matrix

    from dlcv.checkpoint import CHECKPOINTS, read_checkpoint
    from dlcv.data.digits import PAIRS, read_images, split_folder
    from dlcv.trainer import read_log

NAMES = {"usps": "USPS", "mnistm": "MNIST-M", "svhn": "SVHN (part)"}
TITLES = {"dann": "DANN", "uda": "Improved"}
PROBLEMS = {"dann": 3, "uda": 4}
TRAIN_IMAGES = 3_000  # of target train, in the curves of the sure
POINTS = 1_000  # test images of each domain in a t-SNE figure


def evaluate(method: str, study: Path, kept: Path, data: Path | None, ledger: Path) -> None:
    """Reads both test sets; for the improved method target train, too, with every snapshot."""
    purpose = f"figures of problem {PROBLEMS[method]}: t-SNE, confusion, worst images"
    for source, target in PAIRS:
        run = study / f"{source}_{target}_{method}_seed0"
        published = Path(os.path.relpath(CHECKPOINTS / f"{method}_{source}_{target}.pth"))  # as the ledger has it
        model = run / "model.pth" if study.is_dir() else published
        for domain, statistics in ((source, "source"), (target, "target")):
            flags = ["--domain", domain, "--statistics", statistics, "--purpose", purpose, "--ledger", str(ledger)]
            look([model], kept / f"{source}_{target}_{statistics}.npz", data, *flags)
        for snapshot in sorted(run.glob("snapshots/*.pth")) if method == "uda" else []:
            flags = ["--domain", target, "--split", "train", "--limit", str(TRAIN_IMAGES)]
            flags += ["--purpose", "figures of problem 4: precision of the sure", "--ledger", str(ledger)]
            look([snapshot], kept / f"{source}_{target}_{snapshot.stem}.npz", data, *flags)


def draw_tsne(method: str, source: str, target: str, kept: Path) -> None:
    parts = [kept_result(kept / f"{source}_{target}_{statistics}.npz") for statistics in ("source", "target")]
    rows = [np.random.RandomState(0).permutation(len(part["labels"]))[:POINTS] for part in parts]
    features = np.concatenate([part["features"][row] for part, row in zip(parts, rows, strict=True)])
    labels = np.concatenate([part["labels"][row] for part, row in zip(parts, rows, strict=True)])
    is_target = np.repeat([False, True], [len(row) for row in rows])
    points = TSNE(random_state=0, init="pca", perplexity=30).fit_transform(
        PCA(50, random_state=0).fit_transform(features)
    )
    figure, (left, right) = plt.subplots(1, 2, figsize=(TEXT_WIDTH, 3.6), layout="constrained")
    digits, domains = np.array(plt.get_cmap("tab10").colors), np.array(["tab:blue", "tab:red"])
    marks = {NAMES[source]: {"marker": "o", "s": 10, "linewidths": 0}, NAMES[target]: {"marker": "x", "s": 11}}
    for mark, mine in zip(marks.values(), (~is_target, is_target), strict=True):
        left.scatter(*points[mine].T, c=digits[labels[mine]], **{"linewidths": 0.8} | mark)
    for digit, colour in enumerate(digits):
        left.scatter([], [], s=30, color=colour, label=str(digit))
    for name, mark in marks.items():
        left.scatter([], [], color="black", label=name, **mark | {"s": 22})
    order = np.random.RandomState(0).permutation(len(points))  # so that no domain covers the other
    right.scatter(*points[order].T, s=8, c=domains[is_target[order].astype(int)], alpha=0.8, linewidths=0)
    for colour, name in zip(domains, marks, strict=True):
        right.scatter([], [], s=30, color=colour, label=name)
    for axes, title in ((left, "(a) digit class"), (right, "(b) domain")):
        axes.set(title=title, xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=6, handletextpad=0.1, columnspacing=0.9)
    save(figure, FIGURES / f"{method}_tsne_{source}_{target}.png", dpi=PRINT)


def draw_dann_curves(source: str, target: str, study: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8))
    for mode, style in (("source", "--"), ("dann", "-")):
        lines = read_log(study / f"{source}_{target}_{mode}_seed0" / "log.jsonl")
        name = "DANN" if mode == "dann" else "strength 0"
        for axes, key, colour, what in (
            (left, "loss_label", "tab:blue", "label loss"),
            (left, "loss_domain", "tab:red", "domain loss"),
            (right, "accuracy_label", "tab:blue", "label classifier, source"),
            (right, "accuracy_domain", "tab:red", "domain classifier"),
        ):
            plot_log(axes, lines, key, linestyle=style, color=colour, label=f"{what}, {name}", linewidth=1.2)
    left.axhline(np.log(2), color="grey", linewidth=0.8, linestyle=":")
    left.annotate("ln 2: the loss of a coin", (0.6, np.log(2)), (0, 30), ("axes fraction", "data"),
                  textcoords="offset points", ha="right", fontsize=8, color="grey")  # fmt: skip
    left.set(xlabel="step", ylabel="loss on training batches (nats)", ylim=(0, 1.5))
    right.set(xlabel="step", ylabel="accuracy on training batches", ylim=(0.4, 1.02))
    right.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    tidy(left, right, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
    figure.suptitle(f"{NAMES[source]} → {NAMES[target]}, seed 0", y=0.97)
    save(figure, FIGURES / f"dann_curves_{source}_{target}.png")


def draw_uda_curves(source: str, target: str, study: Path, kept: Path) -> None:
    """Losses; the share of target images that the teacher is sure of, and how many of those are right."""
    run = study / f"{source}_{target}_uda_seed0"
    lines = read_log(run / "log.jsonl")
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8))
    plot_log(left, lines, "loss_label", label="source, with labels", linewidth=1.2)
    plot_log(left, lines, "loss_target", label="target (unsure images count as 0)", linewidth=1.2)
    left.set(xlabel="step", ylabel="loss on training batches (nats)", ylim=(0, 1.5))
    threshold = read_checkpoint(run / "model.pth")["provenance"]["recipe"]["threshold"]
    when, share, precision, accuracy = [], [], [], []
    for snapshot in sorted(run.glob("snapshots/*.pth")):
        result = kept_result(kept / f"{source}_{target}_{snapshot.stem}.npz")
        right_ones, sure = result["predictions"] == result["labels"], confidence_of(result["logits"]) >= threshold
        when.append(int(snapshot.stem.removeprefix("step_")))
        share.append(sure.mean())
        precision.append(right_ones[sure].mean() if sure.any() else np.nan)
        accuracy.append(right_ones.mean())
    for values, label in (
        (share, f"share of {TRAIN_IMAGES} target-train images at {threshold} or surer"),
        (precision, "… right among those (by labels that training never saw)"),
        (accuracy, "right among all target-train images (likewise)"),
    ):
        right.plot(when, values, "o-", markersize=3, linewidth=1.2, label=label)
    label = "share of training batches' images that taught (teacher in training, aligned)"
    plot_log(right, lines, "sure", color="grey", linewidth=0.8, label=label)
    right.set(xlabel="step", ylabel="share", ylim=(None, 1.01))
    tidy(left, right, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    figure.suptitle(f"Improved {NAMES[source]} → {NAMES[target]}, seed 0", y=0.97)
    save(figure, FIGURES / f"uda_curves_{source}_{target}.png")


def confidence_of(logits: np.ndarray) -> np.ndarray:
    """Logits (N, 10) -> largest probability (N,)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return shifted.max(1) / shifted.sum(1)


def draw_errors(method: str, source: str, target: str, kept: Path, data: Path | None) -> None:
    result = kept_result(kept / f"{source}_{target}_target.npz")
    labels, predictions = result["labels"], result["predictions"]
    matrix = confusion_matrix(labels, predictions, labels=range(10), normalize="true")
    figure, axes = plt.subplots(figsize=(TEXT_WIDTH / 2, TEXT_WIDTH / 2), layout="constrained")
    axes.pcolormesh(np.arange(11) - 0.5, np.arange(11) - 0.5, matrix, cmap="Blues", vmin=0, vmax=1)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    for row, column in np.ndindex(10, 10):
        percent = int(np.floor(100 * matrix[row, column] + 0.5))  # half a percent counts as one
        if percent:
            colour = "white" if matrix[row, column] > 0.5 else "black"
            axes.text(column, row, str(percent), ha="center", va="center", color=colour, fontsize=8)
    accuracy = 100 * np.mean(labels == predictions)
    axes.set(
        xticks=range(10),
        yticks=range(10),
        xlabel="predicted",
        ylabel="true",
        title=f"{NAMES[source]} → {NAMES[target]}: {accuracy:.1f} % of {len(labels)}",
    )
    save(figure, FIGURES / f"{method}_confusion_{source}_{target}.png", dpi=PRINT)

    confidence = confidence_of(result["logits"])
    wrong = np.flatnonzero(predictions != labels)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:20]
    pictures = read_images(split_folder(data, target, "test"), [str(name) for name in result["names"][worst]])
    figure, grid = plt.subplots(2, 10, figsize=(TEXT_WIDTH, 2.2), layout="constrained")
    for axes in grid.flat:
        axes.axis("off")
    for axes, index, picture in zip(grid.flat, worst, pictures, strict=False):
        axes.imshow(picture.permute(1, 2, 0).numpy())
        axes.set_title(f"{labels[index]} as {predictions[index]}\n{100 * confidence[index]:.1f} %", fontsize=8)
    save(figure, FIGURES / f"{method}_worst_{source}_{target}.png", dpi=PRINT)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument(
        "method", choices=("dann", "uda"), help="dann: problem 3's figures; uda: those of the improved method"
    )
    add_arguments(parser)
    parser.add_argument(
        "--study", type=Path,
        help="folder of the runs (default runs/study_METHOD); without one, the published checkpoints and no curves",
    )  # fmt: skip
    parser.add_argument("--kept", type=Path, help="what was read, for drawing (default runs/figures_METHOD)")
    parser.add_argument("--data", type=Path, help="folder of the digits (default: hw3_data or data/hw3_data)")
    args = parser.parse_args()
    study = args.study or Path("runs") / f"study_{args.method}"
    kept = args.kept or Path("runs") / f"figures_{args.method}"
    if args.evaluate:
        evaluate(args.method, study, kept, args.data, args.ledger)
    for source, target in PAIRS:
        draw_tsne(args.method, source, target, kept)
        if not study.is_dir():
            print(f"{study} is not there: the curves stay as they are")
        elif args.method == "dann":
            draw_dann_curves(source, target, study)
        else:
            draw_uda_curves(source, target, study, kept)
        draw_errors(args.method, source, target, kept, args.data)


if __name__ == "__main__":
    cli.run(main, "digit_figures.py")
