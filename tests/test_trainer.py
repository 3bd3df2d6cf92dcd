"""dlcv.trainer and dlcv.recipe: counting, saving, resuming, stopping."""

import functools
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPO, assert_one_line, call, run_script
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dlcv.cli import UserError
from dlcv.schedule import warmup_cosine
from dlcv.trainer import Interrupted, Run, duration, read_log, read_save

TRAIN = REPO / "train" / "train_dann.py"
TRAIN_UDA = REPO / "train" / "train_uda.py"


def command(digits: Path, out: Path, *more: object, script: Path = TRAIN) -> list[str]:
    flags = ("--threshold", 0, "--warmup", 0) if script == TRAIN_UDA else ()  # the teacher's word counts at once
    words = [sys.executable, script, "--data", digits, "--source", "svhn", "--target", "usps", "--batch-size", 8]
    words += ["--width", 4, "--evaluate-every", 20, "--reverse-steps", 2, "--out", out]
    return [str(word) for word in (*words, *flags, *more)]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["weights"]


@pytest.fixture(scope="module")
def whole_run(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """The folder of a script's run of 60 steps that nothing stops; trained once, in a process of its own."""

    @functools.cache
    def run(script: Path) -> Path:
        out = tmp_path_factory.mktemp("whole") / "run"
        assert call(*command(digits, out, "--steps", 60, script=script)).returncode == 0
        return out

    return run


@pytest.mark.parametrize(
    ("script", "number"),
    [(TRAIN, signal.SIGKILL), (TRAIN, signal.SIGTERM), (TRAIN, signal.SIGINT), (TRAIN_UDA, signal.SIGKILL)],
)
def test_resumed_run_ends_with_the_same_bits(
    digits: Path, whole_run: Callable[[Path], Path], tmp_path: Path, script: Path, number: signal.Signals
) -> None:
    whole, broken = whole_run(script), tmp_path / "broken"
    process = subprocess.Popen(
        command(digits, broken, "--steps", 60, "--save-seconds", 0.01, script=script),
        stderr=subprocess.PIPE,
        text=True,
        env={"OMP_NUM_THREADS": "1"} | os.environ,
    )
    while not (broken / "last.pt").exists():  # killed as soon as something is saved
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(number)
    stderr = process.communicate()[1]
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130
        assert "--resume goes on" in stderr.splitlines()[-1]
    assert not (broken / "model.pth").exists()
    saved = read_save(broken / "last.pt")["step"]
    assert 0 < saved < 60

    assert run_script(*command(digits, broken, "--steps", 60, "--resume", script=script)).returncode == 0
    a, b = weights(whole / "model.pth"), weights(broken / "model.pth")
    assert all(torch.equal(a[name], b[name]) for name in a)
    logs = [
        [{k: v for k, v in line.items() if k != "seconds"} for line in read_log(d / "log.jsonl")]
        for d in (whole, broken)
    ]
    assert logs[0] == logs[1]


def test_nothing_is_overwritten(digits: Path, tmp_path: Path) -> None:
    assert run_script(*command(digits, tmp_path, "--steps", 2)).returncode == 0
    before = (tmp_path / "last.pt").read_bytes()
    assert_one_line(run_script(*command(digits, tmp_path, "--steps", 2)), 1, "already holds a run", "--resume")
    assert (tmp_path / "last.pt").read_bytes() == before


def stop_after(values: list[float], out: Path, **options: object) -> None:
    evaluate, every = options.pop("evaluate", None), options.pop("evaluate_every", 500)
    run = Run(out, {}, steps=len(values), state={}, **options)
    for step in run:
        run.log(loss=torch.tensor(values[step]))
        if run.due(every) and evaluate:
            run.log(**evaluate(run.done))


def test_means_are_logged(tmp_path: Path) -> None:
    stop_after(
        [1.0, 3.0, 5.0, 7.0, 2.0], tmp_path, log_every=2, evaluate=lambda step: {"score": step}, evaluate_every=4
    )
    lines = [{k: v for k, v in line.items() if k != "seconds"} for line in read_log(tmp_path / "log.jsonl")]
    assert lines == [
        {"step": 2, "loss": 2.0},
        {"step": 4, "loss": 6.0},
        {"step": 4, "score": 4},
        {"step": 5, "loss": 2.0},
        {"step": 5, "score": 5},
    ]


def test_pictures_go_to_tensorboard_alone(tmp_path: Path) -> None:
    picture = np.random.RandomState(0).randint(0, 256, (4, 6, 3)).astype(np.uint8)
    stop_after([1.0], tmp_path, evaluate=lambda step: {"score": step, "samples": picture})
    assert read_log(tmp_path / "log.jsonl")[-1].keys() == {"step", "seconds", "score"}
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    (shown,) = events.Images("samples")
    decoded = np.asarray(Image.open(io.BytesIO(shown.encoded_image_string)).convert("RGB"))
    assert shown.step == 1 and np.array_equal(decoded, picture)


def test_learning_rate_rises_then_falls_as_torch_has_it() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    annealed = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=100, eta_min=0.01)
    for step in range(100):
        rise = min(1, (step + 1) / 10)
        assert warmup_cosine(step, 100, warmup=10, floor=0.01) == pytest.approx(
            rise * annealed.get_last_lr()[0], abs=1e-9
        )
        optimizer.step()
        annealed.step()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_loss_stops_and_keeps_the_last_save(tmp_path: Path, bad: float) -> None:
    with pytest.raises(UserError, match=r"loss became non-finite between steps 0 and 4.*last\.pt, is kept"):
        stop_after([1.0, 1.0, 1.0, bad, 1.0], tmp_path, save_seconds=0.0)
    assert read_save(tmp_path / "last.pt")["step"] == 3


