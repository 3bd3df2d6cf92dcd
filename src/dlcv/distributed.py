"""One training on several processes, started by torchrun: every process trains on its own rows of each batch.

All processes draw the whole batch from the step's generator and keep every N-th row of it (`part`), so that together
they see exactly the images, flips and noise of one process. DistributedDataParallel averages the gradients
(`parallel`). Process 0 alone evaluates, logs and saves (dlcv.trainer.Run). With one process, which is the rule, every
function here hands back what it was given. What is exact and what is not: docs/scaling.md.
"""

import atexit
import gc
import importlib
import os
import warnings
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from dlcv import repro
from dlcv.cli import UsageError, UserError

T = TypeVar("T")
LONGEST_EVALUATION = timedelta(hours=2)  # by process 0, while the others wait for it


def started_by_torchrun() -> int:
    """How many processes torchrun started; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1


def start(*batch_sizes: int) -> torch.device:
    """The device of this process, which joins the other ones where torchrun started several.

    Raises UsageError where a batch cannot be shared out equally.
    """
    device, processes = repro.choose_device(), started_by_torchrun()
    if processes == 1:
        return device
    for size in batch_sizes:
        if size % processes or size < 2 * processes:
            raise UsageError(f"a batch of {size} does not split over {processes} processes: it must be a multiple of "
                             f"{processes}, with two images or more for each")  # fmt: skip
    if device.type == "cuda":
        local = int(os.environ["LOCAL_RANK"])
        if local >= torch.cuda.device_count():
            raise UsageError(f"a process needs a GPU of its own: --nproc-per-node {torch.cuda.device_count()}")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    warnings.filterwarnings("ignore", "Grad strides do not match")  # costs a copy, changes nothing
    if not dist.is_initialized():
        # First: imported later, by an optimizer, its functions' default arguments would keep the group for ever.
        importlib.import_module("torch.distributed.nn")
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_EVALUATION)
        atexit.register(_leave)
    return device


def _leave() -> None:
    """Ends gloo's threads, which the last reference to the group does, while the interpreter is whole.

    A thread that lives on may let go of a tensor when the interpreter is half gone, and that aborts the process.
    """
    gc.collect()  # DistributedDataParallel refers to the group, and to itself in a circle
    dist.destroy_process_group()


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0. Process 0 evaluates, logs and saves."""
    return dist.get_rank() if dist.is_initialized() else 0


def part(batch: torch.Tensor) -> torch.Tensor:
    """Of a whole batch (B, …), the rows of this process: every N-th; where B is smaller than N, at least one.

    Every N-th, because StyleGAN2's discriminator takes deviations over rows that lie B / 4 apart: they stay together.
    """
    if world_size() == 1:
        return batch
    rows = batch[rank() :: world_size()]
    return rows if len(rows) else batch[:1]


def share(size: int) -> float:
    """What the mean over this process's part of a batch of `size` is multiplied by; 1.0 where the parts are alike.

    The mean over the processes of such products is the mean over the whole batch.
    """
    return len(range(rank(), size, world_size())) * world_size() / size


def gather(rows: torch.Tensor) -> torch.Tensor:
    """The whole batch (B, …) of which each process has a part of the same size; without gradients."""
    if world_size() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.stack(parts, dim=1).flatten(0, 1)


def mean(value: torch.Tensor) -> torch.Tensor:
    """The mean over the processes, of a tensor without gradients."""
    if world_size() == 1 or not value.numel():
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / world_size()


def any_process(*flags: bool) -> tuple[bool, ...]:
    """For each flag, whether it is set in any process."""
    if world_size() == 1:
        return flags
    numbers = torch.tensor(flags, dtype=torch.int32)
    dist.all_reduce(numbers, dist.ReduceOp.MAX)
    return tuple(bool(number) for number in numbers)


def on_first(function: Callable[[], T]) -> T:
    """What process 0 gets from `function`, in all processes; a UserError there ends all, reported by process 0."""
    if world_size() == 1:
        return function()
    error: UserError | None = None
    result: list[Any] = [None, 0]
    if rank() == 0:
        try:
            result[0] = function()
        except UserError as problem:
            error, result[1] = problem, problem.exit_code
    dist.broadcast_object_list(result, device=torch.device("cpu"))
    if error:
        raise error
    if result[1]:
        raise SystemExit(result[1])
    return result[0]


class _Methods(nn.Module):
    """DistributedDataParallel wraps `forward` alone; this one's forward calls any method of `module`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, method: str, *args: Any, **options: Any) -> Any:
        return getattr(self.module, method)(*args, **options)


class _Parallel:
    """A network all of whose methods go through DistributedDataParallel."""

    def __init__(self, module: nn.Module, some_unused: bool) -> None:
        self.through = DistributedDataParallel(
            _Methods(module), forward_sync_buffers=False, find_unused_parameters=some_unused
        )

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.through("__call__", *args, **options)

    def __getattr__(self, method: str) -> Any:
        return partial(self.through, method)


Network = TypeVar("Network", bound=nn.Module)


def parallel(module: Network, some_unused: bool = False) -> Network:
    """The network to call where its parameters shall learn: backward() then averages gradients over the processes.

    Call the bare `module` for everything else: where it is frozen, to evaluate, to save. Only on GPUs `nn.BatchNorm*`
    becomes SyncBatchNorm, in place; PyTorch has none for CPUs. `some_unused`: not every parameter gets a gradient at
    every step. With one process it is `module` itself.
    """
    if world_size() == 1:
        return module
    if next(module.parameters()).is_cuda:
        nn.SyncBatchNorm.convert_sync_batchnorm(module)
    return cast(Network, _Parallel(module, some_unused))
