"""Augmentations of whole batches on tensors; every draw comes from the generator that is passed."""

import math

import torch
import torch.nn.functional as F


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=generator) * (high - low) + low


def random_affine(
    images: torch.Tensor,
    generator: torch.Generator,
    degrees: float = 10.0,
    scale: float = 0.2,
    shear: float = 0.2,
    shift: float = 0.14,
) -> torch.Tensor:
    """Rotates, scales (by e^±scale), shears and shifts (by ±shift half-widths) each image (N, C, H, W) on its own.

    What comes in from outside repeats the edge, so that no black corner tells source from target.
    """
    n = len(images)
    angle = _uniform(generator, -math.radians(degrees), math.radians(degrees), n)
    zoom = _uniform(generator, -scale, scale, n).exp()
    aspect = _uniform(generator, -scale / 2, scale / 2, n).exp()
    slant = _uniform(generator, -shear, shear, n)
    dx, dy = _uniform(generator, -shift, shift, n), _uniform(generator, -shift, shift, n)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    theta = torch.stack([cos * aspect, slant - sin, dx, sin, cos / aspect, dy], dim=1).view(n, 2, 3).to(images)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def random_colour(
    images: torch.Tensor, generator: torch.Generator, gain: float = 0.5, offset: float = 0.1
) -> torch.Tensor:
    """Multiplies every channel of every image by e^±gain and adds ±offset: tints grey digits, too."""
    shape = (len(images), images.shape[1], 1, 1)
    factor = _uniform(generator, -gain, gain, *shape).exp()
    return images * factor.to(images) + _uniform(generator, -offset, offset, *shape).to(images)


def random_polarity(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Turns half of the images in [0, 1] into their negatives: dark on light and light on dark become one."""
    flip = (torch.rand((len(images), 1, 1, 1), generator=generator) < 0.5).to(images)
    return images * (1 - 2 * flip) + flip


def augment_digits(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Single digits (N, 3, H, W) in [0, 1]: moved, tinted, half of them turned into their negatives."""
    return random_polarity(random_colour(random_affine(images, generator), generator), generator)
