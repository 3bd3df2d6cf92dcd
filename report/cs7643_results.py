"""CS7643 assignment 2, part 2: the course's networks and our own; losses for the long-tailed CIFAR-10.

    python report/cs7643_results.py --evaluate     # reads the test set through dlcv.evaluate, once a run
    python report/cs7643_results.py --confusions   # what the long tail's networks take for what, no test image is read
    python report/cs7643_results.py                # writes docs/models/cs7643.md, report/figures/cs7643_*.png

Runs: those of experiments/study_photos.py cs7643, choices, gamma and longtail; of those that are not below --runs any
more, what docs/results/cs7643_runs.csv and cs7643_gammas.csv have. Curves and the table of choices are written where
their runs are there.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    from answers import add_arguments, kept_result, look
    from plotting import PRINT, TEXT_WIDTH, add_out, plt, save, tidy
    from scipy.stats import ttest_1samp
    from tables import fill, markdown, mean_std, plus_minus, record

    from dlcv.checkpoint import digest_of
    from dlcv.cs7643.part2.losses import reweight
    from dlcv.cs7643.part2.models import MyModel
    from dlcv.cs7643.part2.solver import Solver
    from dlcv.cs7643.recipes import Recipe
    from dlcv.data.arrays import read_arrays
    from dlcv.evaluate import LEDGER
    from dlcv.files import read_rows, write_rows
    from dlcv.trainer import read_log

DOCS = Path(__file__).resolve().parents[1] / "docs"
CHECKPOINTS = Path(__file__).resolve().parents[1] / "src" / "dlcv" / "cs7643" / "part2" / "checkpoints"
FILES = {"twolayer": "twolayernet.pth", "vanilla_cnn": "vanillacnn.pth", "mymodel": "mymodel.pth"}
NETWORKS = {
    "twolayer": "two-layer network",
    "vanilla_cnn": "vanilla CNN",
    "mymodel": "own model",
    "twolayer_course": "two-layer network, unmodified configuration",
    "vanilla_cnn_course": "vanilla CNN, unmodified configuration",
}
LOSSES = {
    "ce": "cross entropy",
    "cb_ce": "class-balanced cross entropy",
    "focal": "focal loss",
    "cb_focal": "class-balanced focal loss",
}
COLOURS = {"ce": "#0072B2", "cb_ce": "#56B4E9", "focal": "#B24400", "cb_focal": "#F0A030"}  # light: balanced
ABLATIONS = DOCS / "results" / "my_model_ablations.csv"
PARTS = (slice(5), slice(5, 10))  # the larger and the smaller half of the classes
HALVES = ("five largest classes, %", "five smallest, %")
WHOLE = {  # run → title of the own network's whole trainings
    "cifar_mymodel_seed0_first": "earlier",
    "cifar_mymodel_seed0": "handed in",
}
PAPERS_GAIN = 4.2  # points: Cui et al. 2019, table 2
PAPERS = "the paper (sigmoids, 200 epochs): class-balanced focal loss minus cross entropy"
BETAS = (0.9, 0.99, 0.999, 0.9999)  # of the table of weights
BALANCED = {
    "0.0": LOSSES["cb_ce"],
    "1.0": LOSSES["cb_focal"],
}  # gamma → loss: whose errors are counted, whose curves are drawn
SEEDS = 3  # of each loss, before the long tail counts as done
CLASSES = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def collect(runs: list[Path], kept: Path) -> list[dict[str, Any]]:
    """What is known of every run; also to docs/results/cs7643_runs.csv, which stands in for runs that are not here."""
    measured = []
    for run in runs:
        provenance = json.loads((run / "model.json").read_text(encoding="utf-8"))
        result = kept_result(kept / f"{run.name}.npz")
        right, labels = result["predictions"][0] == result["labels"], result["labels"]
        validation = provenance["metrics"].get("validation_accuracy", "")
        measured.append(
            {
                "run": run.name,
                "seed": provenance["recipe"]["seed"],
                "commit": provenance["commit"],
                "parameters": provenance["parameters"],
                "epochs": provenance["recipe"]["epochs"],
                "epoch": provenance["epoch"],
                "training_images": " ".join(map(str, provenance["data"]["training"])),  # of each class
                "validation_accuracy": validation and f"{validation:.4f}",
                "test_accuracy": f"{right.mean():.4f}",
                **{name: f"{right[labels == c].mean():.4f}" for c, name in enumerate(CLASSES)},
            }
        )
    lines: list[dict[str, Any]] = [*record(DOCS / "results" / "cs7643_runs.csv", measured)]
    for line in lines:
        for name in ("seed", "parameters", "epochs"):
            line[name] = int(line[name])
        line["accuracy"] = float(line["test_accuracy"])
        line["each"] = [float(line[name]) for name in CLASSES]
        line["training"] = [int(count) for count in line["training_images"].split()]
    return lines


def cell(values: list[float] | np.ndarray, sign: str = "") -> str:
    """Percent: mean ± std (n = …)."""
    return mean_std(100 * np.array(values), 1, sign, n=True)


def network_table(results: list[dict[str, Any]]) -> str:
    rows = []
    ledger = (read for read in read_rows(LEDGER) if (read["domain"], read["split"]) == ("cifar10", "test"))
    reads = {(read["sha256"], read["statistics"]): read["accuracy"] for read in ledger}
    for name, file in FILES.items():
        title, digest = NETWORKS[name], digest_of(CHECKPOINTS / file)
        runs = [line for line in results if line["run"] == f"cifar_{name}_seed0"]
        for statistics, suffix in (("", ""), ("batch", ", left in training mode")):
            if runs and (digest, statistics) in reads:
                counts = f"{runs[0]['parameters']:,}", runs[0]["epochs"]
                accuracy = f"{100 * float(reads[digest, statistics]):.1f}"
                rows.append((f"submitted {title} ({file}){suffix}", *counts, accuracy))
    for name, title in NETWORKS.items():
        runs = [line for line in results if line["run"].startswith(f"cifar_{name}_seed")]
        if runs:
            counts = f"{runs[0]['parameters']:,}", runs[0]["epochs"]
            rows.append((title, *counts, cell([line["accuracy"] for line in runs])))
    return markdown(("", "parameters", "epochs", "test accuracy, %"), rows)


def own_table() -> str:
    """The own network's layers, for an image of CIFAR-10."""
    model, x, rows = MyModel().eval(), torch.zeros(1, 3, 32, 32), []

    def add(name: str, x: torch.Tensor, *parts: torch.nn.Module) -> torch.Tensor:
        parameters = sum(p.numel() for part in parts for p in part.parameters())
        rows.append((name, " x ".join(str(n) for n in x.shape[1:]), f"{parameters:,}"))
        return x

    with torch.inference_mode():
        x = model.stem(x)
        x = add(f"mirrored 3x3 convolution 3 → {x.shape[1]}, batch norm, ReLU", model.norm(x), model.stem, model.norm)
        for number, stage in enumerate(model.stages, start=1):
            inputs, x = x.shape[1], stage(x)
            first = f"mirrored 3x3 convolution {inputs} → {x.shape[1]}, 2x2 maximum pooling, batch norm, ReLU"
            rest = f"added to it: mirrored 3x3 convolution {x.shape[1]} → {x.shape[1]}, batch norm, ReLU"
            add(f"stage {number}: {first}; {rest}", x, stage)
        last = f"maximum over the map, sum of both halves, linear {model.fc.in_features} → 10, divided by 9"
        add(last, model(torch.zeros(1, 3, 32, 32)), model.fc)
    rows.append(("in all", "", f"{sum(p.numel() for p in model.parameters()):,}"))
    return markdown(("layers", "output", "parameters"), rows)


