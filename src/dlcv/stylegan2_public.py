"""StyleGAN2 generators from files: this project's checkpoints, and those of rosinality/stylegan2-pytorch.

The second is the format in which the weights of the paper (faces of FFHQ at 256 and 1024 pixels) are shared: a
dictionary with the averaged generator under "g_ema", or the generator's state dict alone.
"""

import argparse
import io
import itertools
from pathlib import Path
from typing import Any

import torch

from dlcv.checkpoint import load_model
from dlcv.cli import UserError
from dlcv.models.stylegan2 import BLUR, StyleGAN2Generator, StyleGAN2GeneratorConfig

MODULATED = {"conv.weight": "conv.conv.weight", "conv.modulation.weight": "conv.style.weight"}
MODULATED |= {"conv.modulation.bias": "conv.style.bias"}
STYLED = MODULATED | {"noise.weight": "strength", "activate.bias": "bias"}
TO_RGB = MODULATED | {"bias": "bias"}


def load_generator(path: Path) -> StyleGAN2Generator:
    """The generator in a file of either format, on the CPU, in eval mode.

    Nothing but tensors and plain values is read. Raises UserError, in one line, for anything else.
    """
    if path.suffix == ".pkl":
        raise UserError(
            f"{path} is a pickle of NVIDIA's, which runs code when it is loaded; use the same weights as a .pt file of "
            "rosinality/stylegan2-pytorch (its convert_weight.py makes one)"
        )
    content = _read(path)
    if isinstance(content, dict) and "g_ema" in content:
        return from_public(content["g_ema"], path)
    if isinstance(content, dict) and "input.input" in content:
        return from_public(content, path)
    return load_model(StyleGAN2Generator, path)  # which says what is wrong with any other file


def from_public(state: dict[str, Any], path: Path) -> StyleGAN2Generator:
    """The generator of a state dict of rosinality/stylegan2-pytorch; channels, depth and size come from its shapes.

    Strict: raises UserError for a missing, surplus or misshapen tensor. Files without the fixed noise (older ones have
    none) get noise of our own.
    """
    try:
        tensors = {name: tensor.float() for name, tensor in state.items()}
        mapping = [name for name in tensors if name.startswith("style.") and name.endswith(".weight")]
        blocks = [tensors["input.input"]]
        convs = (f"convs.{2 * index + 1}.activate.bias" for index in itertools.count())
        blocks += [tensors[name][None] for name in itertools.takewhile(tensors.__contains__, convs)]
        config = StyleGAN2GeneratorConfig(
            channels=tuple(block.shape[1] for block in blocks),
            latent_dim=tensors["style.1.weight"].shape[1],
            mapping_layers=len(mapping),
        )
    except (AttributeError, KeyError, IndexError) as error:
        raise UserError(f"{path} holds no generator of rosinality/stylegan2-pytorch ({error})") from None
    model = StyleGAN2Generator(config)
    names = _names(config)
    noises = {f"noises.noise_{index}": f"noise_{index}" for index in range(len(model.convs))}
    if any(name.startswith("noises.") for name in tensors):
        names |= noises
    else:
        rng = torch.Generator().manual_seed(0)
        for noise in model.fixed_noise():
            noise.copy_(torch.randn(noise.shape, generator=rng))
    kernels = {name for name in tensors if name.endswith(".kernel")}
    unknown, missing = tensors.keys() - names.keys() - kernels, names.keys() - tensors.keys()
    if unknown or missing:
        what = f"a surplus {min(unknown)}" if unknown else f"no {min(missing)}"
        raise UserError(f"{path} is not quite in the format of rosinality/stylegan2-pytorch: it has {what}")
    taps = torch.tensor(BLUR)
    for name in kernels:
        if not torch.allclose(tensors[name], 4 * torch.outer(taps, taps) / taps.sum() ** 2, atol=1e-6):
            raise UserError(f"{path}: {name} is not the paper's low-pass filter {BLUR}")
    ours = model.state_dict()
    for theirs, name in names.items():
        tensor, wanted = tensors[theirs], ours[name].shape
        if tensor.squeeze().shape != ours[name].squeeze().shape:
            raise UserError(f"{path}: {theirs} has the shape {tuple(tensor.shape)}, expected was {tuple(wanted)}")
        ours[name].copy_(tensor.reshape(wanted))  # theirs have a leading dimension of 1, and the like
    return model.eval()


def _names(config: StyleGAN2GeneratorConfig) -> dict[str, str]:
    """Their name → ours, without the noises."""
    names = {"input.input": "constant"}
    for index in range(config.mapping_layers):
        names |= {f"style.{index + 1}.{part}": f"mapping.{index}.{part}" for part in ("weight", "bias")}
    blocks = len(config.channels)
    convs = ["conv1", *(f"convs.{index}" for index in range(2 * blocks - 2))]
    rgbs = ["to_rgb1", *(f"to_rgbs.{index}" for index in range(blocks - 1))]
    for theirs, ours, parts in ((convs, "convs", STYLED), (rgbs, "to_rgb", TO_RGB)):
        for index, name in enumerate(theirs):
            names |= {f"{name}.{part}": f"{ours}.{index}.{mine}" for part, mine in parts.items()}
    return names


def _read(path: Path) -> Any:
    """What is in the file; None where it cannot be read. Public files also hold their training's flags, a Namespace."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(io.BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)
    except Exception:  # what is no checkpoint can end anywhere in the unpickler
        return None
