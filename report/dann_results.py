"""Collects DANN's study into docs/results/dann_runs.csv and writes the accuracy table into the texts.

    python report/dann_results.py --evaluate    # reads the test sets for every model that is not in the ledger yet
    python report/dann_results.py --collect     # from the runs and the ledger into docs/results/dann_runs.csv
    python report/dann_results.py               # rewrites tables and the scatter from docs/results/dann_runs.csv alone

A test accuracy is taken from the ledger, by the checkpoint's SHA-256; a run that was never evaluated has none. The
oracle is the best of a run's snapshots by test accuracy: what choosing by the answers would have gained, no result.
"""

import argparse
import csv
import hashlib
import re
import subprocess
import sys
from pathlib import Path

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np
    from scipy.stats import spearmanr

    from dlcv import cli
    from dlcv.checkpoint import read_checkpoint
    from dlcv.data.digits import PAIRS
    from dlcv.files import atomic_path, write_text
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Run `make setup` once, then use .venv/bin/python (or: . .venv/bin/activate)") from None

DOCS = Path(__file__).resolve().parents[1] / "docs"
FIGURES = Path(__file__).resolve().parent / "figures"
STUDY = "study_dann"
RESULTS = DOCS / "results" / "dann_runs.csv"
LETTER = {"usps": "U", "mnistm": "M", "svhn": "S"}
BASELINES = dict(zip(PAIRS, (40, 40, 40, 72, 42, 28), strict=True))  # DLCV 2020, problem 3-2; 2021, problem 3
ROWS = [
    ("source", "source", "trained on source, batch norm of the source"),
    ("source", "target", "trained on source (strength 0)"),
    ("dann", "target", "DANN"),
    ("target", "target", "trained on target"),
]
TEXTS = [DOCS / "models" / "dann.md", DOCS.parent / "README.md"]


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def read_ledger() -> dict[tuple[str, str, str], dict[str, str]]:
    """(sha256, domain, statistics) → line, test sets only."""
    ledger = DOCS / "test_reads.csv"
    if not ledger.exists():
        return {}
    with ledger.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"]
    return {(row["sha256"], row["domain"], row["statistics"]): row for row in rows}


def evaluate(studies: list[Path], data: Path | None) -> None:
    """Looks at the test answers once for every model, and once for every snapshot of mode dann."""
    known = read_ledger()
    waiting: dict[tuple[str, str, str], list[Path]] = {}
    for path in (path for study in studies for path in sorted(study.glob("*/model.pth"))):
        recipe = read_checkpoint(path)["provenance"]["recipe"]
        wanted = [("target", path, "table: the kept model")]
        if recipe["mode"] == "source" and recipe["domain_norm"]:
            wanted.append(("source", path, "table: the kept model"))
        if recipe["mode"] == "dann":
            wanted += [
                ("target", snapshot, "oracle's gain") for snapshot in sorted(path.parent.glob("snapshots/*.pth"))
            ]
        for statistics, file, purpose in wanted:
            if (digest_of(file), recipe["target"], statistics) not in known:
                waiting.setdefault((recipe["target"], statistics, purpose), []).append(file)
    for (domain, statistics, purpose), files in waiting.items():
        command = [sys.executable, "-m", "dlcv.evaluate", *map(str, files), "--domain", domain]
        command += ["--statistics", statistics, "--purpose", purpose]
        if subprocess.run(command + (["--data", str(data)] if data else []), check=False).returncode:
            raise cli.UserError("dlcv.evaluate failed, see above")


def collect(studies: list[Path]) -> None:
    """One line a run and kind of batch-norm statistics, from the checkpoints' provenance and the ledger."""
    reads = read_ledger()
    lines: list[dict[str, object]] = []
    for path in (path for study in studies for path in sorted(study.glob("*/model.pth"))):
        provenance = read_checkpoint(path)["provenance"]
        recipe, data, metrics = provenance["recipe"], provenance["data"], provenance["metrics"]
        snapshots = [
            (float(read["accuracy"]), int(snapshot.stem.removeprefix("step_")))
            for snapshot in sorted(path.parent.glob("snapshots/*.pth"))
            if (read := reads.get((digest_of(snapshot), recipe["target"], "target")))
        ]
        oracle = max(snapshots, default=None)
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
        raise cli.UserError("there is no model.pth yet: run train/study_digits.py dann first")
    with atomic_path(RESULTS) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


METRICS = ("validation_accuracy", "confidence", "entropy", "balance", "agreement", "reverse_accuracy")


def read_results() -> list[dict[str, str]]:
    """The evaluated runs of docs/results/dann_runs.csv."""
    if not RESULTS.exists():
        raise cli.UserError(f"{RESULTS} is not there: run this with --collect first")
    with RESULTS.open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["test_accuracy"]]


def read_runs(study: str = STUDY) -> list[dict[str, str]]:
    return [row for row in read_results() if row["study"] == study]


def accuracies(mode: str, statistics: str, source: str, target: str, column: str = "test_accuracy") -> dict[int, float]:
    """seed → test accuracy of the evaluated runs; the upper bound does not depend on the source."""
    return {
        int(row["seed"]): float(row[column])
        for row in read_runs()
        if (row["mode"], row["statistics"], row["target"]) == (mode, statistics, target)
        and (mode == "target" or row["source"] == source)
        and row[column]
    }


