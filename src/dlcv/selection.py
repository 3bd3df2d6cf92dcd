"""Judging a domain adaptation without a single target label: what may be used to choose steps and hyper-parameters."""

import torch
import torch.nn.functional as F
from torch import nn

from dlcv.data.augment import augment_digits as augment
from dlcv.images import to_float
from dlcv.models.digit_net import DigitNet
from dlcv.predict import predict_labels
from dlcv.repro import bf16, seed_step


def to_judge_by(target_images: torch.Tensor) -> torch.Tensor:
    """6,000 of the target's training images, or all where there are fewer: the same for every method and seed."""
    return target_images[torch.randperm(len(target_images), generator=torch.Generator().manual_seed(1))[:6_000]]


def accuracy_in(domain: int, model: DigitNet, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of images (N, 3, 28, 28) uint8 of `domain` (SOURCE or TARGET) that the model gives their `labels` (N,)."""
    before = model.domain
    model.domain = domain
    predicted = torch.from_numpy(predict_labels(model, images))
    model.domain = before
    return float((predicted == labels).float().mean())


@torch.inference_mode()
def unlabelled_scores(model: nn.Module, images: torch.Tensor, seed: int = 0) -> dict[str, float]:
    """What the predictions on unlabelled target images (N, 3, 28, 28) uint8 look like.

    confidence: mean of the largest probability. entropy: mean entropy of a prediction (nats). balance: entropy of the
    mean prediction (nats; ln 10 = 2.303 when every class is predicted equally often). agreement: share of images whose
    predicted class survives a random shift, rotation, tint and change of polarity.
    """
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    plain, changed = [], []
    for batch in images.split(500):
        x = to_float(batch.to(device))
        plain.append(model(x).float().softmax(1).cpu())
        changed.append(model(augment(x, generator)).argmax(1).cpu())
    p = torch.cat(plain)
    mean = p.mean(0)
    return {
        "confidence": p.max(1).values.mean().item(),
        "entropy": -torch.special.xlogy(p, p).sum(1).mean().item(),
        "balance": -torch.special.xlogy(mean, mean).sum().item(),
        "agreement": (p.argmax(1) == torch.cat(changed)).float().mean().item(),
    }


def _network(width: int = 32) -> nn.Sequential:
    def block(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        nn.InstanceNorm2d(3), *block(3, width), nn.MaxPool2d(2), *block(width, 2 * width), *block(2 * width, 2 * width),
        nn.MaxPool2d(2), *block(2 * width, 4 * width), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * width, 10),
    )  # fmt: skip


def reverse_validation(
    model: nn.Module, unlabelled: torch.Tensor, source_images: torch.Tensor, source_labels: torch.Tensor, steps: int
) -> float:
    """`reverse_accuracy` of the labels that the model, in eval mode, predicts for `unlabelled` (N, 3, 28, 28) uint8."""
    pseudo_labels = torch.from_numpy(predict_labels(model, unlabelled))
    return reverse_accuracy(unlabelled, pseudo_labels, source_images, source_labels, steps=steps)


def reverse_accuracy(
    target_images: torch.Tensor,
    pseudo_labels: torch.Tensor,
    source_images: torch.Tensor,
    source_labels: torch.Tensor,
    *,
    steps: int = 400,
    batch_size: int = 64,
    seed: int = 0,
) -> float:
    """Reverse validation (Ganin et al. 2016, section 5.1.2; Zhong et al. 2010).

    If the labels that a model gives to target images are right, a new network trained on them recognises source digits:
    trains a small network on target images (N, 3, 28, 28) uint8 with `pseudo_labels` (N,), tests it on
    the source.

    Returns the share of held-out source images that it classifies rightly (batch statistics of the source batches,
    so that a plain difference in brightness or contrast does not count). About 15 seconds on one core.
    """
    generator = seed_step(seed, 0)
    network = _network().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(steps):
        rows = torch.randint(len(target_images), (batch_size,), generator=generator)
        images = augment(to_float(target_images[rows]), generator)
        with bf16(torch.device("cpu")):
            logits = network(images.to(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), pseudo_labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():  # still in train mode: the batch norms use the statistics of these batches
        predicted = torch.cat([network(to_float(batch)).argmax(1) for batch in source_images.split(500)])
    return (predicted == source_labels).float().mean().item()
