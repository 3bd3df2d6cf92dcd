"""Augmentations of whole batches on tensors; every draw comes from the generator that is passed."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from dlcv.distributed import part, world_size


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=generator) * (high - low) + low


def _warp(images: torch.Tensor, entries: Sequence[torch.Tensor], outside: str) -> torch.Tensor:
    """Moves the pixels of each image (N, C, H, W) by its 2x3 matrix, given as six `entries` (N,), row by row.

    The matrix maps positions in the result to positions in the image, both from -1 to 1 over its width and height.
    `outside`: grid_sample's padding mode, what stands where the image has no pixel.
    """
    theta = torch.stack(list(entries), dim=1).view(-1, 2, 3).to(images)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode=outside, align_corners=False)


def random_affine(
    images: torch.Tensor,
    generator: torch.Generator,
    degrees: float = 10.0,
    scale: float = 0.2,
    shear: float = 0.2,
    shift: float = 0.14,
) -> torch.Tensor:
    """Rotates, scales (by e^±scale), shears and shifts (by ±shift half-widths) each image (N, C, H, W) on its own.

    Pixels from outside repeat the edge, so that black corners do not reveal the domain.
    """
    n = len(images)
    angle = _uniform(generator, -math.radians(degrees), math.radians(degrees), n)
    zoom = _uniform(generator, -scale, scale, n).exp()
    aspect = _uniform(generator, -scale / 2, scale / 2, n).exp()
    slant = _uniform(generator, -shear, shear, n)
    dx, dy = _uniform(generator, -shift, shift, n), _uniform(generator, -shift, shift, n)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    return _warp(images, (cos * aspect, slant - sin, dx, sin, cos / aspect, dy), "border")


def random_colour(
    images: torch.Tensor, generator: torch.Generator, gain: float = 0.5, offset: float = 0.1
) -> torch.Tensor:
    """Multiplies every channel of every image (N, C, H, W) by e^±gain and adds ±offset: tints grey digits, too."""
    shape = (len(images), images.shape[1], 1, 1)
    factor = _uniform(generator, -gain, gain, *shape).exp()
    return images * factor.to(images) + _uniform(generator, -offset, offset, *shape).to(images)


def random_polarity(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Inverts half of the images (N, C, H, W) in [0, 1], so that a network reads dark ink as well as bright ink."""
    flip = (torch.rand((len(images), 1, 1, 1), generator=generator) < 0.5).to(images)
    return images * (1 - 2 * flip) + flip


