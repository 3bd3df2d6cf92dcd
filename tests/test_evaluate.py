"""dlcv.evaluate and its ledger; dlcv.checkpoint."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import assert_one_line, call, run_script
from torch import nn

from dlcv.checkpoint import load_model, save_checkpoint
from dlcv.cli import UserError
from dlcv.cs7643.part2 import models
from dlcv.cs7643.part2.solver import MEAN, STD
from dlcv.data.arrays import read_arrays
from dlcv.data.digits import read_folder, read_labels
from dlcv.images import to_float
from dlcv.models.cifar_cnn import CifarCNN, CifarCNNConfig
from dlcv.models.digit_net import SOURCE, DigitNet, DigitNetConfig
from dlcv.predict import predict_labels


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = DigitNet(DigitNetConfig(width=4, hidden=8))
    model.train()
    for _ in range(3):
        model.domain = SOURCE
        model(torch.rand(16, 3, 28, 28) ** 3)  # gives the two domains different statistics
        model.domain = 1
        model(torch.rand(16, 3, 28, 28))
    save_checkpoint(tmp_path / "model.pth", model.eval(), {"seed": 0})
    return tmp_path / "model.pth"


def test_every_look_is_written_down(digits: Path, checkpoint: Path, tmp_path: Path) -> None:
    ledger, save = tmp_path / "reads.csv", tmp_path / "features.npz"
    command = ["python3", "-m", "dlcv.evaluate", checkpoint, "--data", digits, "--domain", "usps", "--ledger", ledger]
    first = call(*command, "--purpose", "a test, of the ledger", "--save", save)
    assert first.returncode == 0, first.stderr
    assert run_script(*command, "--purpose", "again", "--split", "train", "--statistics", "source").returncode == 0
    rows = list(csv.DictReader(ledger.open(newline="")))
    assert [row["purpose"] for row in rows] == ["a test, of the ledger", "again"]
    assert [row["images"] for row in rows] == ["10", "40"]

    model = load_model(DigitNet, checkpoint)
    names, images = read_folder(digits / "digits" / "usps" / "test")
    truth = read_labels(digits, "usps", "test", names).numpy()
    predicted = predict_labels(model, images)
    assert float(rows[0]["accuracy"]) == pytest.approx(np.mean(predicted == truth), abs=1e-4)
    assert f"{100 * np.mean(predicted == truth):.2f} % of 10 usps/test images" in first.stdout
    saved = np.load(save)
    assert (saved["predictions"] == predicted).all() and (saved["labels"] == truth).all()
    assert saved["features"].shape == (10, 8) and list(saved["names"]) == names


def test_mistakes(digits: Path, checkpoint: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "reads.csv"
    command = ["python3", "-m", "dlcv.evaluate", "--data", digits, "--ledger", ledger, "--purpose", "x"]
    assert_one_line(run_script(*command, checkpoint, "--domain", "mnist"), 2, "invalid choice: 'mnist'")
    assert_one_line(run_script(*command[:-2], checkpoint, "--domain", "usps"), 2, "--purpose")
    assert_one_line(run_script(*command, tmp_path / "no.pth", "--domain", "usps"), 1, "no.pth")
    save = ["--save", tmp_path / "f.dat"]
    assert_one_line(run_script(*command, checkpoint, "--domain", "usps", *save), 2, "must end in .npz")
    command[command.index(ledger)] = tmp_path  # a directory
    assert_one_line(run_script(*command, checkpoint, "--domain", "usps"), 1, "is a directory")
    assert not ledger.exists()
    other = tmp_path / "other.csv"
    other.write_text("date,what\n")
    command[command.index(tmp_path)] = other
    assert_one_line(run_script(*command, checkpoint, "--domain", "usps"), 1, "other columns")
    assert other.read_text() == "date,what\n"


def test_a_part_of_the_images(checkpoint: Path, digits: Path, tmp_path: Path) -> None:
    """A fixed part, drawn once; the ledger says how many."""
    for out in ("a", "b"):
        result = run_script(
            "python3", "-m", "dlcv.evaluate", checkpoint, "--data", digits, "--domain", "usps", "--purpose", "part",
            "--split", "train", "--limit", 7, "--ledger", tmp_path / "ledger.csv", "--save", tmp_path / f"{out}.npz",
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
    a, b = np.load(tmp_path / "a.npz"), np.load(tmp_path / "b.npz")
    assert a["names"].tolist() == b["names"].tolist() == sorted(a["names"].tolist()) and len(a["names"]) == 7
    assert len(a["logits"]) == len(a["predictions"]) == 7
    command = ["python3", "-m", "dlcv.evaluate", checkpoint, "--data", digits, "--domain", "usps", "--purpose", "part"]
    assert_one_line(run_script(*command, "--limit", 7, "--ledger", tmp_path / "l.csv"), 2, "a test set is read whole")
    assert ",usps,train,target,7,part," in (tmp_path / "ledger.csv").read_text()


class Generator(nn.Module):
    Config = DigitNetConfig

    def __init__(self, config: DigitNetConfig) -> None:
        super().__init__()


def test_a_checkpoint_gives_the_same_network(checkpoint: Path) -> None:
    x = torch.rand(4, 3, 28, 28)
    content = torch.load(checkpoint, weights_only=True)
    assert content["config"]["width"] == 4 and content["provenance"]["seed"] == 0
    a, b = load_model(DigitNet, checkpoint), load_model(DigitNet, checkpoint)
    assert not a.training and torch.equal(a(x), b(x))


def test_foreign_files_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.pth holds a DigitNet, not a Generator"):
        load_model(Generator, checkpoint)
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match="not a checkpoint of this project"):
        load_model(DigitNet, tmp_path / "text.pth")
    torch.save({"weights": 1}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="not a checkpoint of this project"):
        load_model(DigitNet, tmp_path / "other.pth")
    torch.save(nn.Linear(1, 1), tmp_path / "pickled.pth")  # code in a pickle is never run
    with pytest.raises(UserError, match="not a checkpoint of this project"):
        load_model(DigitNet, tmp_path / "pickled.pth")


def test_damage_is_noticed_by_the_manifest(checkpoint: Path) -> None:
    (checkpoint.parent / "MANIFEST").write_text(f"{'0' * 64}  model.pth\n")
    with pytest.raises(UserError, match=r"damaged.*download_models\.sh"):
        load_model(DigitNet, checkpoint)


def test_cifar_networks_are_read_as_they_are_kept(arrays: Path, tmp_path: Path) -> None:
    """The project's checkpoints and the course's plain state dicts; several at once, with one row each in the npz."""
    torch.manual_seed(0)
    own = CifarCNN(CifarCNNConfig()).eval()
    save_checkpoint(tmp_path / "own.pth", own, {})
    plain = {"TwoLayerNet": models.TwoLayerNet(3072, 256, 10), "MyModel": models.MyModel(), "ResNet": models.resnet32()}
    plain["VanillaCNN"] = models.VanillaCNN()
    for name, network in plain.items():
        torch.save(network.state_dict(), tmp_path / f"{name}.pth")
    paths = [tmp_path / "own.pth", *(tmp_path / f"{name}.pth" for name in plain)]
    command = ["python3", "-m", "dlcv.evaluate", "--data", arrays, "--domain", "cifar10", "--purpose", "a test"]
    command += ["--ledger", tmp_path / "ledger.csv"]
    result = run_script(*command, *paths, "--save", tmp_path / "all.npz")
    assert result.returncode == 0, result.stderr
    saved, (images, labels) = np.load(tmp_path / "all.npz"), read_arrays(arrays, "cifar10", "test")
    assert saved["logits"].shape == (5, 20, 10) and np.array_equal(saved["labels"], labels.numpy())
    x = to_float(images)
    standardised = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.no_grad():
        assert np.allclose(saved["logits"][0], own(x).numpy(), atol=1e-5)
        for row, network in enumerate(plain.values(), start=1):
            assert np.allclose(saved["logits"][row], network.eval()(standardised).numpy(), atol=1e-4)
    with (tmp_path / "ledger.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["domain"] for line in lines] == ["cifar10"] * 5
    accuracy = np.mean(saved["predictions"][0] == labels.numpy())
    assert float(lines[0]["accuracy"]) == pytest.approx(accuracy, abs=1e-4)

    # As a test reads it that never calls eval().
    assert run_script(*command, tmp_path / "MyModel.pth", "--statistics", "batch").returncode == 0
    with (tmp_path / "ledger.csv").open(newline="") as file:
        line = list(csv.DictReader(file))[-1]
    with torch.no_grad():
        right = (plain["MyModel"].train()(standardised).argmax(1) == labels).float().mean().item()
    assert line["statistics"] == "batch" and float(line["accuracy"]) == pytest.approx(right, abs=1e-4)
    refused = run_script(*command, tmp_path / "MyModel.pth", "--statistics", "source")
    assert_one_line(refused, 2, "--statistics source: not for cifar10")

    torch.save({"weights": 1}, tmp_path / "other.pth")
    assert_one_line(run_script(*command, tmp_path / "other.pth"), 1, "other.pth is not a checkpoint of this project")
    torch.save({"fc1.weight": torch.zeros(2, 2)}, tmp_path / "wrong.pth")
    assert_one_line(run_script(*command, tmp_path / "wrong.pth"), 1, "does not fit this version of TwoLayerNet")
    (tmp_path / "text.pth").write_text("no checkpoint")
    assert_one_line(run_script(*command, tmp_path / "text.pth"), 1, "text.pth is not a checkpoint of this project")
