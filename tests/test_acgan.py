"""models/acgan.py, train/train_acgan.py and inference/sample_acgan.py on tiny real data."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPO, assert_one_line, call, counts_of, kill_after_first_save, run_script
from PIL import Image

from dlcv.checkpoint import load_model, read_checkpoint, save_checkpoint
from dlcv.models.acgan import ACGANDiscriminator, ACGANDiscriminatorConfig, ACGANGenerator, ACGANGeneratorConfig
from dlcv.repro import noise
from dlcv.sampling import sample_images
from dlcv.trainer import read_save

SCRIPT, SAMPLE = REPO / "train" / "train_acgan.py", REPO / "inference" / "sample_acgan.py"


def test_shapes_and_what_the_digit_changes() -> None:
    torch.manual_seed(0)
    g, d = ACGANGenerator(ACGANGeneratorConfig(6, 4)).eval(), ACGANDiscriminator(ACGANDiscriminatorConfig(4)).eval()
    z, digits = torch.randn(1, 6).repeat(10, 1), torch.arange(10)
    x = g(z, digits)
    assert x.shape == (10, 3, 28, 28) and x.abs().max() <= 1
    assert all((x[0] - other).abs().max() > 1e-5 for other in x[1:])  # one latent, ten digits
    real, digit = d(x)
    assert real.shape == (10,) and digit.shape == (10, 10)


def flags(digits: Path, out: Path, *more: object) -> list[object]:
    common = ["--data", digits, "--steps", 30, "--batch-size", 4, "--latent-dim", 6, "--width", 4, "--width-d", 4]
    return [SCRIPT, *common, "--evaluate-every", 15, "--out", out, *more]


@pytest.fixture(scope="module")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("acgan") / "run"
    result = call("python3", *flags(digits, out))
    assert result.returncode == 0, result.stderr
    return out


def test_training_and_resuming(digits: Path, trained: Path, tmp_path: Path) -> None:
    provenance = read_checkpoint(trained / "model.pth")["provenance"]
    assert counts_of(provenance["data"]) == {"training": 36, "held_out": 4} and provenance["step"] == 30
    assert Image.open(trained / "samples_000030.png").size == (10 * 30 + 2, 8 * 30 + 2)
    assert "held_out_digit_accuracy" in (trained / "log.jsonl").read_text()
    kill_after_first_save(tmp_path, *flags(digits, tmp_path, "--save-seconds", 0.001))
    assert read_save(tmp_path / "last.pt")["step"] < 30
    assert run_script("python3", *flags(digits, tmp_path, "--resume")).returncode == 0
    a, b = (read_checkpoint(folder / "model.pth")["weights"] for folder in (trained, tmp_path))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_training_learns_the_digits(digits: Path, tmp_path: Path) -> None:
    """The auxiliary classifier fits forty digits: its loss falls below that of a guess."""
    result = run_script(
        "python3", *flags(digits, tmp_path, "--steps", 300, "--evaluate-every", 300, "--batch-size", 16)
    )
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [line["loss_class"] for line in lines if "loss_class" in line]
    assert losses[-1] < 0.8 * losses[0] and losses[0] > 1.5


def test_a_folder_of_digits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_checkpoint(tmp_path / "g.pth", ACGANGenerator(ACGANGeneratorConfig(6, 2)).eval(), {})
    result = run_script("python3", SAMPLE, "--checkpoint", tmp_path / "g.pth", tmp_path / "out")
    assert result.returncode == 0 and result.stdout == result.stderr == "", result.stderr
    names = {f"{digit}_{number:03d}.png" for digit in range(10) for number in range(1, 101)}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    model = load_model(ACGANGenerator, tmp_path / "g.pth").double()
    z = noise(0, 1_000, 6)
    for digit, number in ((0, 1), (3, 57), (9, 100)):
        index = 100 * digit + number - 1
        own = torch.tensor([digit])
        expected = sample_images(lambda part, own=own: model(part, own), z[index : index + 1])[0]
        with Image.open(tmp_path / "out" / f"{digit}_{number:03d}.png") as image:
            assert image.size == (28, 28) and np.array_equal(np.asarray(image), expected)


def test_bad_use_is_told(digits: Path, tmp_path: Path) -> None:
    assert_one_line(
        run_script("python3", SAMPLE, "a", "b"),
        2,
        "expected 1 argument, got 2; usage: python inference/sample_acgan.py DIR",
    )
    missing = run_script("python3", SAMPLE, "--checkpoint", tmp_path / "none.pth", tmp_path / "out")
    assert_one_line(missing, 1, "cannot read the checkpoint")
    assert_one_line(
        run_script("python3", *flags(digits, tmp_path / "o", "--class-weight", -1)), 2, "--class-weight -1.0"
    )