def test_a_signal_during_evaluation_is_saved_before_it_stops(tmp_path: Path) -> None:
    def evaluate(step: int) -> dict[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        return {"score": 1.0}

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="stopped at step 2 of 5 and saved"):
        stop_after([1.0] * 5, tmp_path, evaluate=evaluate, evaluate_every=2)
    assert read_save(tmp_path / "last.pt")["step"] == 2
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_run_is_resumed_under_its_own_recipe_only(digits: Path, tmp_path: Path) -> None:
    assert run_script(*command(digits, tmp_path, "--steps", 2)).returncode == 0
    before = (tmp_path / "last.pt").read_bytes()
    result = run_script(*command(digits, tmp_path, "--steps", 4, "--lr", 0.5, "--resume"))
    assert_one_line(result, 1, "was begun with steps 2, lr 0.001")
    assert (tmp_path / "last.pt").read_bytes() == before


def test_one_trainer_a_folder(tmp_path: Path) -> None:
    def evaluate(step: int) -> dict[str, float]:
        with pytest.raises(UserError, match="another process is training in"):
            stop_after([1.0], tmp_path)
        return {"refused": 1.0}

    stop_after([1.0, 1.0], tmp_path, evaluate=evaluate)
    assert read_log(tmp_path / "log.jsonl")[-1]["refused"] == 1.0


@pytest.mark.parametrize(
    "flags",
    [("--steps", 0), ("--batch-size", 1), ("--seed", -1), ("--evaluate-every", 0), ("--lr", "nan"), ("--width", 0)],
)
def test_impossible_numbers(digits: Path, tmp_path: Path, flags: tuple[object, ...]) -> None:
    assert_one_line(run_script(*command(digits, tmp_path / "run", *flags)), 2, "train_dann.py: " + str(flags[0]))


def test_a_log_cut_short_is_read_up_to_the_cut(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps({"step": 1}) + '\n{"step": 2, "lo')
    assert read_log(tmp_path / "log.jsonl") == [{"step": 1}]


def test_flags() -> None:
    result = call("python3", TRAIN, "--help")
    assert result.returncode == 0
    assert "--strength STRENGTH" in result.stdout and "gradient reversal" in result.stdout
    assert_one_line(run_script("python3", TRAIN, "--steps", "many"), 2, "train_dann.py", "invalid int value: 'many'")
    assert_one_line(run_script("python3", TRAIN, "--source", "mnist"), 2, "invalid choice: 'mnist'")
    assert_one_line(run_script("python3", TRAIN, "--source", "usps", "--target", "usps"), 2, "give two domains")
    assert_one_line(run_script("python3", TRAIN, "--data", "/nowhere"), 1, "/nowhere holds no folder digits/")


