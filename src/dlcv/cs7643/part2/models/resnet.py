"""ResNet-32 for CIFAR-10 (He et al. 2016, arXiv:1512.03385, section 4.2), shortcuts of type A."""

import torch.nn as nn
import torch.nn.functional as F

__all__ = ["resnet32"]


class BasicBlock(nn.Module):
    """relu(shortcut(x) + f(x)); the shortcut drops every other pixel and pads channels with zeros: no parameters."""

    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.stride = stride
        self.new_channels = out_channels - in_channels

    def forward(self, x):
        out = F.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        half = self.new_channels // 2
        shortcut = F.pad(shortcut, (0, 0, 0, 0, half, self.new_channels - half))
        return F.relu(out + shortcut)


class ResNet(nn.Module):
    def __init__(self, blocks, num_classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        layers = []
        in_channels = 16
        for out_channels, stride in ((16, 1), (32, 2), (64, 2)):
            for index in range(blocks):
                layers.append(BasicBlock(in_channels, out_channels, stride if index == 0 else 1))
                in_channels = out_channels
        self.layers = nn.Sequential(*layers)
        self.linear = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x):
        """(N, 3, 32, 32) -> logits (N, num_classes)."""
        out = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.linear(out.mean((2, 3)))


def resnet32():
    return ResNet(5)
