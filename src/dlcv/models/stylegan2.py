"""StyleGAN2 (Karras et al. 2020, arXiv:1912.04958): latents to RGB images in [-1, 1] by way of a style space.

The latent spaces: z (B, D) standard normal; w (B, D), what the mapping network makes of z; W+ (B, layers, D), a w of
its own for every layer. Both networks also work at a smaller resolution than their full one, so that a training can
begin small and grow (Karras et al. 2018, arXiv:1710.10196).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

GAIN = math.sqrt(2)  # of a leaky ReLU, which halves the variance
BLUR = (1.0, 3.0, 3.0, 1.0)  # the paper's low-pass filter, before normalisation


@dataclass(frozen=True)
class StyleGAN2GeneratorConfig:
    channels: tuple[int, ...] = (128, 128, 64, 48, 24)  # at 4, 8, 16, … pixels
    latent_dim: int = 128  # D, of z and w
    mapping_layers: int = 4
    mapping_lr: float = 0.01  # learning rate of the mapping network, as a factor


@dataclass(frozen=True)
class StyleGAN2DiscriminatorConfig:
    channels: tuple[int, ...] = (128, 128, 64, 48, 24)  # at 4, 8, 16, … pixels
    group: int = 4  # images that the minibatch deviation is taken over


class EqualLinear(nn.Module):
    """A linear layer whose weights have variance 1 and are scaled when used, so that all layers learn at one rate."""

    def __init__(self, inputs: int, outputs: int, bias: float = 0.0, lr: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.scale, self.lr = lr / math.sqrt(inputs), lr

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs) -> (B, outputs)."""
        return F.linear(x, self.weight * self.scale, self.bias * self.lr)


class EqualConv(nn.Module):
    """A convolution scaled as EqualLinear is, with zero padding that keeps the size."""

    def __init__(self, inputs: int, outputs: int, size: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.scale = 1 / math.sqrt(inputs * size * size)

    def forward(self, x: torch.Tensor, stride: int = 1, padding: int | None = None) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride), if the padding is not given."""
        padding = self.weight.shape[2] // 2 if padding is None else padding
        return F.conv2d(x, self.weight * self.scale, self.bias, stride=stride, padding=padding)


def activate(x: torch.Tensor) -> torch.Tensor:
    """Leaky ReLU of slope 0.2, scaled so that it keeps the variance."""
    return F.leaky_relu(x, 0.2) * GAIN


def blur_kernel(x: torch.Tensor) -> torch.Tensor:
    """The filter (C, 1, 4, 4) for a depth-wise convolution of x (B, C, H, W); its sum is 1."""
    taps = torch.tensor(BLUR, dtype=x.dtype, device=x.device)
    return (torch.outer(taps, taps) / taps.sum() ** 2).expand(x.shape[1], 1, 4, 4)


def blur(x: torch.Tensor, padding: int) -> torch.Tensor:
    """x (B, C, H, W) low-pass filtered, with `padding` zeros on every side."""
    return F.conv2d(x, blur_kernel(x), padding=padding, groups=x.shape[1])


def upsample(x: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) -> (B, C, 2H, 2W): zeros between the pixels, blurred. Constants stay constant, but at the border."""
    return F.conv_transpose2d(x, blur_kernel(x) * 4, stride=2, padding=1, groups=x.shape[1])


