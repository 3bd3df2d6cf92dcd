"""dlcv.distributed: torchrun with two processes on this machine trains what one process trains."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import REPO, assert_one_line, run_script

from dlcv.checkpoint import read_checkpoint
from dlcv.trainer import read_log, read_save, scores_of

# Runs commands one after another in each process, which spares imports, and keeps what they print. Of each training it
# also keeps the sum of every parameter after the last step; ends at a traceback.
DRIVER = """
import json, os, sys
from pathlib import Path
import torch
from conftest import run_script
from dlcv.trainer import Run
ends, sums, end_step = [], {}, Run._end_step
def end_step_and_sum(run):
    end_step(run)
    networks = {name: part for name, part in run.state.items() if isinstance(part, torch.nn.Module)}
    with torch.no_grad():
        sums[run.out.name] = {name: [float(p.double().sum()) for p in n.parameters()] for name, n in networks.items()}
Run._end_step = end_step_and_sum
for words in json.loads(sys.argv[1]):
    result = run_script(*words)
    ends.append([result.returncode, result.stdout, result.stderr])
    if "Traceback" in result.stderr:
        break
Path(sys.argv[2], f"rank{os.environ['RANK']}.json").write_text(json.dumps([ends, sums]))
sys.exit("Traceback" in result.stderr)
"""
ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo",
    "PYTHONPATH": os.pathsep.join([str(REPO / "src"), str(REPO / "tests")]),
}  # fmt: skip
FACES = ["--batch-size", 4, "--latent-dim", 6, "--steps", 2]
DIGITS = ["--batch-size", 4, "--width", 4, "--steps", 2]
# Name of the run → script, fixture with its data, flags. Those without batch norm are compared with one process.
EQUAL: dict[str, tuple[str, str, list[object]]] = {
    "autoencoder": ("autoencoder", "arrays", ["--batch-size", 6, "--steps", 20]),
    # It grows from 8 to 16 pixels, with R1, path length and DiffAugment; a process has whole groups of four.
    "stylegan2": (
        "stylegan2", "faces",
        ["--resolution", 16, "--begin", 8, "--steps", 20, "--grow-steps", 10, "--fade-steps", 5, "--batch-size", 8,
         "--latent-dim", 8, "--mapping-layers", 2, "--width", 0.05, "--path-length", 2, "--augment", "--no-bf16"],
    ),
    # 53 images in batches of four: an epoch's last batch is one image, and the second process has none.
    "twolayer": ("cifar", "arrays", ["--batch-size", 4, "--validation", 7, "--epochs", 2, "--no-bf16"]),
    "cifar_cnn": ("cifar_cnn", "arrays", ["--batch-size", 8, "--epochs", 3, "--dropout", 0, "--no-bf16"]),
    "vae_prior": ("vae_prior", "faces", ["--batch-size", 8, "--width", 8, "--steps", 20]),
}  # fmt: skip
OTHERS: dict[str, tuple[str, str, list[object]]] = {
    "vae": ("vae", "faces", [*FACES, "--width", 4, "--spectrum-from", 0]),
    "gan": ("gan", "faces", [*FACES, "--width", 4]),
    "sagan": ("sagan", "faces", [*FACES, "--width", 8, "--width-d", 8]),
    "acgan": ("acgan", "digits", [*FACES, "--width", 4, "--width-d", 4]),
    "dann": ("dann", "digits", [*DIGITS, "--source", "svhn", "--target", "mnistm", "--reverse-steps", 2]),
    "uda": ("uda", "digits", [*DIGITS, "--target-batch-size", 6, "--source", "usps", "--target", "svhn",
                              "--reverse-steps", 2, "--threshold", 0, "--warmup", 0]),
    "flowers": ("flowers", "flowers", ["--size", 16, "--channels", 8, "--latent-dim", 5, "--batch-size", 6,
                                       "--epochs", 1]),
    "mymodel": ("cifar", "arrays", ["--batch-size", 18, "--validation", 6, "--epochs", 1, "--no-bf16"]),
}  # fmt: skip
WHOLE = ["--batch-size", 6, "--steps", 120, "--evaluate-every", 60]  # of the run that another one is stopped beside


def words(name: str, data: Path, out: Path, vae: Path) -> list[object]:
    script, _, flags = (EQUAL | OTHERS)[name]
    preset = [name] if script == "cifar" else []
    more = ["--vae", vae] if script == "vae_prior" else []
    return [REPO / "train" / f"train_{script}.py", *preset, "--data", data, "--out", out, *flags, *more]


def torchrun(*command: object) -> list[str]:
    """The command line that starts two processes here."""
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    return [*run, "--nproc-per-node", "2", *(str(word) for word in command)]


def weights(path: Path) -> dict[str, torch.Tensor]:
    content = torch.load(path, weights_only=True)
    return content.get("weights", content)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Every training on two processes, then commands that are refused; rank0.json and rank1.json: see DRIVER."""
    root = tmp_path_factory.mktemp("two")
    data = {name: request.getfixturevalue(name) for name in ("arrays", "faces", "digits", "flowers")}
    commands = [[REPO / "experiments" / "tutorial_dcgan.py", "--data", data["faces"], "--out", root / "tutorial"]]
    commands += [
        words(name, data[fixture], root / name, root / "vae" / "model.pth")
        for name, (_, fixture, _) in (OTHERS | EQUAL).items()
    ]
    autoencoder = [REPO / "train" / "train_autoencoder.py", "--data", data["arrays"], *WHOLE, "--out"]
    commands += [[*autoencoder, root / "whole"], [*autoencoder, root / "whole"]]
    commands += [[*autoencoder, root / "refused", "--batch-size", 5], [*autoencoder, root / "nan", "--lr", 1e30]]
    (root / "driver.py").write_text(DRIVER)
    lines = json.dumps([[str(word) for word in command] for command in commands])
    command = torchrun(root / "driver.py", lines, root)
    result = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert result.returncode == 0, result.stderr
    return root


