"""Auxiliary classifier GAN (Odena et al. 2017, arXiv:1610.09585) for 28x28 RGB digits in [-1, 1], ten classes.

The discriminator tells real from generated (hinge loss, under spectral norm) and, with a second head, the digit.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


@dataclass(frozen=True)
class ACGANGeneratorConfig:
    latent_dim: int = 100
    width: int = 48  # channels at 28x28; 2 and 4 times as many at 14 and 7 pixels
    classes: int = 10


@dataclass(frozen=True)
class ACGANDiscriminatorConfig:
    width: int = 48  # channels at 14x14; 2 and 4 times as many at 7 and 3 pixels
    classes: int = 10


class ACGANGenerator(nn.Module):
    """Latents and digits to images; the digit's embedding is multiplied with the latents, a widespread choice."""

    Config = ACGANGeneratorConfig

    def __init__(self, config: ACGANGeneratorConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        self.embedding = nn.Embedding(config.classes, config.latent_dim)
        self.net = nn.Sequential(
            nn.Linear(2 * config.latent_dim, 7 * 7 * 4 * w, bias=False), nn.Unflatten(1, (4 * w, 7, 7)),
            nn.BatchNorm2d(4 * w), nn.ReLU(),
            nn.ConvTranspose2d(4 * w, 2 * w, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(2 * w), nn.ReLU(),
            nn.ConvTranspose2d(2 * w, w, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(w), nn.ReLU(),
            nn.Conv2d(w, 3, 3, padding=1), nn.Tanh(),
        )  # fmt: skip

    def forward(self, z: torch.Tensor, digits: torch.Tensor) -> torch.Tensor:
        """Standard normal (B, Z) and digits (B,) -> (B, 3, 28, 28) in [-1, 1]."""
        # The latents alone, too: a product with the embedding alone ties background and digit together.
        return self.net(torch.cat([z, z * self.embedding(digits)], dim=1))


class ACGANDiscriminator(nn.Module):
    """Images to a logit for real and ten for the digits."""

    Config = ACGANDiscriminatorConfig

    def __init__(self, config: ACGANDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width

        def convolution(inputs: int, outputs: int) -> list[nn.Module]:
            layer = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)
            return [spectral_norm(layer), nn.LeakyReLU(0.2)]

        # 28 -> 14 -> 7 -> 3
        self.features = nn.Sequential(*convolution(3, w), *convolution(w, 2 * w), *convolution(2 * w, 4 * w))
        self.real = spectral_norm(nn.Linear(4 * w * 9, 1))
        self.digit = nn.Linear(4 * w * 9, config.classes)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3, 28, 28) in [-1, 1] -> logits (B,), positive for real, and digit logits (B, 10)."""
        features = self.features(x).flatten(1)
        return self.real(features).flatten(), self.digit(features)
