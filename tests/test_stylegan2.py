"""models/stylegan2.py against the paper's formulas, train_stylegan2.py and sample_stylegan2.py on tiny real data."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import REPO, assert_one_line, counts_of, kill_after_first_save, run_script
from PIL import Image

from dlcv.checkpoint import load_model, read_checkpoint, save_checkpoint
from dlcv.cli import UserError
from dlcv.losses import PathLength, r1_penalty
from dlcv.models.stylegan2 import (
    ModulatedConv,
    StyleGAN2Discriminator,
    StyleGAN2DiscriminatorConfig,
    StyleGAN2Generator,
    StyleGAN2GeneratorConfig,
    blur,
    upsample,
)
from dlcv.stylegan2_public import load_generator
from dlcv.trainer import read_save

CHANNELS = (6, 5, 4)  # 16x16 pixels


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=rng(seed), dtype=torch.float64)


def network(channels: tuple[int, ...] = CHANNELS) -> StyleGAN2Generator:
    torch.manual_seed(0)
    g = StyleGAN2Generator(StyleGAN2GeneratorConfig(channels, 7, 2)).double()
    with torch.no_grad():
        for conv in g.convs:
            conv.strength.fill_(0.3)
            conv.bias.normal_()
    return g


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_scaling_activations_equals_the_papers_weights_for_every_image(up: bool, demodulate: bool) -> None:
    """Equations 1 and 3 as they are written: weights of its own for every image, in one grouped convolution."""
    torch.manual_seed(0)
    conv = ModulatedConv(3, 4, 3, 5, up, demodulate).double()
    x, w = randn(2, 3, 6, 6), randn(2, 5, seed=1)
    style = F.linear(w, conv.style.weight / 5**0.5, conv.style.bias)
    weights = conv.conv.weight / 27**0.5 * style[:, None, :, None, None]  # (B, out, in, 3, 3)
    if demodulate:
        weights = weights / (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
        assert torch.allclose(weights.square().sum((2, 3, 4)), torch.ones(2, 4).double(), atol=1e-6)
    grouped = x.reshape(1, 6, 6, 6)
    if up:
        flipped = weights.transpose(1, 2).reshape(6, 4, 3, 3)
        y = F.conv_transpose2d(grouped, flipped, stride=2, groups=2).view(2, 4, 13, 13)
        y = blur(y, padding=1) * 4
    else:
        y = F.conv2d(grouped, weights.reshape(8, 3, 3, 3), padding=1, groups=2).view(2, 4, 6, 6)
    assert torch.allclose(conv(x, w, torch.full((1, 1, 1, 1), 0.25).double()), y + 0.25, atol=1e-9)


def test_upsampling_and_blur_keep_the_mean() -> None:
    flat = torch.full((1, 2, 8, 8), 0.7, dtype=torch.float64)
    assert torch.allclose(upsample(flat)[:, :, 1:-1, 1:-1], torch.tensor(0.7).double(), atol=1e-7)
    x = F.pad(randn(1, 2, 4, 4), (3, 3, 3, 3))  # nothing is lost at the border
    assert torch.allclose(upsample(x).mean(), x.mean()) and torch.allclose(blur(x, 1).sum(), x.sum())
    ramp = torch.arange(8.0).double().expand(1, 1, 8, 8)
    assert torch.allclose(upsample(ramp)[0, 0, 5, 2:-2], (torch.arange(2, 14).double() - 0.5) / 2)  # linear stays so


def test_spaces_and_noise() -> None:
    g = network()
    z = randn(3, 7)
    w = g.style(z)
    assert g.size == 16 and g.layers == 6 and g.convs[-1].bias.shape == (4,)
    assert torch.allclose(w, g.style(5 * z), atol=1e-6)  # the mapping network sees directions
    x = g.synthesise(w)
    assert x.shape == (3, 3, 16, 16) and torch.equal(x, g(z))  # the fixed noise: the same image every time
    plus = w[:, None].repeat(1, g.layers, 1)
    assert torch.allclose(g.synthesise(plus), x)
    for layer in range(g.layers):  # every layer of W+ counts
        other = plus.clone()
        other[:, layer] += 1
        assert (g.synthesise(other) - x).abs().max() > 1e-4
    drawn = g.draw_noise(3, rng(1))
    assert all(torch.equal(a, b) for a, b in zip(drawn, g.draw_noise(3, rng(1)), strict=True))
    assert (g.synthesise(w, drawn) - x).abs().max() > 1e-4
    mean = w.mean(0)
    assert torch.allclose(g.truncate(w, mean, 1.0), w) and torch.allclose(g.truncate(w, mean, 0.0), mean.expand(3, -1))
    assert torch.allclose(g.truncate(plus, mean, 0.5)[:, 2], (w + mean) / 2)


def test_a_new_resolution_begins_as_the_one_before() -> None:
    g, d = network(), StyleGAN2Discriminator(StyleGAN2DiscriminatorConfig(CHANNELS, 2)).double()
    w, x = g.style(randn(4, 7)), randn(4, 3, 16, 16, seed=2)
    small = g.synthesise(w, size=8)
    assert small.shape[2] == 8 and torch.allclose(g.synthesise(w, fade=0.0), upsample(small))
    assert torch.allclose(d(x, fade=0.0), d(F.avg_pool2d(x, 2)))
    assert d(x).shape == (4,) and not torch.allclose(d(x, fade=0.5), d(x))
    assert d(x[:, :, :4, :4]).shape == (4,)


def test_the_discriminator_sees_how_varied_a_group_is() -> None:
    d = StyleGAN2Discriminator(StyleGAN2DiscriminatorConfig(CHANNELS, 4)).double()
    x = randn(4, 3, 16, 16)
    assert (d(x)[0] - d(x[:1].repeat(4, 1, 1, 1))[0]).abs() > 1e-6
    assert torch.allclose(d(x)[:1], d(x[[0, 2, 1, 3]])[:1])  # but not their order
    assert torch.isfinite(d(x[:3])).all()  # an odd batch is one group


def test_penalties_at_their_limits() -> None:
    x, slope = randn(4, 3, 2, 2).requires_grad_(), randn(3, 2, 2, seed=1)
    assert torch.allclose(r1_penalty((x * slope).sum((1, 2, 3)), x), slope.square().sum() / 2)
    # Images that depend on w by one number: every path has the length |slope| times that of y.
    w = randn(4, 2, 5, seed=3).requires_grad_()
    path, ones = PathLength(decay=0.0).double(), torch.ones(4, 3, 2, 2).double()
    images = w.sum((1, 2))[:, None, None, None] * slope
    assert float(path(images, w, ones)) == pytest.approx(0, abs=1e-12)  # all alike, and that is the running mean
    assert float(path.mean) == pytest.approx(float((slope.sum() / 2).abs() * 5**0.5))


def command(faces: Path, out: Path, *flags: object) -> list[str]:
    words = [
        REPO / "train" / "train_stylegan2.py", "--data", faces, "--resolution", 16, "--begin", 8, "--steps", 6,
        "--grow-steps", 3, "--fade-steps", 2, "--batch-size", 4, "--latent-dim", 8, "--mapping-layers", 2,
        "--width", 0.05, "--evaluate-every", 3, "--r1-every", 2, "--path-length", 1, "--out", out, *flags,
    ]  # fmt: skip
    return [str(word) for word in words]


@pytest.fixture(scope="module")
def trained(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stylegan2") / "run"
    result = run_script("python3", *command(faces, out))
    assert result.returncode == 0, result.stderr
    return out


def test_train_writes_a_model_with_its_provenance(trained: Path) -> None:
    provenance = read_checkpoint(trained / "model.pth")["provenance"]
    assert counts_of(provenance["data"]) == {"training": 32, "held_out": 4} and provenance["step"] == 6
    g = load_model(StyleGAN2Generator, trained / "model.pth")
    assert g.config.channels == (6, 6, 3) and g(torch.randn(2, 8)).shape == (2, 3, 16, 16)
    with Image.open(trained / "samples_000003.png") as before, Image.open(trained / "samples_000006.png") as after:
        assert before.size == (8 * 10 + 2, 4 * 10 + 2) and after.size == (8 * 18 + 2, 4 * 18 + 2)
    log = (trained / "log.jsonl").read_text()
    assert all(name in log for name in ("loss_d", "loss_g", "r1", "path_length", "training_above_held_out"))


def test_a_killed_training_goes_on_to_the_same_bits(faces: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    kill_after_first_save(out, *command(faces, out, "--save-seconds", 0))
    assert read_save(out / "last.pt")["step"] < 6
    result = run_script("python3", *command(faces, out, "--resume"))
    assert result.returncode == 0, result.stderr
    whole, pieces = (read_save(run / "last.pt")["state"] for run in (trained, out))
    for part in ("g", "d", "average", "path_length"):
        assert all(torch.equal(value, pieces[part][name]) for name, value in whole[part].items()), part


@pytest.mark.parametrize(
    ("flags", "part"), [(["--resolution", 48], "--resolution 48"), (["--begin", 32], "--begin 32")]
)
def test_bad_recipes_are_one_line(faces: Path, tmp_path: Path, flags: list[object], part: str) -> None:
    result = run_script("python3", *command(faces, tmp_path / "run", *flags))
    assert_one_line(result, 2, "train_stylegan2.py", part)


def test_samples_are_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    script = REPO / "inference" / "sample_stylegan2.py"
    for name, flags in (("a.png", ()), ("b.png", ()), ("mean.png", ("--truncation", 0))):
        result = run_script("python3", script, "--checkpoint", trained / "model.pth", *flags, tmp_path / name)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    grid = np.asarray(Image.open(tmp_path / "mean.png"))
    assert grid.shape == (4 * 18 + 2, 8 * 18 + 2, 3)
    assert np.array_equal(grid[2:18, 2:18], grid[20:36, 20:36])  # at truncation 0 all are the mean face
    result = run_script("python3", script, "--checkpoint", trained / "model.pth", tmp_path / "a.gif")
    assert_one_line(result, 1, "sample_stylegan2.py", "must end in .png or .jpg")


# What the code of rosinality/stylegan2-pytorch (commit bef283a, its CPU path, float64) makes of `public_state` and the
# inputs below: mean, standard deviation and four values at equal distances of the flattened output.
RECORDED = {
    "w": (0.34994799, 0.87756367, [2.41976329, -0.12478731, 0.46605476, -0.07221156]),
    "image": (4.37149895, 8.29358848, [0.9562341, -10.10874549, -0.1742285, 3.15188058]),
    "wplus": (-2.06141937, 5.28002436, [-0.02070593, -5.03256115, -0.06785702, 1.54665466]),
}


def public_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of their generator of 32 pixels: channels 12, 10, 8, 6, latents of 16, a mapping of 3 layers."""
    shapes: dict[str, tuple[int, ...]] = {"input.input": (1, 12, 4, 4)}

    def modulated(name: str, inputs: int, outputs: int, size: int) -> None:
        shapes[f"{name}.conv.weight"] = (1, outputs, inputs, size, size)
        shapes[f"{name}.conv.modulation.weight"] = (inputs, 16)
        shapes[f"{name}.conv.modulation.bias"] = (inputs,)

    def styled(name: str, inputs: int, outputs: int) -> None:
        modulated(name, inputs, outputs, 3)
        shapes[f"{name}.noise.weight"], shapes[f"{name}.activate.bias"] = (1,), (outputs,)

    def to_rgb(name: str, inputs: int) -> None:
        modulated(name, inputs, 3, 1)
        shapes[f"{name}.bias"] = (1, 3, 1, 1)

    for layer in (1, 2, 3):
        shapes[f"style.{layer}.weight"], shapes[f"style.{layer}.bias"] = (16, 16), (16,)
    styled("conv1", 12, 12)
    to_rgb("to_rgb1", 12)
    for index, (inputs, outputs) in enumerate(((12, 10), (10, 8), (8, 6))):
        styled(f"convs.{2 * index}", inputs, outputs)
        styled(f"convs.{2 * index + 1}", outputs, outputs)
        to_rgb(f"to_rgbs.{index}", outputs)
    for index, side in enumerate((4, 8, 8, 16, 16, 32, 32)):
        shapes[f"noises.noise_{index}"] = (1, 1, side, side)
    return shapes


