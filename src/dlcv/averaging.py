"""Statistics that belong to weights, and that the averaging of weights leaves behind."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def settle(network: nn.Module, batches: Iterable[tuple[torch.Tensor, ...]], iterations: int = 30) -> None:
    """Takes batch norm's statistics anew, over `batches` of inputs, and lets spectral norm find its vectors.

    Averaged weights see other activations than the weights that they are averages of: with the running statistics of
    training, averaged generators give dull pictures (docs/LOG.md). As torch.optim.swa_utils.update_bn, for networks of
    several inputs. Averages of spectral norm's unit vectors are shorter than 1, and the weights divided by what they
    find too large: power iterations mend it.
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
