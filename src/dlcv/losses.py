"""The hinge loss of adversarial training (Lim and Ye 2017, arXiv:1705.02894), for every GAN here."""

import torch
import torch.nn.functional as F


def discriminator_loss(real: torch.Tensor, fake: torch.Tensor) -> torch.Tensor:
    """What the discriminator minimises, of logits (B,) each: real above 1, fake below -1."""
    return F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def generator_loss(fake: torch.Tensor) -> torch.Tensor:
    """What the generator minimises: minus the mean logit of its images (B,)."""
    return -fake.mean()