class ModulatedConv(nn.Module):
    """A convolution whose input channels are scaled by a style and, `demodulate`, whose outputs have variance 1.

    Equations 1 and 3 of the paper. Scaling the weights of every image anew, as the equations do, needs a grouped
    convolution; scaling what goes in by the style and what comes out by the norms is the same, and faster on CPUs.
    """

    def __init__(
        self, inputs: int, outputs: int, size: int, latent_dim: int, up: bool = False, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.conv = EqualConv(inputs, outputs, size, bias=False)
        self.style = EqualLinear(latent_dim, inputs, bias=1.0)
        self.up, self.demodulate = up, demodulate

    def forward(self, x: torch.Tensor, w: torch.Tensor, added: torch.Tensor) -> torch.Tensor:
        """x (B, inputs, H, W) and w (B, D) -> (B, outputs, H, W), twice as large with `up`, plus `added`."""
        style = self.style(w).to(w.dtype)
        x = x * style.to(x.dtype)[:, :, None, None]
        weight = self.conv.weight * self.conv.scale
        if self.up:
            x = F.conv_transpose2d(x, weight.transpose(0, 1) * 4, stride=2)  # 4: three of four inputs are zeros
            x = blur(x, padding=1)
        else:
            x = self.conv(x)
        if not self.demodulate:
            return x + added
        norms = torch.rsqrt(style.square() @ weight.square().sum((2, 3)).T + 1e-8)  # (B, outputs)
        return torch.addcmul(added.to(x.dtype), x, norms.to(x.dtype)[:, :, None, None])


class StyledConv(nn.Module):
    """Modulated convolution, noise with a learnt strength, bias, leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, latent_dim: int, up: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, outputs, 3, latent_dim, up)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: torch.Tensor, w: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """x (B, inputs, H, W), w (B, D) and noise (B or 1, 1, H', W') -> (B, outputs, H', W')."""
        # Noise times strength plus bias as a linear layer: broadcast sums of bfloat16 take ten times as long.
        added = F.linear(noise.movedim(1, -1), self.strength.expand(len(self.bias), 1), self.bias).movedim(-1, 1)
        return activate(self.conv(x, w, added))


class ToRGB(nn.Module):
    """What one resolution adds to the picture."""

    def __init__(self, inputs: int, latent_dim: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(inputs, 3, 1, latent_dim, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(3))

    def forward(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return self.conv(x, w, self.bias[:, None, None])


class StyleGAN2Generator(nn.Module):
    """The generator with skip connections: every resolution adds to an RGB picture that is enlarged on the way."""

    Config = StyleGAN2GeneratorConfig

    def __init__(self, config: StyleGAN2GeneratorConfig) -> None:
        super().__init__()
        config = replace(config, channels=tuple(config.channels))
        self.config = config
        c, d = config.channels, config.latent_dim
        self.mapping = nn.ModuleList([EqualLinear(d, d, lr=config.mapping_lr) for _ in range(config.mapping_layers)])
        self.constant = nn.Parameter(torch.randn(1, c[0], 4, 4))
        self.convs = nn.ModuleList([StyledConv(c[0], c[0], d)])
        self.to_rgb = nn.ModuleList([ToRGB(c[0], d)])
        for inputs, outputs in pairwise(c):
            self.convs += [StyledConv(inputs, outputs, d, up=True), StyledConv(outputs, outputs, d)]
            self.to_rgb += [ToRGB(outputs, d)]
        for index in range(len(self.convs)):  # the fixed noise, for pictures that can be made again
            side = 4 * 2 ** ((index + 1) // 2)
            self.register_buffer(f"noise_{index}", torch.randn(1, 1, side, side))

    @property
    def size(self) -> int:
        """Height and width of the images in pixels."""
        return 4 * 2 ** (len(self.config.channels) - 1)

    @property
    def layers(self) -> int:
        """How many styles an image has: one for every convolution and one for the last picture."""
        return len(self.convs) + 1

    def style(self, z: torch.Tensor) -> torch.Tensor:
        """z (B, D) -> w (B, D)."""
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)  # its length does not count
        for layer in self.mapping:
            x = activate(layer(x))
        return x

    def truncate(self, w: torch.Tensor, mean: torch.Tensor, truncation: float) -> torch.Tensor:
        """w (B, D) or (B, layers, D) drawn towards the mean w (D,): 1 leaves it, 0 is the mean."""
        return mean + (w - mean) * truncation

    def fixed_noise(self) -> list[torch.Tensor]:
        """The noise (1, 1, H, W) of every layer that belongs to the generator."""
        return [getattr(self, f"noise_{index}") for index in range(len(self.convs))]

    def draw_noise(self, count: int, rng: torch.Generator) -> list[torch.Tensor]:
        """New noise (count, 1, H, W) for every layer, from a generator on the CPU."""
        return [torch.randn((count, *n.shape[1:]), generator=rng).to(n) for n in self.fixed_noise()]

    def synthesise(
        self,
        w: torch.Tensor,
        noise: Sequence[torch.Tensor] | None = None,
        size: int | None = None,
        fade: float = 1.0,
    ) -> torch.Tensor:
        """w (B, D) or (B, layers, D) -> images (B, 3, size, size), in about [-1, 1].

        `noise`: one tensor a layer, the fixed noise if not given. `size`: of the images, the full one if not given;
        what the last resolution adds is multiplied by `fade`.
        """
        w = w[:, None].expand(-1, self.layers, -1) if w.dim() == 2 else w
        noise = self.fixed_noise() if noise is None else noise
        size = self.size if size is None else size
        x = self.convs[0](self.constant.expand(len(w), -1, -1, -1), w[:, 0], noise[0])
        rgb = self.to_rgb[0](x, w[:, 1])
        for index in range(1, (size // 4).bit_length()):
            first, second = 2 * index - 1, 2 * index
            x = self.convs[first](x, w[:, first], noise[first])
            x = self.convs[second](x, w[:, second], noise[second])
            added = self.to_rgb[index](x, w[:, second + 1])
            rgb = upsample(rgb) + (added * fade if 4 * 2**index == size else added)
        return rgb

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(B, D) standard normal -> (B, 3, size, size) in about [-1, 1], with the fixed noise."""
        return self.synthesise(self.style(z))


class ResidualBlock(nn.Module):
    """(B, inputs, H, W) -> (B, outputs, H / 2, W / 2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = EqualConv(inputs, inputs, 3), EqualConv(inputs, outputs, 3)
        self.skip = EqualConv(inputs, outputs, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skip = self.skip(blur(x, padding=1)[:, :, ::2, ::2])  # a strided blur: ten times as long backwards in bfloat16
        x = activate(self.conv1(x))
        x = activate(self.conv2(blur(x, padding=2), stride=2, padding=0))
        return (x + skip) / math.sqrt(2)


class StyleGAN2Discriminator(nn.Module):
    """The residual discriminator; its last layers also see how varied a group of images is."""

    Config = StyleGAN2DiscriminatorConfig

    def __init__(self, config: StyleGAN2DiscriminatorConfig) -> None:
        super().__init__()
        config = replace(config, channels=tuple(config.channels))
        self.config = config
        c = config.channels
        # From the full resolution down to 4x4. A training that begins small uses the later ones first.
        self.from_rgb = nn.ModuleList([EqualConv(3, width, 1) for width in reversed(c)])
        self.blocks = nn.ModuleList([ResidualBlock(c[i], c[i - 1]) for i in range(len(c) - 1, 0, -1)])
        self.conv = EqualConv(c[0] + 1, c[0], 3)
        self.hidden, self.logit = EqualLinear(16 * c[0], c[0]), EqualLinear(c[0], 1)

    def forward(self, x: torch.Tensor, fade: float = 1.0) -> torch.Tensor:
        """(B, 3, H, H) in [-1, 1] -> logits (B,), positive for real; H is 4, 8, … or the full size.

        With `fade` below 1 the first block's features are mixed with those of the image at half its size.
        """
        first = len(self.blocks) - (x.shape[2] // 8).bit_length()
        features = activate(self.from_rgb[first](x))
        for index, block in enumerate(self.blocks[first:], start=first):
            features = block(features)
            if index == first and fade < 1:
                coarse = activate(self.from_rgb[first + 1](F.avg_pool2d(x, 2)))
                features = coarse + (features - coarse) * fade
        features = torch.cat([features, self._deviation(features)], dim=1)
        features = activate(self.conv(features)).flatten(1)
        return self.logit(activate(self.hidden(features))).flatten()

    def _deviation(self, x: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, 1, H, W): the mean standard deviation within the group that an image belongs to."""
        group = self.config.group if len(x) % self.config.group == 0 else len(x)
        grouped = x.unflatten(0, (group, -1)).to(torch.promote_types(x.dtype, torch.float32))
        deviation = (grouped.var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
        return deviation.repeat(group)[:, None, None, None].to(x.dtype).expand(-1, 1, *x.shape[2:])
