"""experiments/fit_directions.py: directions that are known, on a tiny generator with a stand-in for the features."""

import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import load_script

from dlcv import cli


def test_conditional_directions_leave_the_other_attributes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script("fit_directions", monkeypatch)
    normals = np.random.RandomState(0).randn(3, 8)
    directions = script.conditional(normals)
    products = directions @ normals.T
    assert np.allclose(products - np.diag(np.diag(products)), 0) and (np.diag(products) > 0).all()
    assert np.allclose(np.linalg.norm(directions, axis=1), 1)


def test_directions_change_what_they_are_named_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attribute for each colour: "faces" are plain colours, linear in w, and the features are the mean colour."""
    script = load_script("fit_directions", monkeypatch)
    mix = torch.from_numpy(np.random.RandomState(1).randn(6, 3)).float()
    generator = SimpleNamespace(
        config=SimpleNamespace(latent_dim=6),
        style=lambda z: z,
        synthesise=lambda w: (0.2 * w @ mix)[:, :, None, None].expand(-1, -1, 16, 16),
    )
    monkeypatch.setattr(script, "load_generator", lambda _: generator)
    (tmp_path / "g.pth").touch()
    colours = np.random.RandomState(0).randint(0, 256, (400, 3, 1, 1)).astype(np.uint8)
    images = torch.from_numpy(colours).expand(-1, -1, 16, 16).contiguous()
    monkeypatch.setattr(script, "read_faces", lambda *_: ([f"{i}.png" for i in range(len(images))], images))
    monkeypatch.setattr(script, "read_attributes", lambda *_: images[:, :, 0, 0] > 127)
    monkeypatch.setattr(script.metrics, "efficientnet_lite0", lambda: lambda x: x.float().mean((2, 3)) / 64)
    monkeypatch.chdir(tmp_path)
    words = ["--generator", "g.pth", "--runs", "runs", "--results", "directions.csv"]
    words += ["--real", 100, "--n", 400, "--measured", 100]
    monkeypatch.setattr("sys.argv", ["fit_directions.py", *map(str, words)])
    script.main()
    rows = list(csv.DictReader((tmp_path / "directions.csv").open()))
    assert [row["attribute"] for row in rows] == list(script.ATTRIBUTES)
    for row in rows:
        assert float(row["w_accuracy"]) > 0.8 and int(row["w_fitted"]) + int(row["w_measured"]) == 80
        name = row["attribute"]
        assert float(row[f"more_{name}"]) > float(row[f"less_{name}"])
        for other in set(script.ATTRIBUTES) - {name}:  # which stay about as they are
            assert abs(float(row[f"more_{other}"]) - float(row[f"less_{other}"])) < 0.1
    with np.load(tmp_path / "runs" / "directions.npz") as file:
        assert file["directions"].shape == (3, 6)
    monkeypatch.setattr("sys.argv", ["fit_directions.py", "--n", "10"])
    with pytest.raises(cli.UsageError, match="at least 100"):
        script.main()
