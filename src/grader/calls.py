"""Calls a repository's wrappers as the courses do: twice, from elsewhere, with empty folders for what they write."""

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from dlcv.cli import UserError
from dlcv.data.layout import list_images, read_label_csv, spellings
from grader import outputs, rules, sandbox
from grader.changes import Snapshot, changed, snapshot, without_ignored
from grader.copying import copy_repository, git_folders
from grader.opening import Place, Refused
from grader.rubric import Attempt
from grader.sandbox import Limits
from grader.workplace import remove_tree

T = TypeVar("T")  # what a wrapper's output is read as
WRAPPERS = {
    "2020": ("hw3_p1.sh", "hw3_p2.sh", "hw3_p3.sh", "hw3_p4.sh"),
    "2021": ("hw2_p1.sh", "hw2_p2.sh", "hw2_p3.sh", "hw2_bonus.sh"),
}
FACES = [f"{index:04d}.png" for index in range(1_000)]
DIGITS = [f"{digit}_{number:03d}.png" for digit in range(10) for number in range(1, 101)]
SAMPLES = Path(__file__).resolve().parents[2] / "samples"  # the 100 digits that come with this repository
OVER = "the time for all of the grading is over"


class Grading:
    """One repository in a temporary folder: two copies of it, the test images without their labels, empty outputs."""

    def __init__(
        self,
        repository: Path,
        data: Path | None,
        limits: Limits,
        work: Path,
        hidden: Sequence[Path] = (),
        own: bool = False,
    ) -> None:
        self.repository, self.data, self.limits, self.work, self.own = repository, data, limits, work, own
        self.hidden = [repository, *filter(None, [data]), *(_answers(data) if data else []), *hidden]
        self.hidden += git_folders(repository) or ()
        self.copies = [work / "first" / "repository", work / "second" / "repository"]
        copy_repository(repository, *self.copies)
        names = [name for names in WRAPPERS.values() for name in names]
        self.findings = rules.check_apart(self.copies[0], names)
        # Now: what is called later could put a picture there, or write another wrapper.
        self.figures = {figure: _report_figure(self.copies[0], figure) for figure in ("fig1_4", "fig2_2")}
        self.fetching = {name for name in names if _fetches(self.copies[0], name)}
        self.outside: list[str] = []  # what was written outside the temporary folder
        self._before = (
            {} if sandbox.bubblewrap() else self._snapshot()
        )  # where writes are prevented, none is looked for

    def _snapshot(self) -> Snapshot:
        """Sizes and times of the repository's and the data's files, and what lies in the home."""
        files = snapshot(*filter(None, (self.repository, self.data)))
        home = sandbox.home()
        with contextlib.suppress(OSError):
            files |= {str(path): (0, 0) for path in (home.iterdir() if home else [])}
        return files

    def _notice_writes(self, wrapper: str) -> None:
        if sandbox.bubblewrap():
            return  # they are prevented
        now = self._snapshot()
        paths = changed(self._before, now)
        self._before = now
        if self.own:
            paths = without_ignored(paths, self.repository, self.copies[0])
        if paths:
            more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
            self.outside.append(f"while {wrapper} ran, {paths[0]}{more} changed")

    def images(self, target: str) -> tuple[Path, dict[str, int]] | None:
        """A folder of test images alone, and their labels; None where the data is not there."""
        if self.data is None:
            return None
        folder = self.data / "digits" / target / "test"
        if not folder.is_dir() or not folder.with_suffix(".csv").is_file():
            return None
        return self._stage(folder, target), read_label_csv(folder.with_suffix(".csv"))

    def sample(self) -> tuple[Path, dict[str, int]]:
        """The bundled digits and their labels. Raises UserError where only the package is installed."""
        if not SAMPLES.is_dir():
            raise UserError(f"{SAMPLES} is not there: grade with a clone of this repository, or with --data")
        return self._stage(SAMPLES / "svhn", "sample"), read_label_csv(SAMPLES / "svhn.csv")

    def _stage(self, folder: Path, name: str) -> Path:
        staged = self.work / "images" / name / "test"
        if not staged.exists():
            staged.mkdir(parents=True)
            for image in list_images(folder):
                shutil.copyfile(folder / image, staged / image)
        return staged

    def attempt(
        self,
        wrapper: str,
        arguments: Sequence[str],
        name: str,
        read: Callable[[Place], T],
        same: Callable[[T, T], bool],
        score: Callable[[T], float],
    ) -> Attempt:
        """Calls a wrapper twice; `name` is what it writes ("" for a folder), given as its last argument."""
        if not (self.copies[0] / wrapper).is_file():
            return Attempt(failed=f"{wrapper} is not there")
        if stopping := [finding for finding in self.findings[wrapper] if finding.stops]:
            return Attempt(failed=f"not run: {stopping[0].where} {stopping[0].what}")
        values: list[T] = []
        seconds = 0.0
        for turn, copy in enumerate(self.copies):
            limits, left = self.limits, self.limits.until - time.monotonic()
            if left <= 0:
                return Attempt(left_out=OVER, seconds=seconds)
            base = Path(tempfile.mkdtemp(dir=self.work, prefix=f"{wrapper}-"))
            # Opened before anything runs: what is read afterwards is in this folder, whatever lies at its name by then.
            root = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                out, home, elsewhere = base / "out", base / "home", base / "elsewhere"
                for folder in (out, home, elsewhere):
                    folder.mkdir()
                command = ["bash", str(copy / wrapper), *arguments, str(out / name) if name else str(out)]
                outcome = sandbox.run(
                    command, elsewhere, home, (base, copy), [self.work / "images"], self.hidden,
                    replace(limits, seconds=min(limits.seconds, left)),
                )  # fmt: skip
                self._notice_writes(wrapper)
                seconds = seconds or outcome.seconds
                if outcome.ended and left < limits.seconds and time.monotonic() > limits.until:
                    return Attempt(left_out=OVER, seconds=seconds)
                if not outcome.ok:
                    why = outcome.ended or f"ended with code {outcome.code}: {_last_line(outcome.stderr)}"
                    if turn:
                        return Attempt(score(values[0]), differs=f"the second run {why}", seconds=seconds)
                    return Attempt(failed=f"{wrapper} {why}{self._hint(wrapper)}", seconds=seconds)
                try:
                    values.append(read(Place(root, f"out/{name}" if name else "out")))
                except outputs.WrongOutput as error:
                    if turn:
                        return Attempt(score(values[0]), differs=f"the second run: {error}", seconds=seconds)
                    return Attempt(wrong=str(error), seconds=seconds)
                if outcome.left:
                    self.outside.append(f"{wrapper} left {outcome.left} processes running; they were ended")
            finally:
                os.close(root)
                remove_tree(base)
        differs = "" if same(*values) else "the second run gave another output"
        return Attempt(score(values[0]), differs=differs, seconds=seconds)

    def _hint(self, wrapper: str) -> str:
        fetches = wrapper in self.fetching and not self.limits.network
        return " (it fetches something; --network lets it)" if fetches else ""

    def adaptation(self, wrapper: str, target: str) -> Attempt:
        """A prediction csv for one target's test images."""
        staged = self.images(target)
        if staged is None:
            return Attempt(left_out="no test images here")
        return self._predictions(wrapper, target, *staged)

    def _predictions(self, wrapper: str, target: str, folder: Path, truth: Mapping[str, int]) -> Attempt:
        names = list_images(folder)
        keys = spellings(names, truth)

        if unknown := [name for name in names if name not in keys]:
            raise UserError(f"the data has no label for {unknown[0]} of {target} ({len(unknown)} such)")

        def accuracy(labels: dict[str, int]) -> float:
            return 100 * sum(labels[name] == truth[keys[name]] for name in names) / len(names)

        def read(place: Place) -> dict[str, int]:
            return outputs.read_predictions(place, names)

        return self.attempt(wrapper, [str(folder), target], "predictions.csv", read, dict.__eq__, accuracy)

    def sample_predictions(self, wrapper: str) -> Attempt:
        return self._predictions(wrapper, "svhn", *self.sample())

    def picture(self, wrapper: str, figure: str) -> Attempt:
        """One picture of 32 samples, compared with the report's figure where that lies in the repository."""
        first: list[np.ndarray] = []

        def read(place: Place) -> np.ndarray:
            picture = outputs.read_samples(place)
            first.append(picture)
            return picture

        attempt = self.attempt(wrapper, [], f"{figure}.png", read, np.array_equal, lambda _: 100.0)
        if attempt.differs or not first:
            return attempt
        shown = self.figures[figure]
        if shown is not None and not _same_picture(first[0], *shown):
            return replace(attempt, differs=f"{shown[0].name} in the repository is another picture")
        return attempt

    def faces(self) -> tuple[Attempt, np.ndarray | None]:
        """2021's 1,000 faces, as an attempt and as uint8 (1000, 64, 64, 3)."""
        return self._folder("hw2_p1.sh", FACES, 64, lambda _: 100.0)

    def generated_digits(self) -> Attempt:
        """2021's 1,000 digits; the accuracy is that of the course's classifier."""
        return self._folder("hw2_p2.sh", DIGITS, 28, _recognised)[0]

    def _folder(
        self, wrapper: str, names: list[str], side: int, score: Callable[[np.ndarray], float]
    ) -> tuple[Attempt, np.ndarray | None]:
        first: list[np.ndarray] = []

        def read(place: Place) -> np.ndarray:
            first.append(outputs.read_pictures(place, names, side))
            return first[-1]

        return self.attempt(wrapper, [], "", read, np.array_equal, score), first[0] if first else None


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "nothing on stderr"