SCRIPTS = [
    path
    for path in sorted([*(REPO / "train").glob("*.py"), *(REPO / "report").glob("*.py")])
    if "__main__" in path.read_text()  # the others are what scripts share
]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_say_how_to_get_there(script: Path, tmp_path: Path) -> None:
    """An interpreter without our packages, as a newcomer's system python3 is; --help of a training needs none."""

    def bare(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-S", "-I", script, *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env={"PATH": os.environ["PATH"]})

    result = bare(*(["twolayer"] if script.name == "train_cifar.py" else []))
    assert result.returncode == 1
    assert "make setup" in result.stderr and len(result.stderr.strip().splitlines()) == 1
    if script.parent.name == "train":
        help_ = bare("--help")
        assert (help_.returncode, help_.stderr) == (0, "") and "--quick" in help_.stdout
        assert "()" not in help_.stdout.replace("\n", "")  # every option has a text before its default
    assert list(tmp_path.iterdir()) == []


def test_a_run_introduces_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = {"training": 20_000, "images": "0123abcd"}
    for stop, resume in ((30, False), (40, True)):
        run = Run(tmp_path, {}, steps=40, state={}, data=data, resume=resume, what="Trains nothing.", save_seconds=0)
        for step in run:
            run.log(loss=torch.tensor(1.0))
            if step == stop:
                break
        text = capsys.readouterr().out
        steps = "Steps 31 to 40" if resume else "40 steps"
        assert text.startswith(f"Trains nothing. {steps} on "), text
        assert f"Data: training 20,000. Everything is written to {tmp_path};" in text
        timed = bool(re.search(r"About \d+ s to go", text))
        assert timed == (not resume)  # ten steps are left then: too few to measure by


@pytest.mark.parametrize(("seconds", "words"), [(40.2, "40 s"), (700, "12 min"), (12_000, "3 h 20 min")])
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def short_run(out: Path, values: list[float], save_seconds: float = 0.0, **options: object) -> torch.nn.Linear:
    """A training of one small layer that saves after every step."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(3, 2)
    run = Run(out, {"lr": 0.1}, steps=len(values), state={"layer": layer}, save_seconds=save_seconds, **options)
    for step in run:
        with torch.no_grad():
            layer.weight += values[step]
        run.log(loss=layer.weight.mean())
    return layer


def with_one_bit_changed(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


DAMAGES = {
    "empty": lambda data: b"",
    "one byte": lambda data: data[:1],
    "cut in the first line": lambda data: data[:7],
    "cut in the digest": lambda data: data[:40],
    "digest alone": lambda data: data[:76],
    "half": lambda data: data[: len(data) // 2],
    "last byte missing": lambda data: data[:-1],
    "one byte more": lambda data: data + b"\0",
    "one bit of the weights": lambda data: with_one_bit_changed(data, len(data) // 2),
    "one bit of the digest": lambda data: with_one_bit_changed(data, 30),
    "zeros": lambda data: bytes(len(data)),
    "zeros at the end": lambda data: data[:-512] + bytes(512),
    "text": lambda data: b"hello\n",
    "a save without its first line": lambda data: data[data.index(b"\n") + 1 :],
    "a plain torch file": lambda data: data[76:],
    "twice": lambda data: data + data,
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_save_is_noticed_and_the_one_before_it_is_named(tmp_path: Path, kind: str) -> None:
    whole = short_run(tmp_path, [1.0, 2.0])
    last, before = tmp_path / "last.pt", tmp_path / "last_before.pt"
    data = last.read_bytes()
    assert read_save(before)["step"] == 1
    last.write_bytes(DAMAGES[kind](data))
    with pytest.raises(UserError, match=r"last\.pt is damaged, or not the save of a training; go on .*: mv ") as error:
        short_run(tmp_path, [1.0, 2.0], resume=True)
    assert "\n" not in str(error.value) and str(before) in str(error.value)
    before.rename(last)  # what the message says
    assert torch.equal(short_run(tmp_path, [1.0, 2.0], resume=True).weight, whole.weight)


def test_a_save_that_is_a_folder_or_of_another_training(tmp_path: Path) -> None:
    (tmp_path / "a" / "last.pt").mkdir(parents=True)
    with pytest.raises(UserError, match="is a directory"):
        short_run(tmp_path / "a", [1.0], resume=True)
    torch.manual_seed(0)
    run = Run(tmp_path / "b", {"lr": 0.1}, steps=1, state={"layer": torch.nn.Linear(5, 2)})
    for _ in run:
        pass
    with pytest.raises(UserError, match=r"(?s)was written by another version of this training .*start anew"):
        short_run(tmp_path / "b", [1.0, 1.0], resume=True)


def test_a_crash_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    whole = short_run(tmp_path, [1.0, 2.0])
    (tmp_path / "last.pt").unlink()
    assert torch.equal(short_run(tmp_path, [1.0, 2.0], resume=True).weight, whole.weight)


def test_changed_training_data_are_noticed(tmp_path: Path) -> None:
    data = {"training": 40, "images": "0123456789abcdef"}
    short_run(tmp_path, [1.0], data=data)
    short_run(tmp_path, [1.0], data=data, resume=True)
    with pytest.raises(UserError, match=r"was begun on other data .images 0123456789abcdef.; give it the same data"):
        short_run(tmp_path, [1.0], data=data | {"images": "fedcba9876543210"}, resume=True)


def test_numbers_are_written_at_once_and_tensors_as_means(tmp_path: Path) -> None:
    run = Run(tmp_path, {}, steps=4, state={}, log_every=4)
    for step in run:
        if step % 2 == 0:
            run.log(penalty=torch.tensor(float(step)))  # not at every step: the mean of those it was logged at
        run.log(loss=torch.tensor(1.0), score=step)
    lines = read_log(tmp_path / "log.jsonl")
    assert [line["score"] for line in lines if "score" in line] == [0.0, 1.0, 2.0, 3.0]
    assert next(line for line in lines if "loss" in line)["penalty"] == 1.0
