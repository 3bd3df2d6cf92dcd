"""A convolution, ReLU, pooling, and one fully connected layer."""

import torch.nn as nn

__all__ = ["VanillaCNN"]


class VanillaCNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 32, kernel_size=7, stride=1, padding=0)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(kernel_size=2, stride=2)
        self.fc = nn.Linear(32 * 13 * 13, 10)

    def forward(self, x):
        """(N, 3, 32, 32) -> logits (N, 10); the maps are 26x26, then 13x13."""
        return self.fc(self.pool(self.relu(self.conv(x))).flatten(1))
