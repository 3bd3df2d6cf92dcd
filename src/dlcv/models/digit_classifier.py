"""The network by which DLCV 2021 grades ACGAN's digits, the course's own: nothing here trains on it or against it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class DigitClassifierConfig:
    mean: float = 0.5  # of the input's standardisation, every channel
    std: float = 0.5


class DigitClassifier(nn.Module):
    """28x28 RGB digits in [0, 1] to ten logits; names and sizes are those of the course's file."""

    Config = DigitClassifierConfig

    def __init__(self, config: DigitClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 4 * 4, 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, 10)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 28, 28) in [0, 1] -> (B, 64), what the last layer sees."""
        x = (x - self.config.mean) / self.config.std
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return F.relu(self.fc2(F.relu(self.fc1(x.flatten(1)))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 28, 28) in [0, 1] -> logits (B, 10)."""
        return self.fc3(self.features(x))
