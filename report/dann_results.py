"""Collects DANN's study into docs/results/dann_runs.csv and writes the accuracy table into the texts.

    python report/dann_results.py --collect     # reads runs/study_dann and the ledger docs/test_reads.csv
    python report/dann_results.py               # rewrites the tables from docs/results/dann_runs.csv alone

A test accuracy is taken from the ledger, by the checkpoint's SHA-256; a run that was never evaluated has none.
"""

import argparse
import csv
import hashlib
import re
from pathlib import Path

try:
    import numpy as np

    from dlcv import cli
    from dlcv.checkpoint import read_checkpoint
    from dlcv.files import atomic_path, write_text
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Run `make setup` once, then use .venv/bin/python (or: . .venv/bin/activate)") from None

DOCS = Path(__file__).resolve().parents[1] / "docs"
RESULTS = DOCS / "results" / "dann_runs.csv"
LETTER = {"usps": "U", "mnistm": "M", "svhn": "S"}
PAIRS = [
    ("usps", "mnistm"),
    ("mnistm", "svhn"),
    ("svhn", "usps"),
    ("mnistm", "usps"),
    ("svhn", "mnistm"),
    ("usps", "svhn"),
]
BASELINES = dict(zip(PAIRS, (40, 40, 40, 72, 42, 28), strict=True))  # CONTRACTS: DLCV 2020 P3-2 and 2021 P3
ROWS = [
    ("source", "source", "trained on source, batch norm of the source"),
    ("source", "target", "trained on source (strength 0)"),
    ("dann", "target", "DANN"),
    ("target", "target", "trained on target"),
]
TEXTS = [DOCS / "models" / "dann.md", DOCS.parent / "README.md"]


def collect(study: Path) -> None:
    """One line a run and kind of batch-norm statistics, from the checkpoints' provenance and the ledger."""
    with (DOCS / "test_reads.csv").open(newline="") as file:
        reads = {
            (row["sha256"], row["domain"], row["statistics"]): row
            for row in csv.DictReader(file)
            if row["split"] == "test"
        }
    lines: list[dict[str, object]] = []
    for path in sorted(study.glob("*/model.pth")):
        provenance = read_checkpoint(path)["provenance"]
        recipe, data, metrics = provenance["recipe"], provenance["data"], provenance["metrics"]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for statistics in ("target", "source") if recipe["mode"] == "source" else ("target",):
            read = reads.get((digest, recipe["target"], statistics))
            lines.append(
                {name: recipe[name] for name in ("source", "target", "mode", "seed", "steps")}
                | {"statistics": statistics, "step": provenance["step"], "selection": provenance["selection"]}
                | {name: data[name] for name in ("labelled", "validation", "unlabelled")}
                | {name: round(metrics.get(name, float("nan")), 4) for name in METRICS}
                | {"test_images": read["images"] if read else "", "test_accuracy": read["accuracy"] if read else ""}
                | {"sha256": digest, "commit": provenance["commit"], "seconds": provenance["seconds"]}
            )
    if not lines:
        raise cli.UserError(f"no model.pth below {study}: run train/study_dann.py first")
    with atomic_path(RESULTS) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)


METRICS = ("validation_accuracy", "confidence", "entropy", "balance", "agreement", "reverse_accuracy")


def accuracies(mode: str, statistics: str, source: str, target: str) -> list[tuple[int, float]]:
    """(seed, test accuracy) of the evaluated runs; the upper bound does not depend on the source."""
    with RESULTS.open(newline="") as file:
        return [
            (int(row["seed"]), float(row["test_accuracy"]))
            for row in csv.DictReader(file)
            if (row["mode"], row["statistics"], row["target"]) == (mode, statistics, target)
            and row["test_accuracy"]
            and (mode == "target" or row["source"] == source)
        ]


def cell(values: list[float]) -> str:
    if not values:
        return "–"
    percent = 100 * np.array(values)
    if len(percent) == 1:
        return f"{percent[0]:.1f} (n = 1)"
    return f"{percent.mean():.1f} ± {percent.std(ddof=1):.1f}" + ("" if len(percent) == 3 else f" (n = {len(percent)})")


def table() -> str:
    header = ["target test, %", *(f"{LETTER[s]}→{LETTER[t]}" for s, t in PAIRS)]
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    for mode, statistics, name in ROWS:
        cells = [cell([a for _, a in accuracies(mode, statistics, s, t)]) for s, t in PAIRS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines.append("| courses' baseline for DANN | " + " | ".join(str(BASELINES[pair]) for pair in PAIRS) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collect", action="store_true", help="read the runs and the ledger anew")
    parser.add_argument("--study", type=Path, default=Path("runs/study_dann"))
    args = parser.parse_args()
    if args.collect:
        collect(args.study)
    marks = re.compile(r"(<!-- dann table[^>]*-->\n).*?(<!-- end -->)", re.DOTALL)
    for path in TEXTS:
        text = path.read_text(encoding="utf-8")
        write_text(path, marks.sub(lambda match: f"{match[1]}{table()}\n{match[2]}", text))
    print(table())


if __name__ == "__main__":
    cli.run(main, "dann_results.py")
