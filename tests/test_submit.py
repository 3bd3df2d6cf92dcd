"""python -m grader.submit: what is built is whole and runs alone; what is incomplete is refused."""

import io
import shutil
import unicodedata
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import REPO, SAMPLES, assert_one_line, call

from dlcv import cli
from dlcv.cs7643.part2 import models
from grader import submit

# Written to the course's interface, run in the unpacked folder; our package must not be found there.
PART1 = """
import sys
sys.modules["dlcv"] = None
import numpy as np
from modules import Conv2D, ConvNet, Linear, MaxPooling, ReLU, SoftmaxCrossEntropy
from optimizer import SGD
layers = [dict(type="Conv2D", in_channels=3, out_channels=4, kernel_size=3, stride=1, padding=1), dict(type="ReLU"),
          dict(type="MaxPooling", kernel_size=2, stride=2), dict(type="Linear", in_dim=64, out_dim=5)]
model = ConvNet(layers, dict(type="SoftmaxCrossEntropy"))
x, y = np.random.RandomState(0).randn(6, 3, 8, 8), np.arange(6) % 5
optimizer = SGD(model, learning_rate=0.5, reg=0.0, momentum=0.9)
losses = []
for _ in range(60):
    probs, loss = model.forward(x, y)
    model.backward()
    optimizer.update(model)
    losses.append(loss)
assert probs.shape == (6, 5) and abs(losses[0] - np.log(5)) < 1e-2 and losses[-1] < losses[0] / 2, losses
for module in model.modules:
    assert module.dx is not None
    if hasattr(module, "weight"):
        assert module.dw.shape == module.weight.shape and module.db.shape == module.bias.shape
assert sorted(name.split(".")[0] for name in sys.modules if name.startswith("torch")) == []
"""
PART2 = """
import sys
sys.modules["dlcv"] = None
import torch, yaml
from losses import FocalLoss, reweight
from models import *
from solver import Solver
networks = (("twolayernet", TwoLayerNet, (3072, 256, 10)), ("vanillacnn", VanillaCNN, ()), ("mymodel", MyModel, ()))
for name, cls, arguments in networks:
    model = cls(*arguments)
    model.load_state_dict(torch.load(f"checkpoints/{name}.pth", weights_only=True))
    assert model.eval()(torch.randn(2, 3, 32, 32)).shape == (2, 10)
assert resnet32()(torch.randn(2, 3, 32, 32)).shape == (2, 10)
weights = reweight([5000, 50], beta=0.9999)
assert abs(weights.sum() - 2) < 1e-5 and FocalLoss(weights, 1.0)(torch.zeros(3, 2), torch.tensor([0, 1, 1])).shape == ()
for name in ("twolayer", "vanilla_cnn", "mymodel"):
    config = yaml.safe_load(open(f"configs/config_{name}.yaml"))
    assert config["Train"]["batch_size"] > 0 and config["network"]["model"]
"""  # fmt: skip


# One process for all: torch is imported once.
HELP = """
import runpy, sys
for script in list(sys.argv[1:]):
    sys.argv = [script, "--help"]
    sys.path.insert(0, "train")
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        assert ended.code in (0, None), script
"""


