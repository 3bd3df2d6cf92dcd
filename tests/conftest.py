"""Tiny real data in the courses' layout, and how tests call the repository's commands."""

import importlib.util
import io
import json
import os
import random
import re
import runpy
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

REPO = Path(__file__).resolve().parents[1]
SAMPLES = REPO / "samples" / "svhn"

Run = Callable[..., subprocess.CompletedProcess[str]]


def call(
    *command: object, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command as a user would, with this interpreter first on the PATH as python3.

    One thread unless told otherwise: two threads of a tiny network wait for each other on a machine that is busy.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={"OMP_NUM_THREADS": "1"} | os.environ | {"PATH": path} | (env or {}),
        capture_output=True,
        text=True,
        timeout=600,
    )


def run_script(
    *command: object, cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """As `call`, but inside this process, which spares some seconds of imports: for python3, and for a hw*.sh wrapper.

    python3 FILE …, python3 -m MODULE … (or FILE … alone) and bash WRAPPER … run as a process of their own would: argv,
    folder, environment and streams are theirs, and what they change of this process is put back. Two things are not
    the same: modules of ours are imported once (a copy of the repository needs `call`), and what is read when a process
    starts (PYTHONPATH, OMP_NUM_THREADS) does nothing.
    """
    words = [str(word) for word in command]
    if words[0] == "bash":
        words = _words_of_wrapper(Path(words[1]), words[2:])
    elif words[0] in ("python3", sys.executable):
        words = words[1:]
    module = words[0] == "-m"
    script, *arguments = words[module:]

    with _everything_put_back(), tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        os.environ.update(env or {})
        os.chdir(cwd or ".")
        sys.argv = [script, *arguments]
        with _streams_to(out.fileno(), err.fileno()):
            try:
                if module:
                    sys.path.insert(0, "")
                    runpy.run_module(script, run_name="__main__", alter_sys=True)
                else:
                    sys.path.insert(0, str(Path(script).resolve().parent))
                    runpy.run_path(script, run_name="__main__")
                code: object = 0
            except SystemExit as end:
                code = end.code
                if isinstance(code, str):
                    print(code, file=sys.stderr)
                    code = 1
            except BaseException:  # as the interpreter does; Ctrl-C, too
                traceback.print_exc()
                code = 1
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode())
    return subprocess.CompletedProcess([str(word) for word in command], int(str(code or 0)), *texts)


def run_in_one_process(commands: Sequence[Sequence[object]], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Commands of `run_script`, one after another, in a new process with this environment; ends at one that fails."""
    code = """if True:
        import json, sys
        from conftest import run_script
        for words in json.loads(sys.argv[1]):
            result = run_script(*words)
            if result.returncode:
                sys.exit(result.stderr)
        """
    paths = os.pathsep.join([str(REPO / "tests"), str(REPO / "src")])
    words = json.dumps([[str(word) for word in command] for command in commands])
    return call("python3", "-c", code, words, env=env | {"PYTHONPATH": paths})


def _words_of_wrapper(wrapper: Path, arguments: list[str]) -> list[str]:
    """What a hw*.sh passes to python3, with its own arguments in it."""
    match = re.search(r"\bexec python3 (.*)", wrapper.read_text().replace("\\\n", " "))
    assert match, f"{wrapper} does not end with exec python3"
    words = [word.replace("$root", str(wrapper.parent)) for word in shlex.split(match[1])]
    assert words.pop() == "$@"
    return words + arguments


@contextmanager
def _streams_to(out: int, err: int) -> Iterator[None]:
    """Standard streams of Python, of C libraries and of child processes go to two files, and stdin is empty."""
    kept_objects, kept = (sys.stdin, sys.stdout, sys.stderr), [os.dup(number) for number in range(3)]
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        for number, target in enumerate((null, out, err)):
            os.dup2(target, number)
        sys.stdin, sys.stdout = (open(n, m, encoding="utf-8", closefd=False) for n, m in ((0, "r"), (1, "w")))  # noqa: SIM115
        sys.stderr = io.TextIOWrapper(open(2, "wb", 0, closefd=False), "utf-8", "backslashreplace", write_through=True)  # noqa: SIM115
        yield
    finally:
        if not sys.stdout.closed:
            sys.stdout.flush()
        sys.stdin, sys.stdout, sys.stderr = kept_objects
        for number, target in enumerate(kept):
            os.dup2(target, number)
        for number in (*kept, null):
            os.close(number)


@contextmanager
def _everything_put_back() -> Iterator[None]:
    """What a script may change of its process: signals, folder, environment, paths, random streams, torch's settings.

    Warnings are printed, as in a process of its own, instead of collected by pytest.
    """
    folder, environment, argv, path = Path.cwd(), os.environ.copy(), sys.argv, sys.path.copy()
    handlers = {
        number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    }
    streams = random.getstate(), np.random.get_state(), torch.get_rng_state()
    threads, dtype, grad = torch.get_num_threads(), torch.get_default_dtype(), torch.is_grad_enabled()
    exact = torch.are_deterministic_algorithms_enabled()
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    switches = cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic
    mask = os.umask(0o022)
    os.umask(mask)
    try:
        with warnings.catch_warnings():
            warnings.resetwarnings()
            for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", category)
            # A module that a test imports, too, is run anew here, as in a process of its own.
            warnings.filterwarnings("ignore", ".* found in sys.modules", RuntimeWarning)
            warnings.showwarning = lambda *parts: print(warnings.formatwarning(*parts[:4]), end="", file=sys.stderr)
            yield
    finally:
        os.chdir(folder)
        os.umask(mask)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv, sys.path[:] = argv, path
        for number, handler in handlers.items():
            signal.signal(number, handler)
        random.setstate(streams[0])
        np.random.set_state(streams[1])
        torch.set_rng_state(streams[2])
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.are_deterministic_algorithms_enabled() != exact:  # the call alone imports for two seconds
            torch.use_deterministic_algorithms(exact)
        cuda.allow_tf32, cudnn.allow_tf32, cudnn.benchmark, cudnn.deterministic = switches


def kill_after_first_save(out: Path, *command: object) -> None:
    """Starts a training that writes to `out` and kills it as soon as last.pt is there."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], env={"OMP_NUM_THREADS": "1"} | os.environ, stderr=subprocess.DEVNULL
    )
    while not (out / "last.pt").exists():
        assert process.poll() is None
        time.sleep(0.002)
    process.kill()
    process.wait()


