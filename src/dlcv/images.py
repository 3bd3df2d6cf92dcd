"""Images in and out: any file to RGB, value ranges, grids, files written whole. The only place for value ranges."""

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dlcv.cli import UserError
from dlcv.files import atomic_path, check_writable

SUFFIXES = (".png", ".jpg", ".jpeg")
MAX_PIXELS = 64_000_000  # beyond this a file is no photo of a digit or a face but a decompression bomb


def is_image_name(name: str) -> bool:
    """True for the image files that graders use, whatever the case of the suffix; not for .DS_Store or ._copies."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as 8-bit RGB: transparency is dropped, 16-bit grey is scaled (Pillow would clip it)."""
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):  # 32-bit: old Pillow versions open 16-bit PNGs so
        values = np.asarray(image, dtype=np.float64)
        scale = 255.0 / 65535.0 if values.max(initial=0.0) > 255.0 else 1.0
        return Image.fromarray(np.clip(values * scale, 0, 255).round().astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def read_rgb(path: Path, size: int | None = None) -> Image.Image:
    """The image file as RGB, resized (bicubic) to size x size if that is given.

    Raises UserError, naming the file, when it cannot be read or decoded whole, or is larger than MAX_PIXELS.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # we judge the size ourselves
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UserError(f"{path} has {image.width} x {image.height} pixels: too large to be decoded safely")
                image.load()
                rgb = to_rgb(image)
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(f"{path} has far too many pixels to be decoded safely") from None
    except (OSError, SyntaxError, ValueError, EOFError, MemoryError) as error:
        # Pillow says SyntaxError for a broken PNG and quotes the path in "cannot identify image file".
        reason = "it is not an image" if isinstance(error, Image.UnidentifiedImageError) else str(error)
        raise UserError(f"cannot read {path} as an image: {reason}") from None
    if size is not None and rgb.size != (size, size):
        rgb = rgb.resize((size, size), Image.Resampling.BICUBIC)
    return rgb


def to_float(images: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """uint8 in [0, 255] to floating point in [0, 1]."""
    return images.to(dtype) / 255


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Floating point in [-1, 1] to uint8 in [0, 255], rounded to nearest, clipped."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def make_grid(images: np.ndarray, columns: int, padding: int = 2, background: int = 255) -> np.ndarray:
    """Images (N, H, W, 3) uint8, row by row, as one picture (rows * (H + p) + p, columns * (W + p) + p, 3)."""
    count, height, width, _ = images.shape
    rows = -(-count // columns)
    grid = np.full(
        (rows * (height + padding) + padding, columns * (width + padding) + padding, 3), background, np.uint8
    )
    for index, image in enumerate(images):
        top = padding + index // columns * (height + padding)
        left = padding + index % columns * (width + padding)
        grid[top : top + height, left : left + width] = image
    return grid


def save_grid(path: Path, images: torch.Tensor, columns: int = 8) -> np.ndarray:
    """Writes images (N, C, H, W) in [-1, 1] as one picture, row by row; returns it, (H, W, 3) uint8."""
    grid = make_grid(to_uint8(images).permute(0, 2, 3, 1).cpu().numpy(), columns)
    save_image(path, grid)
    return grid


def check_image_path(path: Path) -> None:
    """Raises UserError unless `path` ends in .png or .jpg and can be written."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: the file name must end in .png or .jpg")
    check_writable(path)


def save_image(path: Path, pixels: np.ndarray) -> None:
    """Writes (H, W, 3) uint8 as .png or .jpg, by the path's ending, whole or not at all.

    Raises UserError for any other ending.
    """
    check_image_path(path)
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, quality=95)
