"""DCGAN for 256x256 RGB images in [-1, 1], as TU Dresden's homework 3, problem 5, specifies it.

Radford et al. 2016 (arXiv:1511.06434), with spectral norm on the discriminator's convolutions (Miyato et al. 2018,
arXiv:1802.05957).
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm


@dataclass(frozen=True)
class DCGANGeneratorConfig:
    latent_dim: int = 128  # the assignment's LATENT_DIM
    channels: int = 512  # at 4x4, the assignment's CHANNEL_NUM; half as many at each doubling
    size: int = 256  # height and width of the images in pixels, a power of two


@dataclass(frozen=True)
class DCGANDiscriminatorConfig:
    channels: int = 512  # at 4x4; half as many at each doubling
    size: int = 256  # height and width of the images in pixels, a power of two


def channels_by_size(channels: int, size: int) -> list[int]:
    """Channels at 4, 8, 16, … size / 2 pixels: halved from one to the next.

    Raises ValueError for a size that is no power of two from 8 up, or for channels that cannot be halved so often.
    """
    doublings = round(math.log2(size / 4))
    if size != 4 * 2**doublings or doublings < 1:
        raise ValueError(f"size {size}: must be a power of two, at least 8")
    if channels % 2 ** (doublings - 1):
        raise ValueError(f"channels {channels}: must be a multiple of {2 ** (doublings - 1)} for {size} pixels")
    return [channels >> level for level in range(doublings)]


class DCGANGenerator(nn.Module):
    """Transposed convolutions with batch norm and ReLU, from 4x4 up; Tanh at the end."""

    Config = DCGANGeneratorConfig

    def __init__(self, config: DCGANGeneratorConfig) -> None:
        super().__init__()
        self.config = config
        widths = channels_by_size(config.channels, config.size)
        layers: list[nn.Module] = [nn.ConvTranspose2d(config.latent_dim, widths[0], 4, bias=False)]  # 1x1 -> 4x4
        layers += [nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for inputs, outputs in pairwise(widths):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
        layers += [nn.ConvTranspose2d(widths[-1], 3, 4, stride=2, padding=1), nn.Tanh()]
        self.net = nn.Sequential(*layers)
        self.apply(_initialise)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Standard normal (B, Z) -> (B, 3, size, size) in [-1, 1]."""
        return self.net(z[:, :, None, None])


class DCGANDiscriminator(nn.Module):
    """The generator mirrored: strided convolutions under spectral norm, LeakyReLU; no batch norm at either end."""

    Config = DCGANDiscriminatorConfig

    def __init__(self, config: DCGANDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = channels_by_size(config.channels, config.size)[::-1]
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for inputs, outputs in pairwise(widths):
            layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2)]
        layers += [nn.Conv2d(widths[-1], 1, 4), nn.Flatten(0)]  # 4x4 -> one number an image
        self.net = nn.Sequential(*layers)
        self.apply(_initialise)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                spectral_norm(module)

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, size, size) in [-1, 1] -> (B,), what the sigmoid is taken of."""
        return self.net(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, size, size) in [-1, 1] -> probability (B,) that an image is a photograph."""
        return torch.sigmoid(self.logits(x))


def _initialise(module: nn.Module) -> None:
    """The paper's section 4: weights from a Normal of standard deviation 0.02; batch norm's around 1."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
