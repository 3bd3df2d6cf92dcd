"""MirrorNet, our network for CIFAR-10: every filter has a mirrored partner, so mirrored images get the same answer.

A car that looks to the left is the same car. The channels of every layer come in two halves, and the filters of the
second half are those of the first, mirrored. The logits of an image and of its mirror image are therefore equal by
construction: half of the weights are free, and nothing has to be averaged when evaluating.

Borrowed: filters shared over a group of symmetries (group convolutions, Cohen and Welling 2016, arXiv:1602.07576), here
over the identity and the mirror; residual sums (He et al. 2015, arXiv:1512.03385); batch normalisation (Ioffe and
Szegedy 2015, arXiv:1502.03167). What each part gives: docs/models/cs7643.md.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

__all__ = ["MyModel"]


class MirrorStem(nn.Module):
    """A 3x3 convolution of images (N, 3, H, W): half of the filters are free, the other half are their mirror images.

    Mirroring the image mirrors the maps and swaps their two halves.
    """

    def __init__(self, out_channels):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels // 2, 3, 3, 3))
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)  # as nn.Conv2d

    def forward(self, x):
        filters = torch.cat([self.weight, self.weight.flip(3)])
        return F.conv2d(x, filters.contiguous(memory_format=torch.channels_last), padding=1)


class MirrorConv2d(nn.Module):
    """A 3x3 convolution that keeps the symmetry: mirror its maps and swap their halves, and its output does the same.

    With halves a, b of the input and filters p, q, the halves of the output are p*a + q*b and q'*a + p'*b, where p' is
    the mirror image of p.
    """

    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels // 2, in_channels, 3, 3))  # p and q, side by side
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def forward(self, x):
        p, q = self.weight.chunk(2, 1)
        filters = torch.cat([self.weight, torch.cat([q.flip(3), p.flip(3)], 1)])
        return F.conv2d(x, filters.contiguous(memory_format=torch.channels_last), padding=1)


class MirrorBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation that treats both halves of the channels alike: one mean, variance and scale for each pair."""

    def __init__(self, channels):
        super().__init__(channels // 2)

    def forward(self, x):
        n, c, h, w = x.shape  # both views are free in channels_last memory: the halves become twice as many places
        x = super().forward(x.permute(0, 2, 3, 1).reshape(n, h, 2 * w, c // 2).permute(0, 3, 1, 2))
        return x.permute(0, 2, 3, 1).reshape(n, h, w, c).permute(0, 3, 1, 2)


class Stage(nn.Module):
    """A convolution, 2x2 maximum pooling, then a residual sum around one further convolution."""

    def __init__(self, in_channels, out_channels, mirror=True, residual=True):
        super().__init__()
        convolution = MirrorConv2d if mirror else ordinary_convolution
        norm = MirrorBatchNorm2d if mirror else nn.BatchNorm2d
        self.conv1, self.norm1 = convolution(in_channels, out_channels), norm(out_channels)
        self.conv2, self.norm2 = convolution(out_channels, out_channels), norm(out_channels)
        self.residual = residual

    def forward(self, x):
        x = F.relu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        y = F.relu(self.norm2(self.conv2(x)))
        return x + y if self.residual else y


class MyModel(nn.Module):
    """Images (N, 3, H, W), standardised, H and W at least 8 → logits (N, 10).

    mirror, residual, largest: switches of the ablations; the published network has all three. Without `mirror` filters
    are ordinary ones, and the logits are averaged over the image and its mirror image when evaluating.
    """

    def __init__(self, widths=(32, 64, 160, 320), mirror=True, residual=True, largest=True):
        super().__init__()
        self.mirror, self.largest = mirror, largest
        self.stem = MirrorStem(widths[0]) if mirror else ordinary_convolution(3, widths[0])
        self.norm = (MirrorBatchNorm2d if mirror else nn.BatchNorm2d)(widths[0])
        pairs = [(widths[n], widths[n + 1]) for n in range(len(widths) - 1)]
        self.stages = nn.Sequential(*[Stage(i, o, mirror, residual) for i, o in pairs])
        self.fc = nn.Linear(widths[-1] // 2 if mirror else widths[-1], 10)

    def logits(self, x):
        x = self.stages(F.relu(self.norm(self.stem(x))))  # (N, 320, 4, 4) for images of 32 x 32
        x = x.amax((2, 3)) if self.largest else x.mean((2, 3))
        if self.mirror:
            x = sum(x.chunk(2, 1))  # the halves of a mirrored image are swapped: their sum is the same
        return self.fc(x) / 9

    def forward(self, x):
        if self.mirror or self.training:
            return self.logits(x)
        return (self.logits(x) + self.logits(x.flip(3))) / 2


def ordinary_convolution(in_channels, out_channels):
    return nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
