"""Class-balanced focal loss, softmax form.

Weights: Cui et al. 2019 (arXiv:1901.05555), equation 4. Focal loss: Lin et al. 2017 (arXiv:1708.02002), with the
softmax probability of the true class in the place of the sigmoid.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F


def reweight(cls_num_list, beta=0.9999):
    """Weights (C,) inverse to the effective numbers (1 - beta^n) / (1 - beta), scaled so that they sum to C.

    cls_num_list: images of each class. beta 0 weighs all alike; beta towards 1 weighs by 1 / n.
    """
    counts = torch.as_tensor(cls_num_list, dtype=torch.float64)
    if not 0 <= beta < 1 or (counts < 1).any():
        raise ValueError("beta must be in [0, 1), and every class must have an image")
    weights = (1 - beta) / (1 - torch.as_tensor(beta, dtype=torch.float64) ** counts)
    return (weights / weights.sum() * len(counts)).float()


class FocalLoss(nn.Module):
    """weight[y] (1 - p_y)^gamma (-log p_y), p the softmax, averaged over the N images.

    Without weights, gamma 0 is cross entropy. Weighted, the sum is divided by N, not by the sum of the weights.
    """

    def __init__(self, weight=None, gamma=0.0):
        super().__init__()
        if gamma < 0:
            raise ValueError(f"gamma {gamma}: must not be negative")
        self.gamma = gamma
        self.weight = weight

    def forward(self, input, target):
        """Logits (N, C), labels (N,) -> scalar."""
        log_p = F.log_softmax(input, dim=1).gather(1, target[:, None])[:, 0]
        doubt = (1 - log_p.exp()).clamp(min=1e-12)  # at 0 a power below 1 has no finite gradient
        loss = -(doubt**self.gamma) * log_p
        if self.weight is not None:
            loss = loss * self.weight.to(loss)[target]
        return loss.mean()