def ends(root: Path, rank: int) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each command in one of the processes."""
    return json.loads((root / f"rank{rank}.json").read_text())[0]


def sums(root: Path, rank: int) -> dict[str, dict[str, list[float]]]:
    """Run → network → the sum of each of its parameters, in one of the processes."""
    return json.loads((root / f"rank{rank}.json").read_text())[1]


@pytest.mark.parametrize("name", EQUAL)
def test_two_processes_train_what_one_trains(
    name: str, two: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data = request.getfixturevalue(EQUAL[name][1])
    result = run_script(*words(name, data, tmp_path, two / "vae" / "model.pth"))
    assert result.returncode == 0, result.stderr
    one, both = (read_log(folder / "log.jsonl") for folder in (tmp_path, two / name))
    assert [line["step"] for line in one] == [line["step"] for line in both] and one[-1]["step"] >= 20
    for a, b in zip(one, both, strict=True):
        assert scores_of(a) == pytest.approx(scores_of(b), rel=1e-5, abs=1e-5)
    a, b = (weights(folder / "model.pth") for folder in (tmp_path, two / name))
    worst = {key: float((a[key].float() - b[key].float()).abs().max()) for key in a}
    assert max(worst.values()) < 1e-4, worst


@pytest.mark.parametrize("name", OTHERS)
def test_every_training_runs_on_two_processes(name: str, two: Path) -> None:
    lines = read_log(two / name / "log.jsonl")
    values = [(line["step"], key) for line in lines for key in scores_of(line)]
    assert values and len(set(values)) == len(values)  # one process writes
    assert read_save(two / name / "last.pt")["processes"] == 2
    assert all(value.isfinite().all() for value in weights(two / name / "model.pth").values())
    assert len(list((two / name / "tensorboard").iterdir())) == 1


def test_the_processes_have_the_same_parameters_at_the_end(two: Path) -> None:
    """They saw different images: without averaged gradients the parameters would differ."""
    first, second = sums(two, 0), sums(two, 1)
    assert {*EQUAL, *OTHERS} <= first.keys() and first == second


def test_only_the_first_process_speaks_and_all_end_alike(two: Path) -> None:
    (_, _, one_process_only), *trained = ends(two, 0)
    trained, refused = trained[:-3], trained[-3:]
    assert one_process_only.endswith(
        "tutorial_dcgan.py: this training runs in one process only: start it without torchrun\n"
    )
    assert [code for code, _, _ in trained] == [0] * (len(EQUAL) + len(OTHERS) + 1)
    assert all("2 processes share each batch; batch norm is not synchronised" in out for _, out, _ in trained)
    for (code, _, err), (wanted, message) in zip(
        refused,
        ((1, "already holds a run"), (2, "a batch of 5 does not split over 2 processes"), (1, "became non-finite")),
        strict=True,
    ):
        assert code == wanted and message in err.splitlines()[-1] and err.count("train_autoencoder.py: ") == 1, err
    # StyleGAN2's layers that are not used at first make DistributedDataParallel's C++ warn once that later all are.
    others = [out + re.sub(r"\[rank1\].*find_unused_parameters.*\n", "", err) for _, out, err in ends(two, 1)]
    assert set(others) == {""}
    assert [code for code, _, _ in ends(two, 1)] == [code for code, _, _ in ends(two, 0)]
    assert not (two / "refused").exists()


# One training step; it notes its threads, and again those left when Python ends (what is registered first runs last).
LEAVE = """
import atexit, os, sys
from pathlib import Path
def keep_threads(when):
    names = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    Path(sys.argv[1], f"{when}{os.environ['RANK']}.txt").write_text("".join(names))