def public_state() -> dict[str, torch.Tensor]:
    """Their state dict from a RandomState, in the names' order; the mapping's weights a hundred times as large."""
    random, shapes = np.random.RandomState(0), public_shapes()
    state = {}
    for name in sorted(shapes):
        factor = 100 if name.startswith("style") and name.endswith("weight") else 1
        state[name] = torch.from_numpy(random.standard_normal(shapes[name]) * factor)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    kernel = torch.outer(taps, taps) / 16
    return state | {f"convs.{i}.conv.blur.kernel": kernel for i in (0, 2, 4)} | {
        f"to_rgbs.{i}.upsample.kernel": kernel for i in (0, 1, 2)
    }  # fmt: skip


def test_public_checkpoints_give_what_their_own_code_gives(tmp_path: Path) -> None:
    torch.save({"g_ema": public_state(), "latent_avg": torch.zeros(16)}, tmp_path / "public.pt")
    g = load_generator(tmp_path / "public.pt")
    assert g.config == StyleGAN2GeneratorConfig((12, 10, 8, 6), 16, 3, 0.01)
    g = g.double()
    z, wplus = (
        torch.from_numpy(np.random.RandomState(s).standard_normal(n)) for s, n in ((1, (2, 16)), (2, (2, 8, 16)))
    )
    with torch.no_grad():
        outputs = {"w": g.style(z), "image": g(z), "wplus": g.synthesise(wplus)}
    for name, (mean, std, values) in RECORDED.items():
        flat = outputs[name].flatten()
        ours = [float(flat.mean()), float(flat.std()), *flat[:: flat.numel() // 4][:4].tolist()]
        assert ours == pytest.approx([mean, std, *values], abs=1e-4), name


def test_public_checkpoints_are_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "public.pt"

    def message(state: dict[str, torch.Tensor]) -> str:
        torch.save({"g_ema": state}, path)
        with pytest.raises(UserError) as error:
            load_generator(path)
        return str(error.value)

    state = public_state()
    assert "it has no convs.3.noise.weight" in message({n: t for n, t in state.items() if n != "convs.3.noise.weight"})
    assert "a surplus convs.9.bias" in message(state | {"convs.9.bias": torch.zeros(1)})
    assert "to_rgb1.bias has the shape (4,)" in message(state | {"to_rgb1.bias": torch.zeros(4)})
    assert "low-pass filter" in message(state | {"to_rgbs.0.upsample.kernel": torch.ones(4, 4)})
    assert "holds no generator" in message({"input.input": torch.zeros(1, 2, 4, 4)})
    torch.save({n: t for n, t in state.items() if not n.startswith("noises.")}, path)  # as older files are
    assert torch.equal(load_generator(path).noise_3, load_generator(path).noise_3)


def test_files_that_are_no_generator_are_one_line(tmp_path: Path) -> None:
    script = REPO / "inference" / "sample_stylegan2.py"
    (tmp_path / "ffhq.pkl").write_bytes(pickle.dumps({"G_ema": 1}))
    save_checkpoint(tmp_path / "d.pth", StyleGAN2Discriminator(StyleGAN2DiscriminatorConfig((2, 2))), {})
    (tmp_path / "noise.pt").write_bytes(b"no checkpoint")
    for name, part in (
        ("ffhq.pkl", "rosinality/stylegan2-pytorch"),
        ("d.pth", "holds a StyleGAN2Discriminator, not a StyleGAN2Generator"),
        ("noise.pt", "not a checkpoint"),
        ("missing.pt", "cannot read"),
    ):
        result = run_script("python3", script, "--checkpoint", tmp_path / name, tmp_path / "x.png")
        assert_one_line(result, 1, "sample_stylegan2.py", part)
    assert sys.getsizeof(result.stderr) < 600
