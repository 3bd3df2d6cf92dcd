"""How near a reconstruction is to its face: L2 distance, LPIPS, cosine distance of a face descriptor.

Every network gets the images in its own input size: LPIPS at least 64x64 (bilinear where they are smaller; it was
fitted to patches of 64x64), the descriptor a tight crop of the face, 150x150 bilinear with antialiasing.
"""

import hashlib
import http.client
import io
import urllib.request
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from dlcv.cli import UserError
from dlcv.files import write_bytes

ALEXNET_URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
# torchvision's file, and its convolutions alone under the same names: the weights are the same.
ALEXNET_SHA256 = {
    "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
    "1454cf628f565bb39c929b4ab19c33d8c662292055b946c48daaeb6ccaf8811d",
}

Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Box = tuple[float, float, float, float]  # left, top, right, bottom, as shares of the frame


@dataclass(frozen=True)
class Frame:
    """Where a data set's alignment puts the face."""

    face: (
        Box  # a tight crop as dlib's descriptor knows it: the eyes' distance is 35 % of its side, at 30 % of its height
    )
    points: tuple[tuple[float, float], ...]  # (x, y) of left eye, right eye, mouth


# CelebA's aligned frames, columns 19–159 and rows 51–191 of 178x218, as this project's faces are cut.
CELEBA = Frame((0.107, 0.20, 0.879, 0.972), ((0.36, 0.43), (0.63, 0.43), (0.5, 0.72)))
# FFHQ's alignment: a square of four times the distance of the eyes.
FFHQ = Frame((0.143, 0.257, 0.857, 0.971), ((0.375, 0.47), (0.625, 0.47), (0.5, 0.72)))


