"""Builds the zip that Gradescope takes as an autograder.

python -m grader.bundle gradescope.zip --data hw3_data
"""

import re
import tomllib
from pathlib import Path

from dlcv import cli
from dlcv.data.layout import find_root
from dlcv.files import write_bytes, zip_bytes
from grader.submit import ROOT, reached

SCRIPTS = Path(__file__).resolve().parent / "gradescope"
PARTS = ("samples/svhn/*", "samples/svhn.csv", "checkpoints/MANIFEST", "checkpoints/digit_classifier.pth")
TEST_DATA = ("digits/*/test/*", "digits/*/test.csv", "face/test/*")


def pinned() -> str:
    """The lines of requirements.txt that inference and the grader need: what pyproject.toml names, at our versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["grader"]]
    names = {re.split(r"[<>=\[ ]", line)[0] for line in wanted}
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return "".join(f"{line}\n" for line in lines if line.split("==")[0] in names)


def contents(data: Path | None) -> dict[str, bytes]:
    """Name in the zip → bytes: the two scripts at the top, what the grader needs, the test data."""
    files = {path.name: path for path in sorted(SCRIPTS.iterdir()) if path.is_file()}
    files |= {path.as_posix(): ROOT / path for path in reached(["src/grader/__main__.py"])}
    for pattern in PARTS:
        paths = sorted(path for path in ROOT.glob(pattern) if path.is_file())
        if not paths:
            raise cli.UserError(f"{ROOT / pattern} is not there: build the bundle from a whole clone")
        files |= {path.relative_to(ROOT).as_posix(): path for path in paths}
    if data is not None:
        root = find_root(data, "digits")
        for pattern in TEST_DATA:
            paths = sorted(path for path in root.glob(pattern) if path.is_file())
            files |= {f"hw3_data/{path.relative_to(root).as_posix()}": path for path in paths}
    return {"requirements.txt": pinned().encode()} | {name: path.read_bytes() for name, path in files.items()}


def main() -> None:
    parser = cli.ArgumentParser(prog="python -m grader.bundle", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT.zip", help="the zip to write")
    parser.add_argument("--data", type=Path, help="the courses' hw3_data, whose test parts go into the bundle")
    args = parser.parse_args()
    if args.out.suffix != ".zip":
        raise cli.UsageError(f"{args.out} must end in .zip")
    files = contents(args.data)
    write_bytes(args.out, zip_bytes(files, [name for name in files if "/" not in name and (SCRIPTS / name).is_file()]))
    held = "with the test data" if args.data else "without data: it grades what needs none"
    print(f"{args.out}: {len(files)} files, {held}")


if __name__ == "__main__":
    cli.run(main, "grader.bundle")
