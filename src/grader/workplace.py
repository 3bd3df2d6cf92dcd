"""Temporary folders for what is graded: gone afterwards, whatever strangers have made of them."""

import fcntl
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

PREFIX, LOCK = "dlcv-grader-", "lock"


@contextmanager
def work_folder() -> Iterator[Path]:
    """A new folder, removed at the end. What a grader that was killed has left is removed, too."""
    _remove_left(Path(tempfile.gettempdir()))
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
        try:
            with (folder / LOCK).open("w") as lock:
                _wait_for(lock)
                if (folder / LOCK).exists():  # else another grader took it for a left one before it was locked
                    yield folder
                    return
        finally:
            remove_tree(folder)


def _wait_for(lock: IO[str], seconds: float = 10.0) -> None:
    """Locks a file; another grader may be trying its lock just now. Without locks others leave the folder alone."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.005)
        except OSError:
            return


def remove_tree(folder: Path) -> None:
    """Removes a folder of any depth, folders without permissions in it included. Raises nothing."""
    for command in (["rm", "-rf"], ["chmod", "-R", "u+rwx"], ["rm", "-rf"]):
        if os.path.lexists(folder):
            subprocess.run([*command, "--", str(folder)], stdin=subprocess.DEVNULL, capture_output=True)


def _remove_left(top: Path) -> None:
    """Folders of ours whose lock nobody holds. Where locks do not work, nothing is removed."""
    for folder in top.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.lstat().st_uid != os.geteuid() or not _locks(folder):
                continue
            with (folder / LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(folder)


def _locks(folder: Path) -> bool:
    """Whether a lock that is held keeps others out on this file system: some say yes to everybody."""
    with (folder / LOCK).open("r+") as first, (folder / LOCK).open("r+") as second:
        try:
            fcntl.flock(first, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False  # in use
        try:
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
