"""report/vae_figures.py and report/gan_figures.py on tiny data: every picture is drawn, and shows what it says."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import REPO, assert_one_line, call, load_script, run_script
from PIL import Image

REPORT = REPO / "report"


@pytest.fixture(scope="module")
def runs(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name in ("vae", "gan"):
        flags = ["--data", faces, "--out", folder / name, "--steps", 2, "--batch-size", 4, "--latent-dim", 6]
        result = run_script("python3", REPO / "train" / f"train_{name}.py", *flags, "--width", 4)
        assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def few(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hw3_data with 10 training faces: the nearest ones' features take most of the time of gan_figures.py."""
    folder = tmp_path_factory.mktemp("few") / "hw3_data" / "face" / "train"
    folder.mkdir(parents=True)
    for path in sorted((faces / "face" / "train").iterdir())[:10]:
        shutil.copy(path, folder)
    return folder.parents[1]


@pytest.fixture(scope="module")
def figures(runs: Path, faces: Path, few: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("figures")
    for script, name, more in (
        ("vae_figures.py", "vae", ["--data", faces]),
        ("gan_figures.py", "gan", ["--data", few, "--vae", runs / "vae" / "model.pth"]),
    ):
        run = ["--checkpoint", runs / name / "model.pth", "--log", runs / name / "log.jsonl", "--out", out]
        result = call("python3", REPORT / script, *run, *more)
        assert result.returncode == 0, result.stderr
    return out


def test_every_figure_is_drawn(figures: Path) -> None:
    expected = {"fig1_1.png", "fig1_2.png", "table1_3.png", "fig1_4.png", "fig1_5.png", "vae_directions.png"}
    expected |= {"fig1_4_latents.png", "fig1_4_plain.png"}
    expected |= {"vae_interpolations.png", "fig2_1.png", "gan_curves.png", "fig2_2.png", "fig2_4.png"}
    expected |= {"gan_interpolations.png", "gan_nearest.png", "vae_directions_strips.png"}
    expected |= {"vae_interpolations_strips.png", "gan_interpolations_strips.png", "gan_training_strips.png"}
    assert {path.name for path in figures.iterdir()} == expected
    for path in figures.iterdir():
        with Image.open(path) as image:
            if path.stem.endswith("_strips"):  # frames alone: flat ones, of a network that has seen two steps
                columns = (1,) if path.stem.startswith("gan_training") else (7, 9)  # two steps, one save
                assert image.size[0] in [64 * n for n in columns] and image.size[1] in (256, 320, 384), path
            else:
                assert min(image.size) >= 100 and np.asarray(image.convert("L")).std() > 1, path


def test_samples_are_the_sampling_scripts(figures: Path, runs: Path, tmp_path: Path) -> None:
    for name, figure in (("vae", "fig1_4.png"), ("gan", "fig2_2.png")):
        command = ["python3", REPO / "inference" / f"sample_{name}.py", "--checkpoint", runs / name / "model.pth"]
        assert run_script(*command, tmp_path / "o.png").returncode == 0
        with Image.open(tmp_path / "o.png") as a, Image.open(figures / figure) as b:
            assert np.array_equal(np.asarray(a), np.asarray(b))


def test_a_missing_log_is_told(runs: Path, faces: Path, tmp_path: Path) -> None:
    for name in ("vae", "gan"):
        flags = ["--checkpoint", runs / name / "model.pth", "--log", tmp_path / "none", "--data", faces]
        result = run_script("python3", REPORT / f"{name}_figures.py", *flags, "--out", tmp_path)
        assert_one_line(result, 1, "train first", f"train_{name}.py")


def test_curves_of_what_followed(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flow.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.5, "held_out_loss": 1.6}\n')
    figures = load_script("vae_figures", monkeypatch)
    figures.draw_curves([tmp_path / "flow.jsonl"], tmp_path / "one.png")
    figures.draw_curves([runs / "vae" / "log.jsonl", tmp_path / "flow.jsonl"], tmp_path / "four.png")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "four.png") as four:
        assert four.size[0] > 3 * one.size[0] and four.size[1] == one.size[1]
        assert np.asarray(one.convert("L")).std() > 1
    flags = ["--no-curves", "--then", tmp_path / "none", "--out", tmp_path]
    assert_one_line(run_script("python3", REPORT / "vae_figures.py", *flags), 1, "none is not there")


def test_curves_whose_log_is_gone_stay_as_they_are(runs: Path, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "fig1_2.png").write_text("old")
    flags = ["--checkpoint", runs / "vae" / "model.pth", "--data", faces, "--log", tmp_path / "none"]
    more = ["--no-curves", "--then", runs / "vae" / "log.jsonl", "--out", tmp_path]
    result = run_script("python3", REPORT / "vae_figures.py", *flags, *more)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "fig1_2.png").read_text() == "old"
    assert (tmp_path / "fig1_2_then.png").exists() and (tmp_path / "fig1_4.png").exists()
