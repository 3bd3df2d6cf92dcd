"""Collects the studies of digits into docs/results/digit_runs.csv and writes their tables into the texts.

    python report/digit_results.py --evaluate    # reads the test sets for every model that is not in the ledger yet
    python report/digit_results.py --collect     # from the runs and the ledger into docs/results/digit_runs.csv
    python report/digit_results.py               # rewrites tables and scatters from docs/results/digit_runs.csv alone

A test accuracy is taken from the ledger, by the checkpoint's SHA-256; a run that was never evaluated has none. The
oracle is the best of a run's snapshots by test accuracy: what choosing by the answers would have gained, no result.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import answers
    import numpy as np
    from plotting import FIGURES, plt, save
    from scipy.stats import spearmanr
    from tables import fill, markdown, mean_std, plus_minus, record

    from dlcv.checkpoint import CHECKPOINTS, digest_of, read_checkpoint
    from dlcv.data.digits import PAIRS
    from dlcv.evaluate import OWN_LEDGER
    from dlcv.files import read_rows
    from dlcv.trainer import read_log

DOCS = Path(__file__).resolve().parents[1] / "docs"
STUDIES = ("study_dann", "study_uda")
WITHOUT_THRESHOLD = "study_uda_without_threshold"  # the improved method once more
RESULTS = DOCS / "results" / "digit_runs.csv"
DISTANCES = DOCS / "results" / "domain_distance.csv"
SNAPSHOTS = DOCS / "results" / "digit_snapshots.csv"
LETTER = {"usps": "U", "mnistm": "M", "svhn": "S"}
BASELINES = dict(zip(PAIRS, (40, 40, 40, 72, 42, 28), strict=True))  # DLCV 2020, problem 3-2; 2021, problem 3
ROWS = [
    ("source", "source", "source only (lower bound)"),
    ("source", "target", "no reversal (strength 0), batch norm from the target's images"),
    ("dann", "target", "DANN"),
    ("uda", "target", "improved"),
    ("target", "target", "trained on target (upper bound)"),
]
SUBMITTED = {"dann": "DANN, submitted model", "uda": "improved, submitted model"}  # of checkpoints/, seed 0
TEXTS = [DOCS / "models" / "dann.md", DOCS / "models" / "uda.md", DOCS.parent / "README.md"]


def read_ledger() -> dict[tuple[str, str, str], dict[str, str]]:
    """(sha256, domain, statistics) → line, test sets only. The project's ledger goes before your own."""
    ledgers = (ledger for ledger in (OWN_LEDGER, DOCS / "test_reads.csv") if ledger.exists())
    rows = (row for ledger in ledgers for row in read_rows(ledger) if row["split"] == "test")
    return {(row["sha256"], row["domain"], row["statistics"]): row for row in rows}


def recipe_of(provenance: dict[str, Any]) -> dict[str, Any]:
    """The run's recipe; the improved method has one mode only, which its recipe does not name."""
    return {"mode": "uda"} | provenance["recipe"]


def evaluate(studies: list[Path], data: Path | None, ledger: Path) -> None:
    """Looks at the test answers once for every model, and once for every snapshot of modes dann and uda."""
    known = read_ledger()
    waiting: dict[tuple[str, str, str], list[Path]] = {}
    for path in (path for study in studies for path in sorted(study.glob("*/model.pth"))):
        recipe = recipe_of(read_checkpoint(path)["provenance"])
        evaluations = [("target", path, "table: the kept model")]
        if recipe["mode"] == "source" and recipe["domain_norm"]:
            evaluations.append(("source", path, "table: the kept model"))
        if recipe["mode"] in ("dann", "uda") and path.parent.parent.name in STUDIES:
            evaluations += [
                ("target", snapshot, "oracle's gain") for snapshot in sorted(path.parent.glob("snapshots/*.pth"))
            ]
        for statistics, file, purpose in evaluations:
            if (digest_of(file), recipe["target"], statistics) not in known:
                waiting.setdefault((recipe["target"], statistics, purpose), []).append(file)
    for (domain, statistics, purpose), files in waiting.items():
        flags = ["--domain", domain, "--statistics", statistics, "--purpose", purpose, "--ledger", str(ledger)]
        answers.evaluate(files, data, *flags)


