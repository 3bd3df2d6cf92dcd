"""models/sagan.py against references, train/train_sagan.py and inference/sample_sagan.py on tiny real data."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPO, assert_one_line, call, counts_of, kill_after_first_save, run_script
from PIL import Image

from dlcv.averaging import settle
from dlcv.checkpoint import load_model, read_checkpoint, save_checkpoint
from dlcv.models.sagan import (
    SAGANDiscriminator,
    SAGANDiscriminatorConfig,
    SAGANGenerator,
    SAGANGeneratorConfig,
    SelfAttention,
)
from dlcv.repro import noise
from dlcv.sampling import sample_images
from dlcv.trainer import read_save

SCRIPT, SAMPLE = REPO / "train" / "train_sagan.py", REPO / "inference" / "sample_sagan.py"


def test_self_attention_by_hand() -> None:
    """Against loops over positions; with gamma 0 nothing is changed."""
    torch.manual_seed(0)
    layer, x = SelfAttention(16).double().eval(), torch.randn(2, 16, 6, 4, dtype=torch.float64)
    with torch.no_grad():
        assert torch.equal(layer(x), x)
        layer.gamma.fill_(0.7)
        query, key, value = (part(x) for part in (layer.query, layer.key, layer.value))
        key, value = (torch.nn.functional.max_pool2d(part, 2) for part in (key, value))
        attended = torch.zeros(2, 8, 6, 4, dtype=torch.float64)
        for n, i, j in np.ndindex(2, 6, 4):
            scores = torch.stack([query[n, :, i, j] @ key[n, :, a, b] for a, b in np.ndindex(3, 2)]).softmax(0)
            attended[n, :, i, j] = sum(
                s * value[n, :, a, b] for s, (a, b) in zip(scores, np.ndindex(3, 2), strict=True)
            )
        assert torch.allclose(layer(x), x + 0.7 * layer.out(attended), atol=1e-12)


@pytest.mark.parametrize("attention", [True, False])
def test_shapes_and_places(attention: bool) -> None:
    g = SAGANGenerator(SAGANGeneratorConfig(6, 8, attention)).eval()
    d = SAGANDiscriminator(SAGANDiscriminatorConfig(8, attention)).eval()
    x = g(torch.randn(5, 6))
    assert x.shape == (5, 3, 64, 64) and x.abs().max() <= 1 and d(x).shape == (5,)
    seen: list[int] = []
    for network in (g, d):
        for module in network.modules():
            if isinstance(module, SelfAttention):
                module.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[2]))
    d(g(torch.randn(2, 6)))
    assert seen == ([16, 8] if attention else [])


def test_all_but_the_generators_last_layer_are_spectrally_normed() -> None:
    g, d = SAGANGenerator(SAGANGeneratorConfig(6, 8)), SAGANDiscriminator(SAGANDiscriminatorConfig(8))
    for _ in range(60):  # power iterations happen in training mode
        d(g(torch.randn(4, 6)))
    for network in (g, d):
        for module in (*network.net.modules(), *([d.last] if network is d else [])):
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                weight = module.weight.detach()
                matrix = (weight.transpose(0, 1) if isinstance(module, torch.nn.ConvTranspose2d) else weight).flatten(1)
                assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1.0, abs=0.05)
    assert not hasattr(g.last, "parametrizations")


def test_the_gain_multiplies_the_logits() -> None:
    quiet, loud = (SAGANDiscriminator(SAGANDiscriminatorConfig(8, gain=gain)).eval() for gain in (1.0, 3.0))
    loud.load_state_dict(quiet.state_dict())
    x = torch.randn(2, 3, 64, 64)
    assert torch.allclose(loud(x), 3 * quiet(x), rtol=1e-6)


def test_statistics_settle_after_averaging() -> None:
    """Averaged power-iteration vectors are short, and the weights too large; batch norm knows other activations."""
    torch.manual_seed(0)
    g, z = SAGANGenerator(SAGANGeneratorConfig(6, 8)).eval(), torch.randn(64, 6)
    for name, buffer in g.named_buffers():
        if name.endswith(("_u", "_v")):
            buffer.mul_(0.5)
    settle(g, [(part,) for part in z.split(16)])
    assert not g.training
    for module in g.net:
        if isinstance(module, torch.nn.ConvTranspose2d):
            matrix = module.weight.detach().transpose(0, 1).flatten(1)
            assert torch.linalg.matrix_norm(matrix, 2).item() == pytest.approx(1.0, abs=0.02)
    first = g.net[1]
    assert isinstance(first, torch.nn.BatchNorm2d) and first.momentum == 0.1
    with torch.no_grad():
        seen = g.net[0](z[:, :, None, None])
    assert torch.allclose(first.running_mean, seen.mean((0, 2, 3)), atol=1e-3)
    assert torch.allclose(first.running_var, seen.var((0, 2, 3)), rtol=0.1)


def flags(faces: Path, out: Path, *more: object) -> list[object]:
    common = ["--data", faces, "--steps", 20, "--batch-size", 4, "--latent-dim", 6, "--width", 8, "--width-d", 8]
    return [SCRIPT, *common, "--evaluate-every", 10, "--out", out, *more]


@pytest.fixture(scope="module")
def trained(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sagan") / "run"
    result = call("python3", *flags(faces, out))
    assert result.returncode == 0, result.stderr
    return out


def test_training_and_resuming(faces: Path, trained: Path, tmp_path: Path) -> None:
    provenance = read_checkpoint(trained / "model.pth")["provenance"]
    assert counts_of(provenance["data"]) == {"training": 32, "held_out": 4} and provenance["step"] == 20
    assert Image.open(trained / "samples_000020.png").size == (8 * 66 + 2, 4 * 66 + 2)
    kill_after_first_save(tmp_path, *flags(faces, tmp_path, "--save-seconds", 0.001))
    assert read_save(tmp_path / "last.pt")["step"] < 20
    assert run_script("python3", *flags(faces, tmp_path, "--resume")).returncode == 0
    a, b = (read_checkpoint(folder / "model.pth")["weights"] for folder in (trained, tmp_path))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_folder_of_faces(tmp_path: Path) -> None:
    """A thousand names; files of others left alone, our own replaced; the same pixels in other batch sizes."""
    torch.manual_seed(0)
    model = SAGANGenerator(SAGANGeneratorConfig(6, 2)).eval()
    save_checkpoint(tmp_path / "g.pth", model, {})
    out = tmp_path / "new folder" / "ö"
    out.mkdir(parents=True)
    (out / "0007.png").write_text("old")
    (out / "mine.txt").write_text("mine")
    result = run_script("python3", SAMPLE, "--checkpoint", tmp_path / "g.pth", out)
    assert result.returncode == 0 and result.stdout == result.stderr == "", result.stderr
    assert {path.name for path in out.iterdir()} == {f"{index:04d}.png" for index in range(1_000)} | {"mine.txt"}
    exact = copy.deepcopy(load_model(SAGANGenerator, tmp_path / "g.pth")).double()
    expected = sample_images(exact, noise(0, 1_000, 6), batch_size=33)
    for index in (0, 7, 32, 999):
        with Image.open(out / f"{index:04d}.png") as image:
            assert image.mode == "RGB" and np.array_equal(np.asarray(image), expected[index])


def test_bad_use_is_told(faces: Path, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    assert_one_line(
        run_script("python3", SAMPLE), 2, "expected 1 argument, got 0; usage: python inference/sample_sagan.py DIR"
    )
    result = run_script("python3", SAMPLE, "--checkpoint", trained / "model.pth", tmp_path / "file")
    assert_one_line(result, 1, "cannot write")
    assert (tmp_path / "file").read_text() == "mine"
    assert_one_line(run_script("python3", *flags(faces, tmp_path / "o", "--lr-d", 0)), 2, "--lr-d 0.0")