def l2_distance(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(B,) the mean squared difference of images (B, 3, H, W) in [-1, 1], measured on pixels in [0, 1]."""
    return ((x - y) / 2).square().mean((1, 2, 3))


def lpips_alex(path: Path | None = None, device: torch.device | None = None) -> Distance:
    """LPIPS of AlexNet, version 0.1 (Zhang et al. 2018, arXiv:1801.03924), of images (B, 3, H, W) in [-1, 1] -> (B,).

    The heads come with the package `lpips`, AlexNet's convolutions from `path`, by default torchvision's file in
    torch.hub's folder, where it is fetched to once. Raises UserError where it cannot be had or is another file.
    """
    try:
        import lpips
    except ModuleNotFoundError:
        raise UserError("LPIPS needs the package lpips; run: pip install lpips") from None
    kept = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET_URL.rsplit("/", 1)[1]
    content = _fetched_alexnet(kept) if path is None else _read(path)
    if hashlib.sha256(content).hexdigest() not in ALEXNET_SHA256:
        raise UserError(f"{path or kept} is not torchvision's AlexNet (its SHA-256 differs); get {ALEXNET_URL}")
    features = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    with warnings.catch_warnings():  # the package asks torchvision in words of an old version
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
    for name, parameter in network.net.named_parameters():  # slice2.3.weight is features.3.weight
        parameter.data.copy_(features["features." + name.split(".", 1)[1]])
    network.eval().requires_grad_(False).to(device)
    return lambda x, y: network(fit_size(x, 64, 256), fit_size(y, 64, 256)).flatten()


def fit_size(x: torch.Tensor, low: int, high: int) -> torch.Tensor:
    """Square images (B, C, H, H), resized so that H is between `low` and `high`: bilinear, antialiased."""
    size = min(max(x.shape[2], low), high)
    return x if size == x.shape[2] else F.interpolate(x, (size, size), mode="bilinear", antialias=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def _fetched_alexnet(path: Path) -> bytes:
    if path.is_file():
        return _read(path)
    try:
        with urllib.request.urlopen(ALEXNET_URL, timeout=60) as answer:
            content: bytes = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise UserError(
            f"LPIPS needs torchvision's AlexNet, and {ALEXNET_URL} cannot be had ({error}); "
            f"give the file with --alexnet FILE, or put it there: {path}"
        ) from None
    if hashlib.sha256(content).hexdigest() in ALEXNET_SHA256:  # a page that says "blocked" is not kept
        write_bytes(path, content)
    return content


# name, channels in and out, and whether it halves the resolution
BLOCKS = (
    *((f"conv32_{index}", 32, 32, False) for index in (1, 2, 3)),
    ("conv64_down", 32, 64, True), *((f"conv64_{index}", 64, 64, False) for index in (1, 2, 3)),
    ("conv128_down", 64, 128, True), *((f"conv128_{index}", 128, 128, False) for index in (1, 2)),
    ("conv256_down", 128, 256, True), *((f"conv256_{index}", 256, 256, False) for index in (1, 2)),
    ("conv256_down_out", 256, 256, True),
)  # fmt: skip
MEAN_COLOUR = (122.782, 117.001, 104.298)  # of dlib's training faces


class Levels(nn.Module):
    """A tensor as face-api stores it: `levels` times `range[0]` plus `range[1]`, of 256 levels or of floats."""

    levels: torch.Tensor
    range: torch.Tensor

    def __init__(self, *shape: int, dtype: torch.dtype = torch.uint8) -> None:
        super().__init__()
        self.register_buffer("levels", torch.zeros(shape, dtype=dtype))
        self.register_buffer("range", torch.tensor([1.0, 0.0]))

    def forward(self) -> torch.Tensor:
        return self.levels * self.range[0] + self.range[1]


class ScaledConv(nn.Module):
    """A convolution followed by one factor and one summand a channel."""

    def __init__(self, inputs: int, outputs: int, size: int, dtype: torch.dtype = torch.uint8) -> None:
        super().__init__()
        self.filters, self.bias = Levels(outputs, inputs, size, size, dtype=dtype), Levels(outputs)
        self.factor, self.summand = Levels(outputs), Levels(outputs)

    def forward(self, x: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
        factor = self.factor()
        weight, bias = self.filters() * factor[:, None, None, None], self.bias() * factor + self.summand()
        return F.conv2d(x, weight, bias, stride, padding)


class ResidualBlock(nn.Module):
    """(B, inputs, H, W) -> (B, outputs, H, W), or half as high and wide."""

    def __init__(self, inputs: int, outputs: int, halves: bool) -> None:
        super().__init__()
        dtype = torch.float32 if outputs == 64 else torch.uint8  # as in their file
        self.first, self.second = ScaledConv(inputs, outputs, 3, dtype), ScaledConv(outputs, outputs, 3, dtype)
        self.more, self.halves = outputs - inputs, halves

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.first(x, 2, 0) if self.halves else self.first(x, 1, 1))
        y = self.second(y, 1, 1)
        if self.halves:
            x = F.pad(F.avg_pool2d(x, 2), (0, 0, 0, 0, 0, self.more))
            y = F.pad(y, (0, x.shape[3] - y.shape[3], 0, x.shape[2] - y.shape[2]))
        return F.relu(x + y)


@dataclass(frozen=True)
class FaceDescriptorConfig:
    size: int = 128  # of the descriptor


class FaceDescriptor(nn.Module):
    """dlib's face recognition network (a ResNet of 29 layers) with the weights of face-api; only for inference.

    Same person: Euclidean distance of two descriptors below 0.6, says dlib.
    """

    Config = FaceDescriptorConfig
    projection: torch.Tensor
    mean: torch.Tensor

    def __init__(self, config: FaceDescriptorConfig) -> None:
        super().__init__()
        self.config = config
        self.first = ScaledConv(3, 32, 7)
        self.blocks = nn.Sequential(*(ResidualBlock(i, o, halves) for _, i, o, halves in BLOCKS))
        self.register_buffer("projection", torch.zeros(config.size, 256))
        self.register_buffer("mean", torch.tensor(MEAN_COLOUR).view(1, 3, 1, 1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tight crops of faces (B, 3, 150, 150) in [-1, 1] -> descriptors (B, 128)."""
        x = ((x + 1) * 127.5 - self.mean) / 255
        x = F.max_pool2d(F.relu(self.first(x, 2, 0)), 3, 2)
        x = self.blocks(x)
        return F.linear(x.mean((2, 3)), self.projection)


def describe(network: nn.Module, x: torch.Tensor, frame: Frame) -> torch.Tensor:
    """Unit descriptors (B, D) of the faces in aligned images (B, 3, H, H) in [-1, 1]."""
    left, top, right, bottom = (round(share * x.shape[2]) for share in frame.face)
    crop = x[:, :, top:bottom, left:right]
    return F.normalize(network(F.interpolate(crop, (150, 150), mode="bilinear", antialias=True)))
