"""Convolutional autoencoder for 28x28 grey images in [0, 1]: TU Dresden, homework 3, problem 4, as it is specified."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class AutoencoderConfig:
    latent_dim: int = 3


class Autoencoder(nn.Module):
    """Four convolutions and a linear layer, and the mirror image of that; 48,724 parameters with three latents."""

    Config = AutoencoderConfig

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 64, 3, stride=2, padding=1), nn.ReLU(),  # 28 -> 14
            nn.Conv2d(64, 32, 3, stride=2, padding=1), nn.ReLU(),  # 14 -> 7
            nn.Conv2d(32, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 2, 3, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(2 * 7 * 7, config.latent_dim),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(config.latent_dim, 2 * 7 * 7), nn.Unflatten(1, (2, 7, 7)),
            nn.ConvTranspose2d(2, 16, 3, padding=1), nn.ReLU(),
            nn.ConvTranspose2d(16, 32, 3, padding=1), nn.ReLU(),
            # Without the output padding 7 would become 13, and 14 then 27.
            nn.ConvTranspose2d(32, 64, 3, stride=2, padding=1, output_padding=1), nn.ReLU(),  # 7 -> 14
            nn.ConvTranspose2d(64, 1, 3, stride=2, padding=1, output_padding=1), nn.Sigmoid(),  # 14 -> 28
        )  # fmt: skip

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 1, 28, 28) in [0, 1] -> latents (B, Z)."""
        return self.encoder(x)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """(B, Z) -> (B, 1, 28, 28) in [0, 1]."""
        return self.decoder(z)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (B, 1, 28, 28) in [0, 1] -> reconstructions."""
        return self.decode(self.encode(x))