def ablation_table() -> str:
    """The own network with one thing changed: experiments/ablate_my_model.py. Validation images, short trainings."""
    rows = read_rows(ABLATIONS)
    columns = ("validation_accuracy", "in_training_mode")
    of = {row["variant"]: [other for other in rows if other["variant"] == row["variant"]] for row in rows}
    whole = {row["seed"]: row for row in rows if row["variant"] == "whole network"}
    lines = []
    for variant, runs in of.items():
        cells = [cell([float(row[column]) for row in runs]) for column in columns]
        gains = [float(row[columns[0]]) - float(whole[row["seed"]][columns[0]]) for row in runs]
        seconds = f"{np.mean([float(row['seconds']) for row in runs]):.0f}"
        lines.append((variant, *cells, "" if runs[0] in whole.values() else cell(gains, "+"), seconds))
        if runs[0] in whole.values():  # what the variants with one seed are compared with
            first = [cell([float(whole["0"][column])]) for column in columns]
            lines.append((f"{variant}, seed 0 alone", *first, "", f"{float(whole['0']['seconds']):.0f}"))
    titles = ("validation accuracy, %", "in training mode, %", "minus whole network, points", "seconds of one core")
    return markdown(("", *titles), lines)


def long_tail_table(results: list[dict[str, Any]]) -> str:
    """Each loss; its gain over cross entropy paired by seed; the five largest and the five smallest classes."""
    rows = []
    cross_entropy = seeds_of("ce", results)
    for loss, title in LOSSES.items():
        by_seed = seeds_of(loss, results)
        if not by_seed:
            continue
        accuracies = [line["accuracy"] for line in by_seed.values()]
        pairs = [(line, cross_entropy[seed]) for seed, line in by_seed.items() if seed in cross_entropy]
        gain = cell([a["accuracy"] - b["accuracy"] for a, b in pairs], "+") if pairs and loss != "ce" else ""
        large, small = ([float(np.mean(line["each"][part])) for line in by_seed.values()] for part in PARTS)
        rows.append((title, cell(accuracies), gain, cell(large), cell(small)))
    return markdown(("", "test accuracy, %", "minus cross entropy, points", *HALVES), rows)


