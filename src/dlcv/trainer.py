"""run_steps: counts, logs, saves and resumes. It knows no model, optimizer, loss or device."""

import fcntl
import json
import math
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from dlcv.cli import UserError
from dlcv.files import atomic_path, check_writable


class Stateful(Protocol):
    """Whatever a run must save to go on: models, optimizers, schedules, averages."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


class Interrupted(UserError):
    """SIGTERM or SIGINT arrived; the run was saved."""

    exit_code = 130


def run_steps(
    train_step: Callable[[int, Any], Mapping[str, torch.Tensor]],
    batches: Callable[[int], Any],
    *,
    steps: int,
    out: Path,
    recipe: Mapping[str, Any],
    state: Mapping[str, Stateful],
    resume: bool = False,
    evaluate: Callable[[int], Mapping[str, float | np.ndarray]] | None = None,
    evaluate_every: int = 500,
    log_every: int = 50,
    save_seconds: float = 240.0,
) -> None:
    """Calls `train_step(step, batches(step))` for step = 0 … steps - 1.

    `train_step` returns 0-d tensors, whose means over `log_every` steps go to out/log.jsonl (one JSON line each) and
    TensorBoard; so do the numbers of `evaluate(done)`, called after every `evaluate_every` steps and the last one. Its
    pictures, (H, W, 3) uint8, go to TensorBoard alone.
    `state` is saved to out/last.pt at least every five minutes, at the end, and when SIGTERM or SIGINT arrives. With
    `resume` the run continues from there; it ends with the same bits as one that was never stopped, provided that
    `batches` and `train_step` draw all randomness from the step (dlcv.repro.seed_step).

    `recipe` (plain values) is saved with the run, and a run is only ever resumed under its own. With `resume` and
    nothing saved yet, it starts from step 0.
    Raises UserError when `out` holds another run or is being trained in by another process, and at a non-finite value
    (the last good save is kept).
    """
    last, log = out / "last.pt", out / "log.jsonl"
    check_writable(last)
    lock = (out / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UserError(f"another process is training in {out}") from None
    step, totals, count, seconds_before = 0, {}, 0, 0.0  # type: int, dict[str, torch.Tensor], int, float
    if resume and last.exists():
        saved = torch.load(last, map_location="cpu", weights_only=True)
        other = [f"{name} {saved['recipe'].get(name)}" for name in recipe if saved["recipe"].get(name) != recipe[name]]
        if other:
            raise UserError(f"the run in {out} was begun with {', '.join(other)}; resume it so, or give another --out")
        for name, part in state.items():
            part.load_state_dict(saved["state"][name])
        step, totals, count, seconds_before = saved["step"], saved["totals"], saved["count"], saved["seconds"]
    elif not resume and (last.exists() or log.exists()):
        raise UserError(f"{out} already holds a run; --resume continues it, another --out keeps both")
    _drop_lines_after(log, step)

    received: list[int] = []
    previous = {
        number: signal.signal(number, lambda n, _: received.append(n)) for number in (signal.SIGTERM, signal.SIGINT)
    }
    started = last_save = time.monotonic()
    writer = SummaryWriter(str(out / "tensorboard"), purge_step=step + 1 if step else 0)

    def elapsed() -> float:
        return seconds_before + time.monotonic() - started

    def save() -> None:
        content = {"recipe": dict(recipe), "step": step, "totals": totals, "count": count, "seconds": elapsed()}
        with atomic_path(last) as temporary:
            torch.save(content | {"state": {name: part.state_dict() for name, part in state.items()}}, temporary)

    def write(values: Mapping[str, float | np.ndarray]) -> None:
        numbers = {name: value for name, value in values.items() if not isinstance(value, np.ndarray)}
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, "seconds": round(elapsed(), 1)} | numbers) + "\n")
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                writer.add_image(name, value, step, dataformats="HWC")
            else:
                writer.add_scalar(name, value, step)

    try:
        with tqdm(total=steps, initial=step, dynamic_ncols=True, mininterval=1.0) as bar:
            while step < steps:
                for name, value in train_step(step, batches(step)).items():
                    totals[name] = totals.get(name, 0.0) + value.detach()  # stays on the device: no wait for a GPU
                step, count = step + 1, count + 1
                bar.update()
                done = step == steps
                log_due = done or step % log_every == 0
                evaluation_due = evaluate is not None and (done or step % evaluate_every == 0)
                save_due = bool(received) or done or time.monotonic() - last_save > save_seconds
                if log_due or evaluation_due or save_due:  # nothing that is not finite is evaluated or saved
                    means = _finite_means(totals, count, step, last)
                if log_due:
                    write(means)
                    bar.set_postfix({name: f"{value:.3g}" for name, value in means.items()}, refresh=False)
                    totals, count = {}, 0
                if evaluation_due and evaluate is not None:
                    write(evaluate(step))
                stop = bool(received)  # the signal may have come during the evaluation
                if stop and not save_due:
                    _finite_means(totals, count, step, last)
                if save_due or stop:
                    save()
                    last_save = time.monotonic()
                if stop and not done:
                    raise Interrupted(
                        f"stopped at step {step} of {steps} and saved; the same command with --resume goes on"
                    )
    finally:
        lock.close()
        writer.close()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _finite_means(totals: Mapping[str, torch.Tensor], count: int, step: int, last: Path) -> dict[str, float]:
    means = {name: float(total) / count for name, total in totals.items()}
    bad = [name for name, value in means.items() if not math.isfinite(value)]
    if bad:
        kept = f" (the last good save, {last}, is kept)" if last.exists() else ""
        raise UserError(
            f"{', '.join(bad)} became non-finite between steps {step - count} and {step}; "
            f"try a smaller learning rate{kept}"
        )
    return means


def read_log(path: Path) -> list[dict[str, float]]:
    """The lines of a log.jsonl. A last line cut short by a crash is left out."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def _drop_lines_after(log: Path, step: int) -> None:
    """Removes what a killed run wrote after its last save: those steps come again."""
    if not log.exists():
        return
    kept = [line for line in read_log(log) if line["step"] <= step]
    with atomic_path(log) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in kept)
        file.flush()
        os.fsync(file.fileno())
