"""experiments/target_copies.py finds a copy of a training face, mirrored or not."""

import csv
from pathlib import Path

import numpy as np
from conftest import REPO, assert_one_line, run_script
from PIL import Image, ImageOps


def test_finds_copies(faces: Path, tmp_path: Path) -> None:
    train = sorted((faces / "face" / "train").glob("*.png"))
    targets = tmp_path / "targets"
    targets.mkdir()
    with Image.open(train[3]) as image:
        ImageOps.mirror(image.convert("RGB")).save(targets / "copy.png")
    Image.fromarray(np.full((64, 64, 3), 255, np.uint8)).save(targets / "white.png")
    results = tmp_path / "nearest.csv"
    command = ("python3", REPO / "experiments" / "target_copies.py", targets, "--data", faces, "--results", results)
    result = run_script(*command)
    assert result.returncode == 0, result.stderr
    rows = {row["image_name"]: row for row in csv.DictReader(results.open())}
    assert float(rows["copy"]["l2"]) == 0 and rows["copy"]["face"] == train[3].name
    white = np.stack([np.asarray(Image.open(path).convert("RGB"), float) for path in train])
    assert float(rows["white"]["l2"]) == round(float(((1 - white / 255) ** 2).mean((1, 2, 3)).min()), 4) > 0.01
    assert_one_line(run_script(*command[:2], tmp_path / "none", "--data", faces), 1, "target_copies.py", "none")
