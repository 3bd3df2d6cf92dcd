"""CIFAR-10 and Fashion-MNIST as get_dataset.sh leaves them: cifar10.npz, fashion_mnist.npz."""

import zipfile
import zlib
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch

from dlcv.cli import UserError

HELD_OUT = 5_000  # training images that no training sees when something is chosen


class Split(NamedTuple):
    images: torch.Tensor  # uint8 (N, C, H, W)
    labels: torch.Tensor  # int64 (N,)


def read_arrays(data: Path | None, name: Literal["cifar10", "fashion_mnist"], split: Literal["train", "test"]) -> Split:
    """A split of <data>/<name>.npz; without `data`, of data/<name>.npz.

    Raises UserError for a file that is missing, or is not what its name says.
    """
    path = (data or Path("data")) / f"{name}.npz"
    try:
        with np.load(path) as file:
            images, labels = file[f"{split}_images"], file[f"{split}_labels"]
    except FileNotFoundError:
        raise UserError(f"{path} is not here: give --data FOLDER, or run: bash get_dataset.sh --only {name}") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"cannot read {path}: {error}") from None
    shape = (32, 32, 3) if name == "cifar10" else (28, 28)
    if images.dtype != np.uint8 or images.shape[1:] != shape or labels.shape != images.shape[:1] or not len(labels):
        raise UserError(f"{path} holds {split} images {images.dtype} {images.shape} with labels {labels.shape}")
    if labels.min() < 0 or labels.max() > 9:
        raise UserError(f"{path}: {split} labels must be 0 to 9")
    tensor = torch.from_numpy(images)
    tensor = tensor.permute(0, 3, 1, 2).contiguous() if tensor.ndim == 4 else tensor[:, None]
    return Split(tensor, torch.from_numpy(labels.astype(np.int64)))
