"""The one place that knows which network a checkpoint holds, for commands that take any of them."""

from pathlib import Path

import torch
from torch import nn

from dlcv.checkpoint import as_checkpoint, model_from, read_content
from dlcv.cli import UserError
from dlcv.cs7643.part2.solver import MEAN, MODELS, STD
from dlcv.models.acgan import ACGANGenerator
from dlcv.models.autoencoder import Autoencoder
from dlcv.models.cifar_cnn import CifarCNN
from dlcv.models.dcgan import DCGANGenerator
from dlcv.models.digit_classifier import DigitClassifier
from dlcv.models.digit_net import DigitNet
from dlcv.models.gan import Generator
from dlcv.models.sagan import SAGANGenerator
from dlcv.models.stylegan2 import StyleGAN2Generator
from dlcv.models.vae import VAE

CLASSES: dict[str, type[nn.Module]] = {
    cls.__name__: cls
    for cls in (
        ACGANGenerator, Autoencoder, CifarCNN, DCGANGenerator, DigitClassifier, DigitNet, Generator, SAGANGenerator,
        StyleGAN2Generator, VAE,
    )
}  # fmt: skip
# CS7643's networks are plain state dicts, as that course wants them: a weight that no other network has names them.
STATE_DICTS = {
    "fc1.weight": "TwoLayerNet",
    "conv.weight": "VanillaCNN",
    "stem.weight": "MyModel",
    "bn1.weight": "ResNet-32",
}


class Standardised(nn.Module):
    """A network of CS7643, which wants standardised images, on images (N, 3, 32, 32) in [0, 1]."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network((x - self.mean) / self.std)


def load_any(path: Path, *classes: type[nn.Module]) -> nn.Module:
    """The network in `path`, whatever it is, on the CPU, in eval mode.

    CS7643's networks come as Standardised. With `classes`, only one of those will do.
    Raises UserError like dlcv.checkpoint.load_model, and for a network that is not wanted.
    """
    content = read_content(path)
    model = _state_dict_model(content, path)
    if model is None:
        content = as_checkpoint(content, path)
        arch = content["arch"]
        if arch not in CLASSES:
            raise UserError(f"{path.name} holds a {arch}, which this version does not know")
        model = model_from(CLASSES[arch], content, path)
    if classes and not isinstance(model, classes):
        wanted = " or ".join(cls.__name__ for cls in classes)
        raise UserError(f"{path.name} holds a {type(model).__name__}, not a {wanted}")
    return model


def _state_dict_model(content: object, path: Path) -> nn.Module | None:
    """CS7643's network, where the content of `path` is its plain state dict; None otherwise."""
    if not isinstance(content, dict) or "arch" in content:
        return None
    names = [name for key, name in STATE_DICTS.items() if key in content]
    if not names:
        return None
    network = MODELS[names[0]]()
    try:
        network.load_state_dict(content)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit this version of {names[0]}: {error}") from None
    return Standardised(network).eval()
