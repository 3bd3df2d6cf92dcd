"""Builds the zip that Gradescope takes as an autograder.

python -m dlcv.grade.bundle gradescope.zip --data hw3_data
"""

import argparse
from pathlib import Path

from dlcv import cli
from dlcv.data.layout import find_root
from dlcv.files import write_bytes, zip_bytes

ROOT = Path(__file__).resolve().parents[3]
SCRIPTS = Path(__file__).resolve().parent / "gradescope"
PARTS = ("src/dlcv/**/*.py", "requirements.txt", "samples/**/*", "checkpoints/digit_classifier.pth")
TEST_DATA = ("digits/*/test/*", "digits/*/test.csv", "face/test/*")


def contents(data: Path | None) -> dict[str, Path]:
    """Name in the zip → file: the two scripts at the top, what the grader needs, the test data."""
    found = {path.name: path for path in sorted(SCRIPTS.iterdir()) if path.is_file()}
    for pattern in PARTS:
        files = sorted(path for path in ROOT.glob(pattern) if path.is_file())
        if not files:
            raise cli.UserError(f"{ROOT / pattern} is not there: build the bundle from a whole clone")
        found |= {path.relative_to(ROOT).as_posix(): path for path in files}
    if data is not None:
        root = find_root(data, "digits")
        for pattern in TEST_DATA:
            files = sorted(path for path in root.glob(pattern) if path.is_file())
            found |= {f"hw3_data/{path.relative_to(root).as_posix()}": path for path in files}
    return found


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT.zip")
    parser.add_argument("--data", type=Path, help="the courses' hw3_data, whose test parts go into the bundle")
    args = parser.parse_args()
    if args.out.suffix != ".zip":
        raise cli.UsageError(f"{args.out} must end in .zip")
    files = contents(args.data)
    content = zip_bytes(
        {name: path.read_bytes() for name, path in files.items()},
        [name for name, path in files.items() if path.parent == SCRIPTS],
    )
    write_bytes(args.out, content)
    held = "with the test data" if args.data else "without data: it grades what needs none"
    print(f"{args.out}: {len(files)} files, {held}")


if __name__ == "__main__":
    cli.run(main, "dlcv.grade.bundle")
