"""Times the GAN's training step, trick by trick, beginning with the PyTorch tutorial's loop around the same network.

    python experiments/benchmark_gan.py --data data/hw3_data     # on a quiet machine; about five minutes

Every line trains the same two networks, for each of two choices of them: train_gan.py's and the tutorial's own.
"""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import torch
    import torch.nn.functional as F
    from benchmark_training import from_files
    from torch import nn
    from torchvision import transforms
    from tutorial_dcgan import discriminator

    from dlcv.averaging import ema
    from dlcv.data import augment
    from dlcv.data.faces import face_folder, read_faces
    from dlcv.images import to_float
    from dlcv.losses import discriminator_loss, generator_loss
    from dlcv.models.gan import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig

Step = Callable[[torch.Tensor], None]


# The tutorial's images: PIL files from disk, resized, cropped, normalised one by one.
TRANSFORM = transforms.Compose(
    [
        transforms.Resize(64),
        transforms.CenterCrop(64),
        transforms.ToTensor(),
        transforms.Normalize((0.5,) * 3, (0.5,) * 3),
    ]
)


def from_memory(images: torch.Tensor, batch_size: int) -> Iterator[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    while True:
        rows = torch.randint(len(images), (batch_size,), generator=generator)
        yield augment.random_flips(to_float(images[rows]) * 2 - 1, generator)


def tutorials_step(g: Generator, d: nn.Module, memory: torch.memory_format) -> Step:
    """As pytorch.org/tutorials/beginner/dcgan_faces_tutorial.html: three backward passes, BCE, float32."""
    optimizer_g = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    optimizer_d = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999))

    def step(real: torch.Tensor) -> None:
        ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
        d.zero_grad()
        F.binary_cross_entropy_with_logits(d(real.to(memory_format=memory)), ones).backward()
        fake = g(torch.randn(len(real), g.config.latent_dim))
        F.binary_cross_entropy_with_logits(d(fake.detach()), zeros).backward()
        optimizer_d.step()
        g.zero_grad()
        F.binary_cross_entropy_with_logits(d(fake), ones).backward()
        optimizer_g.step()

    return step


def our_step(g: Generator, d: nn.Module, memory: torch.memory_format, bf16: bool) -> Step:
    """train_gan.py's: hinge loss, D spared its own gradients in G's turn, the generator averaged."""
    average = ema(g, 0.999)
    optimizer_g = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.0, 0.99))
    optimizer_d = torch.optim.Adam(d.parameters(), lr=4e-4, betas=(0.0, 0.99))

    def step(real: torch.Tensor) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            fake = g(torch.randn(len(real), g.config.latent_dim)).float()
            logits_real, logits_fake = d(real.to(memory_format=memory)).float(), d(fake.detach()).float()
        optimizer_d.zero_grad()
        discriminator_loss(logits_real, logits_fake).backward()
        optimizer_d.step()
        d.requires_grad_(False)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss_g = generator_loss(d(fake).float())
        optimizer_g.zero_grad()
        loss_g.backward()
        optimizer_g.step()
        d.requires_grad_(True)
        average.update_parameters(g)

    return step


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the faces (default: hw3_data or data/hw3_data)")
    parser.add_argument("--steps", type=int, default=10, help="timed steps of each variant (default: 10)")
    parser.add_argument(
        "--threads",
        type=int,
        nargs="+",
        default=[2, 1],
        help="numbers of threads to time with, one after the other (default: 2 1)",
    )
    args = parser.parse_args()
    folder = face_folder(args.data, "train")
    images = read_faces(args.data, "train")[1]

    def measure(name: str, threads: int, network: str, workers: int | None, ours: bool, last: bool, bf16: bool) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        g, d, batch = (
            (Generator(GeneratorConfig(128, 48)), Discriminator(DiscriminatorConfig(32)), 64)
            if network == "ours"
            else (Generator(GeneratorConfig(100, 64)), discriminator(64), 128)
        )
        memory = torch.channels_last if last else torch.contiguous_format
        for player in (g, d):
            player.to(memory_format=memory)
        step = our_step(g, d, memory, bf16) if ours else tutorials_step(g, d, memory)
        feed = from_memory(images, batch) if workers is None else from_files(folder, batch, workers, TRANSFORM)
        for _ in range(3):  # warm-up: worker start, oneDNN's caches
            step(next(feed))
        started = time.perf_counter()
        for _ in range(args.steps):
            step(next(feed))
        seconds = (time.perf_counter() - started) / args.steps
        print(f"| {network} | {name} | {threads} | {1000 * seconds:.0f} | {batch / seconds:.0f} |", flush=True)

    print("| network | variant | threads | ms a step | faces a second |\n|---|---|---|---|---|")
    for threads in args.threads:
        for network in ("ours", "tutorial's"):
            measure("the tutorial's loop, DataLoader without workers", threads, network, 0, False, False, False)
            measure("the tutorial's loop, DataLoader with 2 workers", threads, network, 2, False, False, False)
            measure("faces in memory", threads, network, None, False, False, False)
            measure("… and train_gan.py's step", threads, network, None, True, False, False)
            measure("… and channels_last", threads, network, None, True, True, False)
            measure("… and bf16 (what train_gan.py does, with AVX-512)", threads, network, None, True, True, True)


if __name__ == "__main__":
    cli.run(main, "benchmark_gan.py")
