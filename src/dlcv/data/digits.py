"""The digit data sets in the courses' layout: digits/<domain>/{train,test}/*.png with train.csv and test.csv beside.

Images become one uint8 tensor (N, 3, 28, 28); files are taken in sorted name order.
"""

from pathlib import Path

import torch

from dlcv.cli import UserError
from dlcv.data import folders
from dlcv.data.layout import find_root, read_label_csv, spellings

DOMAINS = ("usps", "mnistm", "svhn")
PAIRS = [  # (source, target) of the courses: DLCV 2020 first, then 2021
    ("usps", "mnistm"), ("mnistm", "svhn"), ("svhn", "usps"),
    ("mnistm", "usps"), ("svhn", "mnistm"), ("usps", "svhn"),
]  # fmt: skip
SIZE = 28


def read_images(folder: Path, names: list[str], progress: str = "") -> torch.Tensor:
    """The named files as uint8 (N, 3, 28, 28): dlcv.data.folders.read_images."""
    return folders.read_images(folder, names, SIZE, progress)


def read_folder(folder: Path) -> tuple[list[str], torch.Tensor]:
    """Names and images of a training folder, cached: dlcv.data.folders.read_folder."""
    return folders.read_folder(folder, SIZE)


def split_folder(data: Path | None, domain: str, split: str) -> Path:
    """digits/<domain>/<split> below `data` (see find_root)."""
    return find_root(data, "digits") / "digits" / domain / split


def read_labels(data: Path | None, domain: str, split: str, names: list[str]) -> torch.Tensor:
    """Labels int64 (N,) for `names`, from <split>.csv beside the folder.

    Raises UserError for a missing file, an image without a label, or a label that is not a digit.
    """
    path = split_folder(data, domain, split).with_suffix(".csv")
    table = read_label_csv(path)
    keys = spellings(names, table)
    missing = [name for name in names if name not in keys]
    if missing:
        raise UserError(f"{path} has no label for {missing[0]} ({len(missing)} images in all)")
    return torch.tensor([table[keys[name]] for name in names], dtype=torch.int64)


def read_split(data: Path | None, domain: str, split: str) -> tuple[list[str], torch.Tensor, torch.Tensor]:
    """Names, images uint8 (N, 3, 28, 28) and labels int64 (N,) of a split, the images cached."""
    names, images = read_folder(split_folder(data, domain, split))
    return names, images, read_labels(data, domain, split, names)
