"""The trainings that peers.py times: tllib's DANN, the DCGAN and the VAE of pytorch/examples, and ours of the same
networks, losses and optimizers in float32.

Ours are the loops of train/ without what the peers' lack (augmentation, averaged weights): data in memory,
channels_last, losses from logits, one forward pass where two are not needed, no waiting for numbers that are only
logged.
"""

import contextlib
import io
import itertools
import os
import struct
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peers_code import SCRIPT, Result, Settings, definitions, run_script, tllib
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from torchvision import transforms

from dlcv.data.digits import read_images, read_labels, split_folder
from dlcv.data.faces import SIZE, face_folder
from dlcv.data.folders import list_images
from dlcv.data.folders import read_images as read_folder
from dlcv.images import save_grid, to_float
from dlcv.models.dann import reversal_strength, reverse_gradient
from dlcv.models.digit_net import TARGET, DigitNet, DigitNetConfig
from dlcv.models.vae import kl_divergence

# DANN: DigitNet with one set of batch-norm statistics, tllib's domain classifier, SGD as in tllib's example.


class WithFeatures(nn.Module):
    """DigitNet as tllib's loop calls a network: images (B, 3, 28, 28) -> class logits and features."""

    def __init__(self) -> None:
        super().__init__()
        self.net = DigitNet(DigitNetConfig())

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.net.extract(x, TARGET)
        return self.net.classifier(features), features


class Dann:
    """The networks and the optimizer, the same for both ways."""

    def __init__(self, peers: Path) -> None:
        torch.manual_seed(0)
        self.model = WithFeatures()
        self.domain = tllib(peers, "modules.domain_discriminator").DomainDiscriminator(
            self.model.net.config.hidden, 256
        )
        parameters = [*self.model.parameters(), *self.domain.parameters()]
        self.optimizer = torch.optim.SGD(parameters, 0.01, momentum=0.9, weight_decay=1e-3, nesterov=True)
        self.schedule = LambdaLR(self.optimizer, lambda step: (1 + 0.001 * step) ** -0.75)


class TheirDann(Dann):
    """tllib's loss and the function train() of its example."""

    def __init__(self, peers: Path) -> None:
        super().__init__(peers)
        self.adversary = tllib(peers, "alignment.dann").DomainAdversarialLoss(self.domain)
        examples = peers / "Transfer-Learning-Library" / "examples" / "domain_adaptation" / "image_classification"
        names = ("ForeverDataIterator", "ImageClassifier", "DomainAdversarialLoss", "SGD", "LambdaLR")  # annotations
        meter = tllib(peers, "utils.meter")
        self.function = definitions(
            examples / "dann.py", {"train"}, **dict.fromkeys(names), argparse=Namespace(Namespace=None), time=time, F=F,
            torch=torch, device=torch.device("cpu"), accuracy=tllib(peers, "utils.metric").accuracy,
            AverageMeter=meter.AverageMeter, ProgressMeter=meter.ProgressMeter,
        ).train  # fmt: skip

    def train(self, source: Iterator[Any], target: Iterator[Any], steps: int) -> None:
        args = Namespace(iters_per_epoch=steps, trade_off=1.0, print_freq=100)
        with contextlib.redirect_stdout(io.StringIO()):
            self.function(source, target, self.model, self.adversary, self.optimizer, self.schedule, 0, args)

    def loss(self, x: torch.Tensor, y: torch.Tensor, x_target: torch.Tensor) -> torch.Tensor:
        logits, features = self.model(torch.cat([x, x_target]))
        return F.cross_entropy(logits[: len(y)], y) + self.adversary(features[: len(y)], features[len(y) :])


class OurDann(Dann):
    def __init__(self, peers: Path) -> None:
        super().__init__(peers)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.domain_logits = nn.Sequential(*list(self.domain)[:-1], self.domain[-1][0])  # without the sigmoid
        self.step = 0

    def loss(self, x: torch.Tensor, y: torch.Tensor, x_target: torch.Tensor) -> torch.Tensor:
        n, strength = len(y), reversal_strength(self.step / 1000, 1.0, 1.0)  # tllib's schedule
        features = self.model.net.extract(torch.cat([x, x_target]).to(memory_format=torch.channels_last), TARGET)
        self.logits = self.model.net.classifier(features[:n])
        self.domains = self.domain_logits(reverse_gradient(features, strength)).squeeze(1)
        self.is_source = torch.cat([torch.ones(n), torch.zeros(len(x_target))])
        return F.cross_entropy(self.logits, y) + F.binary_cross_entropy_with_logits(self.domains, self.is_source)

    def train(self, source: Iterator[Any], target: Iterator[Any], steps: int) -> None:
        log = []
        for _ in range(steps):
            (x, y), (x_target, _) = next(source), next(target)
            loss = self.loss(x, y, x_target)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            self.schedule.step()
            self.step += 1
            right = (self.logits.argmax(1) == y).float().mean()
            log.append(torch.stack([loss.detach(), right, ((self.domains > 0) == (self.is_source > 0)).float().mean()]))
        torch.stack(log).mean(0).tolist()  # what Run logs at times