def cell(values: list[float]) -> str:
    if not values:
        return "–"
    percent = 100 * np.array(values)
    if len(percent) == 1:
        return f"{percent[0]:.1f} (n = 1)"
    return f"{percent.mean():.1f} ± {percent.std(ddof=1):.1f}" + ("" if len(percent) == 3 else f" (n = {len(percent)})")


def line(name: str, cells: list[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def header(first: str) -> str:
    names = [first, *(f"{LETTER[s]}→{LETTER[t]}" for s, t in PAIRS)]
    return "| " + " | ".join(names) + " |\n" + "|---" * len(names) + "|"


def accuracy_table() -> str:
    lines = [header("target test, %")]
    for mode, statistics, name in ROWS:
        lines.append(line(name, [cell(list(accuracies(mode, statistics, s, t).values())) for s, t in PAIRS]))
    lines.append(line("courses' baseline for DANN", [str(BASELINES[pair]) for pair in PAIRS]))
    return "\n".join(lines)


def signed(differences: list[float]) -> str:
    text = cell(differences)
    return text if text.startswith(("-", "–")) else f"+{text}"


def gain_table() -> str:
    """Differences by seed: what the adversarial loss gave, and what choosing the step by the answers would have."""
    gains, oracles = [], []
    for s, t in PAIRS:
        with_it, without = accuracies("dann", "target", s, t), accuracies("source", "target", s, t)
        best = accuracies("dann", "target", s, t, "oracle_accuracy")
        gains.append(signed([with_it[seed] - without[seed] for seed in sorted(with_it.keys() & without.keys())]))
        oracles.append(signed([best[seed] - with_it[seed] for seed in sorted(with_it.keys() & best.keys())]))
    return "\n".join(
        [
            header("points, paired by seed"),
            line("DANN minus strength 0", gains),
            line("oracle (best snapshot by test) minus DANN", oracles),
        ]
    )


def ablation_table() -> str:
    """One row a study beside the main one (runs/ablation_dann_*), seed 0."""
    rows = [row for row in read_results() if row["statistics"] == "target"]
    pairs = [("usps", "mnistm"), ("mnistm", "svhn")]
    lines = [
        "| seed 0, target test, % (n = 1) | U→M | M→S | U→M, strength 0 | M→S, strength 0 |\n|---|---|---|---|---|"
    ]
    for study in [STUDY, *sorted({row["study"] for row in rows} - {STUDY})]:
        cells = []
        for mode in ("dann", "source"):
            for pair in pairs:
                wanted = (study, *pair, mode, "0")
                found = [r for r in rows if (r["study"], r["source"], r["target"], r["mode"], r["seed"]) == wanted]
                cells.append(f"{100 * float(found[0]['test_accuracy']):.1f}" if found else "–")
        name = study.removeprefix("ablation_dann_").replace("_", " ") if study != STUDY else "the recipe"
        lines.append(line(name, cells))
    return "\n".join(lines)


def draw_scatter() -> None:
    """What could be known without target labels, against what is true."""
    rows = [row for row in read_runs() if row["mode"] != "target" and row["statistics"] == "target"]
    quantities = ("reverse_accuracy", "agreement", "balance", "confidence")
    figure, grid = plt.subplots(1, len(quantities), figsize=(15, 4), sharey=True)
    for axes, quantity in zip(grid, quantities, strict=True):
        for index, (source, target) in enumerate(PAIRS):
            for mode, marker in (("dann", "o"), ("source", "x")):
                mine = [r for r in rows if (r["source"], r["target"], r["mode"]) == (source, target, mode)]
                label = f"{LETTER[source]}→{LETTER[target]}" if mode == "dann" else None
                colour = plt.get_cmap("tab10")(index)
                values = [float(r[quantity]) for r in mine]
                axes.scatter(
                    values, [100 * float(r["test_accuracy"]) for r in mine], marker=marker, color=colour, label=label
                )
        axes.set_xlabel(quantity.replace("reverse_accuracy", "reverse validation accuracy"))
        axes.spines[["top", "right"]].set_visible(False)
        correlation = spearmanr([float(r[quantity]) for r in rows], [float(r["test_accuracy"]) for r in rows]).statistic
        axes.set_title(f"Spearman {correlation:.2f} over {len(rows)} runs", fontsize=10)
    grid[0].set_ylabel("target test accuracy, %")
    grid[0].legend(fontsize=8, title="o DANN, x strength 0", title_fontsize=8)
    with atomic_path(FIGURES / "dann_label_free.png") as temporary:
        figure.savefig(temporary, dpi=110, bbox_inches="tight")


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluate", action="store_true", help="look at the test sets (adds to the ledger)")
    parser.add_argument("--collect", action="store_true", help="read the runs and the ledger anew")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="holds study_dann and ablation_dann_*")
    parser.add_argument("--data", type=Path)
    args = parser.parse_args()
    studies = [args.runs / STUDY, *sorted(args.runs.glob("ablation_dann_*"))]
    if args.evaluate:
        evaluate(studies, args.data)
    if args.collect or args.evaluate:
        collect(studies)
    tables = {"dann table": accuracy_table(), "dann gains": gain_table(), "dann ablation": ablation_table()}
    for path in TEXTS:
        text = path.read_text(encoding="utf-8")
        for name, table in tables.items():
            text = re.sub(rf"(?s)(<!-- {name}[^>]*-->\n).*?(<!-- end -->)", rf"\g<1>{table}\n\g<2>", text)
        write_text(path, text)
    draw_scatter()
    print("\n\n".join(tables.values()))


if __name__ == "__main__":
    cli.run(main, "dann_results.py")