def collect(studies: list[Path]) -> None:
    """One line a run and kind of batch-norm statistics, from the checkpoints' provenance and the ledger.

    Lines of runs that are not here any more stay.
    """
    reads = read_ledger()
    lines: list[dict[str, object]] = []
    early: list[dict[str, object]] = []  # the snapshots of the improved method
    recipes: dict[tuple[str, str], dict[str, Any]] = {}  # of each study and mode
    for path in (path for study in studies for path in sorted(study.glob("*/model.pth"))):
        provenance = read_checkpoint(path)["provenance"]
        recipe, data, metrics = recipe_of(provenance), provenance["data"], provenance["metrics"]
        rest = {name: value for name, value in recipe.items() if name not in ("seed", "source", "target", "mode")}
        first = recipes.setdefault((path.parent.parent.name, recipe["mode"]), rest)
        if first != rest:
            differing = [name for name in rest if first.get(name) != rest[name]]
            raise cli.UserError(f"{path} was trained with another recipe than its study: {', '.join(differing)} differ")
        snapshots = [
            (float(read["accuracy"]), int(snapshot.stem.removeprefix("step_")))
            for snapshot in sorted(path.parent.glob("snapshots/*.pth"))
            if (read := reads.get((digest_of(snapshot), recipe["target"], "target")))
        ]
        oracle = max(snapshots, default=None)
        if recipe["mode"] == "uda" and path.parent.parent.name in STUDIES:
            scores = {entry["step"]: entry for entry in read_log(path.parent / "log.jsonl") if "agreement" in entry}
            early += [
                {name: recipe[name] for name in ("source", "target", "seed")}
                | {"step": step}
                | {name: f"{scores[step][name]:.4f}" for name in SEEN}
                | {"test_accuracy": f"{accuracy:.4f}"}
                for accuracy, step in sorted(snapshots, key=lambda pair: pair[1])
            ]
        both = recipe["mode"] == "source" and recipe["domain_norm"]
        for statistics in ("target", "source") if both else ("target",):
            read = reads.get((digest_of(path), recipe["target"], statistics))
            lines.append(
                {"study": path.parent.parent.name}
                | {name: recipe[name] for name in ("source", "target", "mode", "seed", "steps")}
                | {"statistics": statistics, "step": provenance["step"], "selection": provenance["selection"]}
                | {name: data[name] for name in ("labelled", "validation", "unlabelled")}
                | {name: f"{metrics[name]:.4f}" if name in metrics else "" for name in METRICS}
                | {"test_images": read["images"] if read else "", "test_accuracy": read["accuracy"] if read else ""}
                | {"oracle_accuracy": f"{oracle[0]:.4f}" if oracle and statistics == "target" else ""}
                | {"oracle_step": oracle[1] if oracle and statistics == "target" else ""}
                | {"sha256": digest_of(path), "commit": provenance["commit"], "seconds": provenance["seconds"]}
            )
    if not lines:
        raise cli.UserError("there is no model.pth yet: run experiments/study_digits.py dann first")
    record(RESULTS, lines, ("study", "source", "target", "mode", "seed", "statistics"))
    # A run that was trained anew may have been saved at other steps.
    record(SNAPSHOTS, early, ("source", "target", "seed", "step"), whole=("source", "target", "seed"))


SEEN = ("agreement", "balance", "confidence")  # at every snapshot, without labels
METRICS = ("validation_accuracy", "confidence", "entropy", "balance", "agreement", "reverse_accuracy")


def read_results() -> list[dict[str, str]]:
    """The evaluated runs of docs/results/digit_runs.csv."""
    if not RESULTS.exists():
        raise cli.UserError(f"{RESULTS} is not there: run this with --collect first")
    return [row for row in read_rows(RESULTS) if row["test_accuracy"]]


def read_runs(*studies: str) -> list[dict[str, str]]:
    """The evaluated runs of these studies, without arguments those of the two whose models are submitted."""
    return [row for row in read_results() if row["study"] in (studies or STUDIES)]


def accuracies(
    mode: str,
    statistics: str,
    source: str,
    target: str,
    column: str = "test_accuracy",
    studies: Sequence[str] = STUDIES,
) -> dict[int, float]:
    """seed → test accuracy of the evaluated runs; the upper bound does not depend on the source."""
    return {
        int(row["seed"]): float(row[column])
        for row in read_runs(*studies)
        if (row["mode"], row["statistics"], row["target"]) == (mode, statistics, target)
        and (mode == "target" or row["source"] == source)
        and row[column]
    }


def cell(values: list[float], sign: str = "") -> str:
    """Percent, mean ± std over the seeds, whose number is said where it is not three."""
    return mean_std(100 * np.array(values), 1, sign, n=len(values) != 3) if values else "–"


def pair_table(first: str, rows: Iterable[Sequence[object]]) -> str:
    """A column for each pair of domains."""
    return markdown((first, *(f"{LETTER[s]}→{LETTER[t]}" for s, t in PAIRS)), rows)


