"""dlcv.cli: usage, names on a terminal, streams, signals, progress; the --help of wrappers and inference scripts."""

import io
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPO, SAMPLES, assert_one_line, call, run_script

from dlcv import cli

WRAPPERS = sorted(path.name for path in REPO.glob("hw*.sh"))
SCRIPTS = sorted(path.name for path in (REPO / "inference").glob("*.py"))


def programs() -> list[str]:
    """The words that call each program: shell scripts at the top, scripts of all rooms, modules for `python -m`."""
    python = [
        path for room in ("train", "inference", "experiments", "report", "src") for path in (REPO / room).rglob("*.py")
    ]
    python = [path.relative_to(REPO) for path in python if '\nif __name__ == "__main__":' in path.read_text()]
    scripts = [path.name for path in REPO.glob("*.sh")]
    scripts += [path.as_posix() for path in python if path.parts[0] != "src"]
    modules = (".".join(path.relative_to("src").with_suffix("").parts) for path in python if path.parts[0] == "src")
    return sorted(scripts + ["-m " + module.removesuffix(".__main__") for module in modules])


# Put on PYTHONPATH as sitecustomize.py: says which packages are imported that a --help can do without.
WATCHER = """
import sys
class Watcher:
    def find_spec(name, path=None, target=None):
        if name in ("torch", "torchvision", "pandas", "sklearn", "scipy", "matplotlib"):
            print(f"imports {name}", file=sys.stderr)
sys.meta_path.insert(0, Watcher)
"""

COMMAND = f"""
import os, signal, sys, time
sys.path.insert(0, {str(REPO / "src")!r})
from dlcv import cli

def main():
    parser = cli.ArgumentParser()
    parser.add_argument("--seed", type=int)
    parser.add_argument("-k")
    parser.add_argument("words", nargs="*")
    args = parser.parse_args()
    BODY

cli.run(main, "command")
"""


def command(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "command.py"
    path.write_text(COMMAND.replace("BODY", body))
    return path


@pytest.mark.parametrize("program", programs())
@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help(program: str, word: str, tmp_path: Path) -> None:
    """Of every program: usage, exit code 0, nothing written, no large package imported; all options have a text."""
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(WATCHER)
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {"PYTHONPATH": f"{tmp_path / 'path'}{os.pathsep}{REPO / 'src'}", "PYTHONDONTWRITEBYTECODE": "1"}
    module = program.startswith("-m ")
    words = program.split() if module else [str(REPO / program)]
    result = call("bash" if program.endswith(".sh") else "python3", *words, word, cwd=empty, env=environment)
    assert result.returncode == 0 and list(empty.iterdir()) == []
    assert result.stderr == "" or program in ("-m dlcv.grade", "-m dlcv.submit")  # former names: which the new ones are
    assert "imports" not in result.stderr
    start = f"bash {program}" if program.startswith("hw") else ""
    assert result.stdout.startswith(f"usage: {start}") and (module or Path(program).name in result.stdout)
    entries = re.findall(r"(?m)^  (?=\S)(.*(?:\n   .*)*)", result.stdout[result.stdout.find("options:") :])
    without = [entry for entry in entries if len(re.split(r"\s{2,}", entry.strip(), maxsplit=1)) < 2]
    assert not without, "no help text: " + ", ".join(without)


def test_help_without_the_packages(tmp_path: Path) -> None:
    """A Python that has none; a clone whose path holds a colon. Other words end in a line that says what to install."""
    clone = tmp_path / "a:b"
    for folder in ("inference", "src"):
        shutil.copytree(REPO / folder, clone / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} -I -S -B "$@"\n')
    (bare / "python3").chmod(0o755)
    environment = {"PATH": f"{bare}:/usr/bin:/bin"}
    for name in WRAPPERS:
        shutil.copy(REPO / name, clone)

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(list(map(str, words)), capture_output=True, text=True, env=environment, cwd=bare)

    for name in WRAPPERS:
        result = run("bash", clone / name, "--help")
        assert result.returncode == 0 and result.stdout.startswith(f"usage: bash {name} "), result.stderr
    for name in SCRIPTS:
        result = run(bare / "python3", clone / "inference" / name, "--help")
        assert result.returncode == 0 and result.stdout.startswith("usage"), result.stderr
    result = run("bash", clone / "hw3_p3.sh", SAMPLES, "svhn", "o.csv")
    assert_one_line(result, 1, "hw3_p3.sh: No module named", "make setup", "activate")
    assert [path.name for path in bare.iterdir()] == ["python3"]


def test_a_clone_is_its_own_code(tmp_path: Path) -> None:
    """Whatever is installed, or on PYTHONPATH: a script takes the modules that lie beside it."""
    clone = tmp_path / "a:b"
    (clone / "src" / "dlcv").mkdir(parents=True)
    shutil.copytree(REPO / "inference", clone / "inference")
    shutil.copy(REPO / "hw3_p1.sh", clone)
    (clone / "src" / "dlcv" / "__init__.py").write_text("")
    (clone / "src" / "dlcv" / "cli.py").write_text("def run(*_):\n    print('mine')\n")
    result = call("bash", clone / "hw3_p1.sh", env={"PYTHONPATH": str(REPO / "src")})
    assert result.stdout == "mine\n", result.stderr


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["--seed", "-1", "a", "-"], "-1 None ['a', '-']"),
        (["--se", "3", "-kx", "--", "-a", "--help"], "3 x ['-a', '--help']"),
        (["-1", "-.5"], "None None ['-1', '-.5']"),
    ],
)
def test_words_that_begin_with_a_dash(tmp_path: Path, words: list[str], output: str) -> None:
    script = command(tmp_path, "print(args.seed, args.k, args.words)")
    assert run_script("python3", script, *words).stdout == f"{output}\n"


