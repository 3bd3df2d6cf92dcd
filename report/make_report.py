"""Builds the reports that the courses collect, as PDFs at the repository's root.

    python report/make_report.py --id r01234567        # hw3_r01234567.pdf and the others whose numbers are there
    python report/make_report.py hw3 hw2               # these only

Texts: report/templates/*.typ (Typst, filled by Jinja2: << … >>). Every number comes from report/facts.py, that is from
checkpoints and the csv files of docs/results; a number that is not there ends with its name.
"""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import jinja2
    import networks
    import typst
    from facts import Facts, escape

    from dlcv.checkpoint import CODE, current_commit
    from dlcv.files import write_bytes

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = Path(__file__).resolve().parent / "templates"
FILES = {
    "hw3": "hw3_{id}.pdf",
    "hw2": "hw2_{id}.pdf",
    "eee7331": "eee7331.pdf",
    "cs7643": "cs7643-writeup.pdf",
    "tud": "tud.pdf",
}  # template → what the course calls it


def render(name: str, student: str) -> str:
    """The Typst source of a report. Raises UserError for a number or a figure that is not there."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined, autoescape=False,
        variable_start_string="<<", variable_end_string=">>", block_start_string="<%", block_end_string="%>",
        comment_start_string="<#", comment_end_string="#>", finalize=lambda value: value,
    )  # fmt: skip
    environment.filters["e"] = escape
    try:
        commit = current_commit((*CODE, "docs", "checkpoints", "report"))  # whatever the numbers and texts stand in
        source = environment.get_template(f"{name}.typ").render(
            facts=Facts(), networks=networks, student=student, commit=commit
        )
    except (jinja2.UndefinedError, KeyError) as error:
        raise cli.UserError(f"templates/{name}.typ asks for what is not there: {error}") from None
    for figure in re.findall(r"(?:fig|figs)\(([^)]*)\)", source):
        for file in re.findall(r'"([\w.]+\.png)"', figure):
            if not (ROOT / "report" / "figures" / file).is_file():
                raise cli.UserError(
                    f"report/figures/{file} is not there: the programs in report/ draw it from the runs"
                )
    return source


def build(name: str, student: str, out: Path) -> Path:
    """Writes one report and says where."""
    source = TEMPLATES / f".{name}.typ"  # beside the templates, whose paths it uses
    try:
        source.write_text(render(name, student), encoding="utf-8")
        pdf = typst.compile(str(source), root=str(ROOT))
    except typst.TypstError as error:
        raise cli.UserError(f"templates/{name}.typ does not compile: {error}") from None
    finally:
        source.unlink(missing_ok=True)
    path = out / FILES[name].format(id=student)
    write_bytes(path, pdf)
    return path


def main() -> int:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("reports", nargs="*", metavar="REPORT", help=f"of {', '.join(FILES)}; all if none is given")
    parser.add_argument("--id", default="studentID", help="your student ID (studentID)")
    parser.add_argument("--out", type=Path, default=ROOT, help="folder of the PDFs: the repository's root")
    args = parser.parse_args()
    if unknown := [name for name in args.reports if name not in FILES]:
        raise cli.UsageError(f"there is no report {unknown[0]}; one of {', '.join(FILES)}")
    if not re.fullmatch(r"\w+", args.id):
        raise cli.UsageError(f"--id {args.id!r}: letters and digits only")
    failed = 0
    for name in args.reports or FILES:
        try:
            print(build(name, args.id, args.out))
        except cli.UserError as error:
            if args.reports:
                raise
            print(f"{name}: {error}")
            failed = 1
    return failed


if __name__ == "__main__":
    cli.run(main, "make_report.py")
