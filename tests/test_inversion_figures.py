"""report/stylegan2_figures.py and report/inversion_figures.py on tiny runs."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import load_script
from PIL import Image

from dlcv.checkpoint import save_checkpoint
from dlcv.cli import UserError
from dlcv.models.stylegan2 import StyleGAN2Generator, StyleGAN2GeneratorConfig


def network() -> StyleGAN2Generator:
    torch.manual_seed(0)
    return StyleGAN2Generator(StyleGAN2GeneratorConfig((6, 6, 4), 5, 2)).eval()


def test_mixing_takes_coarse_styles_from_rows_and_fine_ones_from_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    script, g = load_script("stylegan2_figures", monkeypatch), network().double()
    w = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)).double()
    grid = script.mixing(g, w)
    assert len(grid) == 7 and all(row.shape == (7, 16, 16, 3) for row in grid)
    same = script.mixing(g, w[:1].expand(12, -1))  # all styles of one face: that face everywhere
    assert np.array_equal(same[3][2], same[0][1]) and np.array_equal(same[3][2], same[3][0])
    all_coarse = script.mixing(g, w, coarse=g.layers)
    assert all(np.array_equal(all_coarse[2][0], picture) for picture in all_coarse[2])


def test_stylegan2_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script("stylegan2_figures", monkeypatch)
    save_checkpoint(tmp_path / "g.pth", network(), {"step": 1})
    line = {"step": 50, "seconds": 1.0, "loss_d": 1.0, "loss_g": 1.0, "accuracy_real": 0.5, "accuracy_fake": 0.5}
    (tmp_path / "log.jsonl").write_text(json.dumps(line) + "\n")
    words = ["--checkpoint", tmp_path / "g.pth", "--log", tmp_path / "log.jsonl", "--out", tmp_path / "out"]
    monkeypatch.setattr("sys.argv", ["stylegan2_figures.py", *map(str, words)])
    script.main()
    names = {f"stylegan2_{what}.png" for what in ("faces", "mixing", "truncation", "curves")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names


def test_inversion_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, rows = load_script("inversion_figures", monkeypatch), ["run,image_name,l2,lpips,cosine,seconds"]
    monkeypatch.setattr(script, "PART", 1)  # two targets in two pictures
    g, names = network(), ("a", "b")
    save_checkpoint(tmp_path / "g.pth", g, {"step": 1})
    (tmp_path / "targets").mkdir()
    for name in names:
        Image.new("RGB", (16, 16)).save(tmp_path / "targets" / f"{name}.jpg")
    for number, run in enumerate(("z_own", "w_mse", "w_own", "w+_own", "w+_own_pull", "proposed")):
        folder = tmp_path / "runs" / "targets" / run
        (folder / "reconstructions").mkdir(parents=True)
        lines = [{"step": step, "l2": 0.1 / step, "lpips": 0.5, "cosine": 0.1} for step in (50, 100)]
        (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        shape = (2, g.layers, 5) if "+" in run else (2, 5)
        latent = np.random.RandomState(number).randn(*shape).astype(np.float32)
        w = np.broadcast_to(latent.reshape(2, -1, 5), (2, g.layers, 5))
        np.savez(folder / "latents.npz", names=np.array(names), latent=latent, w=w)
        for name in names:
            Image.new("RGB", (8, 8)).save(folder / "reconstructions" / f"{name}.png")
            rows.append(f"{run},{name},{0.01 + number},{0.2 + len(rows)},{0.3 / (len(rows))},1.0")
    for run in ("w+_own_without-face", "w+_own_mse-for-face"):  # they are in a csv file of their own
        shutil.copytree(folder, folder.with_name(run))
    directions = {"attributes": np.array(["Smiling", "Male"]), "directions": np.eye(2, 5), "step": 3.0}
    np.savez(tmp_path / "runs" / "directions.npz", **directions)
    (tmp_path / "inversion.csv").write_text("\n".join(rows) + "\n")
    words = ["--targets", tmp_path / "targets", "--runs", tmp_path / "runs", "--results", tmp_path / "inversion.csv"]
    words += ["--generator", tmp_path / "g.pth", "--out", tmp_path / "out"]
    monkeypatch.setattr("sys.argv", ["inversion_figures.py", *map(str, words)])
    script.main()
    drawn = {"faces", "faces_2", "summary", "terms", "curves", "metrics", "disagreements", "edits", "interpolations"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {f"inversion_{what}.png" for what in drawn}
    assert script.disagreement(np.array([1.0, 2.0, 3.0]), np.array([1.0, 9.0, 2.0])) in (1, 2)
    (tmp_path / "runs" / "directions.npz").unlink()
    with pytest.raises(UserError, match="fit_directions"):
        script.main()
    (tmp_path / "inversion.csv").write_text("\n".join(rows[:-1]) + "\n")
    with pytest.raises(UserError, match="is not whole"):
        script.main()


def test_titles_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = load_script("tables", monkeypatch)
    titles = {"z_mse": "Z, MSE", "w+_own": "W+, own", "w+_own_coarse": "W+, own, coarse", "proposed": "proposed"}
    assert {run: tables.inversion_title(run) for run in titles} == titles
