"""Temporary folders for what is graded: gone afterwards, whatever strangers have made of them."""

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX, LOCK = "dlcv-grader-", "lock"


@contextmanager
def work_folder() -> Iterator[Path]:
    """A new folder, removed at the end. What a grader that was killed has left is removed, too."""
    _remove_left(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX)).resolve()
    try:
        with (folder / LOCK).open("w") as lock:
            with suppress(OSError):  # a file system without locks: others leave the folder alone
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
    finally:
        remove_tree(folder)


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
