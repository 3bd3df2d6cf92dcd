"""models.autoencoder.py against the problem's sizes, train/train_autoencoder.py on tiny data."""

from pathlib import Path

import pytest
import torch
from conftest import REPO, assert_one_line, run_script

from dlcv.checkpoint import load_model, read_checkpoint
from dlcv.data.arrays import read_arrays
from dlcv.images import to_float
from dlcv.models.autoencoder import Autoencoder, AutoencoderConfig

SCRIPT = REPO / "train" / "train_autoencoder.py"


def test_sizes_are_the_problems() -> None:
    model = Autoencoder(AutoencoderConfig())
    assert sum(p.numel() for p in model.parameters()) == 48_724
    sizes, x = [], torch.rand(2, 1, 28, 28)
    for network in (model.encoder, model.decoder):
        for layer in network:
            x = layer(x)
            if not isinstance(layer, torch.nn.ReLU | torch.nn.Sigmoid):
                sizes.append(tuple(x.shape[1:]))
    assert sizes == [
        (64, 14, 14), (32, 7, 7), (16, 7, 7), (2, 7, 7), (98,), (3,),
        (98,), (2, 7, 7), (16, 7, 7), (32, 7, 7), (64, 14, 14), (1, 28, 28),
    ]  # fmt: skip
    assert x.min() >= 0 and x.max() <= 1


def train(arrays: Path, out: Path, *flags: object) -> str:
    common = ["--data", arrays, "--out", out, "--batch-size", 10, "--evaluate-every", 20]
    result = run_script("python3", SCRIPT, *common, *flags)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_training_keeps_the_first_below_and_the_last(arrays: Path, tmp_path: Path) -> None:
    said = train(arrays, tmp_path / "run", "--steps", 60, "--below", 0.2)
    first, last = (read_checkpoint(tmp_path / "run" / name)["provenance"] for name in ("below.pth", "model.pth"))
    assert (first["step"], last["step"]) == (20, 60) and first["selection"] == "first below 0.2"
    model = load_model(Autoencoder, tmp_path / "run" / "model.pth")
    x = to_float(read_arrays(arrays, "fashion_mnist", "train").images)
    with torch.no_grad():
        loss = float((model(x) - x).square().mean())
    assert last["metrics"]["training_mse"] == pytest.approx(loss, abs=1e-6) and f"{loss:.5f}" in said
    assert loss < first["metrics"]["training_mse"]

    said = train(arrays, tmp_path / "never", "--steps", 4, "--below", 0)
    assert "never came below 0.0" in said


def test_bad_values_are_refused(arrays: Path, tmp_path: Path) -> None:
    for flags, message in ((("--steps", 0), "--steps 0"), (("--lr", -1), "--lr -1.0")):
        assert_one_line(run_script("python3", SCRIPT, "--data", arrays, "--out", tmp_path / "o", *flags), 2, message)
    assert_one_line(run_script("python3", SCRIPT, "--data", tmp_path, "--out", tmp_path / "o"), 1, "get_dataset.sh")
