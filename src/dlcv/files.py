"""Output files that are whole or not there: written beside the target, then renamed over it."""

import csv
import errno
import fcntl
import hashlib
import io
import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dlcv.cli import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")  # in any case


def check_writable(path: Path) -> None:
    """Raises UserError now if `path` could not be written at the end of a long computation. Changes nothing."""
    try:
        if path.is_dir():
            raise UserError(f"{path} is a directory; give the path of a file to write")
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is not a regular file; give the path of a file to write")
        _check_place(_resolve(path))
    except OSError as error:
        raise _cannot_write(path, error) from error


def check_folder(folder: Path, names: Collection[str]) -> None:
    """Raises UserError now if `write_folder` could not write files of these names into `folder`. Changes nothing."""
    try:
        if folder.exists() and not folder.is_dir():
            raise UserError(f"cannot write into {folder}: it is a file; give the path of a folder")
        place = _resolve(folder)
        if not place.is_dir():
            _check_place(place)
            return
        with tempfile.TemporaryFile(dir=place):
            pass
        for name in names:
            if (place / name).is_dir():
                raise UserError(f"{folder / name} is a directory; move it away, or give another folder")
    except OSError as error:
        raise _cannot_write(folder, error) from error


def _check_place(path: Path) -> None:
    """OSError or UserError where nothing could be made at `path`, whose folders need not be there yet."""
    parent = path.parent
    while not os.path.lexists(parent):
        parent = parent.parent
    # A probe, since access() is always true for root and wrong on some network file systems.
    with tempfile.TemporaryFile(dir=parent):
        pass
    for part in (path, *path.parents):
        if len(os.fsencode(part.name)) > 255:
            raise UserError(f"cannot write {path}: a name is too long (at most 255 bytes)")


def _resolve(path: Path) -> Path:
    """The file that `path` leads to, there or not. OSError for links that lead in a circle, in every Python."""
    try:
        place = path.resolve(strict=False)
    except RuntimeError:  # Python before 3.13
        place = path
    if place.is_symlink():
        raise OSError(errno.ELOOP, "its symbolic links lead in a circle")
    return place


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(f"cannot write {path}: {error.strerror or error}")


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which replaces it if the block succeeds and vanishes if it does not.

    The temporary name keeps the suffix, from which image libraries take the format. A symbolic link stays one: the
    file that it points to is replaced. Raises UserError when the folder cannot be created or written.
    """
    check_writable(path)
    path = _resolve(path)
    suffix = path.suffix if len(os.fsencode(path.suffix)) < 32 else ""
    temporary = path.with_name(f".partial-{secrets.token_hex(8)}{suffix}")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.replace(path)
        except OSError as error:
            raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text with \\n line ends, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_bytes(path: Path, data: bytes) -> None:
    """Writes bytes, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The lines of a csv file, each as column → text."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: Sequence[Mapping[str, object]], columns: Iterable[str] = ()) -> None:
    """Writes a csv file, whole or not at all; its columns are those of the first of `rows`, if not given.

    Raises ValueError for a line with a column that is none of those.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(columns or (rows[0] if rows else ())), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Writes files into a folder, all of them or none.

    They are written to a temporary folder first. If `folder` does not exist yet, the temporary one is made beside it
    and renamed. An existing folder is kept (its owner and rights, its other files, shells that work in it): the
    temporary one is then made inside, and its files are moved up while signals are held back; if one move fails, those
    before it are undone. Temporary folders of killed processes are removed. Raises UserError when the folder cannot be
    created or written.
    """
    check_folder(folder, contents)
    place = _resolve(folder)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        inside = place.is_dir()
        with _temporary_folder(place if inside else place.parent, place) as temporary:
            new = temporary / "new"
            new.mkdir()
            for name, content in contents.items():
                (new / name).write_bytes(content)
            with _signals_held_back():
                if not inside:
                    try:
                        new.rename(place)
                        return
                    except OSError as error:
                        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                            raise
                        # Another process was faster: its files are replaced like any.
                _move_up(new, place, temporary / "old")
    except OSError as error:
        raise _cannot_write(folder, error) from error


def _move_up(new: Path, place: Path, old: Path) -> None:
    """Moves every file of `new` into `place`; what they replace goes to `old`, and comes back if a move fails."""
    old.mkdir()
    moved: list[str] = []
    try:
        for name in sorted(path.name for path in new.iterdir()):
            moved.append(name)
            with suppress(FileNotFoundError):
                (place / name).rename(old / name)
            (new / name).rename(place / name)
    except BaseException:
        for name in reversed(moved):
            if not (new / name).exists():
                (place / name).rename(new / name)
            if os.path.lexists(old / name):
                (old / name).rename(place / name)
        raise


@contextmanager
def _temporary_folder(parent: Path, target: Path) -> Iterator[Path]:
    """A new hidden folder in `parent` for what becomes `target`, removed at the end; those of dead processes, too.

    Its name is random, for process numbers are not unique: containers count their own. Its owner holds a lock on it.
    """
    prefix = f".partial-{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:8]}-"
    for place in {target, target.parent}:
        for left in place.glob(f"{prefix}*") if place.is_dir() else ():
            with suppress(OSError):
                _remove_if_left(left)
    temporary, handle = parent / f"{prefix}{secrets.token_hex(8)}", None
    try:
        temporary.mkdir()
        handle = os.open(temporary, os.O_RDONLY)
        with suppress(OSError):  # a file system without locks: there leftovers are known by their age
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield temporary
    finally:
        with _signals_held_back():
            shutil.rmtree(temporary, ignore_errors=True)
            if handle is not None:
                os.close(handle)


def _remove_if_left(folder: Path) -> None:
    """Removes a temporary folder whose process is gone: its lock is free, or it is a day old where nothing locks."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        age = time.time() - os.fstat(handle).st_mtime
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left = age > 2  # a younger one may not be locked yet
        except BlockingIOError:
            left = False
        except OSError:
            left = age > 86_400
        if left:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """What asks the process to end waits until the block is done.

    By Python's handlers, not by the thread's signal mask: the signal may reach any thread, torch's too.
    """
    came: list[int] = []
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            handlers[number] = signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number_that_came in came:
            signal.raise_signal(number_that_came)


def zip_bytes(contents: Mapping[str, bytes], executable: Collection[str] = ()) -> bytes:
    """A zip of files, in the order given: the same bytes for the same contents, whenever it is built."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = (0o755 if name in executable else 0o644) << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content)
    return buffer.getvalue()
