"""Two fully connected layers with a sigmoid in between."""

import torch
import torch.nn as nn

__all__ = ["TwoLayerNet"]


class TwoLayerNet(nn.Module):
    def __init__(self, input_dim, hidden_size, num_classes):
        super().__init__()
        self.fc1 = nn.Linear(input_dim, hidden_size)
        self.fc2 = nn.Linear(hidden_size, num_classes)

    def forward(self, x):
        """(N, ...) with input_dim values each -> logits (N, num_classes)."""
        return self.fc2(torch.sigmoid(self.fc1(x.flatten(1))))
