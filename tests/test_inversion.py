"""dlcv.inversion and dlcv.similarity at known limits, invert_faces.py on a generator of 16 pixels."""

import csv
import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import REPO, assert_one_line, run_script
from PIL import Image

from dlcv import similarity
from dlcv.checkpoint import CHECKPOINTS, load_model, save_checkpoint
from dlcv.cli import UserError
from dlcv.images import to_float
from dlcv.inversion import Inversion, Objective, Search, face_weights, find_start
from dlcv.models.stylegan2 import StyleGAN2Generator, StyleGAN2GeneratorConfig
from dlcv.similarity import BLOCKS, CELEBA, FFHQ, FaceDescriptor, describe, fit_size, l2_distance, lpips_alex

SCRIPT = REPO / "inference" / "invert_faces.py"


def network() -> StyleGAN2Generator:
    torch.manual_seed(0)
    return StyleGAN2Generator(StyleGAN2GeneratorConfig((8, 8, 6), 8, 2)).eval()


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def alexnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """AlexNet's convolutions with random weights: the official file is not in the repository."""
    path, torch_rng = tmp_path_factory.mktemp("alexnet") / "alexnet.pth", torch.Generator().manual_seed(0)
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    weights = {}
    for index, shape in shapes.items():
        deviation = (2 / np.prod(shape[1:])) ** 0.5
        weights[f"features.{index}.weight"] = torch.randn(shape, generator=torch_rng) * deviation
        weights[f"features.{index}.bias"] = torch.zeros(shape[0])
    torch.save(weights, path)
    return path


@pytest.fixture
def known(alexnet: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same file, taken for the official one."""
    digest = similarity.hashlib.sha256(alexnet.read_bytes()).hexdigest()
    monkeypatch.setattr(similarity, "ALEXNET_SHA256", {digest})
    return alexnet


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images that the generator can make, of 16 pixels, and its checkpoint."""
    folder, g = tmp_path_factory.mktemp("portraits"), network()
    save_checkpoint(folder / "g.pth", g, {})
    (folder / "faces").mkdir()
    with torch.no_grad():
        images = ((g(torch.randn(2, 8, generator=torch.Generator().manual_seed(5))) + 1) * 127.5).clamp(0, 255)
    for name, image in zip(("b.png", "a.jpg"), images.permute(0, 2, 3, 1).to(torch.uint8).numpy(), strict=True):
        Image.fromarray(image).save(folder / "faces" / name)
    return folder


def command(portraits: Path, alexnet: Path, out: Path, *flags: object) -> list[object]:
    return [
        "python3", SCRIPT, portraits / "faces", "--out", out, "--generator", portraits / "g.pth",
        "--alexnet", alexnet, "--iterations", 4, "--evaluate-every", 2, *flags,
    ]  # fmt: skip


def test_l2_distance_is_of_pixels_in_0_to_1() -> None:
    black, white = torch.full((2, 3, 4, 4), -1.0), torch.ones(2, 3, 4, 4)
    assert l2_distance(black, white).tolist() == [1.0, 1.0] and l2_distance(white, white).tolist() == [0.0, 0.0]


def test_lpips_is_zero_for_the_same_image_and_needs_the_official_weights(
    alexnet: Path, known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    distance = lpips_alex(known)
    x, y = rand(2, 3, 32, 32), rand(2, 3, 32, 32, seed=1)
    assert distance(x, x).abs().max() < 1e-6 and (distance(x, y) > 0.01).all()
    assert torch.allclose(distance(x, y), distance(fit_size(x, 64, 256), fit_size(y, 64, 256)))
    monkeypatch.setattr(similarity, "ALEXNET_SHA256", {"0" * 64})
    with pytest.raises(UserError, match=r"is not torchvision's AlexNet"):
        lpips_alex(alexnet)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))  # nothing kept, and no network
    monkeypatch.setattr(similarity, "ALEXNET_URL", "http://127.0.0.1:9/alexnet.pth")
    with pytest.raises(UserError, match=r"--alexnet FILE, or put it there"):
        lpips_alex()


