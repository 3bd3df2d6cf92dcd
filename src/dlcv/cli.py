"""How every command of this repository speaks to its user: usage, progress, one line for a mistake, an exit code."""

import argparse
import io
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NoReturn, TypeVar

Item = TypeVar("Item")
INSTALL = "install the packages of requirements.txt (make setup) and use that environment: . .venv/bin/activate"


class UserError(Exception):
    """Something the user can put right; the message says how. Exit code 1."""

    exit_code = 1


class UsageError(UserError):
    """The command was called in a way that it does not understand. Exit code 2."""

    exit_code = 2


class Ended(BaseException):
    """A signal asked the process to end. Raised wherever the program is, so that every temporary file is removed."""


class ArgumentParser(argparse.ArgumentParser):
    """argparse, but a mistake is one line (no usage block) and becomes a UsageError; descriptions keep their lines."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter} | options)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (--help tells more)")

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """As argparse's, but a path that begins with "-" gets an answer that says how to write it."""
        words = list(sys.argv[1:] if args is None else args)
        for word in words[: words.index("--") if "--" in words else None]:
            if re.match(r"-[^\d.]", word) and not self._is_option(word):  # -1 and -.5 are numbers
                raise UsageError(
                    f"{word}: no such option; a path that begins with - is written ./{word} (--help tells more)"
                )
        return super().parse_args(words, namespace)

    def _is_option(self, word: str) -> bool:
        name = word.split("=", 1)[0]
        for option, action in self._option_string_actions.items():
            long, takes_value = option.startswith("--"), action.nargs != 0
            if name == option or (option.startswith(name) if long else takes_value and word.startswith(option)):
                return True
        return False

    def parse_words(self, **helps: str) -> tuple[argparse.Namespace, list[str]]:
        """The options, and one word for each of `helps` (name=help text of a positional argument).

        Raises UsageError, with the usage, which argparse's own message lacks, for fewer or more words.
        """
        for name, text in helps.items():
            self.add_argument(name, nargs="?", help=text)
        self.add_argument("more", nargs="*", help=argparse.SUPPRESS)
        args = self.parse_args()
        words = [word for name in helps if (word := getattr(args, name)) is not None] + args.more
        if len(words) != len(helps):
            arguments = "1 argument" if len(helps) == 1 else f"{len(helps)} arguments"
            raise UsageError(f"expected {arguments}, got {len(words)}; {' '.join(self.format_usage().split())}")
        return args, words


def script_parser(script: str, usage: str, description: str) -> ArgumentParser:
    """The parser of inference/`script`, which the wrappers call with --prog hw….sh: then the help is the wrapper's."""
    name = called_as(script)
    call = f"bash {name}" if name.endswith(".sh") else f"python inference/{name}"
    parser = ArgumentParser(usage=f"{call} {usage}", description=description)
    parser.add_argument("--prog", help=argparse.SUPPRESS)
    return parser


def sampling_arguments(model: str, description: str, out: str) -> tuple[Path | None, Path]:
    """The command line [--checkpoint FILE] OUT of inference/sample_`model`.py; None is the published checkpoint."""
    parser = script_parser(f"sample_{model}.py", out, description)
    parser.add_argument(
        "--checkpoint", type=path, metavar="FILE", help=f"weights to use instead of checkpoints/{model}.pth"
    )
    args, words = parser.parse_words(**{out.split()[0]: "where the samples are written"})
    return args.checkpoint, path(words[0])


def called_as(script: str) -> str:
    """The name that messages begin with: the word after --prog, where a wrapper passes its own, or `script`."""
    return sys.argv[sys.argv.index("--prog") + 1] if "--prog" in sys.argv[:-1] else script


def path(word: str) -> Path:
    """An argument as a path; an empty one, as from an unset variable, is a mistake. Raises UsageError."""
    if not word:
        raise UsageError("a path is empty (is a variable not set?)")
    return Path(word)


def printable(text: str) -> str:
    """Text for a terminal: what is no visible character (control characters, escape sequences, bytes that are not
    UTF-8, marks that turn the direction of writing) is written as an escape such as \\x1b."""

    def escape(character: str) -> str:
        if "\udc80" <= character <= "\udcff":  # how Python keeps a byte that is not UTF-8
            return f"\\x{ord(character) - 0xDC00:02x}"
        return character.encode("unicode_escape").decode()

    return "".join(character if character.isprintable() else escape(character) for character in text)


