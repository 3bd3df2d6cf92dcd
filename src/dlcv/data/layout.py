"""Where the courses' data lies: <root>/digits, <root>/face; what is an image there, and how csv files are read.

For commands that need no torch: it costs seconds.
"""

import codecs
import csv
import errno
import io
import os
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from dlcv.cli import UserError
from dlcv.files import IMAGE_SUFFIXES


def find_root(data: Path | None, part: str) -> Path:
    """The folder that holds `part` (digits, face): `data` or its hw3_data; without `data`, hw3_data or data/hw3_data.

    Raises UserError, saying where the data can be had, when there is no such folder.
    """
    bases = [data] if data is not None else [Path(), Path("data")]
    for base in bases:
        for root in (base, base / "hw3_data", base / "hw2_data"):
            if (root / part).is_dir() and (data is not None or root != base):
                return root
    where = (
        f"{data} holds no folder {part}/"
        if data is not None
        else f"neither hw3_data/{part} nor data/hw3_data/{part} is here"
    )
    raise UserError(f"{where}: give --data FOLDER, the courses' hw3_data, or build it: bash get_dataset.sh")


def read_csv(path: Path) -> list[list[str]]:
    """The rows of a csv file, with or without quotes, UTF-8's mark (BOM) and \\r. Raises UserError.

    Names come as os.listdir gives them, those that are not UTF-8, too.
    """
    try:
        text = os.fsdecode(path.read_bytes().removeprefix(codecs.BOM_UTF8))
        return list(csv.reader(io.StringIO(text, newline="")))
    except (OSError, csv.Error) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None


def spellings(names: Iterable[str], table: Mapping[str, object]) -> dict[str, str]:
    """name → the key of `table` that means it, for each name that has one.

    The same letters can be written in two ways: "ü" as one character or, as macOS does, as "u" and two dots.
    """
    composed = {unicodedata.normalize("NFC", key): key for key in table}
    keys = {name: name if name in table else composed.get(unicodedata.normalize("NFC", name)) for name in names}
    return {name: key for name, key in keys.items() if key is not None}


def is_image_name(name: str) -> bool:
    """True for the image files that graders use, whatever the case of the suffix; not for .DS_Store or ._copies."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def list_images(folder: Path) -> list[str]:
    """Sorted names of the image files in `folder`.

    Raises UserError when there is none, no such folder, or an image's name belongs to something that is no file: a link
    that leads nowhere, if it were skipped silently, would cost points.
    """
    names = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_image_name(entry.name) and not entry.is_dir(follow_symlinks=False):
                    if fault := _fault(entry):
                        raise UserError(f"{entry.path} {fault}")
                    names.append(entry.name)
    except FileNotFoundError:
        raise UserError(f"no such directory: {folder}") from None
    except NotADirectoryError:
        raise UserError(f"{folder} is a file; give the directory that holds the images") from None
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror}") from None
    if not names:
        raise UserError(f"no images (*.png, *.jpg) in {folder}")
    return sorted(names)


def _fault(entry: os.DirEntry[str]) -> str:
    """Why an image's name does not lead to a file, or an empty string."""
    target = os.readlink(entry.path) if entry.is_symlink() else ""  # noqa: PTH115
    try:
        if entry.is_file():
            return ""
        if not target:
            return "is not a regular file"
        entry.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "is a link that leads in a circle"
        return f"is a link to {target}, which cannot be read: {error.strerror}"
    return f"is a link to {target}, which is not a file"


def read_label_csv(path: Path) -> dict[str, int]:
    """image_name → label of a course csv. Raises UserError for anything that is not `name,digit`."""
    rows = read_csv(path)
    if not rows or rows[0] != ["image_name", "label"]:
        shown = f", found {','.join(rows[0])[:80]}" if rows else ""
        raise UserError(f"{path}: the first line must be image_name,label{shown}")
    table: dict[str, int] = {}
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != 2 or row[1] not in tuple("0123456789"):
            raise UserError(
                f"{path}, line {number}: expected image_name,label with a label from 0 to 9, found {str(row)[:80]}"
            )
        if row[0] in table:
            raise UserError(f"{path}, line {number}: {row[0]} stands there twice")
        table[row[0]] = int(row[1])
    return table
