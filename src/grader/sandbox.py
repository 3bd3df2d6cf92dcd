"""Runs a command that nobody trusts: limits of time, memory and output, and nothing of it is left afterwards.

What this holds back, and what it does not, stands in docs/grading.md.
"""

import ctypes
import functools
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

PR_SET_CHILD_SUBREAPER = 36  # prctl(2): orphans of our children become ours, and not init's
KEPT = 4_000  # bytes of stdout and of stderr that are kept
SHARED = 1 << 30  # bytes of /dev/shm, which no watching of processes sees
_LIMITED = "import os, resource, sys; n = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, (n, n)); "
_LIMITED += "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.execvp(sys.argv[2], sys.argv[2:])"


@dataclass(frozen=True)
class Limits:
    seconds: float = 600.0
    memory: int = 8 << 30  # bytes resident in the command and all its children together
    output: int = 10 << 20  # bytes printed: more is not a student's mistake but an attack or a loop
    file: int = 1 << 30  # bytes of any one file written
    network: bool = False  # let it reach the network, where bubblewrap could prevent it


@dataclass(frozen=True)
class Outcome:
    code: int  # of exit; negative: the signal that ended it
    seconds: float
    peak: int  # bytes resident, as far as watching saw it
    stdout: str  # the first KEPT bytes
    stderr: str  # the last KEPT bytes
    ended: str  # why it was ended, "" if it ended by itself
    left: int  # processes that outlived it, ended by us

    @property
    def ok(self) -> bool:
        return self.code == 0 and not self.ended


class SandboxError(Exception):
    """bubblewrap could not begin a call: the grader's trouble, not the repository's."""


@functools.cache
def bubblewrap() -> tuple[str, ...] | None:
    """How bubblewrap is called here; None where it is not installed or may not do what is asked of it.

    What is tried is what is used. Old versions cannot forbid new user namespaces nor limit a tmpfs; without
    capabilities in the namespace (root would have them all) the mounts hold all the same.
    """
    path = shutil.which("bwrap")
    if path is None:
        return None
    newer = (path, "--unshare-user", "--disable-userns")
    for start in (newer, (path,)):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name).resolve()
            command = _wrapped(start, ["true"], folder, [folder], [], [folder / "none"], False)
            try:
                if subprocess.run(command, capture_output=True, timeout=20).returncode == 0:
                    return start
            except (OSError, subprocess.TimeoutExpired):
                return None
    return None


