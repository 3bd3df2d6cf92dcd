"""models/digit_net.py against references, and the checkpoints of both methods in it."""

import dataclasses

import pytest
import torch
from conftest import REPO
from torch import nn

from dlcv.checkpoint import load_model, read_checkpoint
from dlcv.models.digit_net import SOURCE, TARGET, DigitNet, DigitNetConfig, DomainBatchNorm

SMALL = DigitNetConfig(width=4, hidden=8)


def test_domain_norm_is_batch_norm_for_each_domain() -> None:
    ours, source, target = DomainBatchNorm(3).double(), nn.BatchNorm2d(3).double(), nn.BatchNorm2d(3).double()
    for step in range(5):
        a, b = torch.randn(4, 3, 5, 5, dtype=torch.float64) + step, torch.randn(6, 3, 5, 5, dtype=torch.float64) * 3
        assert torch.allclose(ours(a, SOURCE), source(a), atol=1e-12)
        assert torch.allclose(ours(b, TARGET), target(b), atol=1e-12)
    for module in (ours, source, target):
        module.eval()
    assert torch.allclose(ours(a, SOURCE), source(a), atol=1e-12)
    assert torch.allclose(ours(a, TARGET), target(a), atol=1e-12)


def test_shapes_and_contrast() -> None:
    model = DigitNet(SMALL).eval()
    x = torch.rand(7, 3, 28, 28)
    assert model(x).shape == (7, 10)
    assert model.extract(x, TARGET).shape == (7, 8)
    # Standardised images: brightness does not matter; without standardising, it does.
    plain = DigitNet(dataclasses.replace(SMALL, instance_norm=False)).eval()
    plain.load_state_dict(model.state_dict())
    assert torch.allclose(model(x + 0.3), model(x), atol=1e-5)
    assert not torch.allclose(plain(x + 0.3), plain(x), atol=1e-4)
    assert torch.isfinite(model(torch.zeros(1, 3, 28, 28))).all()


@pytest.mark.parametrize("method", ["dann", "uda"])
def test_published_networks_hold_what_predicts_and_nothing_else(method: str) -> None:
    paths = sorted((REPO / "checkpoints").glob(f"{method}_*.pth"))
    assert len(paths) == 6
    for path in paths:
        load_model(DigitNet, path)
        content = read_checkpoint(path)
        assert all(name.split(".")[0] in ("features", "classifier") for name in content["weights"])
        assert len(content["provenance"]["converted"]["sha256"]) == 64  # the file that the ledger names
