"""Losses at known limits and by hand; networks by their shapes and counts."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dlcv.cs7643.part2 import models
from dlcv.cs7643.part2.losses import FocalLoss, reweight

LOGITS = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 3, 0, 0, 2])


def test_focal_loss_without_gamma_is_cross_entropy() -> None:
    assert torch.allclose(FocalLoss()(LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS), atol=1e-12)
    weight = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
    expected = (F.cross_entropy(LOGITS, LABELS, reduction="none") * weight[LABELS]).mean()
    assert torch.allclose(FocalLoss(weight)(LOGITS, LABELS), expected, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_loss_by_hand(gamma: float) -> None:
    p = np.exp(LOGITS.numpy())
    p = (p / p.sum(1, keepdims=True))[np.arange(7), LABELS.numpy()]
    weight = torch.tensor([0.5, 1.0, 2.0, 3.0])
    expected = np.mean(weight.numpy()[LABELS.numpy()] * (1 - p) ** gamma * -np.log(p))
    loss = FocalLoss(weight, gamma)(LOGITS, LABELS)
    assert loss.shape == () and loss.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_has_finite_gradients_at_certainty(gamma: float) -> None:
    logits = torch.tensor([[200.0, -200.0], [200.0, -200.0]], requires_grad=True)
    FocalLoss(gamma=gamma)(logits, torch.tensor([0, 1])).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()
    with pytest.raises(ValueError, match="gamma -1"):
        FocalLoss(gamma=-1)


def test_weights_of_effective_numbers() -> None:
    counts = [5000, 2997, 1796, 50]
    weights = reweight(counts, beta=0.9999)
    effective = (1 - 0.9999 ** np.array(counts)) / (1 - 0.9999)
    expected = 1 / effective / (1 / effective).sum() * 4
    assert weights.dtype == torch.float32 and weights.sum().item() == pytest.approx(4, abs=1e-5)
    assert np.allclose(weights.numpy(), expected, atol=1e-6)
    for bad in (([5, 6], 1.0), ([0, 6], 0.9), ([5, 6], -0.1)):
        with pytest.raises(ValueError, match="beta must be"):
            reweight(*bad)
    assert torch.allclose(reweight(counts, beta=0.0), torch.ones(4))  # all alike
    inverse = 1 / np.array(counts)
    assert np.allclose(reweight(counts, beta=1 - 1e-9).numpy(), inverse / inverse.sum() * 4, rtol=1e-3)


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (models.TwoLayerNet(3072, 256, 10), 3072 * 256 + 256 + 2560 + 10),
        (models.VanillaCNN(), 3 * 49 * 32 + 32 + 5408 * 10 + 10),
        (models.resnet32(), 464_154),
    ],
    ids=["twolayer", "cnn", "resnet32"],
)
def test_networks(model: torch.nn.Module, parameters: int) -> None:
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.eval()(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_resnet32_has_32_layers_with_weights() -> None:
    model = models.resnet32()
    assert sum(isinstance(m, torch.nn.Conv2d | torch.nn.Linear) for m in model.modules()) == 32
