"""Self-attention GAN (Zhang et al. 2019, arXiv:1805.08318) for 64x64 RGB faces in [-1, 1].

Spectral norm in both networks but for the generator's last layer, hinge loss, self-attention where the maps are 16x16
in the generator and 8x8 in the discriminator.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


@dataclass(frozen=True)
class SAGANGeneratorConfig:
    latent_dim: int = 100
    width: int = 48  # channels at 32x32; 2, 4 and 8 times as many at 16, 8 and 4 pixels
    attention: bool = True


@dataclass(frozen=True)
class SAGANDiscriminatorConfig:
    width: int = 32  # channels at 32x32; 2, 4 and 8 times as many at 16, 8 and 4 pixels
    attention: bool = True
    gain: float = 4.0  # factor of the logits, which spectral norm makes too small to reach the hinge loss's margin


class SelfAttention(nn.Module):
    """x + gamma * o(softmax(f(x)ᵀ g(x)) h(x)), eq. 1 to 3 of the paper; gamma starts at 0, keys and values are pooled.

    (B, C, H, W) -> the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 8)
        self.query = spectral_norm(nn.Conv2d(channels, inner, 1, bias=False))
        self.key = spectral_norm(nn.Conv2d(channels, inner, 1, bias=False))
        self.value = spectral_norm(nn.Conv2d(channels, channels // 2, 1, bias=False))
        self.out = spectral_norm(nn.Conv2d(channels // 2, channels, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(()))

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """What each place takes from each place of the pooled map: (B, HW, HW / 4), rows of sum 1."""
        query, key = self.query(x).flatten(2), F.max_pool2d(self.key(x), 2).flatten(2)  # (B, C / 8, ·)
        return (query.transpose(1, 2) @ key).softmax(dim=-1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value = F.max_pool2d(self.value(x), 2).flatten(2)  # (B, C / 2, HW / 4)
        attended = (value @ self.weights(x).transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gamma.to(x.dtype) * self.out(attended)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.orthogonal_(module.weight)


class SAGANGenerator(nn.Module):
    """Latents to faces."""

    Config = SAGANGeneratorConfig

    def __init__(self, config: SAGANGeneratorConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        first = nn.ConvTranspose2d(config.latent_dim, 8 * w, 4, bias=False)
        layers: list[nn.Module] = [first, nn.BatchNorm2d(8 * w), nn.ReLU()]
        for inputs, outputs in pairwise((8 * w, 4 * w, 2 * w, w)):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
            if config.attention and outputs == 2 * w:
                layers.append(SelfAttention(outputs))  # 16x16
        self.net = nn.Sequential(*layers)
        self.last = nn.ConvTranspose2d(w, 3, 4, stride=2, padding=1)  # the authors' code norms this layer, too
        for module in (*self.net, self.last):
            _initialise(module)
        for module in self.net:
            if isinstance(module, nn.ConvTranspose2d):
                spectral_norm(module)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(B, Z) standard normal -> (B, 3, 64, 64) in [-1, 1]."""
        return torch.tanh(self.last(self.net(z[:, :, None, None])))


class SAGANDiscriminator(nn.Module):
    """Faces to one logit each."""

    Config = SAGANDiscriminatorConfig

    def __init__(self, config: SAGANDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((3, w, 2 * w, 4 * w, 8 * w)):
            convolution = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)
            _initialise(convolution)
            layers += [spectral_norm(convolution), nn.LeakyReLU(0.1)]
            if config.attention and outputs == 4 * w:
                layers.append(SelfAttention(outputs))  # 8x8
        self.net = nn.Sequential(*layers)
        self.last = spectral_norm(nn.Conv2d(8 * w, 1, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 64, 64) in [-1, 1] -> logits (B,), positive for real."""
        return self.config.gain * self.last(self.net(x)).flatten()
