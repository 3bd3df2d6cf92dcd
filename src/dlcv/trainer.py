"""Run: an iterator over the steps of a training. It counts, logs, saves and resumes; it knows no maths."""

import dataclasses
import fcntl
import hashlib
import io
import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from dlcv import distributed
from dlcv.checkpoint import current_commit, load_model, save_checkpoint
from dlcv.cli import UserError
from dlcv.files import atomic_path, check_writable

FIRST_STEPS = 20  # steps that are timed to estimate how long a run will take
MAGIC = b"dlcv run 1\n"  # first line of a save; then the SHA-256 of the rest in hexadecimal, a line end, the rest


class Interrupted(UserError):
    """SIGTERM or SIGINT arrived; the run was saved."""

    exit_code = 130


class Run:
    """The steps of one training: `for step in run:` yields what is left of 0 … steps - 1.

        run = Run(out, recipe, steps=recipe.steps, state={"model": model, "optimizer": optimizer}, resume=args.resume)
        for step in run:
            ...                                 # forward, loss, backward, step
            run.log(loss=loss)
            if run.due(recipe.evaluate_every):
                run.log(**evaluate())
                run.snapshot(model)
        run.finish(Model)

    out/log.jsonl and TensorBoard get what is logged. `state` (name -> whatever has state_dict and load_state_dict:
    models, optimizers, averages) is saved to out/last.pt at least every `save_seconds`, at the end, and when SIGTERM or
    SIGINT arrives; the save before it is kept as out/last_before.pt. With `resume` the run goes on from out/last.pt, or
    starts at step 0 where nothing is saved yet. It ends with the same bits as one that was never stopped, provided that
    the loop draws all randomness from the step (dlcv.repro.seed_step).

    It begins with a paragraph on stdout: `what` is trained (a sentence), data, device, folder, and after FIRST_STEPS
    steps the time that the rest will take.

    `recipe` (a dataclass of plain values) and `data` (plain values that say which data these are: counts, a digest of
    the names) are saved with the run; a run is only ever resumed under the same ones.

    Where torchrun started several processes (dlcv.distributed), process 0 alone evaluates, logs and saves: for the
    others nothing is due, and they end with the loop. All stop after the same step. What is logged is the mean over
    them. A run is only ever resumed with as many processes.

    Raises UserError when `out` holds another run or is being trained in by another process, when its save is damaged,
    and at a non-finite value (the last good save is kept).
    """

    def __init__(
        self,
        out: Path,
        recipe: Any,
        *,
        steps: int,
        state: Mapping[str, Any],
        data: Mapping[str, Any] | None = None,
        resume: bool = False,
        log_every: int = 50,
        save_seconds: float = 240.0,
        what: str = "",
    ) -> None:
        current_commit()  # remembered: the provenance names the code that runs now, whatever is committed meanwhile
        self.out, self.steps, self.state = out, steps, state
        self.recipe: dict[str, Any] = dict(recipe) if isinstance(recipe, Mapping) else dataclasses.asdict(recipe)
        self.data = dict(data or {})
        self.log_every, self.save_seconds, self.what = log_every, save_seconds, what
        self.done = 0  # steps that are done when the loop's body ends: inside it, the current step's number plus 1
        self._totals: dict[str, torch.Tensor] = {}
        self._counts: dict[str, int] = {}
        self._seconds_before = 0.0
        self._received: list[int] = []
        self._first = 0  # steps that were done when this process began
        self._timed_since = 0.0
        if distributed.started_by_torchrun() != distributed.world_size():
            raise UserError("this training runs in one process only: start it without torchrun")
        self._first_process = distributed.rank() == 0
        self._lock: Any = None
        self._writer: Any = None
        try:
            if saved := distributed.on_first(lambda: self._open(resume)):
                self._restore(saved)
            if self._first_process:
                _drop_lines_after(self.log_file, self.done)
        except BaseException:
            self._close()
            raise
        self._started = self._last_save = time.monotonic()
        if self._first_process:
            self._writer = SummaryWriter(str(out / "tensorboard"), purge_step=self.done + 1 if self.done else 0)
        self._bar = tqdm(
            total=steps, initial=self.done, dynamic_ncols=True, mininterval=1.0, disable=not self._first_process
        )

    @property
    def last(self) -> Path:
        return self.out / "last.pt"

    @property
    def log_file(self) -> Path:
        return self.out / "log.jsonl"

    @property
    def seconds(self) -> float:
        """Seconds of training so far, those before a resume among them."""
        return self._seconds_before + time.monotonic() - self._started

    def __iter__(self) -> Iterator[int]:
        self._introduce()
        handlers = {n: signal.signal(n, self._on_signal) for n in (signal.SIGTERM, signal.SIGINT)}
        try:
            while self.done < self.steps:
                self.done += 1
                yield self.done - 1
                self._end_step()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            self._bar.close()
            self._close()
        if not self._first_process:
            sys.exit()  # process 0 alone chooses a step, judges it and writes model.pth

    def log(self, **values: torch.Tensor | float | np.ndarray) -> None:
        """Logs by what each value is.

        A 0-d tensor joins the mean that is written every `log_every` steps (it stays on its device until then); a
        number is written at once; a picture (H, W, 3) uint8 goes to TensorBoard alone.
        """
        now: dict[str, float] = {}
        for name, value in values.items():
            if isinstance(value, torch.Tensor):
                self._totals[name] = self._totals.get(name, 0.0) + value.detach()
                self._counts[name] = self._counts.get(name, 0) + 1
            elif isinstance(value, np.ndarray):
                self._writer.add_image(name, value, self.done, dataformats="HWC")
            else:
                now[name] = float(value)
        if now:
            self._write(now)

    def due(self, every: int) -> bool:
        """Whether something is due that happens after every `every` steps, and after the last one: in process 0 alone.

        Raises UserError where a logged mean is not finite: nothing is evaluated then.
        """
        if self.done % every and self.done < self.steps:
            return False
        if self._log_due():
            self._write_means()
        else:
            self._means()
        return self._first_process

    def snapshot(self, model: nn.Module, **more: Any) -> Path:
        """Writes the model as it is now to out/snapshots/step_NNNNNN.pth, with `more` in its provenance."""
        path = self.snapshot_path(self.done)
        save_checkpoint(path, model, {"step": self.done, "recipe": self.recipe, **more})
        return path

    def snapshot_path(self, step: int) -> Path:
        return self.out / "snapshots" / f"step_{step:06d}.pth"

    def lines(self, name: str) -> list[dict[str, float]]:
        """The lines of the log that hold the value `name`."""
        return [line for line in read_log(self.log_file) if name in line]

    def finish(
        self,
        cls: type[nn.Module],
        *,
        step: int | None = None,
        selection: str = "last step",
        metrics: Mapping[str, float] | None = None,
        **more: Any,
    ) -> None:
        """Writes out/model.pth, a `cls`, from the snapshot of `step` (the last one) and prints one line.

        Its provenance: recipe, step, selection rule, metrics, data, seconds, `more`; commit and torch are added.
        """
        step = self.steps if step is None else step
        metrics = dict(metrics or {})
        provenance = {
            "recipe": self.recipe, "step": step, "selection": selection, "metrics": metrics, "data": self.data,
            "seconds": round(self.seconds, 1),
        }  # fmt: skip
        save_checkpoint(self.out / "model.pth", load_model(cls, self.snapshot_path(step)), provenance | more)
        shown = "".join(f", {name} {value:.4g}" for name, value in metrics.items())
        print(f"{self.out / 'model.pth'}: step {step:,} of {self.steps:,}{shown}")

    def _introduce(self) -> None:
        """What, data with counts, device and folder, before the first step."""
        device = (
            torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
        )
        counts = ", ".join(f"{name} {value:,}" for name, value in self.data.items() if isinstance(value, int))
        begin = f"Steps {self.done + 1:,} to {self.steps:,}" if self.done else f"{self.steps:,} steps"
        facts = [self.what, f"{begin} on {device}.", f"Data: {counts}." if counts else ""]
        if (processes := distributed.world_size()) > 1:
            norm = "is" if torch.cuda.is_available() else "is not"
            facts += [f"{processes} processes share each batch; batch norm {norm} synchronised (docs/scaling.md)."]
        facts += [f"Everything is written to {self.out}; Ctrl-C saves and ends, --resume goes on."]
        self._say(" ".join(filter(None, facts)))
        self._first = self.done

    def _say(self, text: str) -> None:
        if self._first_process:
            self._bar.write(text)
            sys.stdout.flush()

    def _time_left(self) -> None:
        """Says how long the rest takes, once, when FIRST_STEPS steps were timed (the first one warms up)."""
        done = self.done - self._first
        if done == 1:
            self._timed_since = time.monotonic()
        elif done == FIRST_STEPS + 1 and self.done < self.steps:
            seconds = (time.monotonic() - self._timed_since) / FIRST_STEPS * (self.steps - self.done)
            self._say(f"About {duration(seconds)} to go, at the speed of {FIRST_STEPS} steps on this machine.")

    def _on_signal(self, number: int, _: object) -> None:
        self._received.append(number)

    def _log_due(self) -> bool:
        return bool(self._counts) and (self.done % self.log_every == 0 or self.done == self.steps)

    def _end_step(self) -> None:
        self._bar.update()
        self._time_left()
        finished = self.done == self.steps
        if self._log_due():
            self._write_means()
        # A signal reaches the processes at different steps, and their clocks differ: they agree.
        late = time.monotonic() - self._last_save > self.save_seconds
        stop, late = distributed.any_process(bool(self._received), late and self._first_process)
        if stop or finished or late:
            self._means()  # nothing that is not finite is saved
            self._save()
        if stop and not finished:
            raise Interrupted(
                f"stopped at step {self.done} of {self.steps} and saved; the same command with --resume goes on"
            )

    def _means(self) -> dict[str, float]:
        means = {name: float(total) / self._counts[name] for name, total in self._totals.items()}
        over_processes = distributed.mean(torch.tensor(list(means.values()), dtype=torch.float64))
        means = dict(zip(means, over_processes.tolist(), strict=True))
        bad = [name for name, value in means.items() if not math.isfinite(value)]
        if bad:
            kept = f" (the last good save, {self.last}, is kept)" if self.last.exists() else ""
            since = self.done - max(self._counts[name] for name in bad)
            raise UserError(
                f"{', '.join(bad)} became non-finite between steps {since} and {self.done}; "
                f"try a smaller learning rate{kept}"
            )
        return means

    def _write_means(self) -> None:
        means = self._means()
        self._write(means)
        self._bar.set_postfix({name: f"{value:.3g}" for name, value in means.items()}, refresh=False)
        self._totals, self._counts = {}, {}

    def _write(self, values: Mapping[str, float]) -> None:
        if not self._first_process:
            return
        with self.log_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": self.done, "seconds": round(self.seconds, 1)} | dict(values)) + "\n")
        for name, value in values.items():
            self._writer.add_scalar(name, value, self.done)

    def _save(self) -> None:
        self._totals = {name: distributed.mean(total) for name, total in self._totals.items()}
        if not self._first_process:
            return
        content = {
            "recipe": self.recipe, "data": self.data, "step": self.done, "totals": self._totals,
            "counts": self._counts, "seconds": self.seconds, "processes": distributed.world_size(),
            "state": {name: part.state_dict() for name, part in self.state.items()},
        }  # fmt: skip
        buffer = io.BytesIO()
        torch.save(content, buffer)
        digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
        with atomic_path(self.last) as temporary:
            with temporary.open("wb") as file:
                file.write(MAGIC + digest.encode() + b"\n")
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            if self.last.exists():
                self.last.replace(self.out / "last_before.pt")
        self._last_save = time.monotonic()

    def _open(self, resume: bool) -> dict[str, Any] | None:
        """Locks the folder and reads the save that the run goes on from; None where it begins."""
        self._lock = _lock(self.out)
        if resume and (path := _newest_save(self.out)):
            return read_save(path) | {"path": path}
        if not resume and (self.last.exists() or self.log_file.exists()):
            raise UserError(f"{self.out} already holds a run; --resume continues it, another --out keeps both")
        return None

    def _close(self) -> None:
        for file in (self._writer, self._lock):
            if file:
                file.close()

    def _restore(self, saved: dict[str, Any]) -> None:
        processes = saved.get("processes", 1)
        if processes != distributed.world_size():
            how = f"{processes} processes (torchrun --nproc-per-node)" if processes > 1 else "one process"
            raise UserError(f"the run in {self.out} was begun with {how}; resume it so, or give another --out")
        for before, now, message in (
            (saved["recipe"], self.recipe, "with {}; resume it so"),
            (saved["data"], self.data, "on other data ({}); give it the same data again"),
        ):
            if other := [f"{name} {before.get(name)}" for name in now if before.get(name) != now[name]]:
                what = message.format(", ".join(other))
                raise UserError(f"the run in {self.out} was begun {what}, or give another --out")
        try:
            for name, part in self.state.items():
                part.load_state_dict(saved["state"][name])
        except (KeyError, ValueError, RuntimeError) as error:
            raise UserError(
                f"{saved['path']} was written by another version of this training ({error}); start anew"
            ) from None
        self.done, self._seconds_before = saved["step"], saved["seconds"]
        self._totals, self._counts = saved["totals"], saved["counts"]