def augment_digits(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Single digits (N, 3, H, W) in [0, 1]: moved, tinted, half of them turned into their negatives."""
    return random_polarity(random_colour(random_affine(images, generator), generator), generator)


def random_crops(images: torch.Tensor, generator: torch.Generator, low: float = 0.3, high: float = 0.7) -> torch.Tensor:
    """A piece of each image (N, C, H, W), low to high of its side, turned by any angle, enlarged to the full size."""
    n = len(images)
    angle, zoom = _uniform(generator, -math.pi, math.pi, n), _uniform(generator, low, high, n)
    dx, dy = _uniform(generator, -0.6, 0.6, n), _uniform(generator, -0.6, 0.6, n)
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    return _warp(images, (cos, -sin, dx, sin, cos, dy), "reflection")


def digit_masks(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Where the ink is: (N, 3, H, W) in [0, 1] -> (N, 1, H, W) in [0, 1], bright ink near 1, dark paper near 0.

    The brightness of each image is standardised and pressed through a sigmoid of random steepness: two-toned digits
    become nearly binary. Dark ink on bright paper comes out inverted.
    """
    brightness = images.mean(1, keepdim=True)
    mean, std = brightness.mean((2, 3), keepdim=True), brightness.std((2, 3), keepdim=True)
    steepness = _uniform(generator, 2.0, 6.0, len(images), 1, 1, 1).to(images)
    return torch.sigmoid(steepness * (brightness - mean) / (std + 0.03))


def random_thickness(masks: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Thins or thickens bright strokes (N, 1, H, W) by up to a pixel on each side."""
    amount = _uniform(generator, -1.0, 1.0, len(masks), 1, 1, 1).to(masks)
    thick, thin = F.max_pool2d(masks, 3, 1, 1), -F.max_pool2d(-masks, 3, 1, 1)
    return masks + amount.clamp(min=0) * (thick - masks) + (-amount).clamp(min=0) * (thin - masks)


def add_neighbours(masks: torch.Tensor, generator: torch.Generator, share: float = 0.7) -> torch.Tensor:
    """Puts parts of other digits of the batch (N, 1, H, W) at the left and the right, each for `share` of them."""
    n = len(masks)
    for side in (-1.0, 1.0):
        others = masks[torch.randperm(n, generator=generator)]
        dx = side * _uniform(generator, 1.1, 1.7, n)  # half-widths: 15 to 24 of 28 pixels
        dy = _uniform(generator, -0.15, 0.15, n)
        one, zero = torch.ones(n), torch.zeros(n)
        shifted = _warp(others, (one, zero, dx, zero, one, dy), "zeros")
        there = (torch.rand((n, 1, 1, 1), generator=generator) < share).to(masks)
        masks = torch.maximum(masks, shifted * there)
    return masks


def blend(masks: torch.Tensor, backgrounds: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Digits (N, 1, H, W) on backgrounds (N, 3, H, W), half of them as the difference, half painted in one colour.

    |background - mask| is how MNIST-M was made (Ganin et al. 2016, section 5.2.4).
    """
    n = len(masks)
    difference = (backgrounds - masks).abs()
    colour = torch.rand((n, 3, 1, 1), generator=generator).to(masks)
    painted = backgrounds + masks * (colour - backgrounds)
    first = (torch.rand((n, 1, 1, 1), generator=generator) < 0.5).to(masks)
    return first * difference + (1 - first) * painted


def cutout(images: torch.Tensor, generator: torch.Generator, low: int = 4, high: int = 10) -> torch.Tensor:
    """Replaces a random rectangle of each image (N, C, H, W), sides of low to high pixels, by the image's mean."""
    n, _, height, width = images.shape

    def inside(size: int) -> torch.Tensor:
        length = torch.randint(low, high + 1, (n, 1), generator=generator)
        start = torch.randint(-low, size, (n, 1), generator=generator)
        position = torch.arange(size)
        return (position >= start) & (position < start + length)

    hole = (inside(height)[:, None, :, None] & inside(width)[:, None, None, :]).to(images)
    return images + hole * (images.mean((2, 3), keepdim=True) - images)


def random_flips(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirrors half of the images (N, C, H, W)."""
    mirrored = torch.rand((len(images), 1, 1, 1), generator=generator).to(images.device) < 0.5
    return torch.where(mirrored, images.flip(3), images)


def random_shifts(images: torch.Tensor, generator: torch.Generator, pixels: int) -> torch.Tensor:
    """Moves each image (N, C, H, W) by up to `pixels` each way; what comes in mirrors the edge."""
    n, _, height, width = images.shape
    down, right = (torch.randint(0, 2 * pixels + 1, (n, 1), generator=generator) for _ in range(2))
    rows = (torch.arange(height) + down).to(images.device)[:, :, None]
    columns = (torch.arange(width) + right).to(images.device)[:, None, :]
    padded = F.pad(images, (pixels, pixels, pixels, pixels), mode="reflect").permute(0, 2, 3, 1)
    return padded[torch.arange(n, device=images.device)[:, None, None], rows, columns].permute(0, 3, 1, 2)


def diff_augment(
    x: torch.Tensor, generator: torch.Generator, shift: float = 0.125, degrees: float = 0.0, scale: float = 0.0
) -> torch.Tensor:
    """Brightness, saturation, contrast, translation and cutout of (B, 3, H, W) in [-1, 1], differentiable.

    DiffAugment (Zhao et al. 2020, arXiv:2006.10738) with the ranges of the authors' code, but a hole of a quarter of
    the side where theirs has half. With `degrees` or `scale` half of the images are also turned by up to so many
    degrees and enlarged or reduced by a factor of e^±scale. DiffAugment leaves both out; Karras et al. (2020,
    arXiv:2006.06676) have them.
    Every draw comes from `generator` (on the CPU): with the same seed, real and generated images are changed alike.
    Where several processes share a batch, x is one's part; the draws are for all.
    """
    n, _, height, width = x.shape
    whole = n * world_size()

    def draw(low: float, high: float) -> torch.Tensor:
        return part(torch.rand((whole, 1, 1, 1), generator=generator) * (high - low) + low).to(x)

    x = x + draw(-0.5, 0.5)
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * draw(0.0, 2.0)
    mean = x.mean((1, 2, 3), keepdim=True)
    x = mean + (x - mean) * draw(0.5, 1.5)
    if degrees or scale:
        there = (draw(0, 1) < 0.5).to(x).flatten()  # the others keep their pixels: what is turned has smoother ones
        angle = draw(-math.radians(degrees), math.radians(degrees)).flatten() * there
        zoom = (draw(-scale, scale).flatten() * there).exp()
        cos, sin, zero = angle.cos() * zoom, angle.sin() * zoom, torch.zeros_like(angle)
        x = _warp(x, (cos, -sin, zero, sin, cos, zero), "border")
    # Translation by whole pixels, empty (0) where nothing comes in; then a hole of a quarter of the side's square.
    rows, columns = int(height * shift), int(width * shift)
    down = part(torch.randint(-rows, rows + 1, (whole, 1), generator=generator))
    right = part(torch.randint(-columns, columns + 1, (whole, 1), generator=generator))
    padded = F.pad(x, (columns, columns, rows, rows))
    y = (torch.arange(height) + rows - down).to(x.device)[:, None, :, None]
    z = (torch.arange(width) + columns - right).to(x.device)[:, None, None, :]
    image = torch.arange(n, device=x.device)[:, None, None, None]
    channel = torch.arange(x.shape[1], device=x.device)[None, :, None, None]
    x = padded[image, channel, y, z]
    top = part(torch.randint(0, height, (whole, 1), generator=generator))
    left = part(torch.randint(0, width, (whole, 1), generator=generator))
    in_rows = (torch.arange(height) - top).abs() < height // 8
    in_columns = (torch.arange(width) - left).abs() < width // 8
    hole = (in_rows[:, None, :, None] & in_columns[:, None, None, :]).to(x)
    return x * (1 - hole)
