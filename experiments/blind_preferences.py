"""Blind preferences between reconstructions: which one looks most like the target?

    python experiments/blind_preferences.py sheets --targets data/inversion/aligned     # after inversion_study.py
    python experiments/blind_preferences.py sheets --comparison face-control            # this one alone
    python experiments/blind_preferences.py count answers.csv --viewer anna

`sheets` writes a picture for each comparison to RUNS/preferences: a row for each target, with its number, the target on
the left, and the reconstructions A, B, C in an order that --seed shuffles anew for every row and that is in no file. A
viewer writes answers.csv with the columns comparison, number, letter. `count` translates the letters with the same
seed, appends the choices to docs/results/inversion_preferences.csv and prints how often each run was chosen, with the
two-sided binomial test against chance.
"""

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "report"))  # the figures

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    from inversion_figures import read_row
    from plotting import draw_faces
    from scipy.stats import binomtest

    from dlcv.data.folders import list_images
    from dlcv.files import read_rows, write_rows

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "inversion_preferences.csv"
COLUMNS = ("viewer", "seed", "comparison", "image_name", "letter", "chosen")
COMPARISONS = {
    "space": ("z_mse", "w_mse", "w+_mse"),
    "loss": ("w+_mse", "w+_own"),
    "method": ("w+_own", "proposed"),
    "z-w": ("z_mse", "w_mse"),
    "face-term": ("w+_own", "w+_own_without-face"),
    "face-control": ("w+_own", "w+_own_mse-for-face"),  # new ones go last: the place is part of the order's seed
}


def order(comparison: str, number: int, seed: int) -> list[str]:
    """The runs of a comparison as they stand in row `number` (from 1): A, B, C."""
    place = list(COMPARISONS).index(comparison)
    runs = COMPARISONS[comparison]
    return [runs[i] for i in np.random.RandomState([seed, place, number]).permutation(len(runs))]


def draw_sheets(targets: Path, runs: Path, seed: int, comparisons: Iterable[str] = COMPARISONS) -> None:
    """A picture for each of these comparisons, in RUNS/preferences."""
    names = list_images(targets)
    for comparison in comparisons:
        rows = []
        for number, name in enumerate(names, 1):
            rows.append(read_row(targets / name, runs / "targets", order(comparison, number, seed)))
        draw_faces(
            rows,
            runs / "preferences" / f"{comparison}.png",
            row_titles=[str(number) for number in range(1, len(rows) + 1)],
            titles=["target", *"ABC"[: len(COMPARISONS[comparison])]],
        )


def translate(answers: list[dict[str, str]], names: list[str], viewer: str, seed: int) -> list[dict[str, str]]:
    """A line of the results for each answer. Raises UserError for one that no sheet has, or that stands twice."""
    lines: list[dict[str, str]] = []
    for answer in answers:
        try:
            comparison, number = answer["comparison"], int(answer["number"])
            letter = answer["letter"].strip().upper()
            if not 1 <= number <= len(names):
                raise ValueError
            chosen = order(comparison, number, seed)["ABC".index(letter)]
        except (KeyError, ValueError, IndexError, AttributeError):
            raise cli.UserError(
                f"answer {dict(answer)} is on no sheet; columns: comparison ({', '.join(COMPARISONS)}), number, letter"
            ) from None
        image = Path(names[number - 1]).stem
        line = dict(zip(COLUMNS, (viewer, str(seed), comparison, image, letter, chosen), strict=True))
        if any(other["comparison"] == comparison and other["image_name"] == image for other in lines):
            raise cli.UserError(f"{comparison}, number {number} is answered twice")
        lines.append(line)
    return lines


def tell(lines: list[dict[str, str]]) -> list[str]:
    """A sentence for each comparison: how often each run was chosen, and the test of the most frequent one."""
    sentences = []
    for comparison, runs in COMPARISONS.items():
        counts = Counter(line["chosen"] for line in lines if line["comparison"] == comparison)
        if total := sum(counts.values()):
            (best, most), *_ = counts.most_common()
            p = binomtest(most, total, 1 / len(runs)).pvalue
            shown = ", ".join(f"{run} {counts[run]}" for run in runs)
            sentences.append(f"{comparison}: {shown} of {total}; {best} against chance: p = {p:.2g}")
    return sentences


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("sheets", "count"), help="draw the sheets, or count a viewer's answers")
    parser.add_argument("answers", nargs="?", type=Path, help="csv of a viewer's answers, for count")
    parser.add_argument("--viewer", help="name of the viewer in the results, for count")
    parser.add_argument("--targets", type=Path, default=Path("data/inversion/aligned"), help="folder of the portraits")
    parser.add_argument("--runs", type=Path, default=Path("runs/inversion"), help="folder of the experiment's runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="csv that the choices are appended to")
    parser.add_argument("--comparison", choices=tuple(COMPARISONS), help="the only one to draw, for sheets (all)")
    parser.add_argument("--seed", type=int, default=0, help="of the orders; another one for every viewer is best")
    args = parser.parse_args()
    if args.what == "sheets":
        draw_sheets(args.targets, args.runs, args.seed, [args.comparison] if args.comparison else COMPARISONS)
        return
    if args.answers is None or not args.viewer:
        raise cli.UsageError("count needs a csv of answers and --viewer NAME")
    known = read_rows(args.results) if args.results.exists() else []
    if any(line["viewer"] == args.viewer for line in known):
        raise cli.UserError(f"{args.results} has answers of {args.viewer} already; give another --viewer")
    try:
        answers = read_rows(args.answers)
    except OSError as error:
        raise cli.UserError(f"cannot read {args.answers}: {error.strerror}") from None
    known += translate(answers, list_images(args.targets), args.viewer, args.seed)
    write_rows(args.results, known, COLUMNS)
    print("\n".join(tell(known)))


if __name__ == "__main__":
    cli.run(main, "blind_preferences.py")