def class_table(results: list[dict[str, Any]]) -> str:
    """Test accuracy of each class on the long tail, mean over the seeds; beside it its training images."""
    present = [loss for loss in LOSSES if seeds_of(loss, results)]
    if not present:
        return ""
    rows = []
    for c, name in enumerate(CLASSES):
        runs = [list(seeds_of(loss, results).values()) for loss in present]
        cells = [f"{100 * np.mean([line['each'][c] for line in lines]):.1f}" for lines in runs]
        rows.append((name, f"{runs[0][0]['training'][c]:,}", *cells))
    return markdown(("class", "training images", *(LOSSES[loss] for loss in present)), rows)


def pair_table(results: list[dict[str, Any]]) -> str:
    """Differences of two losses seed by seed, with a paired t-test; beside them the paper's gain at 200 epochs.

    The last column corrects for the number of tests in the table (Bonferroni).
    """
    pairs = (("cb_focal", "ce"), ("cb_ce", "ce"), ("focal", "ce"), ("cb_ce", "cb_focal"))
    runs = {loss: seeds_of(loss, results) for loss in LOSSES}
    seeds = sorted(runs["ce"].keys() & runs["cb_focal"].keys())
    rows = []
    for one, other in pairs:
        if not seeds or not set(seeds) <= runs[one].keys() & runs[other].keys():
            continue
        gains = np.array([100 * (runs[one][seed]["accuracy"] - runs[other][seed]["accuracy"]) for seed in seeds])
        p = float(ttest_1samp(gains, 0).pvalue) if len(seeds) > 1 and np.ptp(gains) > 0 else None
        name = f"{LOSSES[one]} minus {LOSSES[other]}"
        rows.append(([name, *(f"{x:+.1f}" for x in gains), cell(gains / 100, "+")], p))
    if not rows:
        return ""
    tests = sum(p is not None for _, p in rows)
    lines = [[*cells, *("" if p is None else f"{x:.2g}" for x in (p, min(1.0, tests * (p or 0))))] for cells, p in rows]
    lines.append([PAPERS, *("" for _ in seeds), f"{PAPERS_GAIN:+.1f}", "", ""])
    titles = (*(f"seed {seed}" for seed in seeds), "mean", "p, paired t-test", f"p, corrected for {tests} tests")
    return markdown(("points", *titles), lines)


