"""Output files that are whole or not there: written beside the target, then renamed over it."""

import io
import os
import tempfile
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from dlcv.cli import UserError


def check_writable(path: Path) -> None:
    """Raises UserError now if `path` could not be written at the end of a long computation; creates its folders."""
    try:
        if path.is_dir():
            raise UserError(f"{path} is a directory; give the path of a file to write")
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is not a regular file; give the path of a file to write")
        path = path.resolve(strict=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        # A probe, since access() is always true for root and wrong on some network file systems.
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".probe-"):
            pass
        if len(os.fsencode(path.name)) > 255:
            raise UserError(f"cannot write {path}: its name is too long")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    except RuntimeError as error:  # pathlib, for a loop of symbolic links
        raise UserError(f"cannot write {path}: {error}") from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which replaces it if the block succeeds and vanishes if it does not.

    The temporary name keeps the suffix, from which image libraries take the format. A symbolic link stays one: the
    file that it points to is replaced. Raises UserError when the folder cannot be created or written.
    """
    check_writable(path)
    path = path.resolve()
    temporary = path.with_name(f".{path.stem[:100]}.{os.getpid()}{path.suffix}")
    try:
        try:
            yield temporary
            temporary.replace(path)
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error
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


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Writes files into a folder: first all of them under temporary names, then each renamed into place.

    Files of the same names are replaced, others left alone; what fails before the renaming changes nothing.
    Raises UserError when the folder cannot be created or written.
    """
    for name in list(contents)[:1]:
        check_writable(folder / name)
    for name in contents:  # before any is renamed: a folder that is half old and half new is nobody's
        if (folder / name).is_dir():
            raise UserError(f"{folder / name} is a directory; move it away, or give another folder")
    temporaries = {name: folder / f".{name}.{os.getpid()}" for name in contents}
    try:
        for name, content in contents.items():
            temporaries[name].write_bytes(content)
        for name, temporary in temporaries.items():
            temporary.replace(folder / name)
    except OSError as error:
        raise UserError(f"cannot write into {folder}: {error.strerror or error}") from error
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


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
