"""Strict checks of what a wrapper wrote: predictions, one picture, a folder of pictures. Files are hostile, too."""

import csv
import warnings
from collections.abc import Sequence

import numpy as np
from PIL import Image

from grader.opening import Place, Refused

LARGEST_CSV, LARGEST_IMAGE = 10 << 20, 20 << 20  # bytes
LARGEST_SIDE = 4_096  # pixels
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}


class WrongOutput(Exception):
    """What is wrong with an output, as a grader would say it."""


def read_predictions(place: Place, names: Sequence[str]) -> dict[str, int]:
    """name → label of a prediction csv for exactly `names`, sorted. Raises WrongOutput."""
    try:
        text = place.read(LARGEST_CSV).decode("utf-8")
    except Refused as error:
        raise WrongOutput(str(error)) from None
    except UnicodeDecodeError:
        raise WrongOutput(f"{place.name} is not UTF-8 text") from None
    if "\r" in text:
        raise WrongOutput(f"{place.name} has Windows line ends")
    if not text.endswith("\n"):
        raise WrongOutput(f"{place.name} does not end with a line end")
    lines = text[:-1].split("\n")
    if lines[0] != "image_name,label":
        raise WrongOutput(f"{place.name}: the header is {lines[0][:60]!r}, not 'image_name,label'")
    if "" in lines:
        raise WrongOutput(f"{place.name} has a blank line")
    labels: dict[str, int] = {}
    for number, line in enumerate(lines[1:], 2):
        name, label = _row(place.name, number, line)
        if name in labels:
            raise WrongOutput(f"{place.name}, line {number}: {name[:60]} stands there twice")
        labels[name] = label
    missing, unknown = [n for n in names if n not in labels], set(labels) - set(names)
    if missing:
        raise WrongOutput(f"{place.name} has no row for {missing[0]} ({len(missing)} missing)")
    if unknown:
        raise WrongOutput(f"{place.name} has a row for {min(unknown)[:60]}, which is not in the folder")
    if list(labels) != sorted(names):
        raise WrongOutput(f"{place.name} is not sorted by name")
    return labels


def _row(file: str, number: int, line: str) -> tuple[str, int]:
    """Image name and label of one line; a name with a comma or a quote is quoted, as csv writers do."""
    try:
        cells = next(csv.reader([line], strict=True))
    except csv.Error:
        cells = []
    if len(cells) != 2 or len(cells[1]) != 1 or cells[1] not in "0123456789":
        raise WrongOutput(f"{file}, line {number}: {line[:60]!r} is not name,digit")
    return cells[0], int(cells[1])


def read_picture(place: Place, side: int | None = None) -> np.ndarray:
    """uint8 (H, W, 3) of an RGB image file whose format is that of its name. Raises WrongOutput.

    With `side` a picture of another size is refused before it is decoded.
    """
    expected = FORMATS[place.suffix]
    try:
        with warnings.catch_warnings(), place.open(LARGEST_IMAGE) as file:
            warnings.simplefilter("error")
            with Image.open(file, formats=sorted(set(FORMATS.values()))) as image:
                if image.format != expected:
                    raise WrongOutput(f"{place.name} holds {image.format}")
                if max(image.size) > LARGEST_SIDE:
                    raise WrongOutput(f"{place.name} has {image.width}x{image.height} pixels")
                if side is not None and image.size != (side, side):
                    size = f"{image.width}x{image.height}"
                    raise WrongOutput(f"{place.name} has {size} pixels, not {side}x{side}")
                if image.mode != "RGB":
                    raise WrongOutput(f"{place.name} is of mode {image.mode}, not RGB")
                return np.asarray(image)
    except WrongOutput:
        raise
    except Refused as error:
        raise WrongOutput(str(error)) from None
    except Exception as error:  # decoders meet hostile files with exceptions of every kind
        raise WrongOutput(f"{place.name} is no image that can be read ({type(error).__name__})") from None


def read_samples(place: Place) -> np.ndarray:
    """One picture of 32 samples of 64x64. Raises WrongOutput where they cannot be in it."""
    picture = read_picture(place)
    height, width = picture.shape[:2]
    if min(height, width) < 64 or height * width < 32 * 64 * 64:
        raise WrongOutput(f"{place.name} has {width}x{height} pixels: no room for 32 samples of 64x64")
    if picture.min() == picture.max():
        raise WrongOutput(f"{place.name} is empty: all pixels are the same")
    return picture


def read_pictures(place: Place, names: Sequence[str], side: int) -> np.ndarray:
    """uint8 (N, side, side, 3) of a folder that holds exactly `names`. Raises WrongOutput."""
    try:
        present = set(place.names(len(names) + 1_000))
    except Refused as error:
        raise WrongOutput(f"the folder {error}") from None
    if missing := [name for name in names if name not in present]:
        raise WrongOutput(f"{missing[0]} was not written ({len(missing)} of {len(names)} missing)")
    if unknown := present - set(names):
        raise WrongOutput(f"{min(unknown)[:60]!r} was not asked for ({len(unknown)} such)")
    return np.stack([read_picture(place.inside(name), side) for name in names])
