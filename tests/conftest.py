"""Tiny real data in the courses' layout, and how tests call the repository's commands."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

REPO = Path(__file__).resolve().parents[1]
SAMPLES = REPO / "samples" / "svhn"

Run = Callable[..., subprocess.CompletedProcess[str]]


def call(
    *command: object, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command as a user would, with this interpreter first on the PATH as python3.

    One thread unless told otherwise: two threads of a tiny network wait for each other on a machine that is busy.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={"OMP_NUM_THREADS": "1"} | os.environ | {"PATH": path} | (env or {}),
        capture_output=True,
        text=True,
        timeout=600,
    )


def kill_after_first_save(out: Path, *command: object) -> None:
    """Starts a training that writes to `out` and kills it as soon as last.pt is there."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], env={"OMP_NUM_THREADS": "1"} | os.environ, stderr=subprocess.DEVNULL
    )
    while not (out / "last.pt").exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.wait()


def load_report_script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """report/<name>.py as a module, whose places for documents a test may change."""
    monkeypatch.syspath_prepend(REPO / "report")
    spec = importlib.util.spec_from_file_location(name, REPO / "report" / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_one_line(result: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    """The command failed with `code` and one line on stderr that holds all `parts`."""
    assert result.returncode == code, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    for part in parts:
        assert part in lines[0]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def cache_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded folders are cached in the home; tests use one of their own."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hw3_data with 40 + 10 real digits a domain: svhn as it is, usps grey, mnistm with its colours turned."""
    root = tmp_path_factory.mktemp("data") / "hw3_data"
    table = dict(line.split(",") for line in (REPO / "samples" / "svhn.csv").read_text().split()[1:])
    names = sorted(table)
    for domain, change in (
        ("svhn", lambda image: image),
        ("usps", lambda image: image.convert("L")),
        ("mnistm", lambda image: Image.fromarray(255 - np.asarray(image)[:, :, ::-1])),
    ):
        for split, part in (("train", names[:40]), ("test", names[40:50])):
            folder = root / "digits" / domain / split
            folder.mkdir(parents=True)
            rows = ["image_name,label"]
            for index, name in enumerate(part):
                change(Image.open(SAMPLES / name)).save(folder / f"{index:05d}.png")
                rows.append(f"{index:05d}.png,{table[name]}")
            folder.with_suffix(".csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def repo_copy(tmp_path: Path) -> Path:
    """What a grader has: a copy of the wrappers, the code and the checkpoints."""
    copy = tmp_path / "clone"
    copy.mkdir()
    for script in REPO.glob("*.sh"):
        shutil.copy(script, copy)
    for folder in ("src", "inference", "checkpoints"):
        shutil.copytree(REPO / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    return copy


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hw3_data with 36 + 9 pictures of 64x64, three attributes. They show digits: no face may be handed on."""
    root = tmp_path_factory.mktemp("faces") / "hw3_data"
    names = sorted(path.name for path in SAMPLES.iterdir())
    for split, part in (("train", names[:36]), ("test", names[36:45])):
        folder = root / "face" / split
        folder.mkdir(parents=True)
        rows = ["image_name,Male,Smiling,Blond_Hair"]
        for index, name in enumerate(part):
            Image.open(SAMPLES / name).resize((64, 64)).save(folder / f"{index:05d}.png")
            rows.append(f"{index:05d}.png,{index % 2}.0,{index % 3 == 0:d}.0,{index % 4 == 0:d}.0")
        folder.with_suffix(".csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="session")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cifar10.npz and fashion_mnist.npz: 60 + 20 pictures each. They show house numbers."""
    root = tmp_path_factory.mktemp("arrays")
    table = dict(line.split(",") for line in (REPO / "samples" / "svhn.csv").read_text().split()[1:])
    names = sorted(table)
    for file, size, mode in (("cifar10.npz", 32, "RGB"), ("fashion_mnist.npz", 28, "L")):
        pictures = np.stack(
            [np.asarray(Image.open(SAMPLES / name).convert(mode).resize((size, size))) for name in names]
        )
        labels = np.array([int(table[name]) for name in names])
        np.savez(
            root / file,
            train_images=pictures[:60], train_labels=labels[:60],
            test_images=pictures[60:80], test_labels=labels[60:80],
        )  # fmt: skip
    return root
