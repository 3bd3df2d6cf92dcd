"""run_script: a command in this process gives what it gives in one of its own, and leaves the process as it was."""

import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from conftest import REPO, SAMPLES, call, run_script

SCRIPT = """
import os, pathlib, signal, subprocess, sys, warnings
print(sys.argv[1:], pathlib.Path.cwd().name, os.environ.get("WHO"), __name__, flush=True)
print(sys.stdout.isatty(), file=sys.stderr)
subprocess.run(["echo", "a child"])
warnings.warn("careful")
os.environ["LEFT"] = "behind"
os.chdir("/")
sys.path.insert(0, "/elsewhere")
signal.signal(signal.SIGINT, signal.SIG_IGN)
if "torch" in sys.modules:  # not in the process of its own, which would take seconds
    sys.modules["torch"].set_num_threads(3)
    sys.modules["torch"].manual_seed(5)
    sys.modules["torch"].set_grad_enabled(False)
END
"""


@pytest.mark.parametrize(
    ("end", "code"), [("", 0), ("sys.exit(7)", 7), ("sys.exit('no')", 1), ("raise KeyError(1)", 1), ("sys.exit()", 0)]
)
def test_the_same_as_a_process_of_its_own(tmp_path: Path, end: str, code: int) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("END", end))

    def state() -> list[object]:
        return [
            Path.cwd(),
            dict(os.environ),
            list(sys.path),
            sys.argv,
            sys.stdout,
            signal.getsignal(signal.SIGINT),
            torch.get_num_threads(),
            torch.get_rng_state().tolist(),
            torch.is_grad_enabled(),
        ]

    before = state()
    here = run_script("python3", script, "a b", 1, cwd=tmp_path, env={"WHO": "me"})
    assert state() == before
    there = call("python3", script, "a b", 1, cwd=tmp_path, env={"WHO": "me"})
    assert (here.returncode, here.stdout) == (there.returncode, there.stdout)
    assert here.returncode == code
    assert here.stderr.splitlines()[:2] == there.stderr.splitlines()[:2]  # then a traceback's deeper lines
    assert here.stderr.splitlines()[-1] == there.stderr.splitlines()[-1]


def test_modules_and_wrappers(tmp_path: Path) -> None:
    module = run_script("python3", "-m", "dlcv.data.check", tmp_path)
    assert module.returncode == 1 and "dlcv.data.check: " in module.stderr
    assert run_script("bash", REPO / "hw3_p3.sh", SAMPLES, "svhn", "out.csv", cwd=tmp_path).returncode == 0
    assert (tmp_path / "out.csv").read_text().startswith("image_name,label\n")
    wrong = run_script("bash", REPO / "hw2_p3.sh", SAMPLES, "mnist", "no.csv", cwd=tmp_path)
    assert wrong.returncode == 2 and wrong.stderr.startswith("hw2_p3.sh: ")
