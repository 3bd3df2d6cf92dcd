"""Pictures from a generator: the same pixels on every x86-64 CPU that was tried, in any batch size, on any threads."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from dlcv import cli, repro
from dlcv.checkpoint import load_model
from dlcv.files import write_folder
from dlcv.images import check_image_path, make_grid, save_image, to_uint8

SEED = 0  # of the noise of graded pictures; fixed before any picture was looked at


@torch.inference_mode()
def sample_images(
    generate: Callable[[torch.Tensor], torch.Tensor], noise: torch.Tensor, batch_size: int = 8, progress: str = ""
) -> np.ndarray:
    """uint8 (N, H, W, 3) of `generate` (float64 (B, Z) -> (B, 3, H, W) in [-1, 1]) for float64 `noise` (N, Z).

    In float64 the order of summation changes a value by some 1e-15: no rounding to 256 levels sees that. Raises
    FloatingPointError at a value that is not finite. `progress` labels the progress line on a terminal.
    """
    assert noise.dtype == torch.float64
    parts = []
    batches = noise.split(batch_size)
    for z in cli.progress(batches, len(batches), progress):
        x = generate(z)
        assert x.dtype == torch.float64
        if not torch.isfinite(x).all():
            raise FloatingPointError("the network returned non-finite pixels")
        parts.append(to_uint8(x).permute(0, 2, 3, 1).cpu())
    return torch.cat(parts).numpy()


def sample_digits(
    model: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    noise: torch.Tensor,
    digits: torch.Tensor,
    batch_size: int = 8,
    progress: str = "",
) -> np.ndarray:
    """`sample_images` for `model`(latents (B, Z), digits (B,)) -> images, of `noise` (N, Z) and `digits` int64 (N,)."""
    labelled = torch.cat([noise, digits[:, None].double()], dim=1)  # one tensor, so that both are cut alike
    return sample_images(lambda part: model(part[:, :-1], part[:, -1].long()), labelled, batch_size, progress)


def sample_grid(cls: Any, checkpoint: Path, out: Path, generate: Callable[[Any, torch.Tensor], torch.Tensor]) -> None:
    """Writes 32 samples of the `cls` in `checkpoint` to `out`, 4 rows of 8, as .png or .jpg.

    `generate(model, noise)` gives images in [-1, 1]. Raises UserError.
    """
    check_image_path(out)  # before the work, not after it
    model = load_model(cls, checkpoint).double()
    noise = repro.noise(SEED, 32, model.config.latent_dim)
    save_image(out, make_grid(sample_images(lambda z: generate(model, z), noise, progress="samples, in eights"), 8))


def save_folder(folder: Path, names: Sequence[str], images: np.ndarray) -> None:
    """Writes images (N, H, W, 3) uint8 as PNGs into a folder: dlcv.files.write_folder."""
    contents = {}
    for name, image in zip(names, images, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="PNG")
        contents[name] = buffer.getvalue()
    write_folder(folder, contents)