def dann_step(s: Settings, kind: type[TheirDann] | type[OurDann]) -> Result:
    """Steps on the same tensors. Agreement: the loss after three steps in float64, so of gradients and optimizer, too.

    (In float32 the order of sums shows in the fourth digit after three steps.)
    """
    source, target = (split_folder(s.data, domain, "train") for domain in ("usps", "mnistm"))
    names, others = list_images(source)[: 4 * s.batch], list_images(target)[: 4 * s.batch]
    x, x_target = to_float(read_images(source, names)), to_float(read_images(target, others))
    y = read_labels(s.data, "usps", "train", names)
    torch.set_default_dtype(torch.float64)
    exact = kind(s.peers)
    some = x[:8].double(), y[:8], x_target[:8].double()
    exact.train(itertools.repeat(some[:2]), itertools.repeat((some[2], y[:8])), steps=3)
    agreed = float(exact.loss(*some).detach())
    torch.set_default_dtype(torch.float32)

    training = kind(s.peers)
    batches = itertools.cycle([*zip(x.split(s.batch), y.split(s.batch), strict=True)])
    targets = itertools.cycle([(images, y[: s.batch]) for images in x_target.split(s.batch)])
    training.train(batches, targets, steps=3)  # warm-up
    started = time.perf_counter()
    training.train(batches, targets, s.steps)
    return time.perf_counter() - started, [agreed]


def their_dann_step(s: Settings) -> Result:
    return dann_step(s, TheirDann)


def our_dann_step(s: Settings) -> Result:
    return dann_step(s, OurDann)


def their_dann_epoch(s: Settings) -> Result:
    """tllib's ImageList and ForeverDataIterator, its example's two worker processes; images are not augmented."""
    lists, loaders, means = tempfile.TemporaryDirectory(), [], []
    for domain in ("usps", "mnistm"):
        folder = split_folder(s.data, domain, "train")
        names = list_images(folder)[: s.batch * s.steps]
        labels = (
            read_labels(s.data, domain, "train", names)
            if domain == "usps"
            else torch.zeros(len(names), dtype=torch.int64)
        )
        lines = [f"{name} {label}" for name, label in zip(names, labels.tolist(), strict=True)]
        (Path(lists.name) / domain).write_text("\n".join(lines) + "\n")
    image_list, forever = tllib(s.peers, "vision.datasets.imagelist"), tllib(s.peers, "utils.data")
    training, classes = TheirDann(s.peers), [str(digit) for digit in range(10)]
    started = time.perf_counter()
    for domain in ("usps", "mnistm"):
        root, file = str(split_folder(s.data, domain, "train")), str(Path(lists.name) / domain)
        data = image_list.ImageList(root, classes, file, transforms.ToTensor())
        loader = DataLoader(data, s.batch, shuffle=True, num_workers=2, drop_last=True)
        loaders.append(forever.ForeverDataIterator(loader))
    training.train(loaders[0], loaders[1], s.steps)
    seconds = time.perf_counter() - started
    for loader in loaders:
        data = loader.data_loader.dataset
        means.append(float(torch.stack([data[index][0] for index in range(s.batch)]).double().mean()))
    return seconds, means


def our_dann_epoch(s: Settings) -> Result:
    """All files decoded first, without the cache that train_dann.py takes at its second call."""
    training, feeds, means = OurDann(s.peers), [], []
    started = time.perf_counter()
    for domain in ("usps", "mnistm"):
        folder = split_folder(s.data, domain, "train")
        names = list_images(folder)[: s.batch * s.steps]
        images = read_images(folder, names)
        labels = (
            read_labels(s.data, domain, "train", names)
            if domain == "usps"
            else torch.zeros(len(names), dtype=torch.int64)
        )
        feeds.append(batches_of(images, labels, s.batch))
        means.append(float(to_float(images[: s.batch]).double().mean()))
    training.train(feeds[0], feeds[1], s.steps)
    return time.perf_counter() - started, means


