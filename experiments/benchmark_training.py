"""Times DANN's training step, trick by trick, beginning with the usual way (DataLoader, PIL, torchvision transforms).

    python experiments/benchmark_training.py --data data/hw3_data     # on a quiet machine; about five minutes

Every line trains the same network with the same losses on USPS and MNIST-M; what differs is named.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import torch
    import torch.nn.functional as F
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from dlcv.data.augment import augment_digits
    from dlcv.data.digits import read_folder, split_folder
    from dlcv.data.folders import list_images
    from dlcv.images import to_float
    from dlcv.models.dann import DomainClassifier
    from dlcv.models.digit_net import SOURCE, TARGET, DigitNet, DigitNetConfig


class Files(Dataset[Any]):
    """PIL images from disk, transformed one by one."""

    def __init__(self, folder: Path, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.paths = [folder / name for name in list_images(folder)]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(Image.open(self.paths[index]).convert("RGB"))


def from_files(
    folder: Path, batch_size: int, workers: int, transform: Callable[[Image.Image], torch.Tensor]
) -> Iterator[torch.Tensor]:
    while True:
        data = Files(folder, transform)
        yield from DataLoader(data, batch_size, shuffle=True, num_workers=workers, drop_last=True)


AUGMENTATION = transforms.Compose(
    [
        transforms.RandomAffine(10, translate=(0.07, 0.07), scale=(0.8, 1.2), shear=10),
        transforms.ColorJitter(0.3, 0.3),
        transforms.RandomInvert(),
        transforms.ToTensor(),
    ]
)


def from_memory(folder: Path, batch_size: int) -> Iterator[torch.Tensor]:
    images, generator = read_folder(folder)[1], torch.Generator().manual_seed(0)
    while True:
        rows = torch.randint(len(images), (batch_size,), generator=generator)
        yield augment_digits(to_float(images[rows]), generator)


def step_function(channels_last: bool, bf16: bool, compiled: bool) -> Callable[[torch.Tensor, torch.Tensor], None]:
    model, tell_domain = DigitNet(DigitNetConfig()), DomainClassifier()
    memory = torch.channels_last if channels_last else torch.contiguous_format
    model.to(memory_format=memory)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW([*model.parameters(), *tell_domain.parameters()], 1e-3)

    def losses(x_source: torch.Tensor, x_target: torch.Tensor) -> torch.Tensor:
        f_source, f_target = model.extract(x_source, SOURCE), model.extract(x_target, TARGET)
        logits = model.classifier(f_source)
        domain = tell_domain(torch.cat([f_source, f_target]), 0.1).float()
        y = torch.arange(len(x_source)) % 10
        is_source = (torch.arange(len(domain)) < len(x_source)).float()
        return F.cross_entropy(logits.float(), y) + F.binary_cross_entropy_with_logits(domain, is_source)

    run = torch.compile(losses) if compiled else losses

    def step(x_source: torch.Tensor, x_target: torch.Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = run(x_source.to(memory_format=memory), x_target.to(memory_format=memory))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the digits (default: hw3_data or data/hw3_data)")
    parser.add_argument("--steps", type=int, default=40, help="timed steps of each network (default: 40)")
    args = parser.parse_args()
    source, target = (split_folder(args.data, domain, "train") for domain in ("usps", "mnistm"))

    def measure(
        name: str, threads: int, batch: int, workers: int | None, last: bool, bf16: bool, compiled: bool
    ) -> None:
        torch.set_num_threads(threads)
        feed = (
            (from_memory(source, batch), from_memory(target, batch))
            if workers is None
            else tuple(from_files(folder, batch, workers, AUGMENTATION) for folder in (source, target))
        )
        step = step_function(last, bf16, compiled)
        for _ in range(5):  # warm-up: compilation, worker start, oneDNN's caches
            step(next(feed[0]), next(feed[1]))
        started = time.perf_counter()
        for _ in range(args.steps):
            step(next(feed[0]), next(feed[1]))
        seconds = (time.perf_counter() - started) / args.steps
        print(
            f"| {name} | {threads} | {batch} + {batch} | {1000 * seconds:.0f} | {2 * batch / seconds:.0f} |", flush=True
        )

    print("| variant | threads | batch | ms a step | images a second |\n|---|---|---|---|---|")
    for threads in (2, 1):
        measure("usual: PIL files, DataLoader without workers", threads, 64, 0, False, False, False)
        measure("usual: PIL files, DataLoader with 2 workers", threads, 64, 2, False, False, False)
        measure("images in memory, augmented as tensors", threads, 64, None, False, False, False)
        measure("… and channels_last", threads, 64, None, True, False, False)
        measure("… and bf16 (what train_dann.py does, with AVX-512)", threads, 64, None, True, True, False)
        measure("… and bf16, torch.compile", threads, 64, None, True, True, True)
        measure("… and bf16, larger batch", threads, 256, None, True, True, False)


if __name__ == "__main__":
    cli.run(main, "benchmark_training.py")
