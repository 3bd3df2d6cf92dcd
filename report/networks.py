"""The networks of faces and digits for the reports: as print(model) shows them, and as tables of layers."""

import json
import re
from functools import cache

import torch
from torch import nn

from dlcv.checkpoint import CHECKPOINTS, load_model, read_checkpoint
from dlcv.models.acgan import ACGANDiscriminator, ACGANDiscriminatorConfig, ACGANGenerator
from dlcv.models.dann import DomainClassifier
from dlcv.models.digit_net import DigitNet, DomainBatchNorm
from dlcv.models.gan import Discriminator, DiscriminatorConfig, Generator
from dlcv.models.sagan import SAGANDiscriminator, SAGANDiscriminatorConfig, SAGANGenerator, SelfAttention
from dlcv.models.vae import VAE, Residual

UNITS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.Embedding, Residual, SelfAttention)  # each a line of the table
SMALL = {
    nn.BatchNorm2d: "batch norm", nn.ReLU: "ReLU", nn.LeakyReLU: "leaky ReLU", nn.Tanh: "tanh", nn.Sigmoid: "sigmoid",
    nn.Upsample: "pixels doubled", nn.MaxPool2d: "max pooling", DomainBatchNorm: "batch norm by domain",
}  # fmt: skip
Inputs = tuple[torch.Tensor | float, ...]


@cache
def parts(name: str) -> dict[str, tuple[nn.Module, Inputs]]:
    """A checkpoint's network, and what only its training needs: title → module and inputs for two images."""
    path = CHECKPOINTS / f"{name}.pth"
    recipe = read_checkpoint(path)["provenance"]["recipe"]
    faces, digits = torch.zeros(2, 3, 64, 64), torch.zeros(2, 3, 28, 28)
    if name.startswith(("dann", "uda")):
        network = load_model(DigitNet, path)
        tells = DomainClassifier(network.config.hidden), (torch.zeros(2, network.config.hidden), 0.0)
        return {"Network": (network, (digits,)), "Domain classifier": tells}
    z = torch.zeros(2, recipe["latent_dim"])
    if name == "vae":
        model = load_model(VAE, path)
        return {"Encoder": (model.encoder, (faces,)), "Decoder": (model.decoder, (z,))}
    if name == "gan":
        critic: nn.Module = Discriminator(DiscriminatorConfig(recipe["width_d"]))
        return {"Generator": (load_model(Generator, path), (z,)), "Discriminator": (critic, (faces,))}
    if name == "sagan":
        critic = SAGANDiscriminator(SAGANDiscriminatorConfig(recipe["width_d"], recipe["attention"]))
        return {"Generator": (load_model(SAGANGenerator, path), (z,)), "Discriminator": (critic, (faces,))}
    critic = ACGANDiscriminator(ACGANDiscriminatorConfig(recipe["width_d"]))
    labels = torch.zeros(2, dtype=torch.long)
    return {"Generator": (load_model(ACGANGenerator, path), (z, labels)), "Discriminator": (critic, (digits,))}


def printed(name: str, part: str = "") -> str:
    """What print(model) shows of a part, or of the whole VAE with its flow, as a string of Typst."""
    model = parts(name)[part][0] if part else load_model(VAE, CHECKPOINTS / f"{name}.pth")
    return json.dumps(str(model), ensure_ascii=False)


USUAL = r", (eps=1e-05|padding=0, dilation=1)[^)]*"  # arguments of batch norm and of pooling


def compact(name: str, part: str) -> str:
    """`printed` without the usual arguments of batch norm and pooling, and a layer under spectral norm on one line."""
    text = re.sub(
        r"Parametrized(\w+)\(\n\s+(.*)\n\s+\(parametrizations\): (?:.*\n){5}\s+\)", r"\1(\2), spectral norm",
        str(parts(name)[part][0]),
    )  # fmt: skip
    return json.dumps(re.sub(USUAL, "", text), ensure_ascii=False)


def parameters(name: str, part: str) -> str:
    return f"{sum(p.numel() for p in parts(name)[part][0].parameters()):,}"


def layers(name: str, part: str) -> str:
    """A table in Typst: each layer in the order of the forward pass, what it gives for an image, its parameters."""
    model, inputs = parts(name)[part]
    lines: list[list[str]] = []
    waiting: list[str] = []
    counted = 0

    def add_layer(module: nn.Module, _: Inputs, output: torch.Tensor) -> None:
        nonlocal counted
        counted += sum(p.numel() for p in module.parameters())
        if isinstance(module, UNITS):
            size = " × ".join(str(side) for side in output.shape[1:])
            lines.append([", ".join([*waiting, _title(module)]), size, f"{counted:,}"])
            waiting.clear()
            counted = 0
        elif type(module) in SMALL:
            waiting.append(SMALL[type(module)])

    units = _units(model)
    handles = [module.register_forward_hook(add_layer) for module in units]
    model.eval()
    with torch.inference_mode():
        model(*inputs)
    for handle in handles:
        handle.remove()
    if waiting:
        lines[-1][0] += ", " + ", ".join(waiting)
    total = f"  [{part} in all], [], [{parameters(name, part)}],"
    rows = "\n".join(f"  [{title}], [{size}], [{number}]," for title, size, number in lines)
    head = f"  [*{part}*], [*output*], [*parameters*],"
    return f"#table(\n  columns: (1fr, auto, auto), align: (left, right, right),\n{head}\n{rows}\n{total}\n)"


def _units(model: nn.Module) -> list[nn.Module]:
    """The modules that count as one layer: those of UNITS, and what has no children."""
    units: list[nn.Module] = []
    for child in model.children():
        if isinstance(child, UNITS) or not any(True for _ in child.children()):
            units.append(child)
        else:
            units += _units(child)
    return units


def _title(module: nn.Module) -> str:
    if isinstance(module, Residual):
        return "residual block (two 3 × 3 convolutions)"
    if isinstance(module, SelfAttention):
        return "self-attention"
    if isinstance(module, nn.Linear):
        return "linear"
    if isinstance(module, nn.Embedding):
        return "embedding of the digit"
    assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    kind = "transposed convolution" if isinstance(module, nn.ConvTranspose2d) else "convolution"
    size, stride = module.kernel_size[0], module.stride[0]
    return f"{kind} {size} × {size}" + (f", stride {stride}" if stride > 1 else "")
