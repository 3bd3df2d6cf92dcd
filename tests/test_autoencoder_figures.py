"""report/autoencoder_figures.py on tiny data: tables by hand, every picture drawn."""

import json
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import REPO, load_script, run_script
from PIL import Image

from dlcv.cli import UserError
from dlcv.models.autoencoder import Autoencoder, AutoencoderConfig


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module whose documents lie in tmp_path."""
    module = load_script("autoencoder_figures", monkeypatch)
    module.DOCS = tmp_path / "docs"
    (tmp_path / "docs" / "models").mkdir(parents=True)
    names = [f"autoencoder {name}" for name in ("sizes", "submitted", "runs", "curve", "neighbours", "grid")]
    text = "".join(f"<!-- {name}: x -->\nold\n<!-- end -->\n" for name in names)
    (tmp_path / "docs" / "models" / "autoencoder.md").write_text(text)
    return module


def test_sizes(script: ModuleType) -> None:
    lines = script.size_table(Autoencoder(AutoencoderConfig())).splitlines()
    counts = [line.split("|")[6].strip() for line in lines[3:]]
    expected = ["640", "18,464", "4,624", "290", "0", "297", "392", "0", "304", "4,640", "18,496", "577", "48,724"]
    assert counts == expected and "64 x 14 x 14" in lines[3]
    assert "14 x 14 | ReLU | ⌊(28 + 2 · 1 − 3) / 2⌋ + 1 = 14 | (9 · 1 + 1) · 64 = 640" in lines[3]
    assert "| 2 · 7 · 7 = 98 |" in lines[7] and "(98 + 1) · 3 = 297" in lines[8]
    assert "(7 − 1) · 1 − 2 · 1 + 3 + 0 = 7 | (9 · 2 + 1) · 16 = 304" in lines[11]
    assert "(7 − 1) · 2 − 2 · 1 + 3 + 1 = 14" in lines[13] and "| Sigmoid |" in lines[14]
    for line in lines[3:]:  # the sums are what they say
        for part in line.split("|")[4:6]:
            left, _, right = part.replace("⌊", "").replace("⌋", "").partition("=")
            if right:
                value = eval(left.replace("·", "*").replace("−", "-").replace("/", "//"))  # of our own digits
                assert value == int(right.replace(",", ""))


def test_neighbours_and_grid_by_hand(script: ModuleType) -> None:
    rng = np.random.RandomState(0)
    z = rng.randn(400, 3) * 0.1
    labels = np.repeat([1, 5, 7], (200, 100, 100))
    z[:200] += 9  # class 1 lies apart, 5 and 7 in one cloud
    lines = script.neighbour_table(z, labels).splitlines()
    assert lines[2] == "| trouser | 100 |  |" and lines[-1].startswith("| all (n = 400) | ")
    shares = [int(line.split("|")[2]) for line in lines[3:5]]
    assert all(20 < share < 80 for share in shares) and "| sneaker (" in lines[3] and "| sandal (" in lines[4]
    box = np.stack([np.linspace(0, 100, 101)] * 3, axis=1)  # 1 to 99 on the diagonal: 99 of 101
    assert script.grid_table(box).endswith("| from, to | 1.0 to 99.0 | 1.0 to 99.0 | 1.0 to 99.0 | 98.0 | 99 |")
    counts = script.grid_counts(box)
    along = counts[np.arange(12), np.arange(12), np.arange(12)]
    assert counts.sum() == along.sum() == 101 and along[0] == along[-1] == 6 and along.min() > 5
    far = script.grid_counts(np.concatenate([box] * 5 + [np.full((1, 3), 120.0)]))  # too few to move the ends by much
    assert far.sum() == 505


def test_everything_is_drawn(script: ModuleType, arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = np.load(arrays / "fashion_mnist.npz")
    changed = {name: labels[name] for name in labels} | {"test_labels": np.arange(20) % 10}  # one of each class
    np.savez(tmp_path / "fashion_mnist.npz", **changed)  # type: ignore[arg-type]
    for seed in (0, 1):
        flags = ["--steps", 4, "--batch-size", 10, "--seed", seed, "--below", 0.5, "--evaluate-every", 2]
        out = tmp_path / "runs" / f"autoencoder_seed{seed}"
        result = run_script(
            "python3", REPO / "train" / "train_autoencoder.py", "--data", tmp_path, "--out", out, *flags
        )
        assert result.returncode == 0, result.stderr
    words = ["--runs", tmp_path / "runs", "--checkpoint", tmp_path / "runs" / "autoencoder_seed0" / "model.pth"]
    words += ["--out", tmp_path / "figures", "--data", tmp_path]
    monkeypatch.setattr("sys.argv", ["autoencoder_figures.py", *map(str, words)])
    script.main()
    drawn = {path.name for path in (tmp_path / "figures").glob("*.png")}
    assert drawn == {f"autoencoder_{name}.png" for name in ("curve", "latents", "grid", "grid_2", "reconstructions")}
    for name in drawn:
        with Image.open(tmp_path / "figures" / name) as image:
            assert min(image.size) >= 150 and np.asarray(image.convert("L")).std() > 1
    page = (tmp_path / "figures" / "autoencoder_latents.html").read_text()
    match = re.search(r"const points = (\[\[.*?\]\]), colours = (\[.*?\]), classes = (\[.*?\]);", page)
    assert match and len(json.loads(match[1])) == 60 and len(json.loads(match[2])) == len(json.loads(match[3])) == 10
    assert "http" not in page  # it works without a network

    # The test error is that of the kept weights.
    table = (tmp_path / "docs" / "models" / "autoencoder.md").read_text()
    model = script.load_model(Autoencoder, tmp_path / "runs" / "autoencoder_seed1" / "model.pth")
    x = torch.from_numpy(changed["test_images"][:, None]).float() / 255
    with torch.no_grad():
        error = float((model(x) - x).square().mean())
    with torch.no_grad():
        model = script.load_model(Autoencoder, tmp_path / "runs" / "autoencoder_seed0" / "model.pth")
        x = torch.from_numpy(changed["train_images"][:, None]).float() / 255
        assert f"| model.pth | 4 | {float((model(x) - x).square().mean()):.5f} |" in table
    assert "| autoencoder_curve.png | 0 |" in table and "| all (n = 60) |" in table
    assert "| 1 | 2 |" in table and f"{error:.5f}" in table and "mean (n = 2)" in table and "old" not in table
    for seed in (0, 1):  # what was measured stays when the runs are gone
        (tmp_path / "runs" / f"autoencoder_seed{seed}").rename(tmp_path / f"seed{seed}")
    words[words.index("--checkpoint") + 1] = tmp_path / "seed0" / "model.pth"
    monkeypatch.setattr("sys.argv", ["autoencoder_figures.py", *map(str, words)])
    script.main()
    assert (tmp_path / "docs" / "models" / "autoencoder.md").read_text() == table


def test_missing_runs_are_told(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["autoencoder_figures.py", "--runs", str(tmp_path)])
    with pytest.raises(UserError, match=r"train_autoencoder\.py"):
        script.main()
