"""report/digit_figures.py on what a tiny evaluation would keep: which models are read, and every picture drawn."""

from pathlib import Path

import numpy as np
import pytest
from conftest import load_script
from PIL import Image


def test_pictures(digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script("digit_figures", monkeypatch)
    monkeypatch.setattr(script, "FIGURES", tmp_path)
    rng = np.random.RandomState(0)
    for statistics in ("source", "target"):
        arrays = {"labels": np.arange(60) % 10, "predictions": (np.arange(60) % 10 + (np.arange(60) < 10)) % 10}
        arrays |= {"features": rng.standard_normal((60, 64)), "logits": rng.standard_normal((60, 10))}
        names = np.array([f"{row % 10:05d}.png" for row in range(60)])
        np.savez(tmp_path / f"usps_svhn_{statistics}.npz", names=names, **arrays)
    script.draw_tsne("dann", "usps", "svhn", tmp_path)
    script.draw_errors("dann", "usps", "svhn", tmp_path, digits)
    drawn = {path.name for path in tmp_path.glob("*.png")}
    assert drawn == {f"dann_{what}_usps_svhn.png" for what in ("tsne", "confusion", "worst")}
    for name in drawn:
        with Image.open(tmp_path / name) as image:
            assert min(image.size) >= 300 and np.asarray(image.convert("L")).std() > 1, name


def test_published_models_stand_in_for_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script("digit_figures", monkeypatch)
    read: list[Path] = []
    monkeypatch.setattr(script, "look", lambda models, *rest: read.extend(models))
    script.evaluate("uda", tmp_path / "none", tmp_path, None, tmp_path / "ledger.csv")
    assert len(read) == 12 and all(path.resolve().parent == script.CHECKPOINTS and path.exists() for path in read)
    (tmp_path / "study").mkdir()
    read.clear()
    script.evaluate("uda", tmp_path / "study", tmp_path, None, tmp_path / "ledger.csv")
    assert read[0] == tmp_path / "study" / "usps_mnistm_uda_seed0" / "model.pth"
