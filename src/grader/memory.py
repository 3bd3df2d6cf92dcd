"""How much memory a command and all its children use: counted by the kernel where it lets us, by watching otherwise."""

import contextlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

OLD = 60.0  # seconds: a younger group may belong to a grader whose number means nothing here, as in another container
NAME = re.compile(r"dlcv-grader-(\d+)-\d+$")


class Cgroup:
    """A control group of its own for one command: memfd pages, tmpfs and shared pages are counted, each once."""

    def __init__(self, folder: Path, files: tuple[str, str], limit: int) -> None:
        self.folder, (self._events, self._peak) = folder, files
        # Version 2, then version 1 (first without, then with swap: never less than without).
        for name, value in (
            ("memory.max", limit), ("memory.swap.max", 0), ("memory.limit_in_bytes", limit),
            ("memory.memsw.limit_in_bytes", limit),
        ):  # fmt: skip
            with contextlib.suppress(OSError):
                (folder / name).write_text(str(value))

    def entering(self, command: Sequence[str]) -> list[str]:
        """`command`, started by a shell that first enters the group: nothing runs outside of it."""
        enter = 'echo 0 > "$0" && exec "$@"'
        return ["/bin/sh", "-c", enter, str(self.folder / "cgroup.procs"), *command]

    def exceeded(self) -> bool:
        """Whether the kernel has ended something in the group because of the limit."""
        with contextlib.suppress(OSError):
            match = re.search(r"^oom_kill (\d+)$", (self.folder / self._events).read_text(), re.MULTILINE)
            return match is not None and int(match[1]) > 0
        return False

    def peak(self) -> int:
        with contextlib.suppress(OSError, ValueError):
            return int((self.folder / self._peak).read_text())
        return 0

    def close(self) -> None:
        for _ in range(50):  # the last process may just be ending
            try:
                self.folder.rmdir()
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)


def _parents() -> Iterator[tuple[Path, tuple[str, str]]]:
    """Folders in which a group may be made, with the names of its files: our own group first, then those above."""
    try:
        groups = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        mounts = [line.split(" - ") for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    except OSError:
        return
    for left, right in (mount for mount in mounts if len(mount) == 2):
        kind, _, options = right.split(" ", 2)
        first = kind == "cgroup" and "memory" in options.split(",")
        if not first and kind != "cgroup2":
            continue
        files = ("memory.oom_control", "memory.max_usage_in_bytes") if first else ("memory.events", "memory.peak")
        _, _, _, root, top, *_ = left.split(" ")
        for _, names, path in groups:
            if ("memory" in names.split(",")) if first else names == "":
                own = Path(top) / os.path.relpath(path, root)
                for folder in (own, *own.parents):
                    if folder.is_relative_to(top) and folder.is_dir():
                        yield folder, files


def cgroup(limit: int) -> Cgroup | None:
    """A new control group with `limit` bytes; None where there is none to be had."""
    for parent, files in _parents():
        _remove_left(parent)
        folder = parent / f"dlcv-grader-{os.getpid()}-{time.monotonic_ns()}"
        try:
            folder.mkdir()
        except OSError:
            continue
        group = Cgroup(folder, files, limit)
        if _is_limited(folder, limit) and os.access(folder / "cgroup.procs", os.W_OK):
            return group
        group.close()
    return None


def _is_limited(folder: Path, limit: int) -> bool:
    for name in ("memory.max", "memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            return int((folder / name).read_text()) <= limit  # rounded down to pages
    return False


def _remove_left(parent: Path) -> None:
    """Groups of graders that were killed."""
    with contextlib.suppress(OSError):
        for folder in parent.iterdir():
            match = NAME.match(folder.name)
            with contextlib.suppress(OSError):
                if match and not psutil.pid_exists(int(match[1])) and time.time() - folder.stat().st_mtime > OLD:
                    folder.rmdir()


def watched(processes: Sequence[psutil.Process], limit: int) -> int:
    """Bytes resident in `processes`: shared pages once for each, or divided among them if that is more than `limit`.

    A memfd that no process has mapped is not in it.
    """
    total = sum(_resident(process) for process in processes)
    return total if total <= limit else sum(_proportional(process) for process in processes)


def _resident(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def _proportional(process: psutil.Process) -> int:
    """PSS where the kernel tells it (Linux), else the resident set."""
    try:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text()
    except OSError:
        return _resident(process)
    match = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(match[1]) << 10 if match else _resident(process)
