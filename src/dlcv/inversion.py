"""Images to latents: the reconstruction of faces by a StyleGAN2 generator, by optimisation.

Image2StyleGAN (Abdal et al. 2019, arXiv:1904.03189) and Image2StyleGAN++ (2020, arXiv:1911.11544): all images at once,
every image on its own, but for pivotal tuning, which fits one generator to all of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn

from dlcv import recipe, repro
from dlcv.models.stylegan2 import StyleGAN2Generator
from dlcv.similarity import Distance, Frame, l2_distance

TUNE_FROM = 0.7  # share of the iterations after which `tune` turns from the latents to the generator
COARSE = ((0.1, 8), (0.2, 4), (0.3, 2))  # of `coarse`: (until this share of the iterations, pooling factor)
METRICS = ("l2", "lpips", "cosine")
METHODS = ("coarse", "pull", "noise", "tune")


@dataclass(frozen=True)
class Inversion:
    """How to invert. The assignment's iterations, optimiser and learning rate; the same in every space."""

    space: Literal["z", "w", "w+"] = "w+"  # latent space that is searched
    loss: Literal["mse", "own"] = "mse"  # mse, or own: L2 + LPIPS + cosine distance + L2 around eyes and mouth
    iterations: int = 1_000  # iterations of Adam
    lr: float = 0.01  # learning rate of Adam, without a schedule
    lpips_weight: float = 0.1  # weight of LPIPS in the own loss
    cosine_weight: float = 0.05  # weight of the descriptor's cosine distance in the own loss
    face_weight: float = 1.0  # weight of the L2 distance around eyes and mouth in the own loss
    coarse: bool = False  # method: the L2 distance of images at 1/8, 1/4, 1/2 of the size first
    pull: float = 0.0  # method: weight of the mean squared distance of w from the mean w, in standard deviations
    noise: bool = False  # method: the noise inputs are optimised, too
    tune: bool = False  # method: the last 30 % of the iterations change the generator instead of the latents

    def __post_init__(self) -> None:
        recipe.require_positive(self, "iterations", "lr")
        recipe.require_between(self, 0, math.inf, "lpips_weight", "cosine_weight", "face_weight", "pull")


@dataclass(frozen=True)
class Start:
    """The starting point of every search, and the mean and standard deviation of w."""

    z: torch.Tensor  # (D,) the z whose w is nearest to the mean, of 10,000
    mean: torch.Tensor  # (D,) of w
    std: torch.Tensor  # (D,) of w


@torch.no_grad()
def find_start(g: StyleGAN2Generator, count: int = 10_000) -> Start:
    """The start of `g`, from the same `count` latents every time."""
    z = repro.noise(0, count, g.config.latent_dim).to(g.constant)
    w = g.style(z)
    mean, std = w.mean(0), w.std(0)
    return Start(z[((w - mean) / std).square().sum(1).argmin()], mean, std)


def face_weights(size: int, frame: Frame) -> torch.Tensor:
    """(size, size) weights of mean 1: Gaussians of standard deviation 0.1 (of the side) around eyes and mouth."""
    centres = (torch.arange(size) + 0.5) / size
    bumps = [torch.exp(-((centres[:, None] - y) ** 2 + (centres - x) ** 2) / (2 * 0.1**2)) for x, y in frame.points]
    total = torch.stack(bumps).sum(0)
    return total / total.mean()


class Search(nn.Module):
    """What is optimised for `count` images: latents; with the method `noise` the noise, with `tune` the generator."""

    def __init__(self, g: StyleGAN2Generator, settings: Inversion, start: Start, count: int) -> None:
        super().__init__()
        self.settings, self.g = settings, g
        first = start.z if settings.space == "z" else start.mean
        shape = (count, g.layers, len(first)) if settings.space == "w+" else (count, len(first))
        self.latent = nn.Parameter(first.expand(shape).clone())
        noise = [n.expand(count, -1, -1, -1).clone() for n in g.fixed_noise()] if settings.noise else []
        self.noise = nn.ParameterList([nn.Parameter(n) for n in noise])
        g.requires_grad_(settings.tune)
        g.mapping.requires_grad_(False)

    def styles(self) -> torch.Tensor:
        """w (N, D), or (N, layers, D) in W+."""
        return self.g.style(self.latent) if self.settings.space == "z" else self.latent

    def forward(self) -> torch.Tensor:
        """The reconstructions (N, 3, H, H) in about [-1, 1]."""
        return self.g.synthesise(self.styles(), list(self.noise) or None)

    def tunes(self, step: int) -> bool:
        """Whether step `step` changes the generator, not latents and noise."""
        return self.settings.tune and step >= round(TUNE_FROM * self.settings.iterations)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Adam for latents and noise and, with `tune`, one for the generator."""
        parts = {"latents": [self.latent, *self.noise]}
        if self.settings.tune:
            parts["generator"] = [parameter for parameter in self.g.parameters() if parameter.requires_grad]
        return {name: torch.optim.Adam(parameters, lr=self.settings.lr) for name, parameters in parts.items()}


class Objective:
    """The loss of each image, (N,), for targets (N, 3, H, H) in [-1, 1]."""

    def __init__(
        self,
        targets: torch.Tensor,
        settings: Inversion,
        start: Start,
        frame: Frame,
        distances: Mapping[str, Distance],
    ) -> None:
        self.targets, self.settings, self.start, self.distances = targets, settings, start, distances
        self.face_weights = face_weights(targets.shape[2], frame).to(targets)

    def pixels(self, images: torch.Tensor, step: int) -> torch.Tensor:
        """The L2 distance (N,) to images (N, 3, H, H) in [-1, 1]; with `coarse` of averaged pixels at first."""
        share = step / self.settings.iterations
        factor = next((f for until, f in COARSE if share < until), 1) if self.settings.coarse else 1
        factor = min(factor, images.shape[2])
        return l2_distance(F.avg_pool2d(images, factor), F.avg_pool2d(self.targets, factor))

    def __call__(self, search: Search, step: int) -> torch.Tensor:
        """The loss of each image, (N,), at step `step` from 0."""
        s, images = self.settings, search()
        loss = self.pixels(images, step)
        if s.loss == "own":
            around = ((images - self.targets) / 2).square().mean(1) * self.face_weights
            loss = loss + s.face_weight * around.mean((1, 2))
            loss = loss + s.lpips_weight * self.distances["lpips"](images, self.targets)
            loss = loss + s.cosine_weight * self.distances["cosine"](images, self.targets)
        if s.pull:
            w = (search.styles() - self.start.mean) / self.start.std
            loss = loss + s.pull * w.square().flatten(1).mean(1)
        return loss