# Every 25th component for RandomState(0).uniform(0, 255, (2, 3, 150, 150)), from an independent loader of face-api's
# files, which agrees with face-api itself to 3e-6.
RECORDED = [
    [-0.0685415, -0.2542998, 0.0095260, 0.1186065, 0.0679458, -0.0443776],
    [-0.0887984, -0.2086783, 0.0040245, 0.1265425, 0.0694527, -0.0531373],
]


def test_the_descriptor_gives_what_face_apis_weights_give() -> None:
    network = load_model(FaceDescriptor, CHECKPOINTS / "face_descriptor.pth")
    x = torch.from_numpy(np.random.RandomState(0).uniform(0, 255, (2, 3, 150, 150))).float()
    with torch.no_grad():
        ours = network(x / 127.5 - 1)[:, ::25]
    assert torch.allclose(ours, torch.tensor(RECORDED), atol=1e-4)


def test_descriptors_are_of_the_face_alone() -> None:
    network = load_model(FaceDescriptor, CHECKPOINTS / "face_descriptor.pth")
    x = rand(1, 3, 64, 64)
    other = x.clone()
    other[:, :, :10], other[:, :, :, :5] = -1, 1  # outside of the crop
    with torch.no_grad():
        first, second, third = (describe(network, y, f) for y, f in ((x, CELEBA), (other, CELEBA), (other, FFHQ)))
    assert torch.equal(first, second) and not torch.allclose(first, third, atol=1e-3)
    assert first.norm() == pytest.approx(1)


def test_face_weights_have_mean_one_and_are_highest_at_eyes_and_mouth() -> None:
    weights = face_weights(64, CELEBA)
    assert weights.mean() == pytest.approx(1)
    for x, y in CELEBA.points:
        assert weights[int(64 * y), int(64 * x)] > 2 > 20 * weights[2, 2]


@pytest.mark.parametrize("space", ["z", "w", "w+"])
def test_a_search_starts_at_the_mean_face_and_finds_what_the_generator_made(space: str) -> None:
    g = network()
    start = find_start(g)
    assert torch.equal(start.z, find_start(g).z)
    with torch.no_grad():
        target = g(torch.randn(2, 8, generator=torch.Generator().manual_seed(3)))
    settings = Inversion(space=space, iterations=60, lr=0.05)  # type: ignore[arg-type]
    search = Search(g, settings, start, 2)
    assert search.latent.shape == {"z": (2, 8), "w": (2, 8), "w+": (2, 6, 8)}[space]
    if space != "z":
        with torch.no_grad():
            assert torch.allclose(search(), g.synthesise(start.mean.expand(2, -1)), atol=1e-6)
    objective = Objective(target, settings, start, CELEBA, {})
    (optimizer,) = search.optimizers().values()
    before = objective(search, 0).detach()
    for step in range(60):
        optimizer.zero_grad()
        objective(search, step).sum().backward()
        optimizer.step()
    assert (objective(search, 60) < before / 2).all()
    assert all(parameter.grad is None for parameter in g.parameters())


def test_images_do_not_disturb_each_other() -> None:
    """Each image's gradient in a batch is the one that it has alone."""
    g = network()
    start, targets = find_start(g), rand(3, 3, 16, 16)
    settings = Inversion(space="w+", pull=0.1)
    gradients = []
    for part in (targets, targets[1:2]):
        search = Search(g, settings, start, len(part))
        Objective(part, settings, start, CELEBA, {})(search, 0).sum().backward()
        gradients.append(search.latent.grad)
    assert torch.allclose(gradients[0][1], gradients[1][0], atol=1e-7)


