"""Seeds, device and noise: the only owner of global state."""

import random

import numpy as np
import torch


def choose_device() -> torch.device:
    """CUDA where there is a GPU, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def bf16(device: torch.device, wanted: bool = True) -> torch.autocast:
    """Autocast to bfloat16 inside a `with`, where it is `wanted` and the processor or GPU computes in it.

    Elsewhere it would be far slower than float32: without AVX-512 PyTorch's convolutions take some 20 times as long
    (docs/LOG.md, "A machine without AVX-512: bfloat16"), GPUs older than Ampere emulate it. (AVX-512 without its
    bfloat16 instructions: float32's speed.)
    """
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted and native)


def exact_float32() -> None:
    """No TF32 and no algorithm search on GPUs, so that float32 means the same on every machine."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def seed_everything(seed: int) -> None:
    """Seeds Python, NumPy and torch; what draws without a generator of its own becomes repeatable."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def seed_step(seed: int, step: int) -> torch.Generator:
    """Seeds torch's global streams for one training step and returns a CPU generator for its draws.

    Randomness that depends on (seed, step) alone lets a resumed run continue bit for bit without a saved state.
    """
    mixed = int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    torch.manual_seed(mixed)
    return torch.Generator().manual_seed(mixed)


def noise(seed: int, *shape: int) -> torch.Tensor:
    """Standard normal float64 noise from numpy.random.RandomState, whose stream never changes between versions."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape))
