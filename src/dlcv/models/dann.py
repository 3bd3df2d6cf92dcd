"""What DANN adds to a network in training (Ganin et al., JMLR 2016, arXiv:1505.07818): a reversed domain classifier."""

import math
from typing import Any

import torch
from torch import nn


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


class DomainClassifier(nn.Module):
    """Features to a domain logit, behind the gradient reversal; it is not part of what predicts digits."""

    def __init__(self, features: int = 128, hidden: int = 256) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1)
        )

    def forward(self, features: torch.Tensor, strength: float) -> torch.Tensor:
        """Features (B, F) -> domain logits (B,), positive for source; gradients to the features are reversed."""
        return self.net(reverse_gradient(features, strength)).squeeze(1)
