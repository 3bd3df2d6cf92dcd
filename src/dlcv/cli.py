"""How every command of this repository speaks to its user: mistakes get one line, and an exit code."""

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn


class UserError(Exception):
    """Something the user can put right; the message says how. Exit code 1."""

    exit_code = 1


class UsageError(UserError):
    """The command was called in a way that it does not understand. Exit code 2."""

    exit_code = 2


class ArgumentParser(argparse.ArgumentParser):
    """argparse, but a mistake is one line (no usage block) and becomes a UsageError."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (--help tells more)")


def run(main: Callable[[], int | None], prog: str) -> NoReturn:
    """Calls `main` and exits with its code; a UserError becomes the line `prog: message` on stderr.

    Where the command line says --prog NAME, as the wrappers do, that name stands there instead.
    """
    if "--prog" in sys.argv[:-1]:
        prog = sys.argv[sys.argv.index("--prog") + 1]
    try:
        code = main()
        sys.stdout.flush()  # a full disk or closed pipe shows here, not as a traceback at exit
    except UserError as error:
        message = " ".join(str(error).split())
        print(f"{prog}: {message}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except KeyboardInterrupt:
        print(f"{prog}: interrupted", file=sys.stderr)
        sys.exit(130)
    sys.exit(code or 0)
