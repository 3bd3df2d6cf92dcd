"""Self-training with a mean teacher across two digit domains, for 28x28 RGB digits in [0, 1].

Weak/strong consistency: Sohn et al. 2020 (FixMatch, arXiv:2001.07685); mean teacher across domains: French et al. 2018
(arXiv:1706.05208); distribution alignment: Berthelot et al. 2020 (ReMixMatch, arXiv:1911.09785).
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

SOURCE, TARGET = 0, 1


class DomainBatchNorm(nn.Module):
    """Batch normalisation whose statistics are kept for each domain; scale and shift are shared. Input (B, C, …)."""

    mean: torch.Tensor
    var: torch.Tensor

    def __init__(self, channels: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("mean", torch.zeros(2, channels))
        self.register_buffer("var", torch.ones(2, channels))

    def forward(self, x: torch.Tensor, domain: int) -> torch.Tensor:
        statistics = self.mean[domain], self.var[domain]
        return F.batch_norm(x, *statistics, self.weight, self.bias, self.training, momentum=self.momentum)

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, domains=2"


@dataclass(frozen=True)
class UDAConfig:
    width: int = 32  # channels of the first convolution
    hidden: int = 128  # features: units of the last hidden layer
    instance_norm: bool = True  # each image's channels to mean 0 and deviation 1, inside the network
    classes: int = 10


class UDA(nn.Module):
    """A convolutional classifier with batch-norm statistics for each domain; student and teacher are two of these."""

    Config = UDAConfig

    def __init__(self, config: UDAConfig) -> None:
        super().__init__()
        self.config = config
        self.domain = TARGET  # whose batch-norm statistics a plain forward uses
        w, hidden = config.width, config.hidden
        layers: list[nn.Module] = []
        for block in ((3, w), (w, 2 * w, 2 * w), (2 * w, 4 * w, 4 * w)):
            for inputs, outputs in pairwise(block):
                convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
                layers += [convolution, DomainBatchNorm(outputs), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
        layers += [nn.Flatten(), nn.Linear(4 * w * 9, hidden, bias=False), DomainBatchNorm(hidden), nn.ReLU()]
        self.features = nn.ModuleList(layers)
        self.classifier = nn.Linear(hidden, config.classes)

    def extract(self, x: torch.Tensor, domain: int) -> torch.Tensor:
        """(B, 3, 28, 28) in [0, 1] -> features (B, hidden)."""
        if self.config.instance_norm:
            mean, std = x.mean((2, 3), keepdim=True), x.std((2, 3), keepdim=True)
            x = (x - mean) / (std + 0.03)  # 0.03: noise in an empty image is not blown up into a texture
        else:
            x = x * 2 - 1
        for layer in self.features:
            x = layer(x, domain) if isinstance(layer, DomainBatchNorm) else layer(x)
        return x

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 28, 28) in [0, 1], of the domain `self.domain` -> class logits (B, 10)."""
        return self.classifier(self.extract(x, self.domain))


@torch.no_grad()
def follow(teacher: UDA, student: UDA, decay: float) -> None:
    """Moves the teacher's weights towards the student's: w ← decay · w + (1 - decay) · student's.

    The teacher's target statistics are its own (it sees plain target images, the student augmented ones); its source
    statistics, which it has no use for in training, are the student's.
    """
    torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1 - decay)
    for own, other in zip(teacher.buffers(), student.buffers(), strict=True):
        own[SOURCE] = other[SOURCE]


class Alignment(nn.Module):
    """Distribution alignment: pulls the teacher's mean prediction towards equally many of each class.

    p ← normalise(p · (uniform / mean prediction)^strength), after ReMixMatch (Berthelot et al. 2020, arXiv:1911.09785),
    whose numerator is the labelled classes' shares and which knows no strength: at 1 classes that the teacher overuses
    are pressed down fully, at 0 nothing changes (the target's true shares are unknown). The mean is a running one.
    """

    mean: torch.Tensor

    def __init__(self, classes: int = 10, momentum: float = 0.01) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.full((classes,), 1 / classes))

    @torch.no_grad()
    def forward(self, p: torch.Tensor, strength: float) -> torch.Tensor:
        """Probabilities (B, classes) -> aligned probabilities (B, classes); the running mean moves along."""
        self.mean.lerp_(p.mean(0), self.momentum)
        aligned = p * (self.mean * p.shape[1]).clamp(min=1e-3) ** -strength
        return aligned / aligned.sum(1, keepdim=True)


def consistency_loss(
    student_logits: torch.Tensor, teacher_probabilities: torch.Tensor, threshold: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross entropy of the student (B, 10) on strong views with the teacher's classes, where it is sure (FixMatch).

    Returns the mean over the whole batch and the share of images with a largest probability of at least `threshold`.
    """
    confidence, classes = teacher_probabilities.max(1)
    sure = (confidence >= threshold).to(student_logits.dtype)
    losses = F.cross_entropy(student_logits, classes, reduction="none")
    return (losses * sure).mean(), sure.mean()
