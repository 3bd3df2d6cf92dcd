"""The network that reads digits, for all domain adaptation here: 28x28 RGB digits in [0, 1] to ten classes."""

from dataclasses import dataclass
from itertools import pairwise

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


@dataclass(frozen=True)
class DigitNetConfig:
    width: int = 32  # channels of the first convolution
    hidden: int = 128  # features: units of the last hidden layer
    instance_norm: bool = True  # each image's channels to mean 0 and deviation 1, inside the network
    classes: int = 10


class DigitNet(nn.Module):
    """Five convolutions and a hidden layer (features), then a linear classifier."""

    Config = DigitNetConfig

    def __init__(self, config: DigitNetConfig) -> None:
        super().__init__()
        self.config = config
        self.domain = TARGET  # whose batch-norm statistics a plain forward uses
        w, hidden = config.width, config.hidden
        layers: list[nn.Module] = []
        for block in ((3, w), (w, 2 * w, 2 * w), (2 * w, 4 * w, 4 * w)):
            for inputs, outputs in pairwise(block):
                convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
                layers += [convolution, DomainBatchNorm(outputs), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))  # 28 -> 14 -> 7 -> 3
        layers += [nn.Flatten(), nn.Linear(4 * w * 9, hidden, bias=False), DomainBatchNorm(hidden), nn.ReLU()]
        self.features = nn.ModuleList(layers)
        self.classifier = nn.Linear(hidden, config.classes)

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

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 28, 28) in [0, 1], of the domain `self.domain` -> class logits (B, 10)."""
        return self.classifier(self.extract(x, self.domain))
