"""experiments/domain_distance.py: the linear domain classifier at its limits, and the command on tiny networks."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPO, assert_one_line, run_script

from dlcv.checkpoint import save_checkpoint
from dlcv.data.digits import PAIRS
from dlcv.files import read_rows
from dlcv.models.digit_net import DigitNet, DigitNetConfig

SCRIPT = REPO / "experiments" / "domain_distance.py"


def test_errors_at_the_limits() -> None:
    spec = importlib.util.spec_from_file_location("domain_distance", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rng = np.random.RandomState(0)
    one, other = rng.standard_normal((2, 500, 4))
    assert np.mean(module.domain_errors(one, other)) == pytest.approx(0.5, abs=0.05)  # the same distribution
    assert np.mean(module.domain_errors(one, other + 20)) == 0


def test_the_command(digits: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    for source, target in PAIRS:
        save_checkpoint(tmp_path / f"dann_{source}_{target}.pth", DigitNet(DigitNetConfig(width=2, hidden=4)), {})
        save_checkpoint(tmp_path / f"uda_{source}_{target}.pth", DigitNet(DigitNetConfig(width=2, hidden=4)), {})
    words = ["python3", SCRIPT, "--checkpoints", tmp_path, "--data", digits, "--out", tmp_path / "out.csv"]
    assert_one_line(run_script(*words, "--images", 11), 1, "give --images 10 or fewer")
    result = run_script(*words, "--images", 10)
    assert result.returncode == 0, result.stderr
    rows = {(row["method"], row["source"], row["target"]): row for row in read_rows(tmp_path / "out.csv")}
    assert rows.keys() == {(method, *pair) for method in ("dann", "uda") for pair in PAIRS}
    for row in rows.values():
        assert float(row["a_distance"]) == pytest.approx(2 * (1 - 2 * float(row["error"])), abs=1e-3)

    # Networks that were trained without an adversary are measured beside them; the other lines stay.
    run = tmp_path / "runs" / "usps_mnistm_source_seed0"
    assert_one_line(run_script(*words, "--images", 10, "--strength0", tmp_path / "runs"), 1, "no run of mode source")
    run.mkdir(parents=True)
    (tmp_path / "dann_usps_mnistm.pth").rename(run / "model.pth")
    save_checkpoint(tmp_path / "dann_usps_mnistm.pth", DigitNet(DigitNetConfig(width=2, hidden=4)), {})
    assert run_script(*words, "--images", 10, "--strength0", tmp_path / "runs").returncode == 0
    more = {(row["method"], row["source"], row["target"]): row for row in read_rows(tmp_path / "out.csv")}
    assert more.keys() == rows.keys() | {("source", "usps", "mnistm")}
    before, after = rows["dann", "usps", "mnistm"], more["source", "usps", "mnistm"]
    assert before | {"method": "source"} == after


def test_as_many_of_each_digit(tmp_path: Path) -> None:
    """Where the domains differ in nothing but how frequent their digits are, the balanced distance is near 0."""
    rng = np.random.RandomState(0)
    for method in ("dann", "uda"):
        (tmp_path / f"figures_{method}").mkdir()
        for source, target in PAIRS:
            path = tmp_path / f"{method}_{source}_{target}.pth"
            save_checkpoint(path, DigitNet(DigitNetConfig(width=2, hidden=4)), {})
            for side, counts in (("source", [200] * 5 + [50] * 5), ("target", [50] * 5 + [200] * 5)):
                labels = np.repeat(np.arange(10), counts)
                features = np.eye(10)[labels] + 0.1 * rng.standard_normal((len(labels), 10))
                np.savez(
                    tmp_path / f"figures_{method}" / f"{source}_{target}_{side}.npz", labels=labels, features=features
                )
    words = ["python3", SCRIPT, "--checkpoints", tmp_path, "--out", tmp_path / "out.csv", "--balanced", tmp_path]
    result = run_script(*words)
    assert result.returncode == 0, result.stderr
    rows = read_rows(tmp_path / "out.csv")
    assert {row["method"] for row in rows} == {"dann_balanced", "uda_balanced"} and len(rows) == 2 * len(PAIRS)
    assert all(row["images"] == "500" and abs(float(row["a_distance"])) < 0.3 for row in rows)
