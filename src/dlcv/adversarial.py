"""What adversarial trainings share: two players with an optimiser each, and the average of the generator."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from dlcv.checkpoint import load_model, save_checkpoint

G = TypeVar("G", bound=nn.Module)
D = TypeVar("D", bound=nn.Module)


class Players(Generic[G, D]):
    """Generator `g`, discriminator `d`, Adam for each, and `averaged`: g's exponential moving average, in eval mode.

    `recipe` is a training's Recipe: of it, lr_g, lr_d, beta1, ema, steps and decay are used here. `average_buffers`:
    batch norm's statistics are averaged too; without, use `dlcv.averaging.settle`.
    """

    def __init__(self, g: G, d: D, recipe: Any, beta2: float, average_buffers: bool = True) -> None:
        self.g, self.d, self.recipe = g, d, recipe
        self.average = AveragedModel(g, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema), use_buffers=average_buffers)
        self.averaged = cast(G, self.average.module).eval()
        self.optimizer_g = torch.optim.Adam(g.parameters(), lr=recipe.lr_g, betas=(recipe.beta1, beta2))
        self.optimizer_d = torch.optim.Adam(d.parameters(), lr=recipe.lr_d, betas=(recipe.beta1, beta2))

    def state(self) -> dict[str, Any]:
        """What a training saves to go on from: dlcv.trainer.run_steps."""
        names = ("g", "d", "average", "optimizer_g", "optimizer_d")
        return {name: getattr(self, name) for name in names}

    def set_learning_rates(self, step: int) -> None:
        """Both constant, then falling to 0 over the last `decay` of the steps."""
        r = self.recipe
        factor = min(1.0, (1 - step / r.steps) / r.decay) if r.decay else 1.0
        for optimizer, lr in ((self.optimizer_g, r.lr_g), (self.optimizer_d, r.lr_d)):
            for group in optimizer.param_groups:
                group["lr"] = lr * factor

    def step_d(self, loss: torch.Tensor) -> None:
        """One step of D down `loss`."""
        self.optimizer_d.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer_d.step()

    @contextmanager
    def frozen_d(self) -> Iterator[None]:
        """Inside, D hands gradients on to G and computes none for itself."""
        self.d.requires_grad_(False)
        yield
        self.d.requires_grad_(True)

    def step_g(self, loss: torch.Tensor) -> None:
        """One step of G down `loss`, and of its average."""
        self.optimizer_g.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer_g.step()
        self.average.update_parameters(self.g)


def keep_last_snapshot(cls: type[nn.Module], out: Path, recipe: Any, counts: dict[str, int]) -> None:
    """Writes out/model.pth, a `cls`, from the last step's snapshot, with recipe and data counts; prints one line."""
    kept = load_model(cls, out / "snapshots" / f"step_{recipe.steps:06d}.pth")
    provenance = {"recipe": asdict(recipe), "step": recipe.steps, "selection": "last step", "data": counts}
    save_checkpoint(out / "model.pth", kept, provenance)
    print(f"{out / 'model.pth'}: {recipe.steps} steps")
