"""The face data set in the courses' layout: face/{train,test}/*.png with train.csv and test.csv beside.

Images become one uint8 tensor (N, 3, 64, 64); files are taken in sorted name order.
"""

from pathlib import Path

import torch

from dlcv.cli import UserError
from dlcv.data import folders, splits
from dlcv.data.layout import find_root, read_csv, spellings

SIZE = 64
HELD_OUT = 2_903  # training faces held out for model selection, at most a ninth of all: dlcv.data.splits.hold_out


def face_folder(data: Path | None, split: str, size: int = SIZE) -> Path:
    """face/<split> below `data` (see find_root); face128/<split> for faces of 128 pixels."""
    name = "face" if size == SIZE else f"face{size}"
    return find_root(data, name) / name / split


def read_faces(data: Path | None, split: str, size: int = SIZE) -> tuple[list[str], torch.Tensor]:
    """Names and images uint8 (N, 3, size, size) of a split, cached: dlcv.data.folders.read_folder."""
    return folders.read_folder(face_folder(data, split, size), size)


def hold_out(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Row numbers of `count` training faces: (for training, held out): dlcv.data.splits.hold_out.

    Raises UserError for fewer than two.
    """
    if count < 2:
        raise UserError(f"{count} training faces: one is held out, so at least two are needed")
    return splits.hold_out(count, HELD_OUT)


def read_attributes(data: Path | None, split: str, names: list[str], attributes: list[str]) -> torch.Tensor:
    """Attributes (N, len(attributes)) bool for `names`, read by header name from <split>.csv beside the folder.

    Raises UserError for a missing file or column, an image without a row, or a value that is neither 0 nor 1.
    """
    path = face_folder(data, split).with_suffix(".csv")
    header, *lines = read_csv(path) or [[]]
    for column in ("image_name", *attributes):
        if column not in header:
            raise UserError(f"{path} has no column {column}")
    table = {line[header.index("image_name")]: line for line in lines if len(line) == len(header)}
    keys = spellings(names, table)
    columns = [header.index(attribute) for attribute in attributes]
    rows = []
    for name in names:
        if name not in keys:
            raise UserError(f"{path} has no row for {name}")
        values = [table[keys[name]][column] for column in columns]
        if any(value not in ("0", "1", "0.0", "1.0") for value in values):
            raise UserError(f"{path}: the attributes of {name} must be 0.0 or 1.0, found {values}")
        rows.append([float(value) == 1 for value in values])
    return torch.tensor(rows, dtype=torch.bool)
