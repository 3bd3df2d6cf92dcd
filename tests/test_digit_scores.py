"""experiments/digit_scores.py, and report/acgan_figures.py and sagan_figures.py, on tiny data."""

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPO, SAMPLES, assert_one_line, call, load_script, run_script
from PIL import Image

from dlcv import repro
from dlcv.checkpoint import load_model, save_checkpoint
from dlcv.images import to_float
from dlcv.metrics import frechet_distance
from dlcv.models.acgan import ACGANGenerator, ACGANGeneratorConfig
from dlcv.models.digit_classifier import DigitClassifier
from dlcv.sampling import sample_digits

SCRIPT = REPO / "experiments" / "digit_scores.py"


@pytest.fixture(scope="module")
def mnistm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hw3_data with 20 + 20 pictures in MNIST-M's place, the same number of every digit. They show house numbers."""
    root = tmp_path_factory.mktemp("balanced") / "hw3_data"
    table = dict(line.split(",") for line in (REPO / "samples" / "svhn.csv").read_text().split()[1:])
    of = {digit: sorted(name for name in table if table[name] == digit) for digit in "0123456789"}
    for split, part in (("train", slice(0, 2)), ("test", slice(2, 4))):
        folder = root / "digits" / "mnistm" / split
        folder.mkdir(parents=True)
        names = [(name, digit) for digit in of for name in of[digit][part]]
        for name, _ in names:
            (folder / name).write_bytes((SAMPLES / name).read_bytes())
        rows = "".join(f"{name},{digit}\n" for name, digit in names)
        folder.with_suffix(".csv").write_text("image_name,label\n" + rows)
    return root


@pytest.fixture
def generated(mnistm: Path, tmp_path: Path) -> Path:
    """The two training pictures of each digit, every second pixel row dark."""
    folder = tmp_path / "some digits"
    folder.mkdir()
    rows = (mnistm / "digits" / "mnistm" / "train.csv").read_text().split()[1:]
    for index, (name, digit) in enumerate(row.split(",") for row in rows):
        pixels = np.array(Image.open(mnistm / "digits" / "mnistm" / "train" / name).convert("RGB"))
        pixels[::2] //= 2
        Image.fromarray(pixels).save(folder / f"{digit}_{index % 2 + 1:03d}.png")
    return folder


def test_scores_by_hand(mnistm: Path, generated: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.csv"
    result = call("python3", SCRIPT, generated, "--data", mnistm, "--purpose", "a test", "--scores", scores)
    assert result.returncode == 0, result.stderr
    (row,) = csv.DictReader(scores.open())
    assert (row["n"], row["n_test"], row["purpose"]) == ("20", "20", "a test")

    def pixels(folder: Path, names: list[str]) -> torch.Tensor:
        pictures = [np.asarray(Image.open(folder / name).convert("RGB").resize((28, 28))) for name in names]
        return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)

    model = load_model(DigitClassifier, REPO / "checkpoints" / "digit_classifier.pth")
    own = pixels(generated, sorted(path.name for path in generated.iterdir()))
    features = []
    for split in ("train", "test"):
        rows = (mnistm / "digits" / "mnistm" / f"{split}.csv").read_text().split()[1:]
        images = pixels(mnistm / "digits" / "mnistm" / split, [row.split(",")[0] for row in rows])
        features.append(model.features(to_float(images)).double().detach().numpy())
        if split == "train":  # all of them are drawn every time: two of each
            spreads = []
            for digit in range(10):
                a, b = (to_float(x[2 * digit : 2 * digit + 2]).flatten(1) for x in (own, images))
                spreads.append(float(torch.pdist(a).mean() / torch.pdist(b).mean()))
    own_features = model.features(to_float(own))
    right = (model.fc3(own_features).argmax(1) == torch.arange(10).repeat_interleave(2)).double().mean()
    distances = [frechet_distance(x, features[1]) for x in (own_features.double().detach().numpy(), features[0])]
    assert float(row["recognised"]) == pytest.approx(100 * float(right), abs=0.01)
    said = model.fc3(model.features(to_float(images))).argmax(1)  # of the test digits, read last
    truth = torch.tensor([int(line.split(",")[1]) for line in rows])
    assert float(row["recognised_test"]) == pytest.approx(100 * float((said == truth).double().mean()), abs=0.01)
    assert float(row["frechet"]) == pytest.approx(distances[0], rel=1e-3)
    assert float(row["frechet_real"]) == pytest.approx(distances[1], rel=1e-3)
    assert float(row["frechet_ratio"]) == pytest.approx(distances[0] / distances[1], rel=1e-3)
    assert float(row["spread"]) == pytest.approx(np.mean(spreads), abs=1e-3)
    assert float(row["least_spread"]) == pytest.approx(min(spreads), abs=1e-3)


