"""Writes the table of this repository's own points into docs/grading.md, from a grading of it.

python -m grader . --data hw3_data --out results/grade
python report/grade_table.py results/grade/results.json
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    from tables import fill, markdown

TEXT = Path(__file__).resolve().parents[1] / "docs" / "grading.md"


def table(content: dict[str, object]) -> str:
    """Markdown of results.json's problems; broken rules have no row, but are counted."""
    tests: list[dict[str, object]] = content["tests"]  # type: ignore[assignment]
    rows: list[tuple[object, ...]] = []
    for test in (test for test in tests if test["number"] != "rules"):
        points = (
            f"{test['score']:g} of {test['max_score']:g}" if "max_score" in test else test.get("status", "left out")
        )
        name, output = (str(test[key]).replace("|", "\\|") for key in ("name", "output"))
        rows.append((test["number"], name, points, output.removeprefix("left out: ")))
    broken = sum(test["number"] == "rules" for test in tests)
    most = sum(float(str(test.get("max_score", 0))) for test in tests)
    points = f"{content['score']:g} of {most:g}"
    rows.append(("all", f"static rules broken: {broken}", points, f"{content['execution_time']} s"))
    return markdown(("problem", "", "points", "measured, or why not"), rows)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path, metavar="results.json", help="what the grader wrote")
    args = parser.parse_args()
    if not args.results.is_file():
        raise cli.UserError(f"{args.results} is not there: python -m grader writes it")
    fill([TEXT], {"grades": table(json.loads(args.results.read_text(encoding="utf-8")))})


if __name__ == "__main__":
    cli.run(main, "grade_table.py")
