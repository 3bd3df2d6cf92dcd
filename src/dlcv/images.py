"""Images in and out: any file to RGB, value ranges, grids, files written whole. The only place for value ranges."""

from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image

from dlcv.cli import UserError
from dlcv.files import IMAGE_SUFFIXES, atomic_path, check_writable

# What an image of an assignment may be, whatever its name says. Pillow knows some forty more formats, whose decoders
# are less tried, and hands EPS to Ghostscript.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF")
MAX_PIXELS = 64_000_000  # beyond this a file is no photo of a digit or a face but a decompression bomb
MAX_BYTES = 4 * MAX_PIXELS  # of a file
_FLAT, _VARIED = (
    64,
    128,
)  # ranges of 256 levels: below the first, colours show nothing; from the second up, alpha shows a picture


def to_rgb(image: Image.Image) -> Image.Image:
    """An image of any mode as 8-bit RGB. 16-bit grey is scaled (Pillow would clip it).

    Transparency is dropped, unless the picture lies in it: where the visible colours hardly vary and the alpha channel
    does (black ink on an empty canvas), the image is laid on white, or on black if its ink is bright.
    """
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return _without_alpha(image.convert("RGBA"))
    if image.mode == "RGB":
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):  # 32-bit: old Pillow versions open 16-bit PNGs so
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        scale = 255.0 / 65535.0 if values.max(initial=0.0) > 255.0 else 1.0
        return Image.fromarray(np.clip(values * scale, 0, 255).round().astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def _without_alpha(image: Image.Image) -> Image.Image:
    rgb = image.convert("RGB")
    alpha, grey = np.asarray(image.getchannel("A")), np.asarray(rgb.convert("L"))
    visible = grey[alpha > 0]
    if not visible.size or np.ptp(visible) >= _FLAT or np.ptp(alpha) < _VARIED:
        return rgb
    ground = Image.new("RGB", image.size, "black" if visible.mean() >= 128 else "white")
    ground.paste(rgb, mask=image.getchannel("A"))
    return ground


def open_image(source: Path | IO[bytes]) -> Image.Image:
    """Pillow's Image.open for the formats of FORMATS, the pixels not yet decoded. Raises whatever Pillow raises."""
    return Image.open(source, formats=FORMATS)


def read_rgb(path: Path, size: int | None = None) -> Image.Image:
    """The image file as RGB, resized (bicubic) to size x size if that is given.

    Raises UserError, naming the file, when it cannot be read or decoded whole, or is larger than MAX_BYTES or
    MAX_PIXELS.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path} has {path.stat().st_size:,} bytes: too large to be an image of a digit or a face")
        with open_image(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(f"{path} has {image.width} x {image.height} pixels: too large to be decoded safely")
            image.load()
            rgb = to_rgb(image)
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise UserError(f"{path} has far too many pixels to be decoded safely") from None
    except Exception as error:  # Pillow's decoders raise errors of every kind for files that are damaged
        reason = str(error) or type(error).__name__
        if isinstance(error, Image.UnidentifiedImageError):  # its message quotes the path once more
            reason = f"it is not an image ({', '.join(FORMATS)})"
        elif isinstance(error, OSError):
            reason = error.strerror or reason
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
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise UserError(f"{path}: the file name must end in .png or .jpg")
    check_writable(path)


def save_image(path: Path, pixels: np.ndarray) -> None:
    """Writes (H, W, 3) uint8 as .png or .jpg, by the path's ending, whole or not at all.

    Raises UserError for any other ending.
    """
    check_image_path(path)
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, quality=95)
