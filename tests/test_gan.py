"""models/gan.py at known limits, train/train_gan.py and inference/sample_gan.py on tiny real data."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPO, assert_one_line, call, counts_of, kill_after_first_save, run_script
from PIL import Image

from dlcv.checkpoint import load_model, read_checkpoint
from dlcv.data.augment import diff_augment
from dlcv.losses import discriminator_loss, generator_loss
from dlcv.models.gan import (
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
)
from dlcv.repro import noise
from dlcv.sampling import sample_images
from dlcv.trainer import read_save


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_hinge_losses_at_their_limits() -> None:
    sure, wrong = torch.full((4,), 2.0), torch.full((4,), -2.0)
    assert discriminator_loss(real=sure, fake=wrong) == 0  # beyond the margin nothing is left to learn
    assert discriminator_loss(real=wrong, fake=sure) == 6
    assert discriminator_loss(torch.zeros(4), torch.zeros(4)) == 2
    assert generator_loss(sure) == -2


def test_shapes_and_ranges() -> None:
    g, d = Generator(GeneratorConfig(6, 4)).eval(), Discriminator(DiscriminatorConfig(4, gain=1.0)).eval()
    x = g(torch.randn(5, 6))
    assert x.shape == (5, 3, 64, 64) and x.abs().max() <= 1
    assert d(x).shape == (5,)
    louder = Discriminator(DiscriminatorConfig(4, gain=3.0)).eval()
    louder.load_state_dict(d.state_dict())
    assert torch.allclose(louder(x), 3 * d(x))


def test_the_discriminator_is_spectrally_normed() -> None:
    d = Discriminator(DiscriminatorConfig(4))
    for _ in range(50):  # power iterations happen in training mode
        d(torch.randn(2, 3, 64, 64))
    for module in d.modules():
        if isinstance(module, torch.nn.Conv2d):
            norm = torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2)
            assert norm.item() == pytest.approx(1.0, abs=0.02)


def test_a_collapsed_batch_looks_different_to_the_discriminator() -> None:
    """The same image gets another logit among copies of itself than among others."""
    d = Discriminator(DiscriminatorConfig(4, gain=1.0)).eval()
    x = torch.randn(4, 3, 64, 64, generator=generator())
    assert (d(x)[0] - d(x[:1].repeat(4, 1, 1, 1))[0]).abs() > 1e-6


def test_diff_augment_is_alike_for_alike_draws_and_differentiable() -> None:
    x = torch.rand(6, 3, 64, 64, generator=generator()) * 2 - 1
    assert torch.equal(diff_augment(x, generator(1)), diff_augment(x, generator(1)))
    assert not torch.equal(diff_augment(x, generator(1)), diff_augment(x, generator(2)))
    x.requires_grad_()
    diff_augment(x, generator(1)).square().sum().backward()
    touched = x.grad.abs().sum((1, 2, 3))
    assert (touched > 0).all()
    # A dot moves by at most an eighth of the side, unless the hole swallows it.
    plain = torch.zeros(50, 3, 64, 64)
    dots = plain.clone()
    dots[:, :, 32, 32] = 1.0
    change = (diff_augment(dots, generator(3)) - diff_augment(plain, generator(3))).abs().mean(1)
    place = change.flatten(1).argmax(1)
    seen = change.amax((1, 2)) > 0.3
    assert 25 < seen.sum() < 50
    for position in place[seen].tolist():
        assert abs(position // 64 - 32) <= 8 and abs(position % 64 - 32) <= 8


def test_diff_augment_turns_and_zooms_within_its_limits() -> None:
    def places(column: int) -> torch.Tensor:
        plain = torch.zeros(80, 3, 64, 64)
        dots = plain.clone()
        dots[:, :, 31:34, column - 1 : column + 2] = 1.0
        images = (diff_augment(x, generator(3), shift=0.0, degrees=30.0, scale=0.3) for x in (dots, plain))
        change = torch.sub(*images).abs().mean(1)
        assert ((change > 0.1).flatten(1).any(1)).sum() > 50  # the hole swallows some
        weight = change / change.sum((1, 2), keepdim=True)  # nan where swallowed
        grid = torch.arange(64.0)
        return torch.stack([(weight.sum(1) * grid).sum(1), (weight.sum(2) * grid).sum(1)], dim=1)  # x, y

    between = places(44) - places(20)
    length, angle = between.norm(dim=1) / 24, torch.atan2(between[:, 1], between[:, 0]).rad2deg()
    seen = (length > 0.65) & (length < 1.5)  # a hole may cut a piece of a dot off
    assert seen.sum() > 40 and (angle[seen].abs() < 33).all() and (angle[seen] > 5).any() and (angle[seen] < -5).any()
    assert 20 < (angle[seen].abs() < 0.1).sum() < 60  # half of the images are not turned
    assert length[seen].min() < 0.85 and length[seen].max() > 1.15


def command(faces: Path, out: Path, *flags: object) -> list[str]:
    words = [
        sys.executable, REPO / "train" / "train_gan.py", "--data", faces, "--steps", 40, "--batch-size", 4,
        "--latent-dim", 6, "--width", 4, "--evaluate-every", 20, "--out", out, *flags,
    ]  # fmt: skip
    return [str(word) for word in words]


@pytest.fixture(scope="module")
def trained(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gan") / "run"
    result = call(*command(faces, out))
    assert result.returncode == 0, result.stderr
    return out


def test_train_writes_a_model_with_its_provenance(trained: Path) -> None:
    provenance = read_checkpoint(trained / "model.pth")["provenance"]
    assert counts_of(provenance["data"]) == {"training": 32, "held_out": 4} and provenance["step"] == 40
    assert load_model(Generator, trained / "model.pth")(torch.randn(2, 6)).shape == (2, 3, 64, 64)
    assert {path.name for path in trained.glob("samples_*.png")} == {"samples_000020.png", "samples_000040.png"}
    line = (trained / "log.jsonl").read_text()
    assert "accuracy_real" in line and "accuracy_fake" in line


def test_resumed_training_ends_with_the_same_bits(faces: Path, trained: Path, tmp_path: Path) -> None:
    kill_after_first_save(tmp_path, *command(faces, tmp_path, "--save-seconds", 0.001)[1:])
    assert read_save(tmp_path / "last.pt")["step"] < 40
    assert run_script(*command(faces, tmp_path, "--resume")).returncode == 0
    a, b = (read_checkpoint(folder / "model.pth")["weights"] for folder in (trained, tmp_path))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_picture_of_32_samples(trained: Path, tmp_path: Path) -> None:
    script = REPO / "inference" / "sample_gan.py"
    for name in ("a.png", "b.jpg"):
        result = run_script("python3", script, "--checkpoint", trained / "model.pth", tmp_path / name)
        assert result.returncode == 0 and result.stdout == result.stderr == "", result.stderr
    picture = np.asarray(Image.open(tmp_path / "a.png"))
    assert picture.shape == (4 * 66 + 2, 8 * 66 + 2, 3)
    model = load_model(Generator, trained / "model.pth").double()
    again = sample_images(model, noise(0, 32, 6), batch_size=7)
    assert np.array_equal(picture[2:66, 2:66], again[0]) and np.array_equal(picture[-66:-2, -66:-2], again[31])
    wrong = run_script("python3", script, "--checkpoint", trained / "model.pth", tmp_path / "a.bmp")
    assert_one_line(wrong, 1, "must end in .png or .jpg")


def test_bad_values_are_refused(faces: Path, tmp_path: Path) -> None:
    for flags, message in ((("--batch-size", 1), "--batch-size 1"), (("--lr-d", 0), "--lr-d 0"), (("--ema", 2), "ema")):
        assert_one_line(run_script(*command(faces, tmp_path / "o", *flags)), 2, message)


def test_the_tutorials_gan_trains_resumes_and_can_be_scored(faces: Path, tmp_path: Path) -> None:
    script = REPO / "experiments" / "tutorial_dcgan.py"
    flags = ["--data", faces, "--width", 4, "--latent-dim", 6, "--batch-size", 4, "--steps", 40, "--evaluate-every", 20]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert call("python3", script, *flags, "--out", whole).returncode == 0
    assert {path.name for path in whole.glob("samples_*.png")} == {"samples_000020.png", "samples_000040.png"}
    kill_after_first_save(killed, script, *flags, "--out", killed, "--save-seconds", 0.001)
    assert read_save(killed / "last.pt")["step"] < 40
    assert run_script("python3", script, *flags, "--out", killed, "--resume").returncode == 0
    a, b = (load_model(Generator, folder / "snapshots" / "step_000040.pth").state_dict() for folder in (whole, killed))
    assert all(torch.equal(a[name], b[name]) for name in a)
    first = load_model(Generator, whole / "snapshots" / "step_000020.pth").state_dict()
    assert not all(torch.equal(a[name], first[name]) for name in a)  # it learns