@pytest.fixture
def root(repo_copy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A whole repository, with reports and networks of CS7643 that may not be there yet."""
    for folder in ("train", "report"):
        shutil.copytree(REPO / folder, repo_copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(REPO / "requirements.txt", repo_copy)
    table = repo_copy / "report" / "assignments.csv"
    table.write_text(table.read_text().replace(",no\n", ",yes\n"))  # as if all were built
    for name in ("hw3_r01.pdf", "hw2_r01.pdf", "eee7331.pdf", "cs7643-writeup.pdf", "tud.pdf"):
        (repo_copy / name).write_bytes(b"%PDF-1.7 " + name.encode())
    folder = repo_copy / submit.PART2 / "checkpoints"
    folder.mkdir(exist_ok=True)
    for name, model in (
        ("twolayernet", models.TwoLayerNet(3072, 256, 10)),
        ("vanillacnn", models.VanillaCNN()),
        ("mymodel", models.MyModel()),
    ):
        torch.save(model.state_dict(), folder / f"{name}.pth")
    for name in ("sagan.pth", "acgan.pth", "autoencoder.pth", "autoencoder_below.pth", "flowers.pth"):
        if not (repo_copy / "checkpoints" / name).exists():
            (repo_copy / "checkpoints" / name).write_bytes(b"weights")
    for name, kinds in submit.TUD_FIGURES.items():
        for kind in kinds:
            (repo_copy / "report" / "figures" / f"{name}_{kind}.png").write_bytes(b"png")
    monkeypatch.setattr(submit, "ROOT", repo_copy)
    return repo_copy


def unpack(course: str, folder: Path, name: str = "") -> tuple[str, list[str]]:
    file, content = submit.build(course, name, "r01")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            archive.extract(entry, folder)
            (folder / entry.filename).chmod(entry.external_attr >> 16)
        return file, archive.namelist()


@pytest.mark.parametrize(("course", "script"), [("cs7643-part1", PART1), ("cs7643-part2", PART2)])
def test_cs7643_zips_run_alone(course: str, script: str, root: Path, tmp_path: Path) -> None:
    file, names = unpack(course, tmp_path / "alone")
    assert file == f"{course}.zip"
    tops = (
        {"modules", "optimizer"}
        if course.endswith("1")
        else {"configs", "losses", "checkpoints", "models", "solver.py"}
    )
    assert {name.split("/")[0] for name in names} == tops
    (tmp_path / "test.py").write_text(script)
    result = call("python3", "-c", "exec(open('../test.py').read())", cwd=tmp_path / "alone")
    assert result.returncode == 0 and result.stdout == "", result.stderr


def test_dlcv_repositories_run_alone(root: Path, tmp_path: Path) -> None:
    file, names = unpack("dlcv2020", tmp_path)
    assert file == "hw3_r01.zip" and "hw3-r01/hw3_r01.pdf" in names
    assert not any("sagan" in name or "uda_svhn_mnistm" in name for name in names)  # of the other course
    folder = tmp_path / "hw3-r01"
    for wrapper in ("hw3_p3.sh", "hw3_p4.sh"):
        result = call("bash", folder / wrapper, SAMPLES, "svhn", tmp_path / "out.csv", cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        assert len((tmp_path / "out.csv").read_text().splitlines()) == 101
    assert call("bash", folder / "hw3_p1.sh", tmp_path / "o.png").returncode == 0
    assert "PYTHONPATH=src python3 train/train_vae.py" in (folder / "README.txt").read_text()
    manifest = (folder / "checkpoints" / "MANIFEST").read_text().split()[1::2]
    assert manifest == sorted(path.name for path in (folder / "checkpoints").glob("*.pth"))
    scripts = [f"train/train_{name}.py" for name in ("dann", "uda", "vae", "gan")]
    result = call("python3", "-c", HELP, *scripts, cwd=folder, env={"PYTHONPATH": str(folder / "src")})
    assert result.returncode == 0 and result.stdout.count("usage:") == len(scripts), result.stderr
    assert unpack("dlcv2021", tmp_path)[0] == "hw2_r01.zip"
    assert (tmp_path / "hw2-r01" / "hw2_bonus.sh").stat().st_mode & 0o100


def test_other_submissions(root: Path, tmp_path: Path, arrays: Path) -> None:
    file, names = unpack("tud", tmp_path / "tud", "Ada King Lovelace")
    assert file == "ada-king-lovelace-homework-03.zip"
    assert {"calculations.pdf", "model/autoencoder.pth", "model/autoencoder_below.pth", "README.txt"} <= set(names)
    assert {"model/flowers.pth", "figures/flowers_mixed.png", "code/train/train_flowers.py"} <= set(names)
    assert {"figures/autoencoder_grid.png", "figures/autoencoder_latents.html", "code/get_dataset.sh"} <= set(names)
    code = tmp_path / "tud" / "code"  # what is handed in trains and draws by itself
    alone = {"cwd": code, "env": {"PYTHONPATH": "src"}}
    steps = ["--steps", 2, "--batch-size", 8, "--data", arrays, "--out", "runs/autoencoder_seed0"]
    result = call("python3", "train/train_autoencoder.py", *steps, **alone)
    assert result.returncode == 0, result.stderr
    words = ["--checkpoint", "runs/autoencoder_seed0/model.pth", "--data", arrays]
    result = call("python3", "report/autoencoder_figures.py", *words, **alone)
    assert result.returncode == 0, result.stderr
    assert (code / "report" / "figures" / "autoencoder_grid.png").stat().st_size > 5_000
    result = call("bash", "get_dataset.sh", "--help", **alone)
    assert result.returncode == 0 and "fashion_mnist" in result.stdout, result.stderr
    for form in ("NFC", "NFD"):  # one name, one file name, whichever way its letters are written
        name = unicodedata.normalize(form, "Zoë Müller-Lüdenscheidt")
        assert submit.build("tud", name, "r01")[0] == "zoë-müller-lüdenscheidt-homework-03.zip"
    assert submit.build("eee7331", "", "r01") == ("eee7331.pdf", b"%PDF-1.7 eee7331.pdf")
    assert submit.build("cs7643-part2", "", "r01") == submit.build("cs7643-part2", "", "r01")  # the same bytes


def test_incomplete_submissions_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "hw3_r01.pdf").unlink()
    (root / "checkpoints" / "vae.pth").unlink()
    with pytest.raises(cli.UserError, match=r"hw3_r01.pdf \(make report STUDENT_ID=r01\); checkpoints/vae.pth"):
        submit.build("dlcv2020", "", "r01")
    for name in ("part1/modules/linear.py", "part2/models/twolayer.py", "part2/configs/config_mymodel.yaml"):
        (root / "src" / "dlcv" / "cs7643" / name).unlink()
    with pytest.raises(cli.UserError, match=r"cs7643-part1 is incomplete: modules/linear.py"):
        submit.build("cs7643-part1", "", "r01")
    with pytest.raises(cli.UserError, match=r"configs/config_mymodel.yaml .*; models/twolayer.py"):
        submit.build("cs7643-part2", "", "r01")
    table = root / "report" / "assignments.csv"
    table.write_text(table.read_text() + 'eee7331,"2, 9.",a lost problem,no\n')
    with pytest.raises(cli.UserError, match=r"eee7331 is incomplete: sub-problem 2, 9. a lost problem \(not built"):
        submit.build("eee7331", "", "r01")


def test_large_submissions_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "LARGEST", 1_000)
    with pytest.raises(cli.UserError, match="too large"):
        submit.build("cs7643-part2", "", "r01")


def test_bad_use_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert_one_line(call("python3", "-m", "grader.submit", "tud", "--out", tmp_path), 2, '--name "First Last"')
    monkeypatch.setattr("sys.argv", ["submit", "dlcv2020", "--id", "a/b", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        cli.run(submit.main, "grader.submit")
    assert ended.value.code == 2 and "letters and" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
