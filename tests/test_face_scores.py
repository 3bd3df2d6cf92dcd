"""report/face_scores.py on tiny data, with a cheap stand-in for the feature network."""

import csv
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import load_report_script
from sklearn.decomposition import PCA

from dlcv.checkpoint import save_checkpoint
from dlcv.cli import UsageError, UserError
from dlcv.evaluate import append_to_ledger
from dlcv.models import stylegan2
from dlcv.models.gan import Generator, GeneratorConfig
from dlcv.models.stylegan2 import StyleGAN2Generator
from dlcv.models.vae import VAE, VAEConfig


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_report_script("face_scores", monkeypatch)
    means = lambda images: images.float().mean((2, 3)) / 255  # noqa: E731 - three features: the mean colour
    monkeypatch.setattr(module.metrics, "efficientnet_lite0", lambda: means)
    return module


def run(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr("sys.argv", ["face_scores.py", *map(str, words)])
    module.main()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_scores_are_appended_with_what_they_rest_on(
    scores: ModuleType, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path / "gan.pth", Generator(GeneratorConfig(6, 4)).eval(), {"step": 7})
    save_checkpoint(tmp_path / "vae.pth", VAE(VAEConfig(6, 4)).eval(), {"step": 8})
    common = ["--data", faces, "--scores", tmp_path / "s.csv", "--cache", tmp_path / "cache", "--n", 9]
    run(scores, monkeypatch, "--floor", tmp_path / "gan.pth", tmp_path / "vae.pth", *common)
    real, gan, vae = rows(tmp_path / "s.csv")
    assert (gan["step"], vae["step"], real["what"]) == ("7", "8", "real training faces")
    assert gan["n"] == "9" and gan["n_real"] == "4" and gan["against"] == "held-out" and len(gan["sha256"]) == 12
    assert float(real["frechet"]) < float(gan["frechet"])  # an untrained generator is grey, the real ones are not
    assert gan["recon_mse"] == "" and 0 < float(vae["recon_mse"]) < 1
    assert 0 <= float(gan["precision"]) <= 1 and 0 <= float(real["recall"]) <= 1

    # The test faces: another reference, the purpose in the ledger, the old lines kept.
    run(scores, monkeypatch, tmp_path / "gan.pth", *common, "--against", "test", "--purpose", "final")
    last = rows(tmp_path / "s.csv")[3]
    assert (last["against"], last["n_real"], last["purpose"]) == ("test", "9", "final")
    assert len(list((tmp_path / "cache").iterdir())) == 2
    kept = np.load(next((tmp_path / "cache").iterdir()))
    assert kept.shape[1] == 3


def test_bad_use_is_told_before_anything_is_computed(
    scores: ModuleType, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ["--data", faces, "--scores", tmp_path / "s.csv", "--cache", tmp_path / "cache"]
    for words, message in (
        ([], "give checkpoints"),
        (["x.pth", "--against", "test"], "give a --purpose"),
        (["--floor", "--n", 3], "at least 4 images"),
    ):
        with pytest.raises(UsageError, match=message):
            run(scores, monkeypatch, *words, *common)
    assert not (tmp_path / "s.csv").exists() and not (tmp_path / "cache").exists()


def test_the_same_checkpoint_gives_the_same_faces(scores: ModuleType, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "gan.pth", Generator(GeneratorConfig(6, 4)).eval(), {"step": 1})
    a, b = (scores.generate(scores.load(tmp_path / "gan.pth")[0], 5) for _ in range(2))
    assert a.shape == (5, 3, 64, 64) and a.dtype == torch.uint8 and torch.equal(a, b)
    save_checkpoint(
        tmp_path / "stylegan2.pth", StyleGAN2Generator(stylegan2.GeneratorConfig((4, 4), 3, 1)), {"step": 2}
    )
    model, step = scores.load(tmp_path / "stylegan2.pth")
    assert step == 2 and scores.generate(model, 3).shape == (3, 3, 8, 8)


def test_linear_pca_is_scikit_learns(scores: ModuleType) -> None:
    images = (torch.rand(20, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255).byte()
    flat = images.flatten(1).double().numpy() / 255
    found = PCA(6, svd_solver="full").fit(flat[:15])
    expected = np.square(np.clip(found.inverse_transform(found.transform(flat)), 0, 1) - flat).mean()
    model = scores.linear(images[:15], 6)
    assert scores.reconstruction_error(model, images) == pytest.approx(expected, rel=1e-3)
    drawn = model.decode(torch.randn(4_000, 6, generator=torch.Generator().manual_seed(1))).flatten(1).double()
    assert torch.allclose(drawn.mean(0), torch.from_numpy(found.mean_), atol=0.03)
    with pytest.raises(UserError, match="need at least as many images"):
        scores.linear(images[:5], 6)


def test_the_table_shows_the_newest_line_of_each_purpose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables, columns = (
        load_report_script("face_tables", monkeypatch),
        load_report_script("face_scores", monkeypatch).COLUMNS,
    )
    common = {"features": "efficientnet", "n": 3000, "n_real": 2903, "kernel": 0.01, "precision": 0.5, "recall": 0.25}
    for what, against, frechet, purpose, more in (
        ("a", "held-out", 90.0, "table: VAE", {"recon_mse": "0.00700"}),
        ("b", "held-out", 40.0, "table: GAN", {}),
        ("c", "held-out", 20.0, "pilot", {}),
        ("d", "held-out", 80.04, "table: VAE", {"recon_mse": "0.00650"}),
        ("e", "test", 30.0, "table: GAN", {}),
        ("f", "held-out", 24.0, "table: SAGAN", {"sha256": "fced9b28ff99"}),  # face_tables.BEFORE
        ("f", "held-out", 23.0, "table: SAGAN", {"sha256": "0"}),
    ):
        line = common | {"what": what, "against": against, "frechet": frechet, "purpose": purpose} | more
        append_to_ledger(tmp_path / "s.csv", columns, **line)
    lines = tables.score_table(tmp_path / "s.csv", "held-out").splitlines()
    assert lines[2:] == [
        "| VAE | 3000 against 2903 | 80.0 | 0.0100 | 0.50 | 0.25 | 0.0065 |",
        "| GAN | 3000 against 2903 | 40.0 | 0.0100 | 0.50 | 0.25 |  |",
        "| SAGAN as it was trained: rows at full resolution | 3000 against 2903 | 24.0 | 0.0100 | 0.50 | 0.25 |  |",
        "| SAGAN | 3000 against 2903 | 23.0 | 0.0100 | 0.50 | 0.25 |  |",
    ]
    assert len(tables.score_table(tmp_path / "s.csv", "test").splitlines()) == 3
