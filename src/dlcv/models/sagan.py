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
    norm: bool = True  # spectral norm in all but the last layer; the authors' code has it there, too
    coarse_chroma: bool = False  # colour at half the resolution, as in the JPEG files that the faces come from
    fine: int = 0  # channels of a last hidden layer at 64x64; 0: none
    rows: int = 64  # of detail in the pictures' height: fewer where the faces were stretched


@dataclass(frozen=True)
class SAGANDiscriminatorConfig:
    width: int = 32  # channels at 32x32; 2, 4 and 8 times as many at 16, 8 and 4 pixels
    attention: bool = True
    norm_last: bool = True  # spectral norm in the last layer too: without, the logits grow as they like
    fine: int = 0  # channels of a first layer at 64x64; 0: none


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


def coarse_chroma(x: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) RGB with its brightness as it is and its colour at half the resolution, as JPEG (4:2:0) stores it.

    Brightness is Y of ITU-R BT.601. Faces that were read from such files have no finer colour: a generator that paints
    some is told by it. Values may leave [-1, 1] a little.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))  # not in bfloat16's 8 bits
    brightness = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]
    return brightness + F.interpolate(F.avg_pool2d(x - brightness, 2), scale_factor=2, mode="bilinear")


def limit_rows(x: torch.Tensor, rows: int) -> torch.Tensor:
    """(B, 3, H, W) with no finer detail in height than `rows` rows can hold: made that small, and enlarged again.

    Faces that were stretched in height have no finer detail: a generator that paints some is told by it. Bicubic,
    antialiased; values may leave their range a little.
    """
    x = x.to(torch.promote_types(x.dtype, torch.float32))  # not in bfloat16's 8 bits
    small = F.interpolate(x, (rows, x.shape[3]), mode="bicubic", antialias=True)
    return F.interpolate(small, x.shape[2:], mode="bicubic")


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
        if config.fine:
            layers += [nn.ConvTranspose2d(w, config.fine, 4, stride=2, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(config.fine), nn.ReLU()]
        self.net = nn.Sequential(*layers)
        self.last: nn.Module = nn.ConvTranspose2d(w, 3, 4, stride=2, padding=1)
        if config.fine:
            self.last = nn.Conv2d(config.fine, 3, 3, padding=1)
        for module in (*self.net, self.last):
            _initialise(module)
        for module in self.net:
            if config.norm and isinstance(module, nn.ConvTranspose2d):
                spectral_norm(module)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(B, Z) standard normal -> (B, 3, 64, 64) in [-1, 1], or about so with coarse chroma or few rows."""
        x = torch.tanh(self.last(self.net(z[:, :, None, None])))
        x = coarse_chroma(x) if self.config.coarse_chroma else x
        return limit_rows(x, self.config.rows) if self.config.rows < x.shape[2] else x


class SAGANDiscriminator(nn.Module):
    """Faces to one logit each."""

    Config = SAGANDiscriminatorConfig

    def __init__(self, config: SAGANDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        layers: list[nn.Module] = []
        if config.fine:
            convolution = nn.Conv2d(3, config.fine, 3, padding=1)
            _initialise(convolution)
            layers += [spectral_norm(convolution), nn.LeakyReLU(0.1)]
        for inputs, outputs in pairwise((config.fine or 3, w, 2 * w, 4 * w, 8 * w)):
            convolution = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)
            _initialise(convolution)
            layers += [spectral_norm(convolution), nn.LeakyReLU(0.1)]
            if config.attention and outputs == 4 * w:
                layers.append(SelfAttention(outputs))  # 8x8
        self.net = nn.Sequential(*layers)
        self.last = nn.Conv2d(8 * w, 1, 4)
        if config.norm_last:
            spectral_norm(self.last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 64, 64) in [-1, 1] -> logits (B,), positive for real."""
        return self.last(self.net(x)).flatten()
