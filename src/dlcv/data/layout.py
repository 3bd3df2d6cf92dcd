"""Where the courses' data lies: <root>/digits, <root>/face; and how their csv files are read."""

import codecs
import csv
import io
import os
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path

from dlcv.cli import UserError


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