def read_save(path: Path) -> dict[str, Any]:
    """The content of a run's last.pt: recipe, data, step, totals, counts, seconds, processes, state.

    Raises UserError for a file that is damaged or none of ours, and names the save before it where there is one.
    """
    before = path.with_name("last_before.pt")
    remedy = "start anew with another --out"
    if path.name != before.name and before.exists():
        remedy = f"go on from the save before it: mv '{before}' '{path}'"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); {remedy}") from None
    head, payload = data[: len(MAGIC) + 65], memoryview(data)[len(MAGIC) + 65 :]
    if head != MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n":
        raise UserError(f"{path} is damaged, or not the save of a training; {remedy}")
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)


def read_log(path: Path) -> list[dict[str, float]]:
    """The lines of a log.jsonl. A last line cut short by a crash is left out."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def scores_of(line: Mapping[str, float]) -> dict[str, float]:
    """The values of a line of the log, without step and seconds."""
    return {name: value for name, value in line.items() if name not in ("step", "seconds")}


def duration(seconds: float) -> str:
    """Seconds in words: "40 s", "12 min", "3 h 20 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _newest_save(out: Path) -> Path | None:
    """last.pt, or the save before it where a crash came between the two renames."""
    return next((path for path in (out / "last.pt", out / "last_before.pt") if path.exists()), None)


def _lock(out: Path) -> Any:
    """An open file that locks the folder against a second training, until it is closed."""
    check_writable(out / "last.pt")
    out.mkdir(parents=True, exist_ok=True)
    lock = (out / ".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise UserError(f"another process is training in {out}") from None
    except OSError:
        pass  # a file system without locks: nothing guards the folder there
    return lock


def _drop_lines_after(log: Path, step: int) -> None:
    """Removes what a killed run wrote after its last save: those steps come again."""
    if not log.exists():
        return
    kept = [line for line in read_log(log) if line["step"] <= step]
    with atomic_path(log) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in kept)
