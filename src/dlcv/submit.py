"""The former name of `python -m grader.submit`, for scripts that still use it; it starts that and imports nothing."""

import os
import sys


def main() -> None:
    print("python -m dlcv.submit is now python -m grader.submit", file=sys.stderr)
    os.execv(sys.executable, [sys.executable, "-m", "grader.submit", *sys.argv[1:]])


if __name__ == "__main__":
    main()
