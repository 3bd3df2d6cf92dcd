"""A network for CIFAR-10 after airbench96: a whitening stem, three stages of one pooled and two residual convolutions.

Whitening, the stages, scaled logits and test-time flips are those of Jordan 2024 (arXiv:2404.00498); widths are ours.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

__all__ = ["MyModel"]


class Stage(nn.Module):
    """Halves the maps, then adds to them what two more convolutions find."""

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv3 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        x = F.gelu(self.bn1(F.max_pool2d(self.conv1(x), 2)))
        return x + F.gelu(self.bn3(self.conv3(F.gelu(self.bn2(self.conv2(x))))))


class MyModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.whitening = nn.Conv2d(3, 24, 2)  # the 12 directions of 2x2 patches and their negatives
        self.whitening.weight.requires_grad_(False)
        self.stages = nn.Sequential(Stage(24, 64), Stage(64, 192), Stage(192, 256))
        self.fc = nn.Linear(256, 10, bias=False)

    @torch.no_grad()
    def whiten(self, images):
        """Sets the first layer to the eigenvectors of the 2x2 patches of normalised images (N, 3, H, W), variance 1."""
        patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12).double()
        values, vectors = torch.linalg.eigh(torch.cov(patches.T))
        filters = (vectors / (values + 5e-4).sqrt()).T.reshape(12, 3, 2, 2).to(self.whitening.weight)
        self.whitening.weight.copy_(torch.cat([filters, -filters]))

    def logits(self, x):
        x = self.stages(F.gelu(self.whitening(x)))  # 31x31, then 15, 7 and 3
        return self.fc(x.amax((2, 3))) / 9

    def forward(self, x):
        """(N, 3, 32, 32) -> logits (N, 10); when evaluating, the mean of those of the image and its mirror image."""
        if self.training:
            return self.logits(x)
        return (self.logits(x) + self.logits(x.flip(3))) / 2