def seeds_of(loss: str, results: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Seed → the run of the long-tailed study with that loss."""
    runs = [line for line in results if line["run"].startswith(f"cifar_longtail_{loss}_seed")]
    return {line["seed"]: line for line in runs}


def validated(run: Path) -> list[float]:
    """Accuracy on validation images after the last epoch: of all, of the five largest classes, of the five smallest."""
    last = next(line for line in reversed(read_log(run / "log.jsonl")) if "validation_accuracy" in line)
    each = [last[f"validation_class_{c}"] for c in range(10)]
    return [last["validation_accuracy"], *(float(np.mean(each[part])) for part in PARTS)]


def choice_table(runs: Path) -> str:
    """What was chosen on validation images, one seed, after the last epoch: learning rates, beta of the weights."""
    lines = []
    for path in runs.glob("cifar_choice_*/model.json"):
        recipe = json.loads(path.read_text(encoding="utf-8"))["recipe"]
        loss = LOSSES["ce"] if recipe["loss_type"] == "CE" else LOSSES["cb_focal"]
        values = validated(path.parent)
        lines.append((recipe["loss_type"], recipe["learning_rate"], recipe["beta"], loss, recipe["validation"], values))
    counts = ", ".join(f"{n:,}" for n in sorted({line[4] for line in lines})) or "no"
    rows = []
    for kind, rate, beta, loss, count, values in sorted(lines):
        error = 100 * (values[0] * (1 - values[0]) / count) ** 0.5
        cells = [plus_minus(100 * value, std, 1) for value, std in zip(values, (error, None, None), strict=True)]
        rows.append((loss, rate, beta if kind == "Focal" else "", *cells))
    columns = (f"loss (n = 1, {counts} validation images)", "learning rate", "beta", "validation accuracy, %", *HALVES)
    return markdown(columns, rows)


def gamma_table(runs: Path) -> str:
    """The class-balanced focal loss by gamma, on validation images after the last epoch; csv as in `collect`."""
    measured = []
    for path in sorted(runs.glob("cifar_gamma_*_seed*/model.json")):
        provenance = json.loads(path.read_text(encoding="utf-8"))
        accuracy, largest, smallest = validated(path.parent)
        measured.append(
            {
                "run": path.parent.name,
                **{
                    name: provenance["recipe"][name]
                    for name in ("gamma", "beta", "learning_rate", "seed", "validation")
                },
                "commit": provenance["commit"],
                "validation_accuracy": f"{accuracy:.4f}",
                "largest": f"{largest:.4f}",
                "smallest": f"{smallest:.4f}",
            }
        )
    lines = record(DOCS / "results" / "cs7643_gammas.csv", measured)
    rows = []
    for gamma in sorted({line["gamma"] for line in lines}, key=float):
        of_gamma = [line for line in lines if line["gamma"] == gamma]
        columns = ("validation_accuracy", "largest", "smallest")
        rows.append((gamma, *(cell([float(line[name]) for line in of_gamma]) for name in columns)))
    return markdown(("gamma", "validation accuracy, %", *HALVES), rows)


def whole_table(runs: Path) -> str:
    """The own network's whole trainings, seed 0: the one handed in and the one before it; csv as in `collect`."""
    measured = []
    for path in sorted(runs.glob("cifar_mymodel_seed0*/model.json")):
        provenance = json.loads(path.read_text(encoding="utf-8"))
        if path.parent.name in WHOLE and "validation_accuracy" in provenance["metrics"]:
            recipe = provenance["recipe"]
            log = read_log(path.with_name("log.jsonl"))
            end = log[-1]["step"] * (1 - 1 / recipe["epochs"])  # the last epoch's beginning
            batches = [line["accuracy"] for line in log if "accuracy" in line and line["step"] > end]
            measured.append(
                {
                    "run": path.parent.name, "commit": provenance["commit"], "epochs": recipe["epochs"],
                    "patch": recipe.get("patch", 0), "training": sum(provenance["data"]["training"]),
                    "validation": recipe["validation"], "batch_accuracy": f"{np.mean(batches):.4f}",
                    "validation_accuracy": f"{provenance['metrics']['validation_accuracy']:.4f}",
                }
            )  # fmt: skip
    kept = {line["run"]: line for line in record(DOCS / "results" / "cs7643_whole_trainings.csv", measured)}
    rows = []
    for name, title in WHOLE.items():
        if name in kept:
            line, share = kept[name], float(kept[name]["validation_accuracy"])
            counts = (f"{int(line[column]):,}" for column in ("training", "validation"))
            error = 100 * (share * (1 - share) / int(line["validation"])) ** 0.5
            squares = f"{line['patch']} pixels" if line["patch"] != "0" else "none"
            learned = f"{100 * float(line['batch_accuracy']):.1f}"
            rows.append((title, line["epochs"], squares, *counts, learned, plus_minus(100 * share, error, 1)))
    columns = ["training", "epochs", "squares", "training images", "validation images", "batches of the last epoch, %"]
    return markdown([*columns, "validation accuracy ± standard error, %"], rows)


def weight_table(results: list[dict[str, Any]]) -> str:
    """By beta, the weight of each class of the long tail, as the loss has it; their mean over the training images; and
    the number of images of equal weight whose mean has the variance of a batch's (Kish's effective sample size)."""
    counts = next((torch.tensor(line["training"]) for line in seeds_of("ce", results).values()), None)
    if counts is None:
        return ""
    rows = []
    for beta in BETAS:
        weights = reweight(counts, beta=beta)
        total, squares = float((counts * weights).sum()), float((counts * weights**2).sum())
        mean, share = total / int(counts.sum()), total**2 / squares / int(counts.sum())
        rows.append((f"{beta:g}", *(f"{w:.2f}" for w in weights), f"{mean:.2f}", f"{share * Recipe().batch_size:.0f}"))
    titles = (*CLASSES, "mean over the images", f"images of equal weight in a batch of {Recipe().batch_size}")
    return markdown(("beta", *titles), rows)


def count_confusions(runs: Path, data: Path | None) -> None:
    """To docs/results/cs7643_confusions.csv: what the class-balanced losses' networks take images of each class for,
    of the training images, unchanged, and of the held-out validation images."""
    images, labels = read_arrays(data, "cifar10", "train")
    lines = []
    for gamma, loss in BALANCED.items():
        run = runs / f"cifar_gamma_{gamma}_seed0"
        if not (run / "model.pth").is_file():
            raise cli.UserError(f"{run / 'model.pth'} is not there: python experiments/study_photos.py gamma")
        recipe = Recipe(**json.loads((run / "model.json").read_text(encoding="utf-8"))["recipe"])
        solver = Solver(images=images.permute(0, 2, 3, 1), labels=labels.numpy(), **recipe.solver_arguments())
        solver.model.load_state_dict(torch.load(run / "model.pth", weights_only=True))
        sets = {"validation": (solver.val_images, solver.val_labels)}
        sets["training"] = (solver.train_images, solver.train_labels)
        for name, (solver.val_images, solver.val_labels) in sets.items():
            counts = torch.bincount(solver.val_labels, minlength=10)
            matrix = solver._evaluate(0)[1] * counts[:, None]
            for c, row in enumerate(matrix.round().int().tolist()):
                shown = dict(zip(CLASSES, row, strict=True))
                lines.append({"run": run.name, "loss": loss, "images": name, "class": CLASSES[c]} | shown)
            print(f"{run.name}, {name} images: {100 * float(matrix.diag().sum() / counts.sum()):.1f} %", flush=True)
    write_rows(DOCS / "results" / "cs7643_confusions.csv", lines)


def error_table() -> str:
    """Class by class, for the class-balanced losses: share of training and of validation images that is right, and of
    the validation images that is taken for a class with more training images, or for one with fewer."""
    path = DOCS / "results" / "cs7643_confusions.csv"
    if not path.exists():
        return ""
    answers = {
        (row["loss"], row["images"], row["class"]): [int(row[name]) for name in CLASSES] for row in read_rows(path)
    }
    rows = []
    for c, name in enumerate(CLASSES):
        cells = [name, f"{sum(answers[LOSSES['cb_ce'], 'training', name]):,}"]
        for loss in BALANCED.values():
            training, validation = answers[loss, "training", name], answers[loss, "validation", name]
            cells.append(f"{100 * training[c] / sum(training):.1f}")
            for part in (validation[c], sum(validation[:c]), sum(validation[c + 1 :])):
                cells.append(f"{100 * part / sum(validation):.1f}")
        rows.append(cells)
    parts = ("training", "validation", "to larger", "to smaller")
    return markdown(("class", "images", *(f"{loss}: {part}" for loss in BALANCED.values() for part in parts)), rows)


def draw_long_tail_curves(runs: Path, path: Path) -> None:
    """The class-balanced losses' accuracy by epoch: on batches of the long tail, and on balanced validation images."""
    figure, grid = plt.subplots(1, len(BALANCED), figsize=(TEXT_WIDTH, 2.6), layout="constrained", sharey=True)
    for axes, (gamma, loss) in zip(grid, BALANCED.items(), strict=True):
        lines = read_log(runs / f"cifar_gamma_{gamma}_seed0" / "log.jsonl")
        scored = [line for line in lines if "validation_accuracy" in line]
        learning = [line for line in lines if "accuracy" in line]
        epoch = scored[0]["step"]  # steps
        each = 100 * np.array([[line[f"validation_class_{c}"] for c in range(10)] for line in scored])
        axes.plot(
            [x["step"] / epoch for x in learning], [100 * x["accuracy"] for x in learning], label="batches in training"
        )
        epochs = [line["step"] / epoch for line in scored]
        axes.plot(epochs, each[:, PARTS[0]].mean(1), "--", color="C1", label="validation, five largest classes")
        axes.plot(epochs, [100 * line["validation_accuracy"] for line in scored], color="C1", label="validation, all")
        axes.plot(epochs, each[:, PARTS[1]].mean(1), ":", color="C1", label="validation, five smallest classes")
        axes.set(title=loss, xlabel="epoch", ylim=(0, 100))
    grid[0].set(ylabel="accuracy, %")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    save(figure, path, PRINT)


def draw_curves(run: Path, path: Path) -> None:
    """A network's accuracy by epoch: on batches while learning, and on validation images."""
    lines = read_log(run / "log.jsonl")
    scored = [line for line in lines if "validation_accuracy" in line]
    learning = [line for line in lines if "accuracy" in line]
    epoch = scored[0]["step"]  # steps
    many = len(scored) > 20  # epochs: then a plot as wide as the page
    figure, axes = plt.subplots(figsize=(TEXT_WIDTH, 2.4) if many else (4, 3.4), layout="constrained")
    for curve, key, label in ((learning, "accuracy", "while learning"), (scored, "validation_accuracy", "validation")):
        axes.plot([line["step"] / epoch for line in curve], [100 * line[key] for line in curve], label=label)
    title = NETWORKS[run.name.removeprefix("cifar_").removesuffix("_seed0")]
    axes.set(title=title, xlabel="epoch", ylabel="accuracy, %")
    axes.legend()
    save(figure, path, PRINT)


def draw_classes(results: list[dict[str, Any]], path: Path) -> None:
    """Accuracy by class, largest class first: mean and standard deviation over the seeds."""
    figure, axes = plt.subplots(figsize=(TEXT_WIDTH, 3.4))
    present = [loss for loss in LOSSES if seeds_of(loss, results)]
    counts: list[int] = []
    width = 0.8 / len(present)
    for number, loss in enumerate(present):
        runs = list(seeds_of(loss, results).values())
        counts = runs[0]["training"]
        each = 100 * np.array([line["each"] for line in runs])
        axes.bar(
            np.arange(10) + (number - (len(present) - 1) / 2) * width, each.mean(0), width,
            yerr=each.std(0, ddof=1) if len(runs) > 1 else None, error_kw={"elinewidth": 0.8, "capsize": 1.5},
            color=COLOURS[loss], label=f"{LOSSES[loss]} (n = {len(runs)})",
        )  # fmt: skip
    axes.set_xticks(range(10), [f"{name}\n{count:,}" for name, count in zip(CLASSES, counts, strict=True)])
    axes.set(ylabel="test accuracy, %", xlabel="class and its number of training images", ylim=(0, 100))
    axes.tick_params(labelsize=8.5)
    tidy(axes, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=9)
    save(figure, path, PRINT)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder that holds the trainings (default: runs)"
    )
    parser.add_argument("--kept", type=Path, default=Path("runs/figures_cs7643"), help="what was read")
    parser.add_argument("--confusions", action="store_true", help="first count what the long tail's networks mix up")
    add_out(parser)
    parser.add_argument("--data", type=Path, help="folder of cifar10.npz (default: data)")
    args = parser.parse_args()
    names = rf"cifar_({'|'.join(NETWORKS)})_seed\d+|cifar_longtail_({'|'.join(LOSSES)})_seed\d+"
    runs = sorted(p.parent for p in args.runs.glob("cifar_*/model.json") if re.fullmatch(names, p.parent.name))
    if not runs and not (DOCS / "results" / "cs7643_runs.csv").exists():
        raise cli.UserError(f"no runs below {args.runs}: python experiments/study_photos.py cs7643")
    if args.evaluate:
        for run in runs:
            flags = ["--domain", "cifar10", "--purpose", "CS7643: tables", "--ledger", str(args.ledger)]
            look([run / "model.pth"], args.kept / f"{run.name}.npz", args.data, *flags)
            if run.name == "cifar_mymodel_seed0":  # also as a test reads it that never calls eval()
                save = args.kept / f"{run.name}_batch.npz"
                look([run / "model.pth"], save, args.data, *flags, "--statistics", "batch")
    if args.confusions:
        count_confusions(args.runs, args.data)
    results = collect(runs, args.kept)
    written = {
        "cs7643 networks": network_table(results),
        "cs7643 long tail": long_tail_table(results),
        "cs7643 long tail by class": class_table(results),
        "cs7643 long tail pairs": pair_table(results),
        "cs7643 own network": own_table(),
        "cs7643 ablations": ablation_table(),
        "cs7643 gamma": gamma_table(args.runs),
        "cs7643 whole trainings": whole_table(args.runs),
        "cs7643 weights": weight_table(results),
        "cs7643 errors": error_table(),
    }
    if any(args.runs.glob("cifar_choice_*/model.json")):
        written["cs7643 choices"] = choice_table(args.runs)
    # A table is two lines and its rows.
    written = {name: text if text.count("\n") > 1 else "Still to come." for name, text in written.items()}
    fill([DOCS.parent / "README.md", DOCS / "models" / "cs7643.md"], written)
    for name in NETWORKS:
        if any(run.name == f"cifar_{name}_seed0" for run in runs):
            draw_curves(args.runs / f"cifar_{name}_seed0", args.out / f"cs7643_curves_{name}.png")
    if all((args.runs / f"cifar_gamma_{gamma}_seed0" / "log.jsonl").is_file() for gamma in BALANCED):
        draw_long_tail_curves(args.runs, args.out / "cs7643_longtail_curves.png")
    if all(len(seeds_of(loss, results)) >= SEEDS for loss in LOSSES):  # the write-up is built once this figure is there
        draw_classes(results, args.out / "cs7643_longtail.png")
    print("\n\n".join(written.values()))


if __name__ == "__main__":
    cli.run(main, "cs7643_results.py")