def test_draws_of_latents(mnistm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every seed's pictures are a line, and the table gives their mean and standard deviation, for the last weights."""
    script = load_script("digit_scores", monkeypatch)
    scores = tmp_path / "scores.csv"
    for width in (2, 3):
        torch.manual_seed(width)
        generator = ACGANGenerator(ACGANGeneratorConfig(latent_dim=3, width=width)).eval()
        save_checkpoint(tmp_path / "acgan.pth", generator, {})
        flags = ["--draws", "3", "--each", "2", "--checkpoint", str(tmp_path / "acgan.pth"), "--data", str(mnistm)]
        monkeypatch.setattr("sys.argv", ["digit_scores.py", *flags, "--scores", str(scores)])
        script.main()
    lines = list(csv.DictReader(scores.open()))
    assert len(lines) == 6 and len({line["sha256"] for line in lines}) == 6
    z, labels = repro.noise(1, 20, 3), torch.arange(10).repeat_interleave(2)
    pixels = sample_digits(generator.double(), z, labels).transpose(0, 3, 1, 2)
    assert lines[4]["sha256"] == hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()[:12]
    table = load_script("score_tables", monkeypatch).digit_table(scores)
    (row,) = [line for line in table.splitlines() if "the same weights" in line]
    ratios = np.array([float(line["frechet_ratio"]) for line in lines[3:]])
    assert "20 digits (n = 3 seeds of latents)" in row
    assert f"| {ratios.mean():.2f} ± {ratios.std(ddof=1):.2f} |" in row


def test_bad_folders_are_told(mnistm: Path, generated: Path, tmp_path: Path) -> None:
    def score() -> list[object]:
        return [SCRIPT, generated, "--data", mnistm, "--purpose", "a test", "--scores", tmp_path / "scores.csv"]

    (generated / "4_002.png").rename(generated / "5_003.png")
    assert_one_line(run_script("python3", *score()), 1, "the same number of every digit")
    (generated / "5_003.png").rename(generated / "four.png")
    assert_one_line(run_script("python3", *score()), 1, "four.png: the name must begin with the digit")
    assert_one_line(run_script("python3", SCRIPT, generated), 2, "--purpose")
    assert_one_line(run_script("python3", SCRIPT), 2, "either DIR or --draws N")
    assert not (tmp_path / "scores.csv").exists()


def test_every_figure_is_drawn(digits: Path, faces: Path, tmp_path: Path) -> None:
    for name, data, script in (
        ("acgan", digits, "acgan_figures.py"),
        ("sagan", faces, "sagan_figures.py"),
    ):
        flags = ["--data", data, "--out", tmp_path / name, "--steps", 50, "--batch-size", 2, "--latent-dim", 6]
        result = run_script("python3", REPO / "train" / f"train_{name}.py", *flags, "--width", 8, "--width-d", 4)
        assert result.returncode == 0, result.stderr
        run = ["--checkpoint", tmp_path / name / "model.pth", "--log", tmp_path / name / "log.jsonl"]
        result = call("python3", REPO / "report" / script, *run, "--out", tmp_path / "figures")
        assert result.returncode == 0, result.stderr
        assert_one_line(
            run_script("python3", REPO / "report" / script, "--log", tmp_path / "none"), 1, f"train_{name}.py"
        )
    expected = {f"acgan_{x}.png" for x in ("architecture", "curves", "digits", "misread")}
    expected |= {f"sagan_{x}.png" for x in ("architecture", "curves", "faces", "attention")}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == expected
    for path in (tmp_path / "figures").iterdir():
        with Image.open(path) as image:
            assert min(image.size) >= 100 and np.asarray(image.convert("L")).std() > 1, path


def test_outputs_of_a_discriminator(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a run's last.pt, with its gain; the histogram counts every face."""
    flags = ["--data", faces, "--out", tmp_path / "run", "--steps", 2, "--batch-size", 2, "--latent-dim", 6]
    result = run_script("python3", REPO / "train" / "train_sagan.py", *flags, "--width", 8, "--width-d", 4)
    assert result.returncode == 0, result.stderr
    script = load_script("sagan_figures", monkeypatch)
    monkeypatch.setattr(script, "OUTPUTS", tmp_path / "outputs.csv")
    script.measure_outputs(tmp_path / "run" / "last.pt", faces, count=4)
    rows = list(csv.DictReader((tmp_path / "outputs.csv").open()))
    assert [row["faces"] for row in rows] == ["training", "held-out", "generated"]
    for row in rows:
        assert sum(map(int, row["counts"].split())) == int(row["n"]) > 0
        assert float(row["min"]) <= float(row["mean"]) <= float(row["max"])
        assert float(row["first_bin"]) <= float(row["min"]) + 1e-4
