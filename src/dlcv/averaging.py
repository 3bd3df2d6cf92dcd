"""The running average of a network's weights (`ema`), and batch-norm statistics and spectral norms taken anew for it
(`settle`)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def ema(model: nn.Module, decay: float, warmup: bool = False, buffers: bool = True) -> AveragedModel:
    """The exponential moving average of a model's weights; its `.module` is the averaged network, in eval mode.

    Call `update_parameters(model)` after each step. With `warmup` the decay after t updates is at most
    (1 + t) / (10 + t), as TensorFlow's ExponentialMovingAverage has it, so that the first weights are soon forgotten.
    `buffers`: batch norm's statistics are averaged, too; without, take them anew with `settle`.
    """

    def warmed_up(averages: Any, values: Any, updates: Any) -> None:
        now = int(average.n_averaged)  # on the CPU and saved; `updates` is its copy on the weights' device
        get_ema_multi_avg_fn(min(decay, (1 + now) / (10 + now)))(averages, values, updates)

    average = AveragedModel(
        model, multi_avg_fn=warmed_up if warmup else get_ema_multi_avg_fn(decay), use_buffers=buffers
    )
    average.module.eval()
    return average


@torch.no_grad()
def settle(network: nn.Module, batches: Iterable[tuple[torch.Tensor, ...]], iterations: int = 30) -> None:
    """Recomputes batch norm's statistics over `batches` of inputs, and spectral norm's vectors by power iteration.

    Averaged weights give other activations than the weights they were averaged from: with the running statistics of
    training, averaged generators give dull pictures (docs/LOG.md, "SAGAN: averaged weights and their statistics"). As
    torch.optim.swa_utils.update_bn, for networks of several inputs. Spectral norm divides by a norm estimated from unit
    vectors; averaged, these are shorter than 1 and the estimate is too small. Power iterations renew them.
    """
    training = network.training
    network.train()  # only then do both of them learn
    for module in network.modules():
        if hasattr(module, "parametrizations"):
            for _ in range(iterations):
                module.weight  # noqa: B018 - reading it is one iteration
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    for batch in batches:
        network(*batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.train(training)