def test_the_terms_of_the_objective() -> None:
    g = network()
    start, target = find_start(g), rand(1, 3, 16, 16)
    distances = {"lpips": lambda x, y: torch.full((1,), 2.0), "cosine": lambda x, y: torch.full((1,), 3.0)}

    def value(step: int = 0, **options: object) -> float:
        settings = Inversion(space="w", **options)  # type: ignore[arg-type]
        return float(
            Objective(target, settings, start, CELEBA, distances)(Search(g, settings, start, 1), step).detach()
        )

    with torch.no_grad():
        x = g.synthesise(start.mean[None])
    plain = float(l2_distance(x, target))
    assert value() == pytest.approx(plain)
    own = {"loss": "own", "lpips_weight": 0.1, "cosine_weight": 0.01, "face_weight": 0.0}
    assert value(**own) == pytest.approx(plain + 0.2 + 0.03)
    around = float((((x - target) / 2).square().mean(1) * face_weights(16, CELEBA)).mean())
    assert value(**own | {"face_weight": 2.0}) == pytest.approx(plain + 0.23 + 2 * around)
    coarse = float(l2_distance(F.avg_pool2d(x, 8), F.avg_pool2d(target, 8)))
    assert value(coarse=True) == pytest.approx(coarse) and value(300, coarse=True) == pytest.approx(plain)
    assert value(pull=5.0) == pytest.approx(plain, abs=1e-6)  # at the mean nothing pulls