def _answers(data: Path) -> list[Path]:
    """Where links in the data folder lead: hiding the folder alone would leave that visible."""
    targets = []
    for pattern in ("*", "*/*", "*/*/*"):  # digits, digits/svhn, digits/svhn/test and test.csv
        for path in data.glob(pattern):
            if path.is_symlink() and (path.is_dir() or path.suffix == ".csv"):
                targets.append(path.resolve())
                if path.is_dir():  # what lies beside a linked test/ is its csv
                    targets += [beside.resolve() for beside in path.resolve().parent.glob("*.csv")]
    return targets


def _fetches(root: Path, wrapper: str) -> bool:
    with contextlib.suppress(Refused, rules.TooComplicated, OSError, RuntimeError):
        text = rules.read_source(root, (root / wrapper).resolve())
        return any(word in text for word in ("wget", "gdown", "download"))
    return False


def _report_figure(root: Path, name: str) -> tuple[Path, np.ndarray] | None:
    for path in rules.every_file(root):
        if path.stem == name and path.suffix.lower() in outputs.FORMATS:
            try:
                return path, outputs.read_picture(Place(root, path.relative_to(root).as_posix()))
            except outputs.WrongOutput:
                continue
    return None


def _same_picture(picture: np.ndarray, path: Path, shown: np.ndarray) -> bool:
    if picture.shape != shown.shape:
        return False
    if path.suffix.lower() == ".png":
        return np.array_equal(picture, shown)
    return float(np.abs(picture.astype(int) - shown).mean()) < 8  # JPEG's error


def _recognised(images: np.ndarray) -> float:
    import torch

    from dlcv.checkpoint import CHECKPOINTS, load_model
    from dlcv.models.digit_classifier import DigitClassifier
    from dlcv.predict import predict_labels

    model = load_model(DigitClassifier, CHECKPOINTS / "digit_classifier.pth")
    labels = predict_labels(model, torch.from_numpy(images).permute(0, 3, 1, 2).contiguous())
    return 100 * float((labels == np.array([int(name[0]) for name in DIGITS])).mean())
