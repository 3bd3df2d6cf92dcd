"""Losses: hinge (GANs), local spectrum (VAE), R1 and path length (StyleGAN2)."""

import torch
import torch.nn.functional as F

from dlcv.distributed import mean

WINDOWS = (16, 32)  # pixels, of spectrum_loss


def discriminator_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """What the discriminator minimises, of logits (B,) each: real above 1, fake below -1 (hinge loss).

    Lim and Ye 2017, arXiv:1705.02894.
    """
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_loss(fake: torch.Tensor) -> torch.Tensor:
    """What the generator minimises: minus the mean logit of its images (B,)."""
    return -fake.mean()


def local_spectrum(x: torch.Tensor, size: int = 16) -> torch.Tensor:
    """Magnitudes of the Fourier transform in Hann windows that overlap by half.

    Images (B, C, H, W) -> (B, C, windows, size, size // 2 + 1), unitary: white noise of variance 1 has mean square
    (3/8)² everywhere.
    """
    hann = torch.hann_window(size, dtype=x.dtype, device=x.device)
    windows = F.unfold(x, size, stride=size // 2).unflatten(1, (x.shape[1], size, size)).movedim(-1, 2)
    return torch.fft.rfft2(windows * hann[:, None] * hann, norm="ortho").abs()


def spectrum_loss(recon: torch.Tensor, x: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Mean absolute difference of both local spectra: images (B, C, H, W) in [0, 1] -> 0-d. H and W at least 17.

    Squared error blurs detail that cannot be predicted; this compares how much detail a window has, not where in the
    window it is: the spectrogram losses of audio (Arik et al. 2019, arXiv:1808.06719) in two dimensions. Each call
    draws the windows' size and place: where they never move, a network puts a dot in the middle of each (docs/LOG.md,
    "VAE with the local spectrum: the run; the last seeds").
    """
    size = WINDOWS[int(torch.randint(len(WINDOWS), (), generator=generator))]
    top, left = torch.randint(size // 2, (2,), generator=generator).tolist()

    def moved(images: torch.Tensor) -> torch.Tensor:
        images = images.contiguous()  # unfold takes more than twice as long on channels_last
        return F.pad(images, (size // 2,) * 4, "reflect")[..., top:, left:]  # so that borders lie in windows' middles

    return F.l1_loss(local_spectrum(moved(recon), size), local_spectrum(moved(x), size))


def r1_penalty(logits: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Half the mean squared norm of the logits' gradient with respect to the real images (B, C, H, W) -> 0-d.

    Mescheder et al. 2018, arXiv:1801.04406, eq. 9 without gamma. `real` must require a gradient.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return gradient.square().sum((1, 2, 3)).mean() / 2


class PathLength(torch.nn.Module):
    """How far the generator is from changing its images by the same amount in every direction of w and everywhere.

    Karras et al. 2020, arXiv:1912.04958, eq. 4: the mean squared deviation of |J' y| from its running mean, where J is
    the Jacobian of the images with respect to w and y random images of unit variance. The buffer `mean` must be saved.
    """

    mean: torch.Tensor

    def __init__(self, decay: float = 0.99) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, images: torch.Tensor, w: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Images (B, C, H, W) made from w (B, layers, D), and y like the images, standard normal -> 0-d."""
        scaled = (images * y).sum() / (images.shape[2] * images.shape[3]) ** 0.5
        (gradient,) = torch.autograd.grad(scaled, w, create_graph=True)
        lengths = gradient.square().sum(2).mean(1).sqrt()
        self.mean = torch.lerp(mean(lengths.detach().mean()), self.mean, self.decay)  # over all processes
        return (lengths - self.mean).square().mean()