def accuracy_table() -> str:
    rows: list[Sequence[object]] = [(name, *submitted(method)) for method, name in SUBMITTED.items()]
    for mode, statistics, name in ROWS:
        rows.append((name, *(cell(list(accuracies(mode, statistics, s, t).values())) for s, t in PAIRS)))
    return pair_table("target test, %", [*rows, ("courses' baseline for DANN", *BASELINES.values())])


def submitted(method: str) -> list[str]:
    """The ledger's accuracy of checkpoints/<method>_<pair>.pth, which is what the wrappers load, for each pair."""
    ledger = read_ledger()
    reads = [ledger.get((digest_of(CHECKPOINTS / f"{method}_{s}_{t}.pth"), t, "target")) for s, t in PAIRS]
    return [f"{100 * float(read['accuracy']):.1f}" if read else "–" for read in reads]


def gain_table(mode: str, other: str, name: str, other_name: str) -> str:
    """Differences by seed: what `mode` gains over `other`, and what choosing the step by the answers would have."""
    gains, oracles = [], []
    for s, t in PAIRS:
        with_it, without = accuracies(mode, "target", s, t), accuracies(other, "target", s, t)
        best = accuracies(mode, "target", s, t, "oracle_accuracy")
        gains.append(cell([with_it[seed] - without[seed] for seed in sorted(with_it.keys() & without.keys())], "+"))
        oracles.append(cell([best[seed] - with_it[seed] for seed in sorted(with_it.keys() & best.keys())], "+"))
    rows = [(f"{name} minus {other_name}", *gains), (f"oracle (best snapshot by test) minus {name}", *oracles)]
    return pair_table("points, paired by seed", rows)


def threshold_table() -> str:
    """The improved method as it is submitted beside whole trainings without its threshold, paired by seed."""
    rows = []
    for column, heading in (("test_accuracy", "test"), ("agreement", "agreement (no labels)")):
        cells: list[list[str]] = [[], [], []]
        for pair in PAIRS:
            with_it = accuracies("uda", "target", *pair, column)
            without = accuracies("uda", "target", *pair, column, (WITHOUT_THRESHOLD,))
            gains = [without[seed] - with_it[seed] for seed in sorted(with_it.keys() & without.keys())]
            for place, values in zip(cells, (list(with_it.values()), list(without.values()), gains), strict=True):
                place.append(cell(values, "+" if values is gains else ""))
        names = ("with the threshold (submitted)", "without", "without minus with, points")
        rows += [(f"{heading}: {name}", *row) for name, row in zip(names, cells, strict=True)]
    return pair_table("%", rows)


def ablation_table(
    columns: dict[str, tuple[str, str, str]], first: tuple[str, str], prefix: str, more: str = ""
) -> str:
    """One row a study: `first` is (its folder, its name), the others are runs/`prefix`*; the mean where it has seeds.

    `columns`: heading → (mode, source, target). `more`: a score without labels that stands beside the accuracy.
    """
    rows = [row for row in read_results() if row["statistics"] == "target"]
    lines = []
    others = {row["study"] for row in rows if row["study"].startswith(prefix)} - {first[0]}
    names = {first[0]: first[1]} | {study: study_name(study, prefix) for study in sorted(others)}
    for study, name in names.items():
        cells = []
        for key in ("test_accuracy", *([more] if more else [])):
            for wanted in columns.values():
                scores = [
                    float(r[key]) for r in rows
                    if r["study"] == study and (r["mode"], r["source"], r["target"]) == wanted
                ]  # fmt: skip
                cells.append(mean_std(100 * np.array(scores), 1, n=len(scores) == 2) if scores else "–")
        lines.append((name, *cells))
    spread = {"±" in cell for _, *cells in lines for cell in cells if cell != "–"}
    kinds = {True: "mean ± std of three seeds", False: "seed 0 alone (n = 1)"}
    seeds = " or ".join(text for kind, text in kinds.items() if kind in spread)
    heading = f"{seeds}; target test, %"
    return markdown((heading, *columns, *(f"{more} {name}" for name in columns if more)), lines)


NAMES = {  # else a study is called as its folder
    "ablation_dann_full_strength_from_the_start": "strength 0.1 from the first step (no ramp)",
    "ablation_uda_without_domain_norm": "student's batches mixed (the teacher's are not)",
}


def read_snapshots() -> list[dict[str, str]]:
    return read_rows(SNAPSHOTS) if SNAPSHOTS.exists() else []


