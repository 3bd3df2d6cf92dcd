"""DANN (Ganin et al., JMLR 2016, arXiv:1505.07818) for 28x28 RGB digits in [0, 1]."""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

SOURCE, TARGET = 0, 1


class DomainBatchNorm(nn.Module):
    """Batch normalisation with shared scale and shift, but statistics for each domain (Li et al. 2016, AdaBN).

    `domain` is SOURCE or TARGET. Input (B, C) or (B, C, H, W).
    """

    mean: torch.Tensor
    var: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(2, channels))
        self.register_buffer("var", torch.ones(2, channels))

    def forward(self, x: torch.Tensor, domain: int) -> torch.Tensor:
        return F.batch_norm(x, self.mean[domain], self.var[domain], self.weight, self.bias, self.training, momentum=0.1)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, domains=2"


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, strength: float) -> torch.Tensor:
        ctx.strength = strength
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -ctx.strength * grads[0], None


def reverse_gradient(x: torch.Tensor, strength: float) -> torch.Tensor:
    """Identity forward; multiplies the gradient by -strength backward (the paper's eq. 16 and 17)."""
    return _Reversal.apply(x, strength)


def reversal_strength(progress: float, maximum: float = 1.0, gamma: float = 10.0) -> float:
    """The paper's schedule (section 5.2.2): from 0 at progress 0 towards `maximum` at progress 1."""
    return maximum * (2 / (1 + math.exp(-gamma * progress)) - 1)


@dataclass(frozen=True)
class DANNConfig:
    width: int = 32  # channels of the first convolution
    hidden: int = 128  # features: units of the last hidden layer, which both classifiers see
    domain_hidden: int = 256  # units of the domain classifier's two hidden layers
    instance_norm: bool = True  # each image's channels to mean 0 and deviation 1, inside the network
    classes: int = 10


class DANN(nn.Module):
    """Feature extractor, label classifier, and a domain classifier behind the gradient reversal."""

    Config = DANNConfig

    def __init__(self, config: DANNConfig) -> None:
        super().__init__()
        self.config = config
        self.domain = TARGET  # whose batch-norm statistics a plain forward uses
        w, hidden = config.width, config.hidden
        self.features = nn.ModuleList(
            [
                nn.Conv2d(3, w, 3, padding=1, bias=False), DomainBatchNorm(w), nn.ReLU(), nn.MaxPool2d(2),
                nn.Conv2d(w, 2 * w, 3, padding=1, bias=False), DomainBatchNorm(2 * w), nn.ReLU(),
                nn.Conv2d(2 * w, 2 * w, 3, padding=1, bias=False), DomainBatchNorm(2 * w), nn.ReLU(), nn.MaxPool2d(2),
                nn.Conv2d(2 * w, 4 * w, 3, padding=1, bias=False), DomainBatchNorm(4 * w), nn.ReLU(),
                nn.Conv2d(4 * w, 4 * w, 3, padding=1, bias=False), DomainBatchNorm(4 * w), nn.ReLU(), nn.MaxPool2d(2),
                nn.Flatten(), nn.Linear(4 * w * 9, hidden, bias=False), DomainBatchNorm(hidden), nn.ReLU(),
            ]
        )  # fmt: skip
        self.classifier = nn.Linear(hidden, config.classes)
        d = config.domain_hidden
        self.domain_classifier = nn.Sequential(
            nn.Linear(hidden, d), nn.ReLU(), nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 1)
        )

    def extract(self, x: torch.Tensor, domain: int) -> torch.Tensor:
        """(B, 3, 28, 28) in [0, 1] -> features (B, hidden)."""
        if self.config.instance_norm:
            mean, std = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True)
            x = (x - mean) / (std + 0.03)  # 0.03: noise in an empty image is not blown up into a texture
        else:
            x = x * 2 - 1
        for layer in self.features:
            x = layer(x, domain) if isinstance(layer, DomainBatchNorm) else layer(x)
        return x

    def tell_domain(self, features: torch.Tensor, strength: float) -> torch.Tensor:
        """Features (B, hidden) -> domain logits (B,), positive for source; gradients to the features are reversed."""
        return self.domain_classifier(reverse_gradient(features, strength)).squeeze(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 28, 28) in [0, 1], of the domain `self.domain` -> class logits (B, 10)."""
        return self.classifier(self.extract(x, self.domain))
