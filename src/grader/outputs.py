"""Strict checks of what a wrapper wrote: predictions, one picture, a folder of pictures. Files are hostile, too."""

import stat
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

LARGEST_CSV, LARGEST_IMAGE = 10 << 20, 20 << 20  # bytes
LARGEST_SIDE = 4_096  # pixels
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


class WrongOutput(Exception):
    """What is wrong with an output, as a grader would say it."""


def _require_file(path: Path, largest: int) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        raise WrongOutput(f"{path.name} was not written") from None
    except OSError as error:
        raise WrongOutput(f"{path.name} cannot be read ({error.strerror})") from None
    if not stat.S_ISREG(status.st_mode):  # a link may point anywhere, a pipe blocks
        raise WrongOutput(f"{path.name} is not a regular file")
    if status.st_size > largest:
        raise WrongOutput(f"{path.name} has {status.st_size} bytes")


def read_predictions(path: Path, names: Sequence[str]) -> dict[str, int]:
    """name → label of a prediction csv for exactly `names`, sorted. Raises WrongOutput."""
    _require_file(path, LARGEST_CSV)
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError):
        raise WrongOutput(f"{path.name} is not UTF-8 text") from None
    if "\r" in text:
        raise WrongOutput(f"{path.name} has Windows line ends")
    if not text.endswith("\n"):
        raise WrongOutput(f"{path.name} does not end with a line end")
    header, *rows = text[:-1].split("\n")
    if header != "image_name,label":
        raise WrongOutput(f"{path.name}: the header is {header[:60]!r}, not 'image_name,label'")
    if "" in rows:
        raise WrongOutput(f"{path.name} has a blank line")
    labels: dict[str, int] = {}
    for number, row in enumerate(rows, 2):
        name, comma, label = row.rpartition(",")
        if not comma or len(label) != 1 or label not in "0123456789":
            raise WrongOutput(f"{path.name}, line {number}: {row[:60]!r} is not name,digit")
        if name in labels:
            raise WrongOutput(f"{path.name}, line {number}: {name[:60]} stands there twice")
        labels[name] = int(label)
    missing, unknown = [n for n in names if n not in labels], set(labels) - set(names)
    if missing:
        raise WrongOutput(f"{path.name} has no row for {missing[0]} ({len(missing)} missing)")
    if unknown:
        raise WrongOutput(f"{path.name} has a row for {min(unknown)[:60]}, which is not in the folder")
    if list(labels) != sorted(names):
        raise WrongOutput(f"{path.name} is not sorted by name")
    return labels


def read_picture(path: Path) -> np.ndarray:
    """uint8 (H, W, 3) of an RGB image file whose format is that of its name. Raises WrongOutput."""
    _require_file(path, LARGEST_IMAGE)
    expected = FORMATS[path.suffix.lower()]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(path, formats=sorted(set(FORMATS.values()))) as image:
                if image.format != expected:
                    raise WrongOutput(f"{path.name} holds {image.format}")
                if max(image.size) > LARGEST_SIDE:
                    raise WrongOutput(f"{path.name} has {image.width}x{image.height} pixels")
                if image.mode != "RGB":
                    raise WrongOutput(f"{path.name} is of mode {image.mode}, not RGB")
                return np.asarray(image)
    except WrongOutput:
        raise
    except Exception as error:  # decoders meet hostile files with exceptions of every kind
        raise WrongOutput(f"{path.name} is no image that can be read ({type(error).__name__})") from None


def read_samples(path: Path) -> np.ndarray:
    """One picture of 32 samples of 64x64. Raises WrongOutput where they cannot be in it."""
    picture = read_picture(path)
    height, width = picture.shape[:2]
    if min(height, width) < 64 or height * width < 32 * 64 * 64:
        raise WrongOutput(f"{path.name} has {width}x{height} pixels: no room for 32 samples of 64x64")
    if picture.min() == picture.max():
        raise WrongOutput(f"{path.name} is empty: all pixels are the same")
    return picture


def read_pictures(folder: Path, names: Sequence[str], side: int) -> np.ndarray:
    """uint8 (N, side, side, 3) of a folder that holds exactly `names`. Raises WrongOutput."""
    if folder.is_symlink():
        raise WrongOutput(f"{folder.name} was replaced by a link")
    try:
        found = {path.name for path in folder.iterdir()}
    except OSError as error:
        raise WrongOutput(f"the folder cannot be read ({error.strerror})") from None
    if missing := [name for name in names if name not in found]:
        raise WrongOutput(f"{missing[0]} was not written ({len(missing)} of {len(names)} missing)")
    if unknown := found - set(names):
        raise WrongOutput(f"{min(unknown)[:60]!r} was not asked for ({len(unknown)} such)")
    pictures = []
    for name in names:
        picture = read_picture(folder / name)
        if picture.shape != (side, side, 3):
            raise WrongOutput(f"{name} has {picture.shape[1]}x{picture.shape[0]} pixels, not {side}x{side}")
        pictures.append(picture)
    return np.stack(pictures)
