"""report/cifar_cnn_results.py on tiny runs: the question's tables, the curves, the ledger."""

import csv
import subprocess
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from conftest import REPO, load_script, run_script
from PIL import Image

from dlcv.cli import UserError
from dlcv.models.cifar_cnn import CifarCNN, CifarCNNConfig


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module whose documents lie in tmp_path."""
    module = load_script("cifar_cnn_results", monkeypatch)
    module.DOCS = tmp_path / "docs"
    (tmp_path / "docs" / "models").mkdir(parents=True)
    names = (
        "part a layers",
        "part b layers",
        "cifar cnn setup",
        "cifar cnn results",
        "cifar cnn cost",
        "cifar cnn time",
    )
    (tmp_path / "docs" / "models" / "cifar_cnn.md").write_text(
        "".join(f"<!-- {n}: x -->\n<!-- end -->\n" for n in names)
    )
    return module


def test_layers_by_hand(script: ModuleType) -> None:
    def counts(separable: bool) -> list[str]:
        lines = script.layer_table(CifarCNN(CifarCNNConfig(separable=separable)).eval()).splitlines()[3:]
        return [line.split("|")[4].strip(" *") for line in lines]

    assert counts(False) == ["2,432", "0", "18,496", "0", "73,856", "0", "576,500", "5,010", "676,294"]
    # Depth-wise: 32 * 9 + 32 and 64 * 9 + 64; point-wise: 32 * 64 + 64 and 64 * 128 + 128.
    separable = ["2,432", "0", "320", "2,112", "0", "640", "8,320", "0", "576,500", "5,010", "595,334"]
    assert counts(True) == separable
    # 30² · 32 · 75 + 15² · 64 · 288 + 7² · 128 · 576 + 1,152 · 500 + 5,000; separable: 15² · (32 · 9 + 2,048), …
    cost = {
        line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:6]]
        for line in script.cost_table().splitlines()
    }
    assert cost["multiply-adds in all"] == ["10.50 M", "3.70 M", "2.8", "-65 %"]
    assert cost["multiply-adds of stage 2"][:2] == ["4.15 M", "0.53 M"]
    assert cost["weights of stages 2 and 3"] == ["92,352", "11,392", "8.1", "-88 %"]
    assert cost["neurons (memory) in all"] == ["61,470", "71,806", "0.9", "+17 %"]
    table = script.layer_table(CifarCNN(CifarCNNConfig()).eval())
    assert "| FC + ReLU | 1,152 → 500 | 500 |" in table
    assert "| Conv 1-1 + ReLU | 32 / 5 x 5 / 1 / 1 | 30 x 30 x 32 | 2,432 | 28,800 |" in table


def test_time_of_an_image(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script.torch, "set_num_threads", lambda n: None)
    for line in script.time_table(rounds=3).splitlines()[2:]:
        first, second, ratio = (float(cell) for cell in line.split("|")[2:5])
        assert min(first, second) > 0 and ratio == pytest.approx(first / second, rel=0.3)


def test_tables_and_curves(script: ModuleType, arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("plain", "separable"):
        flags = [
            "--epochs",
            2,
            "--batch-size",
            20,
            "--data",
            arrays,
            "--out",
            tmp_path / "runs" / f"cifar_cnn_{kind}_seed0",
        ]
        more = ["--separable"] if kind == "separable" else []
        result = run_script("python3", REPO / "train" / "train_cifar_cnn.py", *flags, *more)
        assert result.returncode == 0, result.stderr
    words = ["--runs", tmp_path / "runs", "--kept", tmp_path / "kept", "--out", tmp_path / "figures", "--data", arrays]
    monkeypatch.setattr("sys.argv", ["cifar_cnn_results.py", *map(str, words)])
    with pytest.raises(UserError, match="--evaluate first"):
        script.main()
    ledger = tmp_path / "ledger.csv"
    import answers  # report/ is on the path since the script was loaded

    calls: list[list[str]] = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return run_script(*command, "--ledger", ledger)

    monkeypatch.setattr(answers, "subprocess", SimpleNamespace(run=run))
    monkeypatch.setattr("sys.argv", ["cifar_cnn_results.py", *map(str, words), "--evaluate"])
    script.main()
    script.main()  # what was read is not read again
    assert len(calls) == 4
    with ledger.open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["split"] for line in lines].count("test") == 4 and len(lines) == 8

    text = (tmp_path / "docs" / "models" / "cifar_cnn.md").read_text()
    last = [line for line in lines if "plain" in line["checkpoint"] and "step_000006" in line["checkpoint"]]
    train, test = (next(row["accuracy"] for row in last if row["split"] == split) for split in ("train", "test"))
    assert (
        f"10,000 of the images | 676,294 | {100 * float(train):.1f} (n = 1) | {100 * float(test):.1f} (n = 1) |" in text
    )
    assert "2; the last one is kept" in text and "PyTorch 2." in text
    with (tmp_path / "docs" / "results" / "cifar_cnn_runs.csv").open(newline="") as file:
        assert [row["run"] for row in csv.DictReader(file)] == ["cifar_cnn_plain_seed0", "cifar_cnn_separable_seed0"]
    monkeypatch.setattr("sys.argv", ["cifar_cnn_results.py", "--runs", str(tmp_path / "gone")])
    script.main()  # without the runs: what the csv has
    assert f"| {100 * float(test):.1f} (n = 1) |" in (tmp_path / "docs" / "models" / "cifar_cnn.md").read_text()
    for kind in ("plain", "separable", "both"):
        with Image.open(tmp_path / "figures" / f"cifar_cnn_{kind}.png") as image:
            assert np.asarray(image.convert("L")).std() > 1
