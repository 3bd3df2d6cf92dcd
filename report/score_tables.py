"""The scores of generated faces and digits as tables in README.md and docs/models, from csv files of docs/results.

    python experiments/face_scores.py CHECKPOINT --purpose "table: VAE"     # lines whose purpose begins so are shown
    python experiments/digit_scores.py DIR --purpose "table: ACGAN"
    python report/score_tables.py

Of several lines with one purpose and reference the newest counts.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import pandas as pd
    from tables import face_scores, fill, markdown, mean_std

ROOT = Path(__file__).resolve().parents[1]
FACES = ROOT / "docs" / "results" / "face_scores.csv"
DIGITS = ROOT / "docs" / "results" / "generated_digit_scores.csv"
TEXTS = [ROOT / "README.md", *(ROOT / "docs" / "models" / f"{name}.md" for name in ("faces", "acgan"))]
FACE_COLUMNS = {
    "frechet": "FD-EffNetLite0", "kernel": "kernel distance", "precision": "precision", "recall": "recall",
    "recon_mse": "reconstruction MSE",
}  # fmt: skip
DIGIT_COLUMNS = (
    "generated digits", "recognised, %", "worst digit, %", "Fréchet distance", "of real digits",
    "Fréchet distance / that of real digits", "spread", "least spread of a digit",
)  # fmt: skip
DRAWN = "draws of latents"  # purpose of digit_scores.py's lines of --draws
SHOWN = {  # columns of the csv, and digits
    "recognised": 1, "least_recognised": 1, "frechet": 1, "frechet_real": 1, "frechet_ratio": 2, "spread": 2,
    "least_spread": 2,
}  # fmt: skip


def shown(scores: Path) -> pd.DataFrame:
    """The csv file's lines with a purpose "table: …", and these in a column `name`."""
    lines = pd.read_csv(scores, dtype={"sha256": str})
    lines = lines[lines["purpose"].str.startswith("table: ", na=False)]
    return lines.assign(name=lines["purpose"].str.removeprefix("table: "))


def face_table(scores: Path, against: str) -> str:
    """Markdown, one row for each purpose "table: …": mean ± standard deviation over draws of latents."""
    lines = face_scores(scores)
    lines = lines[lines["against"] == against]
    rows = [
        (line["name"], f"{line['draws']} x {line['n']} against {line['n_real']}", *line[[*FACE_COLUMNS]])
        for _, line in lines.iterrows()
    ]
    return markdown((f"{against} faces", "draws x n against n real faces", *FACE_COLUMNS.values()), rows)


def digit_table(scores: Path) -> str:
    """Markdown: the folder that hw2_p2.sh writes, the draws of latents of the same weights, real test digits."""
    tables, lines = shown(scores), pd.read_csv(scores)

    def row(title: str, lines: pd.DataFrame) -> tuple[str, ...]:
        # One value where it does not vary: the real digits are not drawn anew for each set.
        cells = (
            mean_std(lines[name].unique() if name == "frechet_real" else lines[name], n) for name, n in SHOWN.items()
        )
        return (title, *cells)

    rows = [
        row(f"{name}: what bash hw2_p2.sh writes (1,000, n = 1)", lines.tail(1))
        for name, lines in tables.groupby("name", sort=False)
    ]
    draws = lines[lines["purpose"] == DRAWN].drop_duplicates("what", keep="last")
    weights = draws["what"].str.split(",").str[0]
    draws = draws[weights == weights.tail(1).squeeze()]  # those of the weights that were scored last
    for n, mine in draws.groupby("n"):
        seeds = f"n = {len(mine)} seeds of latents" if len(mine) > 1 else "n = 1"
        graded = ", the graded one among them" if set(mine["sha256"]) & set(tables["sha256"]) else ""
        rows.append(row(f"the same weights, {n:,} digits ({seeds}{graded})", mine))
    if len(tables) and pd.notna((last := tables.iloc[-1]).recognised_test):
        rows.append((f"{last.n_test:,} real test digits", f"{last.recognised_test:.1f}", *[""] * (len(SHOWN) - 1)))
    return markdown(DIGIT_COLUMNS, rows)


def main() -> None:
    cli.ArgumentParser(description=__doc__).parse_args()
    tables = {f"{against} face scores": face_table(FACES, against) for against in ("held-out", "test")}
    tables["generated digit scores"] = digit_table(DIGITS)
    fill(TEXTS, tables)
    print("\n\n".join(tables.values()))


if __name__ == "__main__":
    cli.run(main, "score_tables.py")
