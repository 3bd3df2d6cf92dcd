"""The former name of `python -m grader.submit`, for notes and scripts that still call it so. Nothing is imported from there."""

import os
import sys


def main() -> None:
    print("python -m dlcv.submit is now python -m grader.submit", file=sys.stderr)
    os.execv(sys.executable, [sys.executable, "-m", "grader.submit", *sys.argv[1:]])


if __name__ == "__main__":
    main()