def variants(source: str, target: str) -> list[dict[str, str]]:
    """The ablation's runs of a pair with seed 0, which every variant has, "everything" among them."""
    return [
        row for row in read_results()
        if row["study"].startswith("ablation_uda_")
        and (row["source"], row["target"], row["seed"]) == (source, target, "0")
    ]  # fmt: skip


def study_name(study: str, prefix: str) -> str:
    return NAMES.get(study, study.removeprefix(prefix).replace("_", " "))


def rank_correlation(rows: list[dict[str, str]], name: str) -> float:
    """Spearman's, of a column with the test accuracy; 0 where the column does not vary."""
    scores, truth = ([float(row[key]) for row in rows] for key in (name, "test_accuracy"))
    return float(spearmanr(scores, truth).statistic) if len(set(scores)) > 1 and len(set(truth)) > 1 else 0.0


def step_table() -> str:
    """DANN's target test accuracy at the snapshots, from the ledger (purpose "oracle's gain"), and at the last step."""
    reads = [row for row in read_ledger().values() if row["statistics"] == "target"]
    rows: list[Sequence[object]] = []
    for file in ("snapshots/step_000500.pth", "snapshots/step_001000.pth", "model.pth"):
        cells = []
        for source, target in PAIRS:
            names = [f"study_dann/{source}_{target}_dann_seed{seed}/{file}" for seed in range(3)]
            values = [float(row["accuracy"]) for row in reads if row["checkpoint"].removeprefix("runs/") in names]
            cells.append(cell(values))
        rows.append(("the last step (1,500)" if file == "model.pth" else f"step {int(file[-10:-4]):,}", *cells))
    return pair_table("DANN, target test, %", rows)


def rule_table() -> str:
    """How well scores without labels order what could have been chosen: steps of a run, variants of the recipe."""
    table: list[Sequence[object]] = []
    for name in (*SEEN, "step"):
        cells = []
        for source, target in PAIRS:
            rows = [r for r in read_snapshots() if (r["source"], r["target"]) == (source, target)]
            seeds = sorted({r["seed"] for r in rows})
            correlations = [rank_correlation([r for r in rows if r["seed"] == seed], name) for seed in seeds]
            cells.append(f"{np.mean(correlations):.2f} (n = {len(correlations)})" if correlations else "–")
        table.append((f"{name.replace('step', 'the step number alone')}, over a run's snapshots, n runs", *cells))
    for name in ("agreement", "balance", "reverse_accuracy"):
        cells = []
        for pair in PAIRS:
            rows = variants(*pair)
            cells.append(f"{rank_correlation(rows, name):.2f} (of {len(rows)})" if len(rows) > 2 else "–")
        table.append((f"{name.replace('_accuracy', ' validation')}, over the ablation's variants", *cells))
    for name, title in (
        ("agreement", "variant with the most agreement"),
        ("test_accuracy", "best variant by test answers"),
    ):
        best = [max(variants(*pair), key=lambda row: float(row[name]), default=None) for pair in PAIRS]
        table.append((title, *(study_name(row["study"], "ablation_uda_") if row else "–" for row in best)))
    gaps = []
    for source, target in PAIRS:
        agreed = accuracies("uda", "target", source, target, "agreement")
        truth = accuracies("uda", "target", source, target)
        gaps.append(cell([agreed[seed] - truth[seed] for seed in sorted(truth)], "+"))
    table.append(("agreement minus test accuracy of the kept models, points", *gaps))
    return pair_table("Spearman's correlation with test accuracy", table)


def distance_table() -> str:
    """Proxy A-distances of features, those of the published models' first: experiments/domain_distance.py."""
    rows = {(row["method"], row["source"], row["target"]): row for row in read_rows(DISTANCES)}
    lines = []
    names = {"dann": "DANN, submitted", "uda": "improved, submitted", "source": "no adversary (strength 0), seed 0"}
    names |= {f"{method}_balanced": f"{names[method]}; as many of each digit" for method in ("dann", "uda")}
    for method, name in names.items():
        distances = [rows.get((method, *pair)) for pair in PAIRS]
        cells = [plus_minus(float(r["a_distance"]), float(r["a_distance_std"]), 2) if r else "–" for r in distances]
        lines.append((name, *cells))
    return pair_table("proxy A-distance", lines)


