"""Runs a command that nobody trusts: limits of time, memory and output, and nothing of it is left afterwards.

What this holds back, and what it does not, stands in the documentation of the grader.
"""

import contextlib
import ctypes
import functools
import math
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

from grader import memory

PR_SET_CHILD_SUBREAPER = 36  # prctl(2): orphans of our children become ours, and not init's
PR_SET_PDEATHSIG = 1  # prctl(2): a signal for us when our parent ends
SOURCE = Path(__file__).resolve().parents[1]  # src/, from which this grader was imported
KEPT = 4_000  # bytes of stdout and of stderr that are kept
SHARED = 1 << 30  # bytes of /dev/shm, which no watching of processes sees
_LIMITED = "import os, resource, sys; n = int(sys.argv[1]); resource.setrlimit(resource.RLIMIT_FSIZE, (n, n)); "
_LIMITED += "resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); os.execvp(sys.argv[2], sys.argv[2:])"


@dataclass(frozen=True)
class Limits:
    seconds: float = 600.0
    memory: int = 8 << 30  # bytes of the command and all its children together
    output: int = 10 << 20  # bytes printed: more is not a student's mistake but an attack or a loop
    file: int = 1 << 30  # bytes of any one file written
    network: bool = False  # let it reach the network, where bubblewrap could prevent it
    until: float = math.inf  # time.monotonic() at which all of the grading has to be over


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
            flags = _flags(start, folder, [folder], [], [folder / "none"], False)
            try:
                if subprocess.run([*start, *flags, "--", "true"], capture_output=True, timeout=20).returncode == 0:
                    return start
            except (OSError, subprocess.TimeoutExpired):
                return None
    return None