def counts_of(data: dict[str, object]) -> dict[str, object]:
    """What a checkpoint's provenance says of its data, but for the digest of the images, which must be there."""
    assert re.fullmatch("[0-9a-f]{16}", str(data["images"]))
    return {name: value for name, value in data.items() if name != "images"}


def load_script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """report/<name>.py or experiments/<name>.py as a module, whose places for documents a test may change."""
    (path,) = (path for folder in ("report", "experiments") if (path := REPO / folder / f"{name}.py").exists())
    monkeypatch.syspath_prepend(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_one_line(result: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    """The command failed with `code` and one line on stderr that holds all `parts`."""
    assert result.returncode == code, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    for part in parts:
        assert part in lines[0]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def cache_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded folders are cached in the home; tests use one of their own."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hw3_data with 40 + 10 real digits a domain: svhn as it is, usps grey, mnistm with its colours turned."""
    root = tmp_path_factory.mktemp("data") / "hw3_data"
    table = dict(line.split(",") for line in (REPO / "samples" / "svhn.csv").read_text().split()[1:])
    names = sorted(table)
    for domain, change in (
        ("svhn", lambda image: image),
        ("usps", lambda image: image.convert("L")),
        ("mnistm", lambda image: Image.fromarray(255 - np.asarray(image)[:, :, ::-1])),
    ):
        for split, part in (("train", names[:40]), ("test", names[40:50])):
            folder = root / "digits" / domain / split
            folder.mkdir(parents=True)
            rows = ["image_name,label"]
            for index, name in enumerate(part):
                change(Image.open(SAMPLES / name)).save(folder / f"{index:05d}.png")
                rows.append(f"{index:05d}.png,{table[name]}")
            folder.with_suffix(".csv").write_text("\n".join(rows) + "\n")
    return root


def copy_repository(copy: Path) -> Path:
    """What a grader has: a copy of the wrappers, the code and the checkpoints."""
    copy.mkdir()
    for script in REPO.glob("*.sh"):
        shutil.copy(script, copy)
    for folder in ("src", "inference", "checkpoints"):
        shutil.copytree(REPO / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    return copy


@contextmanager
def read_only(folder: Path) -> Iterator[dict[str, str]]:
    """Takes the right to write from all below a folder; the environment in which root leaves it as it is, too."""
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(path.stat().st_mode & ~(stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH))
    try:
        yield {"PYTHONDONTWRITEBYTECODE": "1"} if os.geteuid() == 0 else {}
    finally:
        for path in paths:
            path.chmod(path.stat().st_mode | stat.S_IWUSR)


@pytest.fixture
def repo_copy(tmp_path: Path) -> Path:
    return copy_repository(tmp_path / "clone")


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """hw3_data with 36 + 9 pictures of 64x64, three attributes. They show digits: no face may be handed on."""
    root = tmp_path_factory.mktemp("faces") / "hw3_data"
    names = sorted(path.name for path in SAMPLES.iterdir())
    for split, part in (("train", names[:36]), ("test", names[36:45])):
        folder = root / "face" / split
        folder.mkdir(parents=True)
        rows = ["image_name,Male,Smiling,Blond_Hair"]
        for index, name in enumerate(part):
            Image.open(SAMPLES / name).resize((64, 64)).save(folder / f"{index:05d}.png")
            rows.append(f"{index:05d}.png,{index % 2}.0,{index % 3 == 0:d}.0,{index % 4 == 0:d}.0")
        folder.with_suffix(".csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="session")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cifar10.npz and fashion_mnist.npz: 60 + 20 pictures each. They show house numbers."""
    root = tmp_path_factory.mktemp("arrays")
    table = dict(line.split(",") for line in (REPO / "samples" / "svhn.csv").read_text().split()[1:])
    names = sorted(table)
    for file, size, mode in (("cifar10.npz", 32, "RGB"), ("fashion_mnist.npz", 28, "L")):
        pictures = np.stack(
            [np.asarray(Image.open(SAMPLES / name).convert(mode).resize((size, size))) for name in names]
        )
        labels = np.array([int(table[name]) for name in names])
        np.savez(
            root / file,
            train_images=pictures[:60], train_labels=labels[:60],
            test_images=pictures[60:80], test_labels=labels[60:80],
        )  # fmt: skip
    return root


@pytest.fixture(scope="session")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with flowers/: three categories of four pictures each. They show house numbers."""
    root = tmp_path_factory.mktemp("flowers")
    names = sorted(path.name for path in SAMPLES.iterdir())
    for index, name in enumerate(names[:12]):
        folder = root / "flowers" / ("iris", "lily of the valley", "rose")[index // 4]
        folder.mkdir(parents=True, exist_ok=True)
        Image.open(SAMPLES / name).resize((24, 20)).save(folder / f"{index % 4:04d}.png")
    return root