@pytest.mark.parametrize("word", ["-x", "--no", "-help.png", "--helpers", "-ä/b.png", "--seeds=3"])
def test_paths_that_begin_with_a_dash_are_refused(tmp_path: Path, word: str) -> None:
    result = run_script("python3", command(tmp_path, "print('called')"), "a", word)
    assert_one_line(result, 2, f"{word}: no such option; a path that begins with - is written ./{word}")


NASTY = ["\x1b[31mred", "bell\x07", "two\nlines", "back\rto the start", "\x9b1m", "byte\udcff", "\u202egnp.exe", "\0"]


@pytest.mark.parametrize("name", NASTY)
def test_names_on_a_terminal_are_harmless(name: str) -> None:
    shown = cli.printable(name)
    assert shown.isprintable() and shown.encode() and "\\" in shown


def test_plain_names_stay_as_they_are() -> None:
    for name in ("a, b.png", "Zoë Müller.png", "作業.png", "back\\slash"):
        assert cli.printable(name) == name
    assert cli.printable("\udcff\x1b") == "\\xff\\x1b"


def test_nasty_names_in_messages(tmp_path: Path) -> None:
    """Of a folder, of an image in it, of the output: the terminal gets visible characters only."""
    for name in NASTY[:-1]:
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"{name}.png").write_bytes(b"no image")
        for words in ([folder, "svhn", "o.csv"], [folder / "none", "svhn", "o.csv"], [SAMPLES, "svhn", folder]):
            result = run_script("bash", REPO / "hw3_p3.sh", *words, cwd=tmp_path)
            assert_one_line(result, 1, "hw3_p3.sh: ")
            assert result.stderr.rstrip("\n").isprintable()
    assert not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "utf-8"])
def test_printing_never_ends_a_command(tmp_path: Path, encoding: str) -> None:
    script = command(tmp_path, "print('→ ä \\udcff')")
    result = subprocess.run(
        [sys.executable, script], capture_output=True, env=os.environ | {"PYTHONIOENCODING": encoding}
    )
    assert result.returncode == 0 and result.stderr == b""
    assert result.stdout == {
        "latin-1": b"\\u2192 \xe4 \\udcff\n", "ascii": b"\\u2192 \\xe4 \\udcff\n", "utf-8": "→ ä \\udcff\n".encode()
    }[encoding]  # fmt: skip


def shell(line: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line, "bash", *map(str, words)], capture_output=True, text=True)


