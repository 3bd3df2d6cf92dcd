"""What the self-training with a mean teacher adds to a network (models/digit_net.py) in training.

Put together from known parts. Weak/strong consistency: Sohn et al. 2020 (FixMatch, arXiv:2001.07685); mean teacher:
Tarvainen and Valpola 2017 (arXiv:1703.01780), across domains French et al. 2018 (arXiv:1706.05208); distribution
alignment: Berthelot et al. 2020 (ReMixMatch, arXiv:1911.09785).
"""

import torch
import torch.nn.functional as F
from torch import nn

from dlcv.models.digit_net import SOURCE, DigitNet


@torch.no_grad()
def follow(teacher: DigitNet, student: DigitNet, decay: float) -> None:
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