def draw_rule() -> None:
    """Agreement against the truth, pair by pair: the snapshots of each run, the ablation's variants."""
    figure, grid = plt.subplots(2, 3, figsize=(12, 7.5))
    for axes, (source, target) in zip(grid.flat, PAIRS, strict=True):
        rows = [r for r in read_snapshots() if (r["source"], r["target"]) == (source, target)]
        for seed in sorted({r["seed"] for r in rows}):
            curve = [[100 * float(r[key]) for r in rows if r["seed"] == seed] for key in ("agreement", "test_accuracy")]
            axes.plot(*curve, "o-", markersize=4, linewidth=0.7, label=f"snapshots of seed {seed}")
        others = [[100 * float(r[key]) for r in variants(source, target)] for key in ("agreement", "test_accuracy")]
        if others[0]:
            axes.plot(*others, "x", color="black", label="variants of the ablation, 1,000 steps")
        low, high = axes.get_xlim()
        axes.axline((high, high), slope=1, color="grey", linewidth=0.7, linestyle=":")
        axes.set_xlim(low, high)
        axes.set(title=f"{LETTER[source]}→{LETTER[target]}", xlabel="agreement, % (no labels)")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    for axes in grid[:, 0]:
        axes.set_ylabel("target test accuracy, %")
    figure.tight_layout()
    save(figure, FIGURES / "uda_label_free.png")


def draw_scatter(name: str, modes: dict[str, str]) -> None:
    """What could be known without target labels, against what is true. `modes`: mode → marker."""
    rows = [row for row in read_runs() if row["mode"] in modes and row["statistics"] == "target"]
    if len(rows) < 3:
        return
    quantities = ("reverse_accuracy", "agreement", "balance", "confidence")
    figure, grid = plt.subplots(1, len(quantities), figsize=(15, 4), sharey=True)
    for axes, quantity in zip(grid, quantities, strict=True):
        for index, (source, target) in enumerate(PAIRS):
            label: str | None = f"{LETTER[source]}→{LETTER[target]}"
            for mode, marker in modes.items():
                runs = [r for r in rows if (r["source"], r["target"], r["mode"]) == (source, target, mode)]
                colour = plt.get_cmap("tab10")(index)
                truth = [100 * float(r["test_accuracy"]) for r in runs]
                axes.scatter([float(r[quantity]) for r in runs], truth, marker=marker, color=colour, label=label)
                label = None
        axes.set_xlabel(quantity.replace("reverse_accuracy", "reverse validation accuracy"))
        correlation = spearmanr([float(r[quantity]) for r in rows], [float(r["test_accuracy"]) for r in rows]).statistic
        axes.set_title(f"Spearman {correlation:.2f} over {len(rows)} runs", fontsize=10)
    grid[0].set_ylabel("target test accuracy, %")
    shown = {"dann": "o DANN", "source": "x strength 0"}
    grid[0].legend(fontsize=8, title=", ".join(shown[mode] for mode in modes), title_fontsize=8)
    save(figure, FIGURES / name)


def tables() -> dict[str, str]:
    """Name of the place in the texts → table."""
    both = {"U→M": ("usps", "mnistm"), "M→S": ("mnistm", "svhn")}
    dann = {name: ("dann", *pair) for name, pair in (both | {"S→U": ("svhn", "usps")}).items()}
    uda = {name: ("uda", *pair) for name, pair in both.items()}
    return {
        "digits table": accuracy_table(),
        "dann gains": gain_table("dann", "source", "DANN", "strength 0"),
        "dann steps": step_table(),
        "dann ablation": ablation_table(dann, ("study_dann", "the recipe"), "ablation_dann_"),
        "uda gains": gain_table("uda", "dann", "improved", "DANN"),
        "uda threshold": threshold_table(),
        "uda rule": rule_table(),
        "domain distance": distance_table(),
        "uda ablation": ablation_table(uda, ("ablation_uda_everything", "everything"), "ablation_uda_", "agreement"),
    }


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    answers.add_arguments(parser)
    parser.add_argument("--collect", action="store_true", help="read the runs and the ledgers anew")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="holds study_* and ablation_*")
    parser.add_argument("--data", type=Path, help="folder of the digits (default: hw3_data or data/hw3_data)")
    args = parser.parse_args()
    studies = [*(args.runs / study for study in (*STUDIES, WITHOUT_THRESHOLD)), *sorted(args.runs.glob("ablation_*"))]
    if args.evaluate:
        evaluate(studies, args.data, args.ledger)
    if args.collect or args.evaluate:
        collect(studies)
    written = tables()
    fill(TEXTS, written)
    draw_scatter("dann_label_free.png", {"dann": "o", "source": "x"})
    draw_rule()
    print("\n\n".join(written.values()))


if __name__ == "__main__":
    cli.run(main, "digit_results.py")
