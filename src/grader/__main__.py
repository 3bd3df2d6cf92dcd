"""Grades a repository as the courses do (DLCV 2020 homework 3, DLCV 2021 homework 2).

    python -m grader REPOSITORY --data hw3_data --out results/ # every wrapper, twice; points and why
    python -m grader --check                           # the minute before the deadline: what is committed
    python -m grader --class FOLDER --data hw3_data --out class/ # every repository in FOLDER, in parallel

Writes results.json (Gradescope), results.xml (JUnit) and prints a table. Exit code 0 whatever the score, 1 when grading
itself failed, 2 for bad use; --check ends with 3 when it has found something. What is graded is not trusted:
docs/grading.md says what is contained and what is not.
"""

import argparse
import math
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from dlcv import cli
from dlcv.data.layout import find_root
from grader import results, sandbox
from grader.check import check
from grader.courses import COURSES
from grader.repository import Graded, grade
from grader.rubric import Result

MOST_CALLS = 32  # of one repository's wrappers: eight, two of each course's with three targets, each called twice


def parse() -> argparse.Namespace:
    parser = cli.ArgumentParser(
        prog="python -m grader", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repository", nargs="?", type=Path, default=Path(), help="what to grade (default: .)")
    parser.add_argument("--data", type=Path, help="the courses' hw3_data with test csvs; without it, what needs none")
    parser.add_argument("--out", type=Path, default=Path("results/grade"), help="folder of the results")
    parser.add_argument("--course", nargs="+", choices=tuple(COURSES), help="by default those whose wrappers are there")
    parser.add_argument("--seconds", type=float, default=600.0, help="limit of one call (the courses': 600)")
    parser.add_argument(
        "--total", type=float, help="limit of one repository, seconds; what is not graded by then is left out"
    )
    parser.add_argument("--memory", type=float, default=8.0, help="limit of one call, GiB (8)")
    parser.add_argument(
        "--network", action="store_true", help="calls may reach the network (bubblewrap keeps them off)"
    )
    parser.add_argument(
        "--hide", type=Path, nargs="+", default=[], help="folders that what is graded must find empty (bubblewrap)"
    )
    parser.add_argument("--check", action="store_true", help="static rules, bundled sample, collected files")
    parser.add_argument("--class", dest="folder", type=Path, metavar="FOLDER", help="grade every repository in FOLDER")
    parser.add_argument("--jobs", type=int, default=2, help="repositories at a time, with --class (2)")
    parser.add_argument(
        "--dask", metavar="ADDRESS", help="with --class: scheduler of a Dask cluster that shares the files"
    )
    parser.add_argument("--die-with-parent", action="store_true", help=argparse.SUPPRESS)  # for --class
    args = parser.parse_args()
    positive = (args.seconds, args.memory, args.jobs, 1 if args.total is None else args.total)
    if not all(0 < number < math.inf for number in positive):
        raise cli.UsageError("--seconds, --total, --memory and --jobs must be positive")
    if args.dask and not args.folder:
        raise cli.UsageError("--dask goes with --class")
    return args


def data_root(data: Path | None) -> Path | None:
    """The folder that holds digits/ or face/. Raises UserError when `data` holds neither."""
    if data is None:
        return None
    try:
        return find_root(data, "digits")
    except cli.UserError:
        return find_root(data, "face")


def grade_class_command(args: argparse.Namespace) -> int:
    import joblib

    from grader.classroom import grade_class

    total = args.total or args.seconds * MOST_CALLS + 600  # copying, checking and scoring, too
    flags = ["--seconds", str(args.seconds), "--memory", str(args.memory), *(["--network"] if args.network else [])]
    if args.data is not None:
        flags += ["--data", str(args.data.resolve())]
    if args.course:
        flags += ["--course", *args.course]
    if args.dask:
        try:
            from distributed import Client
        except ModuleNotFoundError:
            raise cli.UserError("--dask needs the package distributed: pip install distributed") from None

        with Client(args.dask), joblib.parallel_config(backend="dask"):
            rows = grade_class(args.folder, args.out, flags, args.jobs, total)
    else:
        rows = grade_class(args.folder, args.out, flags, args.jobs, total)
    for row in rows:
        outcome = row["trouble"] or f"{row['score']:g} of {row['points']:g} points, {row['failed']} checks failed"
        print(f"{row['name']}: {outcome}")
    print(f"{args.out / 'class.csv'}, {args.out / 'class.html'}")
    troubles = [row for row in rows if row["trouble"]]
    if troubles:
        first = f"{troubles[0]['name']}: {troubles[0]['trouble']}"
        raise cli.UserError(f"{len(troubles)} of {len(rows)} repositories could not be graded; {first}")
    return 0


def warn() -> None:
    """Says before the first call that nothing contains it. A mistake of the user's is reported without this line."""
    if not sandbox.bubblewrap():
        print(
            "bubblewrap is not installed: what is graded can read and write as you can (docs/grading.md)",
            file=sys.stderr,
        )


def main() -> int:
    before = signal.signal(signal.SIGTERM, _end)
    try:
        return command(parse())
    finally:
        signal.signal(signal.SIGTERM, before)


def command(args: argparse.Namespace) -> int:
    root = data_root(args.data)
    if args.folder:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # its graders end with it
        return grade_class_command(args)
    if args.die_with_parent:
        sandbox.die_with_parent()
    until = time.monotonic() + args.total if args.total else math.inf
    limits = sandbox.Limits(args.seconds, int(args.memory * 2**30), network=args.network, until=until)
    if args.check:
        findings = check(args.repository, limits, warn)
        for advice in findings:
            print(f"{results.clean(advice.what)} → {results.clean(advice.remedy)}")
        print(
            f"{len(findings)} findings"
            if findings
            else "nothing found: rules, sample and files are as the course wants them"
        )
        return 3 if findings else 0
    start, so_far = time.monotonic(), list[Result]()

    def write(graded: Graded) -> None:
        results.write_junit(args.out / "results.xml", graded)
        results.write_gradescope(args.out / "results.json", graded, time.monotonic() - start)

    def write_so_far() -> None:
        """A platform may end this at any time: by then all that was graded is on disk."""
        write(Graded(so_far, [], sandbox.bubblewrap() is not None, whole=False))

    def begin() -> None:
        warn()
        write_so_far()

    def tell(result: Result) -> None:
        so_far.append(result)
        print(f"{result.problem}, {results.clean(result.title)}: {result.status}", file=sys.stderr, flush=True)
        write_so_far()

    graded = grade(args.repository, root, limits, args.course, tell, args.hide, begin)
    write(graded)
    print(results.table(graded.results))
    seconds = time.monotonic() - start
    print(f"{graded.score:g} of {graded.points:g} points that can be graded here, {seconds:.0f} s; {args.out}")
    for text in graded.failures:
        print(text, file=sys.stderr)
    return int(bool(graded.failures))


def _end(number: int, frame: object) -> NoReturn:
    """Ends as after an error, so that what was started is ended and temporary folders are removed.

    Once: the kernel tells of a parent's end thread by thread, and a second signal would break the cleaning off.
    """
    signal.signal(number, signal.SIG_IGN)
    print(f"grader: ended by {signal.Signals(number).name}", file=sys.stderr)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    cli.run(main, "grader")
