"""experiments/face_scores.py on tiny data, with a cheap stand-in for the feature network."""

import csv
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import load_script
from sklearn.decomposition import PCA

from dlcv.checkpoint import save_checkpoint
from dlcv.cli import UsageError, UserError
from dlcv.evaluate import append_to_ledger
from dlcv.models.gan import Generator, GeneratorConfig
from dlcv.models.stylegan2 import StyleGAN2Generator, StyleGAN2GeneratorConfig
from dlcv.models.vae import VAE, VAEConfig


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load_script("face_scores", monkeypatch)
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
    common = ["--data", faces, "--scores", tmp_path / "s.csv", "--cache", tmp_path / "cache", "--n", 9, "--draws", 2]
    run(scores, monkeypatch, "--floor", tmp_path / "gan.pth", tmp_path / "vae.pth", *common)
    real, _, gan, again, vae, _ = rows(tmp_path / "s.csv")
    assert (gan["draw"], again["draw"]) == ("1", "2")
    assert (gan["step"], vae["step"], real["what"]) == ("7", "8", "real training faces")
    assert gan["n"] == "9" and gan["n_real"] == "4" and gan["against"] == "held-out" and len(gan["sha256"]) == 12
    assert float(real["frechet"]) < float(gan["frechet"])  # an untrained generator is grey, the real ones are not
    assert gan["recon_mse"] == "" and 0 < float(vae["recon_mse"]) < 1
    assert 0 <= float(gan["precision"]) <= 1 and 0 <= float(real["recall"]) <= 1

    # The test faces: another reference, the purpose in the ledger, the old lines kept.
    run(scores, monkeypatch, tmp_path / "gan.pth", *common, "--against", "test", "--purpose", "final")
    last = rows(tmp_path / "s.csv")[6]
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
        (["--floor", "--draws", 0], "--draws 0: must be at least 1"),
    ):
        with pytest.raises(UsageError, match=message):
            run(scores, monkeypatch, *words, *common)
    assert not (tmp_path / "s.csv").exists() and not (tmp_path / "cache").exists()


def test_the_same_checkpoint_gives_the_same_faces(scores: ModuleType, tmp_path: Path) -> None:
    g = Generator(GeneratorConfig(6, 4)).eval()
    for parameter in g.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))  # untrained, all faces are grey
    save_checkpoint(tmp_path / "gan.pth", g, {"step": 1})
    a, b = (scores.generate(scores.load(tmp_path / "gan.pth")[0], 5, draw=1) for _ in range(2))
    assert a.shape == (5, 3, 64, 64) and a.dtype == torch.uint8 and torch.equal(a, b)
    assert not torch.equal(a, scores.generate(scores.load(tmp_path / "gan.pth")[0], 5, draw=2))
    save_checkpoint(tmp_path / "stylegan2.pth", StyleGAN2Generator(StyleGAN2GeneratorConfig((4, 4), 3, 1)), {"step": 2})
    model, step = scores.load(tmp_path / "stylegan2.pth")
    assert step == 2 and scores.generate(model, 3, draw=1).shape == (3, 3, 8, 8)


def test_linear_pca_is_scikit_learns(scores: ModuleType) -> None:
    images = (torch.rand(20, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 255).byte()
    flat = images.flatten(1).double().numpy() / 255
    pca = PCA(6, svd_solver="full").fit(flat[:15])
    expected = np.square(np.clip(pca.inverse_transform(pca.transform(flat)), 0, 1) - flat).mean()
    linear = scores.LinearPCA(images[:15], 6)
    assert linear.reconstruction_error(images) == pytest.approx(expected, rel=1e-3)
    drawn = linear.sample(4_000, draw=1).flatten(1).double() / 255
    assert torch.allclose(drawn.mean(0), torch.from_numpy(pca.mean_), atol=0.03)
    with pytest.raises(UserError, match="need at least as many images"):
        scores.LinearPCA(images[:5], 6)


def test_the_table_has_means_over_the_draws_of_the_newest_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = load_script("score_tables", monkeypatch)
    columns = load_script("face_scores", monkeypatch).COLUMNS
    common = {"features": "efficientnet", "n": 3000, "n_real": 2621, "kernel": 0.01, "precision": 0.5, "recall": 0.25}
    for sha, draw, against, frechet, purpose, more in (
        ("a", 1, "held-out", 90.0, "table: VAE", {"recon_mse": "0.00700"}),
        ("b", 1, "held-out", 40.0, "table: GAN", {}),
        ("c", 1, "held-out", 20.0, "pilot", {}),
        ("d", 1, "held-out", 80.04, "table: VAE", {"recon_mse": "0.00650"}),
        ("d", 2, "held-out", 82.04, "table: VAE", {"recon_mse": "0.00650"}),
        ("e", 1, "test", 30.0, "table: GAN", {}),
        ("", 1, "held-out", 5.0, "table: real training faces", {}),
        ("", 2, "held-out", 7.0, "table: real training faces", {}),
        ("", 2, "held-out", 6.0, "table: real training faces", {}),  # the same draw again: the newest counts
    ):
        line = common | {"sha256": sha, "draw": draw, "against": against, "frechet": frechet, "purpose": purpose} | more
        append_to_ledger(tmp_path / "s.csv", columns, **line)
    spread = "0.0100 ± 0.0000 | 0.50 ± 0.00 | 0.25 ± 0.00"
    lines = tables.face_table(tmp_path / "s.csv", "held-out").splitlines()
    assert lines[2:] == [
        f"| VAE | 2 x 3000 against 2621 | 81.0 ± 1.4 | {spread} | 0.0065 |",
        "| GAN | 1 x 3000 against 2621 | 40.0 | 0.0100 | 0.50 | 0.25 |  |",
        f"| real training faces | 2 x 3000 against 2621 | 5.5 ± 0.7 | {spread} |  |",
    ]
    assert len(tables.face_table(tmp_path / "s.csv", "test").splitlines()) == 3


def test_a_vae_reconstructs_training_faces(
    scores: ModuleType, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def perfect(_: VAE, images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return images

    monkeypatch.setattr(scores, "reconstruct", perfect)
    save_checkpoint(tmp_path / "vae.pth", VAE(VAEConfig(6, 4)).eval(), {"step": 8})
    save_checkpoint(tmp_path / "gan.pth", Generator(GeneratorConfig(6, 4)).eval(), {"step": 7})
    common = ["--data", faces, "--scores", tmp_path / "s.csv", "--cache", tmp_path / "cache", "--n", 9, "--draws", 1]
    run(scores, monkeypatch, tmp_path / "vae.pth", "--reconstruct", "--floor", *common)
    floor, reconstructed = rows(tmp_path / "s.csv")
    assert len(seen[0]) == 9 and floor["frechet"] == reconstructed["frechet"]  # the faces that --floor scores
    with pytest.raises(scores.cli.UsageError, match="is no VAE"):
        run(scores, monkeypatch, tmp_path / "gan.pth", "--reconstruct", *common)


def test_reconstructions_are_the_decoded_posterior_means(scores: ModuleType) -> None:
    model = VAE(VAEConfig(6, 4)).eval()
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model.decode(model.encode(images / 255)[0]) * 255
    result = scores.reconstruct(model, images)
    assert result.dtype == torch.uint8 and (result.float() - expected).abs().max() <= 0.51
