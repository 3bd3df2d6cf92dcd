"""Variational autoencoder (Kingma and Welling 2014, arXiv:1312.6114) for 64x64 RGB faces in [0, 1]."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class VAEConfig:
    latent_dim: int = 64
    width: int = 32  # channels at 32x32; 2, 4 and 4 times as many at 16, 8 and 4 pixels
    layers: Literal["residual", "plain"] = "residual"  # plain: five convolutions each way, as in DCGAN
    flow_width: int = 0  # units of LatentFlow's layers; 0: no flow, latents come from the fitted Normal


class Residual(nn.Module):
    """x + f(x), f two 3x3 convolutions. (B, C, H, W) -> the same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        nn.init.zeros_(last.weight)  # begins as the identity
        self.body = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels), nn.ReLU(), last,
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


def _residual_encoder(c: VAEConfig) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(3, c.width, 4, stride=2, padding=1)]
    inputs = c.width
    for outputs in (2 * c.width, 4 * c.width, 4 * c.width):
        layers += [nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)]
        layers.append(Residual(outputs))
        inputs = outputs
    return nn.Sequential(
        *layers, nn.BatchNorm2d(inputs), nn.ReLU(), nn.Flatten(), nn.Linear(16 * inputs, 2 * c.latent_dim)
    )


