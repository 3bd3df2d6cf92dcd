"""EEE7331 assignment 1, question 1: a CNN for CIFAR-10, and its twin with depth-wise separable convolutions.

32x32 RGB in [0, 1], standardised inside; 30 - 15 - 15 - 7 - 7 - 3 pixels on the way. Depth-wise separable convolution:
Howard et al. 2017 (arXiv:1704.04861): one 3x3 filter a channel, then a 1x1 convolution; without the paper's batch norm
and ReLU in between, since the question's networks have no batch norm.
"""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class CifarCNNConfig:
    separable: bool = False  # stages 2 and 3: Part B of the question
    dropout: float = 0.3  # before and behind the fully connected layer of 500
    mean: tuple[float, float, float] = (0.4914, 0.4822, 0.4465)
    std: tuple[float, float, float] = (0.2470, 0.2435, 0.2616)


def _convolution(inputs: int, outputs: int, separable: bool) -> list[nn.Module]:
    if not separable:
        return [nn.Conv2d(inputs, outputs, 3, padding=1)]
    return [nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs), nn.Conv2d(inputs, outputs, 1)]


class CifarCNN(nn.Module):
    """Five stages as the question gives them: 676,294 parameters, or 595,334 with separable convolutions."""

    Config = CifarCNNConfig
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, config: CifarCNNConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.tensor(config.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(3, 1, 1), persistent=False)
        self.net = nn.Sequential(
            nn.Conv2d(3, 32, 5, padding=1), nn.ReLU(), nn.MaxPool2d(2),  # 32 -> 30 -> 15
            *_convolution(32, 64, config.separable), nn.ReLU(), nn.MaxPool2d(2),  # 15 -> 7
            *_convolution(64, 128, config.separable), nn.ReLU(), nn.MaxPool2d(2),  # 7 -> 3
            nn.Flatten(), nn.Dropout(config.dropout), nn.Linear(128 * 3 * 3, 500), nn.ReLU(),
            nn.Dropout(config.dropout), nn.Linear(500, 10),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 32, 32) in [0, 1] -> logits (B, 10)."""
        return self.net((x - self.mean) / self.std)
