"""The README's commands, called as they are printed, in a folder that is laid out as a clone with data is."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPO, call

README = (REPO / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?ms)^```(\w*)\n(.*?)^```", README)  # those marked ```text show output
COMMANDS = [line.split("  #")[0].strip() for kind, text in BLOCKS if kind != "text" for line in text.splitlines()]
TINY = "--steps 2 --batch-size 4 --width 4"
# What is added to a command that would take long or fetch something. The first beginning that fits counts.
ADDED = {
    "make test": "--dry-run",
    "make report": "--dry-run",
    "make figures": "--dry-run",
    "bash get_dataset.sh --only": "--list",
    "python train/train_dann.py": f"{TINY} --reverse-steps 2",
    "python train/train_vae.py": f"{TINY} --latent-dim 4",
    "python -m grader ": "--help",  # what it does: test_grader.py
}


@pytest.fixture(scope="module")
def clone(digits: Path, faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Links to what is in the repository, and tiny data."""
    root = tmp_path_factory.mktemp("readme") / "clone"
    (root / "data" / "hw3_data").mkdir(parents=True)
    for folder in ("src", "train", "inference", "experiments", "report", "samples", "checkpoints", "docs"):
        (root / folder).symlink_to(REPO / folder)
    for path in (*REPO.glob("*.sh"), *(REPO / name for name in ("Makefile", "requirements.txt", "pyproject.toml"))):
        (root / path.name).symlink_to(path)
    (root / "data" / "hw3_data" / "digits").symlink_to(digits / "digits")
    (root / "data" / "hw3_data" / "face").symlink_to(faces / "face")
    (root / ".venv" / "bin").mkdir(parents=True)  # what `make setup` makes
    python = root / ".venv" / "bin" / "python3"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    (root / ".venv" / ".installed").touch()
    return root


def run_line(line: str, clone: Path) -> subprocess.CompletedProcess[str]:
    added = next((words for beginning, words in ADDED.items() if line.startswith(beginning)), "")
    return call(*shlex.split(f"{line} {added}"), cwd=clone, env={"PYTHONPATH": str(clone / "src")})


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_runs_as_it_is_printed(line: str, clone: Path) -> None:
    result = run_line(line, clone)
    assert result.returncode == 0, result.stderr
    if line == "make run":
        shown = re.search(r"(?ms)^```text\n(Accuracy.*?)^```", README)
        assert shown and shown[1] in result.stdout
    if line.startswith("python train/") and "--quick" not in line:
        assert list((clone / "runs").glob("*/model.pth"))


def test_every_addition_is_for_a_command() -> None:
    assert len(COMMANDS) > 10
    assert all(any(line.startswith(beginning) for line in COMMANDS) for beginning in ADDED)


def without_make() -> dict[str, str]:
    """The environment without what a make that runs these tests hands down, its variables for one."""
    return {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}


def test_make_figures_draws_what_it_can_and_lists_the_rest(tmp_path: Path) -> None:
    (tmp_path / "Makefile").symlink_to(REPO / "Makefile")
    for name in ("requirements.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / ".installed").touch()
    python = tmp_path / ".venv" / "bin" / "python3"
    lacking = 'case "$*" in *"figures.py uda"*) echo "digit_figures.py: no runs/study_uda" >&2; exit 1;; esac'
    for body, code in ((f'echo "$*" >> calls\n{lacking}\n', 2), ("", 0)):
        python.write_text(f"#!/bin/bash\n{body}")
        python.chmod(0o755)
        result = subprocess.run(
            ["make", "figures"], cwd=tmp_path, capture_output=True, text=True, env=without_make() | {"VENV": ".venv"}
        )
        assert result.returncode == code, result.stderr
    scripts = {call.split()[0] for call in (tmp_path / "calls").read_text().splitlines()}
    assert "report/make_page.py" in scripts and all((REPO / script).is_file() for script in scripts)
    assert "Not drawn" not in result.stderr
