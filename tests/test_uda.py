"""models/uda.py and its losses against references, the blending, and train/train_uda.py on tiny real data."""

import copy
import shutil
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import REPO, Run, assert_one_line, call, counts_of, run_script

from dlcv.checkpoint import load_model, read_checkpoint
from dlcv.data import augment
from dlcv.models.digit_net import SOURCE, TARGET, DigitNet, DigitNetConfig, DomainBatchNorm
from dlcv.models.uda import Alignment, consistency_loss, follow

SMALL = DigitNetConfig(width=4, hidden=8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_consistency_is_cross_entropy_where_the_teacher_is_sure() -> None:
    logits = torch.randn(6, 10, dtype=torch.float64)
    teacher = torch.full((6, 10), 0.01, dtype=torch.float64)
    teacher[torch.arange(6), torch.tensor([3, 1, 4, 1, 5, 9])] = 0.91
    teacher[4:] = 0.1  # unsure
    loss, sure = consistency_loss(logits, teacher, 0.9)
    assert sure == pytest.approx(4 / 6)
    assert loss == pytest.approx(float(F.cross_entropy(logits[:4], torch.tensor([3, 1, 4, 1]))) * 4 / 6, abs=1e-12)
    none, share = consistency_loss(logits, teacher, 0.95)
    assert none == 0 and share == 0


def test_alignment_presses_down_what_is_overused() -> None:
    overused = torch.tensor([0.7, 0.1, 0.1, 0.1]).repeat(50, 1)
    aligned = Alignment(classes=4, momentum=1.0)(overused, strength=1.0)
    assert torch.allclose(aligned, torch.full((50, 4), 0.25), atol=1e-6)  # full strength: the mean becomes uniform
    untouched = Alignment(classes=4, momentum=1.0)(overused, strength=0.0)
    assert torch.allclose(untouched, overused, atol=1e-6)
    half = Alignment(classes=4, momentum=1.0)(overused, strength=0.5)
    assert 0.25 < half[0, 0] < 0.7 and torch.allclose(half.sum(1), torch.ones(50))
    slow = Alignment(classes=4, momentum=0.01)
    slow(overused, 1.0)
    assert torch.allclose(slow.mean, 0.99 * torch.full((4,), 0.25) + 0.01 * overused[0])


def test_the_teacher_follows_the_weights_and_keeps_its_own_target_statistics() -> None:
    student = DigitNet(SMALL)
    teacher = copy.deepcopy(student).requires_grad_(False)
    before = teacher.classifier.weight.clone()
    with torch.no_grad():
        student.classifier.weight += 1.0
    student.extract(torch.rand(8, 3, 28, 28), SOURCE)
    student.extract(torch.rand(8, 3, 28, 28), TARGET)
    follow(teacher, student, 0.9)
    assert torch.allclose(teacher.classifier.weight, before + 0.1)
    norms = [m for m in teacher.modules() if isinstance(m, DomainBatchNorm)]
    others = [m for m in student.modules() if isinstance(m, DomainBatchNorm)]
    for own, other in zip(norms, others, strict=True):
        assert torch.equal(own.mean[SOURCE], other.mean[SOURCE]) and not own.mean[SOURCE].eq(0).all()
        assert own.mean[TARGET].eq(0).all() and not other.mean[TARGET].eq(0).all()


def ring(bright: float, dark: float) -> torch.Tensor:
    """A 0 of brightness `bright` on paper of brightness `dark`."""
    y, x = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    radius = ((y - 13.5) ** 2 + (x - 13.5) ** 2).sqrt()
    return torch.where((radius > 6) & (radius < 10), bright, dark).expand(1, 3, 28, 28).contiguous()


def test_masks_do_not_depend_on_brightness_and_contrast() -> None:
    a = augment.digit_masks(ring(1.0, 0.0), generator())
    b = augment.digit_masks(ring(0.7, 0.3), generator())
    ink = ring(1.0, 0.0)[:, :1] > 0.5
    assert a.shape == (1, 1, 28, 28)
    assert a[ink].min() > 0.9 and a[~ink].max() < 0.4
    assert (a - b).abs().max() < 0.1
    dark = augment.digit_masks(ring(0.0, 1.0), generator())
    assert torch.allclose(dark, 1 - a, atol=0.1)


def test_blend_is_a_difference_or_a_colour() -> None:
    masks = (ring(1.0, 0.0)[:, :1] > 0.5).float().repeat(40, 1, 1, 1)
    backgrounds = torch.rand(40, 3, 28, 28, generator=generator())
    blended = augment.blend(masks, backgrounds, generator())
    ink = masks.expand(-1, 3, -1, -1) > 0.5
    assert torch.equal(blended[~ink], backgrounds[~ink])  # the paper stays
    difference = (backgrounds - 1).abs()
    painted = 0
    for i in range(40):
        inside = ink[i]
        if torch.equal(blended[i][inside], difference[i][inside]):
            continue
        painted += 1
        for channel in range(3):
            assert blended[i, channel][inside[channel]].std() < 1e-5  # one colour
    assert 10 < painted < 30


def test_thickness_neighbours_cutout_and_crops() -> None:
    masks = ring(1.0, 0.0)[:, :1].repeat(64, 1, 1, 1)
    ink = augment.random_thickness(masks, generator()).sum((1, 2, 3))
    plain = masks[0].sum()
    assert ink.min() < 0.8 * plain and ink.max() > 1.2 * plain
    beside = augment.add_neighbours(masks, generator(), share=0.7)
    assert (beside >= masks).all()  # the digit in the middle is never hidden
    changed = (beside - masks).amax((1, 2, 3)) > 0.5
    assert 0.6 < changed.float().mean() <= 1.0
    assert torch.equal(augment.add_neighbours(masks, generator(), share=0.0), masks)
    images = torch.rand(64, 3, 28, 28, generator=generator())
    cut = augment.cutout(images, generator())
    share = (cut != images).any(1).float().mean((1, 2))
    assert share.max() <= 100 / 784 and share.mean() > 0.02
    crops = augment.random_crops(images, generator())
    assert crops.shape == images.shape and crops.min() >= 0 and crops.max() <= 1


def train(digits: Path, out: Path, *flags: object, run: Run = run_script) -> Path:
    result = run(
        "python3", REPO / "train" / "train_uda.py", "--data", digits, "--source", "usps", "--target", "svhn",
        "--steps", 2, "--batch-size", 8, "--target-batch-size", 6, "--width", 4, "--reverse-steps", 2, "--out", out,
        "--threshold", 0, "--warmup", 0, *flags,  # the teacher's word counts from the first step
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return out


def test_train_writes_a_model_with_its_provenance(digits: Path, tmp_path: Path) -> None:
    out = train(digits, tmp_path / "run", "--seed", 5, run=call)
    provenance = read_checkpoint(out / "model.pth")["provenance"]
    assert provenance["recipe"]["seed"] == 5 and provenance["step"] == 2
    assert counts_of(provenance["data"]) == {"labelled": 36, "validation": 4, "unlabelled": 40}
    assert {"agreement", "confidence", "reverse_accuracy", "validation_accuracy"} <= provenance["metrics"].keys()
    assert load_model(DigitNet, out / "model.pth")(torch.rand(2, 3, 28, 28)).shape == (2, 10)
    assert (out / "log.jsonl").exists() and list((out / "tensorboard").iterdir())


def test_training_needs_no_target_label_and_no_test_data(digits: Path, tmp_path: Path) -> None:
    """Without the target's csv files and without any test folder, the same bits come out."""
    blind = tmp_path / "hw3_data"
    shutil.copytree(digits, blind)
    for domain in ("svhn", "mnistm", "usps"):
        shutil.rmtree(blind / "digits" / domain / "test")
        (blind / "digits" / domain / "test.csv").unlink()
    (blind / "digits" / "svhn" / "train.csv").unlink()
    a = read_checkpoint(train(digits, tmp_path / "a") / "model.pth")["weights"]
    b = read_checkpoint(train(blind, tmp_path / "b") / "model.pth")["weights"]
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def reference(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    return read_checkpoint(train(digits, tmp_path_factory.mktemp("uda") / "run") / "model.pth")["weights"]


@pytest.mark.parametrize(
    "flags",
    [
        ("--consistency", 0), ("--blend", 0), ("--neighbours", 0), ("--no-colour",),
        ("--no-domain-norm",), ("--no-instance-norm",), ("--source-end", 1), ("--teacher-decay", 0),
    ],
)  # fmt: skip
def test_every_ingredient_has_a_part(
    digits: Path, reference: dict[str, torch.Tensor], tmp_path: Path, flags: tuple[object, ...]
) -> None:
    without = read_checkpoint(train(digits, tmp_path / "run", *flags) / "model.pth")["weights"]
    assert any(not torch.equal(reference[name], without[name]) for name in reference)


def test_alignment_has_a_part(digits: Path, tmp_path: Path) -> None:
    """It takes some steps until the running mean of the predictions is uneven."""
    a = read_checkpoint(train(digits, tmp_path / "a", "--steps", 25) / "model.pth")["weights"]
    b = read_checkpoint(train(digits, tmp_path / "b", "--steps", 25, "--no-alignment") / "model.pth")["weights"]
    assert any(not torch.equal(a[name], b[name]) for name in a)


def test_bad_values_are_refused(digits: Path, tmp_path: Path) -> None:
    script = REPO / "train" / "train_uda.py"
    for flags, message in (
        (("--source", "usps", "--target", "usps"), "both usps"),
        (("--target-batch-size", 1), "--target-batch-size 1"),
        (("--blend", 1.5), "--blend 1.5"),
        (("--threshold", -0.1), "--threshold -0.1"),
        (("--seed", -1), "--seed -1"),
    ):
        result = run_script("python3", script, "--data", digits, "--out", tmp_path / "o", *flags)
        assert_one_line(result, 2, message)
