"""The networks that read CIFAR-10: the project's checkpoints, and the plain state dicts of CS7643, part 2."""

from pathlib import Path

import torch
from torch import nn

from dlcv.checkpoint import load_model
from dlcv.cli import UserError
from dlcv.cs7643.part2.solver import MEAN, MODELS, STD
from dlcv.models.cifar_cnn import CifarCNN

TOLD_BY = {
    "fc1.weight": "TwoLayerNet",
    "conv.weight": "VanillaCNN",
    "whitening.weight": "MyModel",
    "bn1.weight": "ResNet-32",
}


class Standardised(nn.Module):
    """A network of part 2, which wants standardised images, on images (N, 3, 32, 32) in [0, 1]."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(3, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network((x - self.mean) / self.std)


def load_cifar_model(path: Path) -> nn.Module:
    """The network in `path`, on the CPU, in eval mode: (N, 3, 32, 32) in [0, 1] -> logits (N, 10).

    A plain state dict is told by the names of its weights. Raises UserError for anything else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what is no checkpoint can end anywhere in the unpickler
        raise UserError(f"cannot read {path} as a checkpoint: {str(error)[:80]}") from None
    if isinstance(content, dict) and "arch" in content:
        return load_model(CifarCNN, path)
    names = [name for key, name in TOLD_BY.items() if isinstance(content, dict) and key in content]
    if not names:
        raise UserError(f"{path} holds no network for CIFAR-10")
    network = MODELS[names[0]]()
    try:
        network.load_state_dict(content)
    except RuntimeError as error:
        raise UserError(f"{path} does not fit this version of {names[0]}: {error}") from None
    return Standardised(network).eval()
