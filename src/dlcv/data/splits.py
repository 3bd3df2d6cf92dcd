"""Which training images no training sees: choosing is done on those."""

import torch

from dlcv.cli import UserError


def hold_out(count: int, held_out: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Row numbers of `count` training images: (for training, held out). The same for every model and seed.

    At most a ninth is held out, so that small sets keep something to train on, and at least one.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    held_out = min(held_out, max(1, count // 9))
    return order[held_out:].sort().values, order[:held_out].sort().values


def hold_out_tenth(count: int, most: int = 2_000) -> tuple[torch.Tensor, torch.Tensor]:
    """Row numbers of `count` labelled digits, shuffled: (for training, held out). The same for every model and seed.

    Raises UserError for fewer than ten.
    """
    if count < 10:
        raise UserError(f"{count} labelled images: a tenth is held out, so at least ten are needed")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    held_out = min(most, count // 10)
    return order[held_out:], order[:held_out]
