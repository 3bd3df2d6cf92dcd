"""A fresh copy of a repository, as graders get it; nothing in the repository is run."""

import os
import shutil
import subprocess
from pathlib import Path

from dlcv.cli import UserError

NOT_COPIED = {".git", ".venv", "venv", "hw2_data", "hw3_data"}  # at the top, where there is no git


def copy_repository(repository: Path, copy: Path) -> None:
    """What graders get: a clone of what is committed; without git a copy. Raises UserError."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    if (repository / ".git").is_dir() and shutil.which("git"):
        flags = ["-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never", "-c", "protocol.file.allow=always"]
        flags += [
            "-c",
            f"safe.directory={repository.resolve() / '.git'}",
            "-c",
            f"safe.directory={repository.resolve()}",
        ]
        command = ["git", *flags, "clone", "-q", "--no-hardlinks", "--", str(repository.resolve()), str(copy)]
        clean = {"PATH": os.environ.get("PATH", ""), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
        cloned = subprocess.run(
            command,
            env=clean | {"HOME": str(copy.parent), "GIT_LFS_SKIP_SMUDGE": "1"},
            capture_output=True,
            timeout=600,
        )
        if cloned.returncode:
            told = cloned.stderr.decode("utf-8", "replace").strip().splitlines()
            raise UserError(f"git cannot clone {repository}: {told[-1] if told else 'no reason given'}")
        shutil.rmtree(copy / ".git", ignore_errors=True)
        return

    def ignored(folder: str, names: list[str]) -> set[str]:
        top = Path(folder) == repository
        special = {n for n in names if not (Path(folder) / n).is_dir() and not (Path(folder) / n).is_file()}  # pipes
        return special | {name for name in names if name == "__pycache__" or (top and name in NOT_COPIED)}

    try:
        shutil.copytree(repository, copy, symlinks=True, ignore=ignored)
    except (OSError, shutil.Error) as error:
        raise UserError(f"cannot copy {repository}: {error}") from None