def test_streams_that_are_closed_or_full(tmp_path: Path) -> None:
    printing = command(tmp_path, "print('text')")
    full = shell('"$@" > /dev/full', sys.executable, printing)
    assert_one_line(full, 1, "command: ", "No space left on device")
    closed = shell('"$@" >&-', sys.executable, printing)
    assert_one_line(closed, 1, "command: ", "Bad file descriptor")
    assert shell('"$@" 2>&-', sys.executable, printing).stdout == "text\n"
    # What is written to a file never lands in the place of a closed stream, nor the other way round.
    writing = tmp_path / "writing.py"
    writing.write_text(
        COMMAND.replace("BODY", "files.write_text(Path(args.words[0]), 'text')").replace(
            "from dlcv import cli", "from pathlib import Path\nfrom dlcv import cli, files"
        )
    )
    for streams in (">&-", "<&-", "<&- >&-", "<&- >&- 2>&-"):
        result = shell(f'"$@" {streams}', sys.executable, writing, tmp_path / "o.txt")
        assert result.returncode == 0 and result.stderr == "" and (tmp_path / "o.txt").read_text() == "text"
        (tmp_path / "o.txt").unlink()
    assert shell('"$@" | true', sys.executable, command(tmp_path, "print('x' * 1_000_000)")).stderr == ""


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise MemoryError", "there is not enough memory: end other programs"),
        ("raise RuntimeError('DefaultCPUAllocator: can\\'t allocate memory: 9 bytes')", "not enough memory (Default"),
        ("raise ImportError('x.so: failed to map segment from shared object')", "not enough memory"),
        ("open('/none/such')", "/none/such: No such file or directory"),
        ("import no_such_package", "No module named 'no_such_package': install the packages"),
        ("raise KeyboardInterrupt", "interrupted"),
        ("raise cli.UserError('a\\n  b')", "command: a b"),
    ],
)
def test_ends_that_are_no_fault_of_the_program(tmp_path: Path, body: str, message: str) -> None:
    code = 130 if "Keyboard" in body else 1
    assert_one_line(run_script("python3", command(tmp_path, body)), code, "command: ", message)


def test_a_fault_of_the_program_shows_where_it_is(tmp_path: Path) -> None:
    result = run_script("python3", command(tmp_path, "raise RuntimeError('shapes')"))
    assert result.returncode == 1 and "Traceback" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_clean_up(tmp_path: Path, number: signal.Signals) -> None:
    body = "\n    ".join(["try:", "    os.kill(os.getpid(), int(args.words[0]))", "    time.sleep(5)", "finally:"])
    script = command(tmp_path, f"{body}\n        print('clean', flush=True)")
    before = signal.signal(number, signal.SIG_DFL)  # under nohup a hang-up is ignored, and stays so
    try:
        result = run_script("python3", script, int(number))
    finally:
        signal.signal(number, before)
    assert_one_line(result, 128 + number, f"command: ended by {number.name}")
    assert result.stdout == "clean\n"
    ignored = shell('trap "" HUP; "$@"', sys.executable, command(tmp_path, "os.kill(os.getpid(), signal.SIGHUP)"))
    assert ignored.returncode == 0  # nohup


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_within_an_import_is_not_lost(tmp_path: Path, number: signal.Signals) -> None:
    """Packages import optional ones with a bare `except:`, which catches whatever a signal's handler raises."""
    package = f"package_{number.name}"  # this process imports each name once
    (tmp_path / f"{package}.py").write_text(
        "import os, time\ntry:\n    os.kill(os.getpid(), SIGNAL)\n    time.sleep(0.3)\nexcept:\n    pass\n".replace(
            "SIGNAL", str(int(number))
        )
    )
    result = run_script("python3", command(tmp_path, f"import {package}; time.sleep(5); print('lost')"))
    code, message = (130, "interrupted") if number == signal.SIGINT else (143, "ended by SIGTERM")
    assert_one_line(result, code, f"command: {message}")
    assert result.stdout == ""


def test_enough_memory_is_said_by_the_limit_of_the_shell(tmp_path: Path) -> None:
    out = tmp_path / "o.csv"
    line = 'ulimit -v 700000; exec bash "$@"'
    result = shell(line, REPO / "hw3_p3.sh", SAMPLES, "svhn", out)
    assert_one_line(result, 1, "hw3_p3.sh: there is not enough memory")
    assert not out.exists()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 2))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(cli.progress(range(4), 4, "faces")) == [0, 1, 2, 3]
    shown = sys.stderr.getvalue().split("\r")  # type: ignore[attr-defined]
    assert shown[1].startswith("faces: 1 of 4, about 6 s left") and shown[3].startswith("faces: 3 of 4, about 2 s left")
    assert shown[-1] == "" and not shown[-2].strip()  # it vanishes
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert list(cli.progress(range(4), 4, "")) == [0, 1, 2, 3] and sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


def test_a_wrapper_shows_progress_on_a_terminal_and_none_in_a_pipe(tmp_path: Path) -> None:
    """(The second: test_sampling.py and test_predict.py, whose calls print nothing.)"""
    script = command(tmp_path, "[time.sleep(0.3) for _ in cli.progress(range(8), 8, 'samples')]")
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, script], stderr=theirs)
    assert process.wait(60) == 0
    os.close(theirs)
    assert b"samples: " in os.read(ours, 10_000)
    os.close(ours)
