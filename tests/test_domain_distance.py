"""experiments/domain_distance.py: the linear domain classifier at its limits, and the command on tiny networks."""

import csv
import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPO, assert_one_line, run_script

from dlcv.checkpoint import save_checkpoint
from dlcv.data.digits import PAIRS
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
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [(row["source"], row["target"]) for row in rows] == [*PAIRS, *PAIRS]
    for row in rows:
        assert float(row["a_distance"]) == pytest.approx(2 * (1 - 2 * float(row["error"])), abs=1e-3)
