"""The faces' scores as a table in README.md and docs/models: from docs/results/face_scores.csv.

    python report/face_scores.py CHECKPOINT --purpose "table: VAE"     # lines whose purpose begins so are shown
    python report/face_tables.py

Of several lines with one purpose and reference the newest counts.
"""

import csv
from pathlib import Path

try:
    from tables import fill

    from dlcv import cli
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Run `make setup` once, then use .venv/bin/python (or: . .venv/bin/activate)") from None

ROOT = Path(__file__).resolve().parents[1]
SCORES = ROOT / "docs" / "results" / "face_scores.csv"
TEXTS = [
    ROOT / "README.md",
    ROOT / "docs" / "models" / "vae.md",
    ROOT / "docs" / "models" / "gan.md",
    ROOT / "docs" / "models" / "sagan.md",
]
RENAMED = {
    "GAN, step 27,000": "GAN as it was trained, step 27,000: colour and rows at full resolution",
    "SAGAN without attention": "SAGAN without attention, rows at full resolution",
    "plain VAE, equal time": "plain VAE, equal time, rows at full resolution",
    "PyTorch tutorial's DCGAN, equal time": "PyTorch tutorial's DCGAN, equal time, rows at full resolution",
}
# Checkpoints that were published under the same purpose before, and still are what another row compares with.
BEFORE = {"fced9b28ff99": "SAGAN as it was trained: rows at full resolution"}
HEADER = "| n against n real faces | FD-EffNetLite0 | kernel distance | precision | recall | reconstruction MSE |"


def score_table(scores: Path, against: str) -> str:
    """Markdown, one row for each purpose "table: …", in the order of their first lines."""
    with scores.open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["purpose"].startswith("table: ")]
    newest = {
        BEFORE.get(line["sha256"], line["purpose"].removeprefix("table: ")): line
        for line in lines
        if line["against"] == against and line["features"] == "efficientnet"
    }
    rows = [f"| {against} faces {HEADER}", "|" + "---|" * 7]
    for name, line in newest.items():
        error = f"{float(line['recon_mse']):.4f}" if line["recon_mse"] else ""
        numbers = f"{float(line['frechet']):.1f} | {float(line['kernel']):.4f} | {float(line['precision']):.2f}"
        counts = f"{line['n']} against {line['n_real']}"
        rows.append(f"| {RENAMED.get(name, name)} | {counts} | {numbers} | {float(line['recall']):.2f} | {error} |")
    return "\n".join(rows)


def main() -> None:
    cli.ArgumentParser(description=__doc__).parse_args()
    tables = {f"{against} face scores": score_table(SCORES, against) for against in ("held-out", "test")}
    fill(TEXTS, tables)
    print("\n\n".join(tables.values()))


if __name__ == "__main__":
    cli.run(main, "face_tables.py")