atexit.register(keep_threads, "end")
import torch
from dlcv.distributed import parallel, start
def main():
    device = start(4)
    network = torch.nn.Linear(3, 1).to(device)
    parallel(network)(torch.ones(2, 3, device=device)).sum().backward()
    torch.optim.SGD(network.parameters(), 0.1).step()
    keep_threads("training")
main()
"""


def test_no_thread_of_gloos_is_left_when_python_ends(tmp_path: Path) -> None:
    """It may let go of a tensor when the interpreter is half gone; that aborted one training in thirty."""
    script = tmp_path / "leave.py"
    script.write_text(LEAVE)
    subprocess.run(torchrun(script, tmp_path), env=ENVIRONMENT, check=True, capture_output=True, timeout=120)
    for rank in (0, 1):
        training, end = ((tmp_path / f"{when}{rank}.txt").read_text() for when in ("training", "end"))
        assert "gloo" in training and end and "gloo" not in end


def test_a_stopped_run_goes_on_to_the_same_bits(two: Path, arrays: Path, tmp_path: Path) -> None:
    command = [REPO / "train" / "train_autoencoder.py", "--data", arrays, "--out", tmp_path, *WHOLE]
    process = subprocess.Popen(
        torchrun(*command, "--save-seconds", 0.001), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "last.pt").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode != 0 and stderr.count("--resume goes on") == 1, stderr
    assert 0 < read_save(tmp_path / "last.pt")["step"] < 120 and not (tmp_path / "model.pth").exists()

    assert_one_line(run_script(*command, "--resume"), 1, "was begun with 2 processes")
    result = subprocess.run(
        torchrun(*command, "--resume"), env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    a, b = (read_checkpoint(folder / "model.pth")["weights"] for folder in (two / "whole", tmp_path))
    assert all(torch.equal(a[name], b[name]) for name in a)
    logs = [[(line["step"], scores_of(line)) for line in read_log(f / "log.jsonl")] for f in (two / "whole", tmp_path)]
    assert logs[0] == logs[1]