def environment(home: Path) -> dict[str, str]:
    """All that a command learns of ours: where its python3 is, and a home of its own."""
    path = os.pathsep.join(dict.fromkeys([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]))
    return {"PATH": path, "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}


def run(
    command: Sequence[str],
    cwd: Path,
    home: Path,
    writable: Sequence[Path],
    readable: Sequence[Path],
    hidden: Sequence[Path],
    limits: Limits,
) -> Outcome:
    """Runs `command` (no shell) in `cwd`.

    With bubblewrap it writes only to `writable`, finds the folders in `hidden`, the home, /tmp and /run empty but for
    `writable`, `readable` and this Python, and reaches no network unless `limits` allow it; without bubblewrap it is
    as free as its user. Raises SandboxError where bubblewrap cannot begin.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    others = {process.pid for process in psutil.Process().children(recursive=True)}
    start = time.monotonic()
    limited = [sys.executable, "-I", "-S", "-c", _LIMITED, str(limits.file), *command]
    started = bubblewrap()
    status, told = os.pipe()  # where bubblewrap says that the command has run
    if started:
        limited = _wrapped((*started, "--json-status-fd", str(told)), limited, cwd, writable, readable, hidden,
                           limits.network)  # fmt: skip
    process = subprocess.Popen(
        limited, cwd=cwd, env=environment(home), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True, pass_fds=(told,) if started else (),
    )  # fmt: skip
    os.close(told)
    ended, peak, streams = "", 0, _Streams(process)
    try:
        while process.poll() is None and not ended:
            streams.read(0.05)
            peak = max(peak, sum(_resident(child) for child in _descendants(others)))
            if time.monotonic() - start > limits.seconds:
                ended = f"took longer than {limits.seconds:g} s"
            elif streams.total > limits.output:
                ended = f"printed more than {limits.output >> 20} MiB"
            elif peak > limits.memory:
                ended = f"used more than {limits.memory / 2**30:g} GiB of memory"
        seconds = time.monotonic() - start
        grace = time.monotonic() + 0.5  # what is just ending has not outlived it
        while not ended and time.monotonic() < grace and _descendants(others):
            streams.read(0.01)
    finally:
        left = _end_all(others, process.pid)
        code = process.wait()
        streams.close()
        with os.fdopen(status, "rb") as file:
            ran = b"exit-code" in file.read(KEPT)
    if started and code and not ended and not ran:
        raise SandboxError(f"bubblewrap cannot begin: {streams.texts()[1].strip()[:200]}")
    return Outcome(code, seconds, peak, *streams.texts(), ended, 0 if ended else left)


def _wrapped(
    start: Sequence[str],
    command: list[str],
    cwd: Path,
    writable: Sequence[Path],
    readable: Sequence[Path],
    hidden: Sequence[Path],
    network: bool,
) -> list[str]:
    """`command` behind bubblewrap, called as `start`."""
    flags = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    for device in sorted(Path("/dev").glob("nvidia*")):
        flags += ["--dev-bind-try", str(device), str(device)]
    limit = ["--size", str(SHARED)] if "--disable-userns" in start else []  # versions that know one know both
    flags += [*limit, "--tmpfs", "/dev/shm"]
    # Sockets of services, other people's files, the answers.
    places = {Path("/tmp"), Path("/run"), Path("/var/run"), Path.home(), *hidden}
    covered = [folder.resolve() for folder in sorted(places) if folder.is_dir() and folder.resolve() != Path("/")]
    covered = sorted(set(covered))  # parents before what lies in them
    for folder in covered:
        flags += ["--tmpfs", str(folder)]
    prefixes = [Path(prefix) for prefix in (sys.prefix, sys.base_prefix)]
    shown = dict.fromkeys([*prefixes, *(prefix.resolve() for prefix in prefixes), *(f.resolve() for f in readable)])
    if network:
        shown[Path("/run/systemd/resolve")] = None  # where names are looked up
    for folder in shown:
        if any(folder.is_relative_to(cover) for cover in covered):
            flags += ["--ro-bind-try", str(folder.resolve()), str(folder)]
    for folder in writable:
        flags += ["--bind", str(folder.resolve()), str(folder.resolve())]
    for folder in covered:
        flags += ["--remount-ro", str(folder)]
    flags += ["--unshare-all", *(["--share-net"] if network else []), "--cap-drop", "ALL"]
    return [*start, *flags, "--die-with-parent", "--chdir", str(cwd.resolve()), "--", *command]


class _Streams:
    """Reads both streams for as long as somebody writes, and keeps little."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.total, self.selector, self.kept = 0, selectors.DefaultSelector(), [b"", b""]
        assert process.stdout and process.stderr
        self.files = (process.stdout, process.stderr)
        for index, file in enumerate(self.files):
            os.set_blocking(file.fileno(), False)
            self.selector.register(file, selectors.EVENT_READ, index)

    def read(self, seconds: float) -> bool:
        """True if something was read."""
        if not self.selector.get_map():
            time.sleep(seconds)
            return False
        ready, found = self.selector.select(seconds), False
        for key, _ in ready:
            block = os.read(key.fd, 1 << 16)
            found = found or bool(block)
            self.total += len(block)
            if not block:
                self.selector.unregister(key.fileobj)
            elif key.data == 0:
                self.kept[0] = (self.kept[0] + block)[:KEPT]
            else:
                self.kept[1] = (self.kept[1] + block)[-KEPT:]
        return found

    def close(self) -> None:
        for _ in range(1_000):  # what still lies in the pipes; nobody writes any more
            if not self.read(0):
                break
        self.selector.close()
        for file in self.files:
            file.close()

    def texts(self) -> tuple[str, str]:
        return self.kept[0].decode("utf-8", "replace"), self.kept[1].decode("utf-8", "replace")


def _descendants(others: set[int]) -> list[psutil.Process]:
    """Every process below this one, orphans too, but for those that were there before."""
    try:
        return [child for child in psutil.Process().children(recursive=True) if child.pid not in others]
    except psutil.NoSuchProcess:
        return []


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def _end_all(others: set[int], own: int) -> int:
    """Ends all descendants and says how many there were but for `own`. Stops them first, so that none can fork anew."""
    count: set[int] = set()
    for _ in range(200):
        children = []
        for child in _descendants(others):
            try:
                if child.status() != psutil.STATUS_ZOMBIE:
                    children.append(child)
                elif child.pid != own:
                    child.wait(0)  # an orphan that has ended waits for us to notice
            except (psutil.Error, ChildProcessError):
                continue
        if not children:
            break
        for signal_number in (signal.SIGSTOP, signal.SIGKILL):
            for child in children:
                try:
                    child.send_signal(signal_number)
                except psutil.Error:
                    continue
        count |= {child.pid for child in children}
        time.sleep(0.02)
    return len(count - {own})
