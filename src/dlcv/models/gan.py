"""DCGAN (Radford et al. 2016, arXiv:1511.06434) with what was learnt since, for 64x64 RGB faces in [-1, 1].

Spectral norm: Miyato et al. 2018 (arXiv:1802.05957); minibatch deviation: Karras et al. 2018 (arXiv:1710.10196).
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


@dataclass(frozen=True)
class GeneratorConfig:
    latent_dim: int = 128
    width: int = 48  # channels at 32x32; 2, 4 and 8 times as many at 16, 8 and 4 pixels


@dataclass(frozen=True)
class DiscriminatorConfig:
    width: int = 32  # channels at 32x32; 2, 4 and 8 times as many at 16, 8 and 4 pixels
    gain: float = 4.0  # factor of the logits, which spectral norm makes too small to reach the hinge loss's margin


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)  # the DCGAN paper's


class Generator(nn.Module):
    """Latents to faces, by transposed convolutions with batch norm and ReLU."""

    Config = GeneratorConfig

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        layers: list[nn.Module] = [
            nn.Linear(config.latent_dim, 16 * 8 * w, bias=False), nn.Unflatten(1, (8 * w, 4, 4)),
            nn.BatchNorm2d(8 * w), nn.ReLU(),
        ]  # fmt: skip
        for inputs, outputs in pairwise((8 * w, 4 * w, 2 * w, w)):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
        layers += [nn.ConvTranspose2d(w, 3, 4, stride=2, padding=1), nn.Tanh()]
        self.net = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(B, Z) standard normal -> (B, 3, 64, 64) in [-1, 1]."""
        return self.net(z)


class Discriminator(nn.Module):
    """Faces to one logit each, by strided convolutions under spectral norm; it also sees how varied its batch is."""

    Config = DiscriminatorConfig

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((3, w, 2 * w, 4 * w, 8 * w)):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.features = nn.Sequential(*layers)
        self.head = nn.Conv2d(8 * w + 1, 1, 4)
        self.apply(_initialise)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                spectral_norm(module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 64, 64) in [-1, 1] -> logits (B,), positive for real."""
        features = self.features(x)
        deviation = features.float().std(0, unbiased=False).mean().to(features)
        extra = deviation.expand(len(x), 1, *features.shape[2:])
        return self.config.gain * self.head(torch.cat([features, extra], dim=1)).flatten()