def test_inversion_writes_everything_and_goes_on(portraits: Path, known: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    flags = ("--space", "w+", "--loss", "own", "--frames", "--method", "coarse", "pull", "noise", "tune")
    result = run_script(*command(portraits, known, out, *flags))
    assert result.returncode == 0, result.stderr
    assert "2 images, l2 0." in result.stdout
    rows = list(csv.DictReader((out / "metrics.csv").open()))
    assert [row["image_name"] for row in rows] == ["a", "b"] and set(rows[0]) == {
        "image_name", "l2", "lpips", "cosine", "seconds",
    }  # fmt: skip
    summary = json.loads((out / "summary.json").read_text())
    assert summary["settings"]["tune"] and summary["settings"]["pull"] == 0.001 and summary["images"] == 2
    assert summary["l2"]["mean"] == pytest.approx(np.mean([float(row["l2"]) for row in rows]), abs=1e-6)
    reconstruction = np.asarray(Image.open(out / "reconstructions" / "a.png")).astype(float)
    target = np.asarray(Image.open(portraits / "faces" / "a.jpg")).astype(float)
    assert np.square((reconstruction - target) / 255).mean() == pytest.approx(float(rows[0]["l2"]), abs=1e-6)
    with np.load(out / "latents.npz") as latents:
        assert latents["latent"].shape == (2, 6, 8) and latents["noise_4"].shape == (2, 1, 16, 16)
        tuned = load_model(StyleGAN2Generator, out / "generator.pth")
        noise = [torch.from_numpy(latents[f"noise_{index}"]) for index in range(5)]
        with torch.no_grad():  # what is written makes the reconstructions again
            again = tuned.synthesise(torch.from_numpy(latents["latent"]), noise)
        assert np.array_equal(((again[0] + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 0).numpy(), reconstruction)
    assert (tuned.constant - network().constant).abs().max() > 1e-4  # the last of the four iterations changed it
    assert [line["step"] for line in map(json.loads, (out / "log.jsonl").open()) if "lpips" in line] == [2, 4]
    frames = sorted(path.relative_to(out).as_posix() for path in out.glob("frames/*/*"))
    assert frames == [f"frames/00000{step}/{name}.png" for step in (2, 4) for name in "ab"]
    assert (out / frames[-2]).read_bytes() == (out / "reconstructions" / "a.png").read_bytes()
    faces, strips = portraits / "faces", tmp_path / "strips"
    result = run_script("python3", REPO / "report" / "inversion_frames.py", faces, out, "--out", strips)
    assert result.returncode == 0, result.stderr
    with Image.open(strips / "inversion_iterations_strips.png") as image:
        assert image.size == (3 * 16, 2 * 16)  # the portrait and two frames; a row for each
    kept = (out / "metrics.csv").read_bytes()
    result = run_script(*command(portraits, known, out, *flags))  # nothing is left to do
    assert result.returncode == 0 and (out / "metrics.csv").read_bytes() == kept
    result = run_script(*command(portraits, known, out, *flags, "--lr", 0.1))
    assert_one_line(result, 1, "invert_faces.py", "was begun with lr 0.01")


def test_bad_input_is_one_line(portraits: Path, known: Path, tmp_path: Path) -> None:
    def run(*flags: object, faces: Path = portraits / "faces") -> object:
        words = command(portraits, known, tmp_path / "out", *flags)
        return run_script(*words[:2], faces, *words[3:])

    for code, part, flags in (
        (2, "invalid choice: 'x'", ("--space", "x")),
        (2, "--iterations 0: must be above 0", ("--iterations", 0)),
        (2, "--evaluate-every 0", ("--evaluate-every", 0)),
        (1, "--crop 0 0 17 16 is not within a.jpg", ("--crop", 0, 0, 17, 16)),
        (1, "give a square --crop", ("--crop", 0, 0, 8, 16)),
        (1, "cannot read", ("--alexnet", tmp_path / "none.pth")),
    ):
        assert_one_line(run(*flags), code, "invert_faces.py", part)
    (tmp_path / "empty").mkdir()
    assert_one_line(run(faces=tmp_path / "empty"), 1, "invert_faces.py", "no images (*.png, *.jpg)")
    (tmp_path / "twins").mkdir()
    for name in ("a.png", "a.jpg"):
        Image.new("RGB", (16, 16)).save(tmp_path / "twins" / name)
    assert_one_line(run(faces=tmp_path / "twins"), 1, "invert_faces.py", "another image of that name")


def test_larger_portraits_are_cut_and_resized(tmp_path: Path) -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[4:36, 10:42] = 200
    Image.fromarray(image).save(tmp_path / "p.png")
    names, targets = runpy.run_path(str(SCRIPT))["read_targets"](tmp_path, 16, [10, 4, 42, 36])
    assert names == ["p"] and targets.shape == (1, 3, 16, 16)
    assert torch.equal(targets, (to_float(torch.full((1, 3, 16, 16), 200, dtype=torch.uint8)) * 2 - 1))


def test_converting_face_apis_files(tmp_path: Path) -> None:
    """Files in their format, filled from a RandomState: levels and ranges arrive where they belong."""
    script = SimpleNamespace(**runpy.run_path(str(REPO / "experiments" / "convert_face_descriptor.py")))
    random = np.random.RandomState(0)
    names = ["conv32_down", *(f"{name}/conv{index}" for name, *_ in BLOCKS for index in (1, 2))]
    widths = {"conv32_down": (3, 32, 7)}
    for name, inputs, outputs, _ in BLOCKS:
        widths |= {f"{name}/conv1": (inputs, outputs, 3), f"{name}/conv2": (outputs, outputs, 3)}
    entries, data = [], b""
    for name in names:
        inputs, outputs, size = widths[name]
        for part, shape in (
            ("conv/filters", [size, size, inputs, outputs]), ("conv/bias", [outputs]),
            ("scale/weights", [outputs]), ("scale/biases", [outputs]),
        ):  # fmt: skip
            exact = "conv64" in name and part == "conv/filters"
            entry = {"name": f"{name}/{part}", "shape": shape, "dtype": "float32"}
            values = random.randint(0, 256, shape).astype(np.uint8)
            entries.append(entry if exact else entry | {"quantization": {"dtype": "uint8", "scale": 0.5, "min": -3.0}})
            data += (values.astype(np.float32) if exact else values).tobytes()
    projection = random.standard_normal((256, 128)).astype(np.float32)
    entries.append({"name": "fc", "shape": [256, 128], "dtype": "float32"})
    (tmp_path / "weights.bin").write_bytes(data + projection.tobytes())
    (tmp_path / script.MANIFEST).write_text(json.dumps([{"paths": ["weights.bin"], "weights": entries}]))
    model = script.convert(script.read_weights(tmp_path))
    first = np.random.RandomState(0).randint(0, 256, (7, 7, 3, 32))
    assert np.array_equal(model.first.filters().numpy(), first.transpose(3, 2, 0, 1) * 0.5 - 3)
    assert np.array_equal(model.projection.numpy(), projection.T)
    assert model.blocks[3].first.filters.levels.dtype == torch.float32 and model.blocks[3].halves
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(UserError, match="does not hold face-api"):
        script.read_weights(tmp_path)
