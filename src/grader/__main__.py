"""Grades a repository as the courses do (DLCV 2020 homework 3, DLCV 2021 homework 2).

    python -m grader REPOSITORY --data hw3_data --out results/ # every wrapper, twice; points and why
    python -m grader --check                           # the minute before the deadline: what is committed
    python -m grader --class FOLDER --data hw3_data --out class/ # every repository in FOLDER, in parallel

Writes results.json (Gradescope), results.xml (JUnit) and prints a table. Exit code 0 whatever the score, 1 when grading
itself failed, 2 for bad use; --check ends with 3 when it has found something. What is graded is not trusted:
docs/grading.md says what is contained and what is not.
"""

import argparse
import sys
import time
from pathlib import Path

from dlcv import cli
from dlcv.data.layout import find_root
from grader import results, sandbox
from grader.check import check
from grader.courses import COURSES
from grader.repository import grade
from grader.rubric import Result


def parse() -> argparse.Namespace:
    parser = cli.ArgumentParser(
        prog="python -m grader", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("repository", nargs="?", type=Path, default=Path(), help="what to grade (default: .)")
    parser.add_argument("--data", type=Path, help="the courses' hw3_data with test csvs; without it, what needs none")
    parser.add_argument("--out", type=Path, default=Path("results/grade"), help="folder of the results")
    parser.add_argument("--course", nargs="+", choices=tuple(COURSES), help="by default those whose wrappers are there")
    parser.add_argument("--seconds", type=float, default=600.0, help="limit of one call (the courses': 600)")
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
    args = parser.parse_args()
    if args.seconds <= 0 or args.memory <= 0 or args.jobs < 1:
        raise cli.UsageError("--seconds, --memory and --jobs must be positive")
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

    flags = ["--seconds", str(args.seconds), "--memory", str(args.memory), *(["--network"] if args.network else [])]
    if args.data is not None:
        flags += ["--data", str(args.data.resolve())]
    if args.course:
        flags += ["--course", *args.course]
    if args.dask:
        from distributed import Client

        with Client(args.dask), joblib.parallel_config(backend="dask"):
            rows = grade_class(args.folder, args.out, flags, args.jobs)
    else:
        rows = grade_class(args.folder, args.out, flags, args.jobs)
    for row in rows:
        told = row["trouble"] or f"{row['score']:g} of {row['points']:g} points, {row['failed']} checks failed"
        print(f"{row['name']}: {told}")
    print(f"{args.out / 'class.csv'}, {args.out / 'class.html'}")
    return int(any(row["trouble"] for row in rows))


def warn() -> None:
    """Says before the first call that nothing contains it. A mistake of the user's is reported without this line."""
    if not sandbox.bubblewrap():
        print(
            "bubblewrap is not installed: what is graded can read and write as you can (docs/grading.md)",
            file=sys.stderr,
        )


def main() -> int:
    args = parse()
    root = data_root(args.data)
    if args.folder:
        return grade_class_command(args)
    limits = sandbox.Limits(args.seconds, int(args.memory * 2**30), network=args.network)
    if args.check:
        found = check(args.repository, limits, warn)
        for advice in found:
            print(f"{results.clean(advice.what)} → {results.clean(advice.remedy)}")
        print(
            f"{len(found)} findings" if found else "nothing found: rules, sample and files are as the course wants them"
        )
        return 3 if found else 0
    start = time.monotonic()

    def tell(result: Result) -> None:
        print(f"{result.problem}, {results.clean(result.title)}: {result.status}", file=sys.stderr, flush=True)

    graded = grade(args.repository, root, limits, args.course, tell, args.hide, warn)
    seconds = time.monotonic() - start
    results.write_junit(args.out / "results.xml", graded)
    results.write_gradescope(args.out / "results.json", graded, seconds)
    print(results.table(graded.results))
    print(f"{graded.score:g} of {graded.points:g} points that can be graded here, {seconds:.0f} s; {args.out}")
    for text in graded.failures:
        print(text, file=sys.stderr)
    return int(bool(graded.failures))


if __name__ == "__main__":
    cli.run(main, "grader")