def _residual_decoder(c: VAEConfig) -> nn.Sequential:
    inputs = 4 * c.width
    layers: list[nn.Module] = [nn.Linear(c.latent_dim, 16 * inputs), nn.Unflatten(1, (inputs, 4, 4)), Residual(inputs)]
    for outputs in (4 * c.width, 2 * c.width, c.width):
        layers += [nn.BatchNorm2d(inputs), nn.ReLU(), nn.Upsample(scale_factor=2)]
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), Residual(outputs)]
        inputs = outputs
    layers += [
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(inputs, c.width // 2, 3, padding=1),
    ]
    layers += [nn.BatchNorm2d(c.width // 2), nn.ReLU(), nn.Conv2d(c.width // 2, 3, 3, padding=1)]
    return nn.Sequential(*layers, nn.Sigmoid())


def _plain_encoder(c: VAEConfig) -> nn.Sequential:
    channels = (3, c.width, 2 * c.width, 4 * c.width, 8 * c.width)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(8 * c.width, 2 * c.latent_dim, 4), nn.Flatten())


def _plain_decoder(c: VAEConfig) -> nn.Sequential:
    channels = (8 * c.width, 4 * c.width, 2 * c.width, c.width)
    layers: list[nn.Module] = [nn.Unflatten(1, (c.latent_dim, 1, 1)), nn.ConvTranspose2d(c.latent_dim, 8 * c.width, 4)]
    for inputs, outputs in pairwise(channels):
        layers += [nn.BatchNorm2d(inputs), nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)]
    layers += [nn.BatchNorm2d(c.width), nn.ReLU(), nn.ConvTranspose2d(c.width, 3, 4, stride=2, padding=1)]
    return nn.Sequential(*layers, nn.Sigmoid())


class LatentFlow(nn.Module):
    """Carries N(0, I) to the latents' distribution: x' = velocity(x, t), from t = 0 to 1, for standardised latents.

    A learned prior, as the second stage of a two-stage VAE (Dai and Wipf 2019, arXiv:1903.05789); trained by flow
    matching along straight lines (Lipman et al. 2023, arXiv:2210.02747; Liu et al. 2023, arXiv:2209.03003).
    """

    frequencies: torch.Tensor

    def __init__(self, latent_dim: int, width: int, blocks: int = 3) -> None:
        super().__init__()
        self.register_buffer("frequencies", torch.exp(torch.linspace(0, math.log(100), 32)))
        self.first = nn.Linear(latent_dim, width)
        self.time = nn.Linear(2 * len(self.frequencies), width)
        self.times = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.last = nn.Linear(width, latent_dim)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)  # velocity 0: begins as the identity

    def velocity(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """(B, Z) at times (B,) in [0, 1] -> (B, Z)."""
        angles = t[:, None] * self.frequencies
        time = F.silu(self.time(torch.cat([angles.sin(), angles.cos()], dim=1)))
        h = self.first(x)
        for block, moved in zip(self.blocks, self.times, strict=True):
            h = h + block(h + moved(time))
        return self.last(F.silu(h))

    def loss(self, latents: torch.Tensor, noise: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """Flow matching, eq. 23 with straight lines: latents and noise (B, Z), times (B,) in [0, 1] -> 0-d."""
        x = torch.lerp(noise, latents, t[:, None])
        return F.mse_loss(self.velocity(x, t), latents - noise)

    def forward(self, noise: torch.Tensor, steps: int = 25) -> torch.Tensor:
        """Standard normal noise (B, Z) -> standardised latents (B, Z), by Heun's method."""
        x, ones = noise, noise.new_ones(len(noise))
        for k in range(steps):
            there = self.velocity(x, ones * (k / steps))
            ahead = self.velocity(x + there / steps, ones * ((k + 1) / steps))
            x = x + (there + ahead) / (2 * steps)
        return x


class VAE(nn.Module):
    """Encoder to a diagonal Normal, decoder, and what latents are drawn from when sampling: a Normal, or its flow."""

    Config = VAEConfig
    prior_mean: torch.Tensor
    prior_factor: torch.Tensor

    def __init__(self, config: VAEConfig) -> None:
        super().__init__()
        self.config = config
        plain = config.layers == "plain"
        self.encoder = _plain_encoder(config) if plain else _residual_encoder(config)
        self.decoder = _plain_decoder(config) if plain else _residual_decoder(config)
        self.register_buffer("prior_mean", torch.zeros(config.latent_dim))
        self.register_buffer("prior_factor", torch.eye(config.latent_dim))
        self.flow = LatentFlow(config.latent_dim, config.flow_width) if config.flow_width else None

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, 3, 64, 64) in [0, 1] -> mu and logvar of q(z|x), (B, Z) each."""
        mu, logvar = self.encoder(x).to(self.prior_mean.dtype).chunk(2, dim=1)
        return mu, logvar.clamp(-20, 5)

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """(B, Z) -> (B, 3, 64, 64) in [0, 1]."""
        return self.decoder(z)

    def forward(self, x: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images (B, 3, 64, 64) in [0, 1] and standard normal noise (B, Z) -> reconstructions, mu, logvar."""
        mu, logvar = self.encode(x)
        return self.decode(mu + noise * (0.5 * logvar).exp()), mu, logvar

    def sample(self, noise: torch.Tensor) -> torch.Tensor:
        """Standard normal noise (B, Z) -> images (B, 3, 64, 64) in [0, 1], by way of the flow and the fitted Normal."""
        return self.decode(self.prior_mean + (self.flow(noise) if self.flow else noise) @ self.prior_factor.T)

    def standardise(self, z: torch.Tensor) -> torch.Tensor:
        """Latents (B, Z) -> (B, Z) of mean 0 and covariance 1 over the aggregate posterior."""
        return torch.linalg.solve_triangular(self.prior_factor, (z - self.prior_mean).T, upper=False).T

    def set_prior(self, mean: torch.Tensor, covariance: torch.Tensor) -> None:
        """Latents for `sample` come from Normal(mean (Z,), covariance (Z, Z)), given in float64."""
        self.prior_mean.copy_(mean)
        self.prior_factor.copy_(torch.linalg.cholesky(covariance))


def kl_divergence(mu: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    """KL(N(mu, exp(logvar)) || N(0, 1)) of each image (B,), in nats: -1/2 sum(1 + logvar - mu² - exp(logvar))."""
    return -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1)


def reconstruction_loss(recon: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Squared error averaged over pixels, channels and images: both (B, 3, H, W) in [0, 1]."""
    return F.mse_loss(recon, x)


class LatentMoments:
    """Mean and covariance of the aggregate posterior E_x[q(z|x)], gathered batch by batch in float64.

    Covariance of a mixture of Normals: cov(mu) + mean(diag(exp(logvar))).
    """

    def __init__(self, latent_dim: int) -> None:
        self.count = 0
        self.sum = torch.zeros(latent_dim, dtype=torch.float64)
        self.products = torch.zeros(latent_dim, latent_dim, dtype=torch.float64)

    def add(self, mu: torch.Tensor, logvar: torch.Tensor) -> None:
        mu, variance = mu.double().cpu(), logvar.double().exp().cpu()
        self.count += len(mu)
        self.sum += mu.sum(0)
        self.products += mu.T @ mu + torch.diag(variance.sum(0))

    def mean_and_covariance(self) -> tuple[torch.Tensor, torch.Tensor]:
        mean = self.sum / self.count
        return mean, self.products / self.count - mean[:, None] * mean