def environment(home: Path) -> dict[str, str]:
    """All that a command learns of ours: where its python3 is, a home of its own, and which GPUs we give it."""
    path = os.pathsep.join(dict.fromkeys([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]))
    devices = {name: os.environ[name] for name in ("CUDA_VISIBLE_DEVICES",) if name in os.environ}
    own = {"PATH": path, "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    return own | devices


def die_with_parent() -> None:
    """Has the kernel end this process (SIGTERM) when the one that started it ends, however that ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def limited(command: Sequence[str], file: int) -> list[str]:
    """`command`, which can write no file of more than `file` bytes."""
    return [sys.executable, "-I", "-S", "-c", _LIMITED, str(file), *command]


def own_command(module: str, *arguments: str) -> list[str]:
    """A command that runs a module of this very grader, whichever other is installed or on PYTHONPATH."""
    start = "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); module = sys.argv.pop(1); "
    start += "sys.argv[0] = module; runpy.run_module(module, run_name='__main__')"
    return [sys.executable, "-c", start, str(SOURCE), module, *arguments]


def home() -> Path | None:
    """The user's home; None where there is none, as for a user without a name and without HOME."""
    try:
        return Path.home()
    except RuntimeError:
        return None


@functools.cache
def counts_memory() -> str:
    """How memory is limited here: "cgroup", by the kernel, or "watching"."""
    if (group := memory.cgroup(1 << 30)) is None:
        return "watching"
    group.close()
    return "cgroup"


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
    words = limited(command, limits.file)
    started = bubblewrap()
    status, writing = os.pipe()  # where bubblewrap says that the command has run
    passed: tuple[int, ...] = ()
    if started:
        flags = _flags(started, cwd, writable, readable, hidden, limits.network)
        passed = (writing, arguments := _as_file(flags))
        words = [*started, "--json-status-fd", str(writing), "--args", str(arguments), "--", *words]
    group = memory.cgroup(limits.memory)
    process = subprocess.Popen(
        group.entering(words) if group else words, cwd=cwd, env=environment(home), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, pass_fds=passed,
    )  # fmt: skip
    for descriptor in (writing, *passed[1:]):
        os.close(descriptor)
    too_large = f"used more than {limits.memory / 2**30:g} GiB of memory"
    ended, peak, streams = "", 0, _Streams(process)
    try:
        while process.poll() is None and not ended:
            streams.read(0.05)
            peak = max(peak, group.peak() if group else memory.watched(_descendants(others), limits.memory))
            if time.monotonic() - start > limits.seconds:
                ended = f"took longer than {limits.seconds:g} s"
            elif streams.total > limits.output:
                ended = f"printed more than {limits.output >> 20} MiB"
            elif group.exceeded() if group else peak > limits.memory:
                ended = too_large
        seconds = time.monotonic() - start
        grace = time.monotonic() + 0.5  # what is just ending has not outlived it
        while not ended and time.monotonic() < grace and _alive(others, process.pid):
            streams.read(0.01)
    finally:
        left = _end_all(others, process.pid)
        code = process.wait()
        streams.close()
        if group:
            ended = ended or (too_large if group.exceeded() else "")
            group.close()
        with os.fdopen(status, "rb") as file:
            ran = b"exit-code" in file.read(KEPT)
    if started and code and not ended and not ran:
        raise SandboxError(f"bubblewrap cannot begin: {streams.texts()[1].strip()[:200]}")
    return Outcome(code, seconds, peak, *streams.texts(), ended, 0 if ended else left)


def _as_file(flags: Sequence[str]) -> int:
    """A descriptor from which bubblewrap reads its flags: /proc/1/cmdline would show them to what it runs."""
    with tempfile.TemporaryFile() as file:
        file.write(b"".join(os.fsencode(flag) + b"\0" for flag in flags))
        file.flush()
        file.seek(0)
        return os.dup(file.fileno())


def _covered(hidden: Sequence[Path]) -> list[Path]:
    """Folders that a command finds empty, parents before what lies in them; "/" cannot be among them.

    Sockets of services, other people's files and the answers: whatever they are called here.
    """
    places = {Path(place) for place in ("/tmp", "/var/tmp", "/run", "/var/run", tempfile.gettempdir())}
    places |= {*hidden, *filter(None, [home()])}
    places |= {Path(os.environ[name]) for name in ("XDG_CACHE_HOME", "XDG_RUNTIME_DIR") if os.environ.get(name)}
    folders = {folder.resolve() for folder in places if folder.is_dir()} - {Path("/")}
    return sorted(folders)


def _flags(
    start: Sequence[str],
    cwd: Path,
    writable: Sequence[Path],
    readable: Sequence[Path],
    hidden: Sequence[Path],
    network: bool,
) -> list[str]:
    """What bubblewrap, called as `start`, is told to do. Files in `hidden` are found empty, as folders are."""
    flags = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    # What belongs to root is root's in there, too, capabilities or not: all of /proc but the processes.
    for entry in sorted(Path("/proc").iterdir()):
        if not entry.name.isdigit() and not entry.is_symlink():
            flags += ["--ro-bind-try", str(entry), str(entry)]
    for device in sorted(Path("/dev").glob("nvidia*")):
        flags += ["--dev-bind-try", str(device), str(device)]
    limit = ["--size", str(SHARED)] if "--disable-userns" in start else []  # versions that know one know both
    flags += [*limit, "--tmpfs", "/dev/shm"]
    covered = _covered(hidden)
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
    for file in sorted({path.resolve() for path in hidden if path.is_file()}):
        if not any(file.is_relative_to(cover) for cover in covered):
            flags += ["--ro-bind", "/dev/null", str(file)]
    flags += ["--unshare-all", *(["--share-net"] if network else []), "--cap-drop", "ALL"]
    return [*flags, "--die-with-parent", "--chdir", str(cwd.resolve())]


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
        ready, any_read = self.selector.select(seconds), False
        for key, _ in ready:
            block = os.read(key.fd, 1 << 16)
            any_read = any_read or bool(block)
            self.total += len(block)
            if not block:
                self.selector.unregister(key.fileobj)
            elif key.data == 0:
                self.kept[0] = (self.kept[0] + block)[:KEPT]
            else:
                self.kept[1] = (self.kept[1] + block)[-KEPT:]
        return any_read

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


def _alive(others: set[int], own: int) -> list[psutil.Process]:
    """Descendants that have not ended. Those that have, but for `own`, wait for us to notice: they are orphans."""
    alive = []
    for child in _descendants(others):
        with contextlib.suppress(psutil.Error, ChildProcessError):
            if child.status() != psutil.STATUS_ZOMBIE:
                alive.append(child)
            elif child.pid != own:
                child.wait(0)
    return alive


def _end_all(others: set[int], own: int) -> int:
    """Ends all descendants and says how many there were but for `own`. Stops them first, so that none can fork anew."""
    count: set[int] = set()
    for _ in range(200):
        children = _alive(others, own)
        if not children:
            break
        for signal_number in (signal.SIGSTOP, signal.SIGKILL):
            for child in children:
                with contextlib.suppress(psutil.Error):
                    child.send_signal(signal_number)
        count |= {child.pid for child in children}
        time.sleep(0.02)
    return len(count - {own})