def batches_of(images: torch.Tensor, labels: torch.Tensor, batch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    while True:
        for rows in torch.randperm(len(images)).split(batch)[: len(images) // batch]:
            yield to_float(images[rows]), labels[rows]


# DCGAN of pytorch/examples: its networks, binary cross entropy, Adam.


class Batches(list[Any]):
    """In the place of a DataLoader: batches in memory. Notes when each was asked for, and the losses of the first."""

    def __iter__(self) -> Iterator[Any]:
        self.times: list[float] = []
        self.losses: list[float] = []
        for index, batch in enumerate(super().__iter__()):
            if index == 1:
                script = sys.modules[SCRIPT]
                self.losses = [script.errD.item(), script.errG.item()]
            self.times.append(time.perf_counter())
            yield batch
        self.times.append(time.perf_counter())


def face_folder_of(s: Settings, place: Path) -> Path:
    """As many training faces as the steps take, as links in a folder's folder, which is what ImageFolder reads."""
    source = face_folder(s.data, "train").resolve()
    folder = place / "all" / "faces"
    folder.mkdir(parents=True)
    for name in list_images(source)[: s.batch * s.steps]:
        (folder / name).symlink_to(source / name)
    return folder


def their_dcgan(s: Settings, folder: Path, out: Path) -> Any:
    words = ("--dataset", "folder", "--dataroot", folder.parent, "--batchSize", s.batch, "--niter", 1)
    return run_script(s.peers / "examples" / "dcgan" / "main.py", *words, "--manualSeed", 1, "--outf", out)


def their_dcgan_step(s: Settings) -> Result:
    """Its script on batches in memory, the first step not timed. Agreement: the losses of the first step in float64.

    (The generator's loss follows a step of Adam, which makes rounding of float32 visible in the fifth digit.)
    """
    with tempfile.TemporaryDirectory() as place:
        folder = face_folder_of(s, Path(place))
        images = read_folder(folder, list_images(folder), SIZE)

        def run(dtype: torch.dtype, some: torch.Tensor) -> Batches:
            torch.set_default_dtype(dtype)
            batches = Batches((to_float(part).to(dtype) * 2 - 1, None) for part in some.split(s.batch))
            torch.utils.data.DataLoader = lambda *_, **__: batches  # type: ignore[assignment,misc]
            their_dcgan(s, folder, Path(place))
            return batches

        exact = run(torch.float64, images[: 2 * s.batch])
        batches = run(torch.float32, images)
    return batches.times[-1] - batches.times[1], exact.losses


def their_dcgan_epoch(s: Settings) -> Result:
    """Its script as it is, with its two worker processes: dataset, networks, an epoch, two grids, two checkpoints."""
    with tempfile.TemporaryDirectory() as place:
        folder = face_folder_of(s, Path(place))
        started = time.perf_counter()
        script = their_dcgan(s, folder, Path(place))
        seconds = time.perf_counter() - started
        some = torch.stack([script.dataset[index][0] for index in range(s.batch)])
    return seconds, [float(some.double().mean())]


class OurDcgan:
    def __init__(self, s: Settings) -> None:
        torch.manual_seed(1)
        path = s.peers / "examples" / "dcgan" / "main.py"
        names = {"Generator", "Discriminator", "weights_init"}
        theirs = definitions(path, names, nn=nn, torch=torch, nz=100, ngf=64, ndf=64, nc=3)
        self.g = theirs.Generator(1).apply(theirs.weights_init).to(memory_format=torch.channels_last)
        self.d = theirs.Discriminator(1).apply(theirs.weights_init).to(memory_format=torch.channels_last)
        self.logits = nn.Sequential(*self.d.main[:-1], nn.Flatten(0))  # without the sigmoid
        self.fixed = torch.randn(s.batch, 100, 1, 1)
        self.optimizer_g = torch.optim.Adam(self.g.parameters(), 2e-4, betas=(0.5, 0.999))
        self.optimizer_d = torch.optim.Adam(self.d.parameters(), 2e-4, betas=(0.5, 0.999))

    def step(self, real: torch.Tensor) -> torch.Tensor:
        """One step on faces (B, 3, 64, 64) in [-1, 1] -> (5,): both losses and D's mean probabilities, as a tensor."""
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        # 1. D: real up, fake down.
        fake = self.g(torch.randn(len(real), 100, 1, 1))
        real_logits = self.logits(real.contiguous(memory_format=torch.channels_last))
        fake_logits = self.logits(fake.detach())
        loss_d = F.binary_cross_entropy_with_logits(real_logits, ones)
        loss_d = loss_d + F.binary_cross_entropy_with_logits(fake_logits, zeros)
        self.optimizer_d.zero_grad()
        loss_d.backward()
        self.optimizer_d.step()
        # 2. G: fake up.
        self.d.requires_grad_(False)
        again = self.logits(fake)
        loss_g = F.binary_cross_entropy_with_logits(again, ones)
        self.optimizer_g.zero_grad()
        loss_g.backward()
        self.optimizer_g.step()
        self.d.requires_grad_(True)
        answers = [logits.detach().sigmoid().mean() for logits in (real_logits, fake_logits, again)]
        return torch.stack([loss_d.detach(), loss_g.detach(), *answers])


def our_dcgan_step(s: Settings) -> Result:
    folder = face_folder(s.data, "train")
    images = read_folder(folder, list_images(folder)[: s.batch * s.steps], SIZE)
    first, *rest = (to_float(some) * 2 - 1 for some in images.split(s.batch))
    torch.set_default_dtype(torch.float64)
    losses = OurDcgan(s).step(first.double())[:2].tolist()
    torch.set_default_dtype(torch.float32)
    gan = OurDcgan(s)
    gan.step(first)  # warm-up
    started = time.perf_counter()
    torch.stack([gan.step(real) for real in rest]).tolist()
    return time.perf_counter() - started, losses


def our_dcgan_epoch(s: Settings) -> Result:
    with tempfile.TemporaryDirectory() as place:
        folder, log = face_folder_of(s, Path(place)), []
        started = time.perf_counter()
        images = read_folder(folder, list_images(folder), SIZE)
        gan = OurDcgan(s)
        for rows in torch.randperm(len(images)).split(s.batch):
            real = to_float(images[rows]) * 2 - 1
            log.append(gan.step(real))
            if len(log) == 1:
                with torch.no_grad():
                    save_grid(Path(place) / "real.png", real)
                    save_grid(Path(place) / "fake.png", gan.g(gan.fixed))
        torch.stack(log).tolist()
        for name, network in (("g", gan.g), ("d", gan.d)):
            torch.save(network.state_dict(), Path(place) / f"{name}.pth")
        seconds = time.perf_counter() - started
    return seconds, [float((to_float(images[: s.batch]) * 2 - 1).double().mean())]


# VAE of pytorch/examples: its network and loss, Adam. It reads MNIST, which takes a network; here USPS has its place.


def grey_digits(s: Settings) -> torch.Tensor:
    folder = split_folder(s.data, "usps", "train")
    return read_images(folder, list_images(folder))[:, :1]


def write_mnist(place: Path, images: torch.Tensor, count: int) -> None:
    """The four files that torchvision's MNIST reads, and does not fetch where they are."""
    place.mkdir(parents=True)
    for split, some in (("train", images), ("t10k", images[:count])):
        header = struct.pack(">4i", 2051, len(some), *some.shape[2:])
        (place / f"{split}-images-idx3-ubyte").write_bytes(header + some.numpy().tobytes())
        (place / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, len(some)) + bytes(len(some)))


def their_vae_epoch(s: Settings) -> Result:
    """Its function train(), epoch by epoch. Agreement: the loss of the first batch."""
    images = grey_digits(s)
    with tempfile.TemporaryDirectory() as place:
        write_mnist(Path(place) / "data" / "MNIST" / "raw", images, s.batch)
        (Path(place) / "work").mkdir()
        os.chdir(Path(place) / "work")  # it reads ../data
        vae = s.peers / "examples" / "vae" / "main.py"
        script = run_script(vae, "--no-accel", "--batch-size", s.batch)
        torch.manual_seed(0)
        x = to_float(images[: s.batch])
        agreed = float(script.loss_function(*_reordered(x, *script.model(x))).detach()) / s.batch
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            for epoch in range(s.steps):
                script.train(epoch)
        seconds = time.perf_counter() - started
        os.chdir("/")
    return seconds, [agreed]


def _reordered(x: torch.Tensor, recon: torch.Tensor, mu: torch.Tensor, logvar: torch.Tensor) -> tuple[Any, ...]:
    return recon, x, mu, logvar


def our_vae_epoch(s: Settings) -> Result:
    images = grey_digits(s)
    torch.manual_seed(1)
    theirs = definitions(s.peers / "examples" / "vae" / "main.py", {"VAE"}, nn=nn, F=F, torch=torch)
    model = theirs.VAE()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def loss_of(x: torch.Tensor) -> torch.Tensor:
        recon, mu, logvar = model(x)
        return F.binary_cross_entropy(recon, x.flatten(1), reduction="sum") + kl_divergence(mu, logvar).sum()

    torch.manual_seed(0)
    agreed = float(loss_of(to_float(images[: s.batch])).detach()) / s.batch
    started = time.perf_counter()
    for _ in range(s.steps):
        log = []
        for rows in torch.randperm(len(images)).split(s.batch):
            loss = loss_of(to_float(images[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            log.append(loss.detach())
        float(torch.stack(log).sum())
    return time.perf_counter() - started, [agreed]
