"""models/dann.py against references, and train/train_dann.py on tiny real data."""

import math
import shutil
from pathlib import Path

import pytest
import torch
from conftest import REPO, counts_of, run_script
from torch import nn

from dlcv.checkpoint import load_model, read_checkpoint
from dlcv.models.dann import DomainClassifier, reversal_strength, reverse_gradient
from dlcv.models.digit_net import SOURCE, TARGET, DigitNet, DigitNetConfig
from dlcv.selection import accuracy_in, reverse_accuracy, unlabelled_scores

SMALL = DigitNetConfig(width=4, hidden=8)


def test_reversal_is_identity_forward_and_negates_backward() -> None:
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(3, dtype=torch.float64)
    reversed_x = reverse_gradient(x, 0.3)
    assert torch.equal(reversed_x, x)
    (reversed_x @ weight).square().sum().backward()
    expected = -0.3 * 2 * (x @ weight)[:, None] * weight
    assert torch.allclose(x.grad, expected, atol=1e-14)


def test_strength_schedule_has_the_papers_limits() -> None:
    assert reversal_strength(0.0) == 0.0
    assert reversal_strength(1.0, maximum=0.5) == pytest.approx(0.5 * math.tanh(5.0), abs=1e-12)  # 2σ(10) - 1 = tanh 5
    values = [reversal_strength(p / 10) for p in range(11)]
    assert values == sorted(values)


def test_shapes() -> None:
    assert DomainClassifier(8, hidden=16)(torch.rand(7, 8), 1.0).shape == (7,)


def domain_gradient(strength: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of the domain loss at the first convolution and at the domain classifier."""
    torch.manual_seed(0)
    model, tell_domain = DigitNet(SMALL), DomainClassifier(8, hidden=8)
    logits = tell_domain(model.extract(torch.rand(8, 3, 28, 28), SOURCE), strength)
    logits.square().mean().backward()
    return model.features[0].weight.grad, tell_domain.net[0].weight.grad


def test_features_climb_what_the_domain_classifier_descends() -> None:
    plain_feature, plain_domain = domain_gradient(-1.0)  # reversed twice: plain gradient descent
    feature, domain = domain_gradient(0.5)
    none, same_domain = domain_gradient(0.0)
    assert torch.allclose(feature, -0.5 * plain_feature, atol=1e-7)
    assert torch.equal(domain, plain_domain) and torch.equal(domain, same_domain)  # the classifier learns all the same
    assert none.abs().max() == 0  # mode source: no trace of the domain loss in the features


def test_accuracy_in_uses_the_domains_statistics_and_leaves_the_model_as_it_was() -> None:
    torch.manual_seed(0)
    model, images = DigitNet(SMALL).eval(), torch.randint(256, (20, 3, 28, 28), dtype=torch.uint8)
    model.features[-2].mean[SOURCE] = torch.linspace(-5, 5, 8)  # only there, so that another class is predicted
    model.domain = SOURCE
    with torch.no_grad():
        labels = model(images / 255).argmax(1)
    model.domain = TARGET
    assert accuracy_in(SOURCE, model, images, labels) == 1 and model.domain == TARGET
    assert accuracy_in(TARGET, model, images, labels) == 0


def train(digits: Path, out: Path, *flags: object) -> Path:
    result = run_script(
        "python3", REPO / "train" / "train_dann.py", "--data", digits, "--source", "svhn", "--target", "mnistm",
        "--steps", 2, "--batch-size", 8, "--width", 4, "--reverse-steps", 2, "--out", out, *flags,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return out


@pytest.mark.parametrize("mode", ["source", "dann", "target"])
def test_train_writes_a_model_with_its_provenance(digits: Path, tmp_path: Path, mode: str) -> None:
    out = train(digits, tmp_path / mode, "--mode", mode, "--seed", 5)
    path = out / "model.pth"
    provenance = read_checkpoint(path)["provenance"]
    assert provenance["recipe"]["mode"] == mode and provenance["recipe"]["seed"] == 5
    unlabelled = 36 if mode == "target" else 40
    assert counts_of(provenance["data"]) == {"labelled": 36, "validation": 4, "unlabelled": unlabelled}
    assert provenance["selection"] == ("best validation accuracy" if mode == "target" else "last step")
    assert ("reverse_accuracy" in provenance["metrics"]) == (mode != "target")
    assert provenance["torch"] and provenance["commit"]
    assert load_model(DigitNet, path)(torch.rand(2, 3, 28, 28)).shape == (2, 10)
    assert (out / "log.jsonl").exists() and list((out / "tensorboard").iterdir())


@pytest.mark.parametrize("mode", ["source", "dann"])
def test_training_needs_no_target_label_and_no_test_data(digits: Path, tmp_path: Path, mode: str) -> None:
    """Without the target's csv files and without any test folder, the same bits come out."""
    blind = tmp_path / "hw3_data"
    shutil.copytree(digits, blind)
    for domain in ("svhn", "mnistm", "usps"):
        shutil.rmtree(blind / "digits" / domain / "test")
        (blind / "digits" / domain / "test.csv").unlink()
    (blind / "digits" / "mnistm" / "train.csv").unlink()
    a = read_checkpoint(train(digits, tmp_path / "a", "--mode", mode) / "model.pth")["weights"]
    b = read_checkpoint(train(blind, tmp_path / "b", "--mode", mode) / "model.pth")["weights"]
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_shared_statistics(digits: Path, tmp_path: Path) -> None:
    weights = read_checkpoint(train(digits, tmp_path / "a", "--no-domain-norm") / "model.pth")["weights"]
    assert not weights["features.1.mean"][TARGET].eq(0).all()
    assert weights["features.1.mean"][SOURCE].eq(0).all()  # never used


def test_scores_of_known_predictions() -> None:
    class Constant(nn.Module):
        def __init__(self, logits: torch.Tensor) -> None:
            super().__init__()
            self.logits = nn.Parameter(logits)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.logits.expand(len(x), -1)

    images = torch.zeros(600, 3, 28, 28, dtype=torch.uint8)
    undecided = unlabelled_scores(Constant(torch.zeros(10)), images)
    assert undecided["entropy"] == pytest.approx(math.log(10)) and undecided["balance"] == pytest.approx(math.log(10))
    assert undecided["confidence"] == pytest.approx(0.1) and undecided["agreement"] == 1.0
    sure = unlabelled_scores(Constant(torch.tensor([0.0] * 9 + [1e4])), images)
    assert sure == {"confidence": 1.0, "entropy": 0.0, "balance": 0.0, "agreement": 1.0}


def test_reverse_validation_tells_right_from_wrong_labels() -> None:
    """Two classes, dark left and dark right half: right labels carry over to the 'source', random ones do not."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (256,), generator=generator)
    images = torch.randint(0, 40, (256, 3, 28, 28), generator=generator, dtype=torch.uint8)
    images[labels == 0, :, 4:10, 4:24] += 180  # a bar at the top
    images[labels == 1, :, 4:24, 4:10] += 180  # a bar on the left
    right = reverse_accuracy(images, labels, images, labels, steps=40, batch_size=32)
    wrong = reverse_accuracy(images, 1 - labels, images, labels, steps=40, batch_size=32)
    assert right > 0.9 and wrong < 0.1
