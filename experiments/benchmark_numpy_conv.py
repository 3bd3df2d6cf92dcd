"""CPU time of the NumPy Conv2D against torch's and against naive loops: 3 → 32 channels, k 5, padding 2, 50 images.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python experiments/benchmark_numpy_conv.py

Forward and backward, the best of some rounds, the two in turn. The loops run on two of the fifty images.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    import torch.nn.functional as F

    from dlcv.cs7643.part1.modules import Conv2D


def naive(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, dout: np.ndarray) -> None:
    """Forward and backward with a loop over images, filters and output pixels (stride 1, padding 2)."""
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
    out, dpadded, dw = np.empty_like(dout), np.zeros_like(padded), np.zeros_like(weight)
    for n, o, i, j in np.ndindex(*dout.shape):
        window = padded[n, :, i : i + 5, j : j + 5]
        out[n, o, i, j] = (window * weight[o]).sum() + bias[o]
        dw[o] += dout[n, o, i, j] * window
        dpadded[n, :, i : i + 5, j : j + 5] += dout[n, o, i, j] * weight[o]


def seconds(function: Callable[[], None]) -> float:
    started = time.process_time()
    function()
    return time.process_time() - started


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds, of which the best counts (default: 15)")
    args = parser.parse_args()
    if args.rounds < 1:
        raise cli.UsageError(f"--rounds {args.rounds}: must be at least 1")
    rng = np.random.RandomState(0)
    print("| dtype | NumPy, ms | torch, ms | ratio | loops, ms (from 2 images) | ratio |\n|---|---|---|---|---|---|")
    for dtype in (np.float64, np.float32):
        layer = Conv2D(3, 32, 5, 1, 2)
        layer.weight, layer.bias = layer.weight.astype(dtype), layer.bias.astype(dtype)
        x, dout = rng.randn(50, 3, 32, 32).astype(dtype), rng.randn(50, 32, 32, 32).astype(dtype)
        tensors = [torch.tensor(a, requires_grad=True) for a in (x, layer.weight, layer.bias)]
        gradient = torch.tensor(dout)

        def ours(layer: Conv2D = layer, x: np.ndarray = x, dout: np.ndarray = dout) -> None:
            layer.forward(x)
            layer.backward(dout)

        def torchs(tensors: list[torch.Tensor] = tensors, gradient: torch.Tensor = gradient) -> None:
            out = F.conv2d(tensors[0], tensors[1], tensors[2], padding=2)
            torch.autograd.grad(out, tensors, gradient)

        times: list[list[float]] = [[], []]
        for _ in range(args.rounds):
            times[0].append(seconds(ours))
            times[1].append(seconds(torchs))
        numpy_ms, torch_ms = (1000 * min(t) for t in times)
        two, two_out = x[:2], dout[:2]
        loops = 25_000 * seconds(lambda a=two, w=layer.weight, b=layer.bias, d=two_out: naive(a, w, b, d))  # type: ignore[misc]
        print(
            f"| {np.dtype(dtype).name} | {numpy_ms:.0f} | {torch_ms:.0f} | {numpy_ms / torch_ms:.2f} | {loops:.0f} | "
            f"{loops / numpy_ms:.0f} |"
        )


if __name__ == "__main__":
    cli.run(main, "benchmark_numpy_conv.py")
