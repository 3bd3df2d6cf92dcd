"""Tables that programs write into the texts, between <!-- name … --> and <!-- end -->, and csv files behind them."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dlcv.files import read_rows, write_rows, write_text

FACE_DIGITS = {"frechet": 1, "kernel": 4, "precision": 2, "recall": 2}  # columns of face_scores.csv, and digits


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def plus_minus(mean: float, std: float | None, digits: int, sign: str = "") -> str:
    """A mean and the standard deviation beside it, where there is one; `sign`: "+" shows that of a gain."""
    return f"{mean:{sign}.{digits}f}" + (f" ± {std:.{digits}f}" if std is not None else "")


def mean_std(values: Sequence[float] | np.ndarray, digits: int, sign: str = "", n: bool = False) -> str:
    """Mean ± standard deviation (n - 1 in its denominator), or a single value without; with `n`, their number."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return plus_minus(float(np.mean(values)), std, digits, sign) + (f" (n = {len(values)})" if n else "")


def face_scores(path: Path) -> pd.DataFrame:
    """Scores of generated faces: of each purpose "table: NAME" and reference, mean ± std over its newest model's draws.

    One row for each (`name`, `against`), in the order of their first lines, with columns n, n_real, draws and, as text,
    frechet, kernel, precision, recall, recon_mse ("" for what has none).
    """
    lines = pd.read_csv(path, dtype={"sha256": str})
    lines = lines[lines["purpose"].str.startswith("table: ", na=False) & (lines["features"] == "efficientnet")]
    lines = lines.assign(name=lines["purpose"].str.removeprefix("table: "), sha256=lines["sha256"].fillna(""))
    rows = []
    for (name, against), group in lines.groupby(["name", "against"], sort=False):
        newest = group[group["sha256"] == group["sha256"].iloc[-1]].drop_duplicates("draw", keep="last")
        scores = {column: mean_std(newest[column], digits) for column, digits in FACE_DIGITS.items()}
        error = newest["recon_mse"].iloc[-1]
        scores["recon_mse"] = f"{error:.4f}" if pd.notna(error) else ""
        last = newest.iloc[-1]
        rows.append(
            {"name": name, "against": against, "draws": len(newest), "n": last["n"], "n_real": last["n_real"], **scores}
        )
    return pd.DataFrame(rows)


SPACES = {"z": "Z", "w": "W", "w+": "W+"}  # of the latents, as people write them


def inversion_title(run: str) -> str:
    """A run of the inversion experiment as people read it: "w+_own_coarse" is "W+, own, coarse"."""
    space, *rest = run.split("_")
    words = [word.replace("-", " ").replace("mse", "MSE").replace("lpips", "LPIPS") for word in rest]
    return ", ".join([SPACES.get(space, space), *words])


def inversion_rows(path: Path) -> list[dict[str, str]]:
    """Each run of such a csv file: run, title, images, the metrics as mean ± std over images, seconds.

    `<metric>_exact` has the mean with all digits, for ratios. `face` is among the metrics where the file has it, as
    inversion_terms.csv does.
    """
    lines = pd.read_csv(path)
    metrics = [metric for metric in ("l2", "lpips", "cosine", "face") if metric in lines]
    rows = []
    for run, group in lines.groupby("run", sort=False):
        row = {metric: mean_std(group[metric], 4) for metric in metrics}
        row |= {f"{metric}_exact": str(group[metric].mean()) for metric in metrics}
        row |= {"run": str(run), "title": inversion_title(str(run)), "images": str(len(group))}
        rows.append(row | {"seconds": f"{group['seconds'].sum():.0f}"})
    return rows


def fill(texts: Iterable[Path], tables: Mapping[str, str]) -> None:
    """Replaces what stands behind each table's name in each text; names that a text does not have are left out.

    What a model's card gets is written to docs/results/tables, too, from where the reports take it.
    """
    for path in texts:
        text = path.read_text(encoding="utf-8")
        for name, table in tables.items():
            text, count = re.subn(
                rf"(?s)(<!-- {re.escape(name)}:[^>]*-->\n).*?(<!-- end -->)", rf"\g<1>{table}\n\g<2>", text
            )
            if count and path.parent.name == "models":
                write_table(csv_of(path, name), cells(table))
        write_text(path, text)


def csv_of(card: Path, name: str) -> Path:
    """The csv file that has the same cells as the table `name` in a model's card."""
    return card.parents[1] / "results" / "tables" / card.stem / f"{name.replace(' ', '_')}.csv"


def cells(table: str) -> list[list[str]]:
    """The cells of a table that `markdown` wrote, the header first."""
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in table.splitlines()]
    return [rows[0], *rows[2:]]


def write_table(path: Path, rows: Iterable[Sequence[str]]) -> None:
    """Rows of cells as a csv file, whole or not at all."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())


def read_table(path: Path) -> list[list[str]]:
    """The cells that `write_table` wrote, the header first."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def record(
    path: Path, lines: Sequence[Mapping[str, object]], key: Sequence[str] = ("run",), whole: Sequence[str] = ()
) -> list[dict[str, str]]:
    """Adds lines to a csv file, in place of earlier ones with the same values of `key`; returns all, sorted by them.

    Lines of runs that are not on this machine any more stay. `whole`: columns that name what all its lines replace.
    Raises ValueError where the file has columns that `lines` have not.
    """
    earlier = read_rows(path) if path.exists() else []
    new = [{name: str(value) for name, value in line.items()} for line in lines]
    if whole:
        replaced = {tuple(line[name] for name in whole) for line in new}
        earlier = [line for line in earlier if tuple(line[name] for name in whole) not in replaced]
    by_key = {tuple(line[name] for name in key): line for line in [*earlier, *new]}
    # Steps and seeds in the order of numbers.
    rows = [by_key[run] for run in sorted(by_key, key=lambda run: [value.zfill(9) for value in run])]
    if rows:
        write_rows(path, rows, (new or earlier)[0])
    return rows