def progress(items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
    """Yields the items; on a terminal, a line on stderr counts them after the first second and vanishes at the end.

    Nothing is shown where `what` is empty or stderr is no terminal.
    """
    if not what or sys.stderr is None or not sys.stderr.isatty():
        yield from items
        return
    start = shown = time.monotonic()
    line = ""
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - start > 1 and now - shown > 0.2 and done < total:
            left = (now - start) / done * (total - done)
            line = f"{what}: {done:,} of {total:,}, about {left:.0f} s left".ljust(len(line))
            print(f"\r{line}", end="", file=sys.stderr, flush=True)
            shown = now
    if line:
        print(f"\r{' ' * len(line)}\r", end="", file=sys.stderr, flush=True)


class _Anything(type):
    """What `Placeholder` answers to: any name in it, any call, any index give Placeholder again."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Placeholder

    def __call__(cls, *_: Any, **__: Any) -> Any:
        return Placeholder

    def __getitem__(cls, _: Any) -> Any:
        return Placeholder


class Placeholder(metaclass=_Anything):
    """Whatever a package that is not loaded would hold: it can be imported, subclassed, and used as a decorator."""


class _Placeholders(MetaPathFinder, Loader):
    """Gives an empty module for each package that is neither Python's own nor one of this clone's."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        top = name.partition(".")[0]
        folders = (Path(__file__).resolve().parents[1], *map(Path, sys.path[:2]))  # src, and the script's
        ours = any((folder / top).is_dir() or (folder / f"{top}.py").is_file() for folder in folders)
        return None if ours or top in sys.stdlib_module_names else ModuleSpec(name, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        module.__getattr__ = lambda name: getattr(Placeholder, name)  # type: ignore[method-assign]


@contextmanager
def packages_needed(usage: str | None) -> Iterator[None]:
    """Around a script's imports: where a package is missing, a line says what to do.

    With --help the packages are not loaded at all: torch alone takes seconds, and the help needs none of them. Where
    a script cannot do without, it shows `usage`, its docstring.
    """
    if not {"-h", "--help"} & set(sys.argv[1:]):
        try:
            yield
        except ModuleNotFoundError as error:
            sys.exit(f"{Path(sys.argv[0]).name}: {error}: {INSTALL}")
        return
    finder = _Placeholders()
    sys.meta_path.insert(0, finder)
    try:
        yield
    except (AttributeError, ImportError, TypeError):
        print(f"usage of {Path(sys.argv[0]).name}:\n\n{usage}")
        sys.exit(0)


def run(main: Callable[[], int | None], prog: str) -> NoReturn:
    """Calls `main` and exits with its code; a UserError becomes the line `prog: message` on stderr.

    Where the command line says --prog NAME, as the wrappers do, NAME replaces `prog`. Other ends that are no fault of
    the program become such a line, too: a package that is not installed, no memory, a full disk, a signal.
    """
    prog = called_as(prog)
    _prepare_streams()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):  # nohup's stays ignored
            signal.signal(number, _end)
    message = ""
    try:
        code = main() or 0
    except UserError as error:
        code, message = error.exit_code, _told_once(str(error))
    except KeyboardInterrupt:
        code, message = 130, _told_once("interrupted")
    except Ended as end:
        code, message = 128 + end.args[0], _told_once(f"ended by {signal.Signals(end.args[0]).name}")
    except ModuleNotFoundError as error:
        code, message = 1, f"{error}: {INSTALL}"
    except (MemoryError, RuntimeError, ImportError) as error:
        if not _is_lack_of_memory(error):
            raise
        reason = f" ({' '.join(str(error).split())[:100]})" if str(error) else ""
        code, message = 1, f"there is not enough memory{reason}: end other programs, or raise the limit (ulimit -v)"
    except BrokenPipeError:
        code = 1  # `| head` has seen enough: no message
    except OSError as error:
        code, message = 1, f"{error.filename or 'cannot read or write'}: {error.strerror or error}"
    signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        sys.stdout.flush()  # a full disk or a closed pipe shows here, not as a traceback at exit
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            message = message or f"cannot write to standard output: {error.strerror}"
        sys.stdout, code = None, code or 1  # type: ignore[assignment] # or the interpreter tries once more
    if message:
        print(f"{prog}: {printable(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(code)


def _told_once(message: str) -> str:
    """The message; "" in all but the first of torchrun's processes on a machine, since all fail in the same way."""
    return "" if "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("LOCAL_RANK") != "0" else message


def _end(number: int, frame: FrameType | None) -> None:
    """Ends the program by an exception, but never within an import: packages have bare `except:` there."""
    caller = frame
    while caller is not None:
        if caller.f_code.co_filename.startswith("<frozen importlib"):
            signal.signal(signal.SIGALRM, lambda _, frame: _end(number, frame))
            signal.setitimer(signal.ITIMER_REAL, 0.1)  # and once more then
            return
        caller = caller.f_back
    raise KeyboardInterrupt if number == signal.SIGINT else Ended(number)


def _prepare_streams() -> None:
    """Makes printing safe from characters that cannot be encoded, and keeps closed standard streams unusable.

    The number of a closed stream (`>&-`) would otherwise go to the next file that is opened, and what is printed into
    that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        unusable = os.O_WRONLY if number == 2 else os.O_RDONLY  # what is printed fails; messages about it do not
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, unusable), True)
        if number and getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, unusable), "w", encoding="utf-8"))
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name, an arrow: whatever the terminal's encoding


def _is_lack_of_memory(error: BaseException) -> bool:
    signs = ("allocate memory", "not enough memory", "failed to map segment", "can't start new thread", "bad_alloc")
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in signs)
