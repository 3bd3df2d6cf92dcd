"""Pictures from a generator: the same pixels on every machine, in every batch size, with any number of threads."""

from collections.abc import Callable

import numpy as np
import torch

from dlcv.images import to_uint8


@torch.inference_mode()
def sample_images(
    generate: Callable[[torch.Tensor], torch.Tensor], noise: torch.Tensor, batch_size: int = 8
) -> np.ndarray:
    """uint8 (N, H, W, 3) of `generate` (float64 (B, Z) -> (B, 3, H, W) in [-1, 1]) for float64 `noise` (N, Z).

    In float64 the order of summation changes a value by some 1e-15: no rounding to 256 levels sees that. Raises
    FloatingPointError at a value that is not finite.
    """
    assert noise.dtype == torch.float64
    parts = []
    for z in noise.split(batch_size):
        x = generate(z)
        assert x.dtype == torch.float64
        if not torch.isfinite(x).all():
            raise FloatingPointError("the network returned non-finite pixels")
        parts.append(to_uint8(x).permute(0, 2, 3, 1).cpu())
    return torch.cat(parts).numpy()
