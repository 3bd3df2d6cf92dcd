"""Class predictions: the same on every x86-64 CPU that was tried, in every batch size, with any number of threads."""

import copy

import numpy as np
import torch
from torch import nn

from dlcv import cli
from dlcv.images import to_float

# float32 logits of our networks (any batch size, threads, oneDNN on or off) differ from float64's by at most a
# thirtieth of this: docs/LOG.md, "Inference: whole process, memory, near-ties". Closer calls are decided in float64.
TIE_MARGIN = 1e-3


@torch.inference_mode()
def predict_labels(model: nn.Module, images: torch.Tensor, batch_size: int = 100, progress: str = "") -> np.ndarray:
    """The class with the largest logit for each of `images` (N, 3, H, W) uint8, as int64 (N,).

    `model` takes floating-point images in [0, 1] and returns logits (B, classes); it must be in eval mode.
    float32 decides, unless the two largest logits are within TIE_MARGIN: then float64 does. A non-finite logit raises
    FloatingPointError. `progress` labels the progress line on a terminal.
    """
    device = next(model.parameters()).device
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    labels = np.empty(len(images), dtype=np.int64)
    close: list[int] = []
    starts = range(0, len(images), batch_size)
    for start in cli.progress(starts, len(starts), progress):
        batch = to_float(images[start : start + batch_size].to(device))
        logits = model(batch.to(memory_format=torch.channels_last)).float().cpu()
        if not torch.isfinite(logits).all():
            raise FloatingPointError("the network returned non-finite logits")
        top, index = logits.topk(2, dim=1)
        labels[start : start + len(batch)] = index[:, 0].numpy()
        close += (start + torch.nonzero(top[:, 0] - top[:, 1] < TIE_MARGIN)[:, 0]).tolist()
    if close:
        exact = copy.deepcopy(model).double()
        for start in range(0, len(close), batch_size):
            rows = close[start : start + batch_size]
            logits = exact(to_float(images[rows].to(device), torch.float64))
            labels[rows] = logits.argmax(dim=1).cpu().numpy()
    return labels
