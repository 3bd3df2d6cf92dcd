"""The course's digit classifier and inference/evaluate_digits.py."""

from pathlib import Path

import numpy as np
import torch
from conftest import REPO, assert_one_line, call, run_script
from PIL import Image

from dlcv.checkpoint import load_model, read_checkpoint
from dlcv.models.digit_classifier import DigitClassifier

CHECKPOINT = REPO / "checkpoints" / "digit_classifier.pth"
SCRIPT = REPO / "inference" / "evaluate_digits.py"


def test_the_weights_are_the_courses() -> None:
    content = read_checkpoint(CHECKPOINT)
    assert "DLCV 2021" in content["provenance"]["source"] and len(content["provenance"]["source_sha256"]) == 64
    model = load_model(DigitClassifier, CHECKPOINT)
    assert sum(p.numel() for p in model.parameters()) == 456 + 2416 + 256 * 128 + 128 + 128 * 64 + 64 + 650
    x = torch.rand(3, 3, 28, 28)
    assert model(x).shape == (3, 10) and torch.equal(model(x), model.fc3(model.features(x)))


def test_a_folder_is_graded(digits: Path, tmp_path: Path) -> None:
    """By hand: ten images whose names say what the classifier says, but for one; beside real digits."""
    rng = np.random.RandomState(0)
    model = load_model(DigitClassifier, CHECKPOINT)
    examples: dict[int, np.ndarray] = {}
    while len(examples) < 10:  # pictures that the classifier takes for each digit
        pictures = rng.randint(0, 256, (500, 28, 28, 3), dtype=np.uint8) // rng.randint(1, 9) + rng.randint(0, 100)
        pictures = np.clip(pictures * (rng.rand(500, 1, 1, 3) * 1.5), 0, 255).astype(np.uint8)
        pictures[:, : rng.randint(1, 28)] = rng.randint(0, 256)
        pictures[:, :, : rng.randint(1, 28)] //= rng.randint(1, 5)
        with torch.no_grad():
            said = model(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255).argmax(1).tolist()
        examples |= dict(zip(said, pictures, strict=True))
    folder = tmp_path / "digits ü"
    folder.mkdir()
    for digit, picture in examples.items():
        Image.fromarray(picture).save(folder / f"{digit}_001.png")
    Image.fromarray(examples[4]).save(folder / "3_002.png")  # a wrong one
    result = call("python3", SCRIPT, folder, "--data", digits)
    assert result.returncode == 0, result.stderr
    header, generated, real = result.stdout.splitlines()
    assert header.split()[2:] == [*"0123456789", "all"]
    values = generated.split()[1:]
    assert values == ["100.0"] * 3 + ["50.0"] + ["100.0"] * 6 + ["90.9", "n", "=", "11"]
    assert real.startswith("real test digits")
    (tmp_path / "hw3_data" / "digits").mkdir(parents=True)  # without MNIST-M: what was graded is told all the same
    alone = run_script("python3", SCRIPT, folder, cwd=tmp_path)
    assert alone.returncode == 0 and alone.stdout.splitlines()[:2] == [header, generated], alone.stderr
    assert "no line for real digits" in alone.stdout.splitlines()[2]


def test_bad_folders_are_told(tmp_path: Path) -> None:
    picture = Image.new("RGB", (28, 28))
    picture.save(tmp_path / "face.png")
    assert_one_line(run_script("python3", SCRIPT, tmp_path), 1, "must begin with the digit")
    (tmp_path / "face.png").rename(tmp_path / "1_001.png")
    assert_one_line(run_script("python3", SCRIPT, tmp_path), 1, "no image of the digit 0")
    assert_one_line(run_script("python3", SCRIPT, tmp_path / "none"), 1, "no such directory")
