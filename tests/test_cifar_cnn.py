"""models/cifar_cnn.py against the question's counts, train/train_cifar_cnn.py on tiny data."""

from pathlib import Path

import pytest
import torch
from conftest import REPO, Run, assert_one_line, call, counts_of, kill_after_first_save, run_script

from dlcv.checkpoint import load_model, read_checkpoint
from dlcv.models.cifar_cnn import CifarCNN, CifarCNNConfig
from dlcv.trainer import read_save

SCRIPT = REPO / "train" / "train_cifar_cnn.py"


@pytest.mark.parametrize(("separable", "parameters"), [(False, 676_294), (True, 595_334)])
def test_counts_are_the_questions(separable: bool, parameters: int) -> None:
    model = CifarCNN(CifarCNNConfig(separable=separable)).eval()
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model(torch.rand(3, 3, 32, 32)).shape == (3, 10)
    sizes, x = [], torch.rand(1, 3, 32, 32)
    for layer in model.net:
        x = layer(x)
        if isinstance(layer, torch.nn.MaxPool2d | torch.nn.Conv2d) and x.ndim == 4:
            sizes.append(x.shape[2])
    assert [size for index, size in enumerate(sizes) if index == 0 or size != sizes[index - 1]] == [30, 15, 7, 3]


def test_a_depth_wise_filter_sees_one_channel() -> None:
    model = CifarCNN(CifarCNNConfig(separable=True))
    first, second = (m for m in model.net if isinstance(m, torch.nn.Conv2d) and m.groups > 1)
    x = torch.randn(1, 32, 15, 15)
    changed = x.clone()
    changed[:, 5] += 1
    moved = (first(x) != first(changed)).flatten(2).any(2)[0]
    assert moved.nonzero().flatten().tolist() == [5] and second.groups == 64


def train(arrays: Path, out: Path, *flags: object, run: Run = run_script) -> None:
    result = run("python3", SCRIPT, "--data", arrays, "--out", out, "--epochs", 2, "--batch-size", 16, *flags)
    assert result.returncode == 0, result.stderr


def test_training_and_what_it_writes(arrays: Path, tmp_path: Path) -> None:
    train(arrays, tmp_path / "a", "--hold-out", "--separable", run=call)
    provenance = read_checkpoint(tmp_path / "a" / "model.pth")["provenance"]
    assert counts_of(provenance["data"]) == {"training": 54, "held_out": 6} and provenance["epoch"] == 2
    assert 0 <= provenance["metrics"]["held_out_accuracy"] <= 1
    assert {path.name for path in (tmp_path / "a" / "snapshots").iterdir()} == {"step_000004.pth", "step_000008.pth"}
    assert load_model(CifarCNN, tmp_path / "a" / "model.pth").config.separable

    train(arrays, tmp_path / "b")
    whole = read_checkpoint(tmp_path / "b" / "model.pth")["provenance"]
    assert counts_of(whole["data"]) == {"training": 60, "held_out": 0}
    again = run_script("python3", SCRIPT, "--data", arrays, "--out", tmp_path / "b", "--epochs", 3, "--batch-size", 16)
    assert_one_line(again, 1, "already holds a run")


def test_a_stopped_training_ends_with_the_same_bits(arrays: Path, tmp_path: Path) -> None:
    flags = ["--data", arrays, "--epochs", 20, "--batch-size", 16, "--save-seconds", 0.0001]
    assert run_script("python3", SCRIPT, *flags, "--out", tmp_path / "whole").returncode == 0
    kill_after_first_save(tmp_path / "parts", SCRIPT, *flags, "--out", tmp_path / "parts")
    assert read_save(tmp_path / "parts" / "last.pt")["step"] < 80
    result = run_script("python3", SCRIPT, *flags, "--out", tmp_path / "parts", "--resume")
    assert result.returncode == 0, result.stderr
    a, b = (read_checkpoint(tmp_path / name / "model.pth")["weights"] for name in ("whole", "parts"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_bad_values_are_refused(arrays: Path, tmp_path: Path) -> None:
    for flags, message in (
        (("--epochs", 0), "--epochs 0"),
        (("--dropout", 1), "--dropout 1.0"),
        (("--shift", 32), "32"),
    ):
        assert_one_line(run_script("python3", SCRIPT, "--data", arrays, "--out", tmp_path / "o", *flags), 2, message)
