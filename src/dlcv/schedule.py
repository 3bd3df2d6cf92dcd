"""The learning rate's course, as a factor of its peak."""

import math

import torch


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Gives every parameter group of the optimizer the learning rate `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def warmup_cosine(step: int, steps: int, warmup: int, floor: float = 0.0) -> float:
    """Linear from 0 over `warmup` steps, times half a cosine from 1 at step 0 to `floor` at `steps`.

    The cosine is Loshchilov and Hutter's without restarts (2017, arXiv:1608.03983, eq. 5).
    """
    return min(1, (step + 1) / warmup) * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * step / steps)))


def constant_then_linear(step: int, steps: int, decay: float) -> float:
    """1, then falling in a straight line to 0 over the last `decay` (a share in [0, 1]) of the steps."""
    return min(1.0, (1 - step / steps) / decay) if decay else 1.0
