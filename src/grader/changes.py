"""What has changed in folders that nothing should write to while a repository is graded."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from grader.copying import environment

Snapshot = dict[str, tuple[int, int]]
SECONDS = 60  # for git, which need only read a few .gitignore files


def snapshot(*tops: Path) -> Snapshot:
    """Path → size and time of every file below, but for those in .git and __pycache__."""
    files: Snapshot = {}
    for top in tops:
        for folder, folders, names in os.walk(top):
            folders[:] = [name for name in folders if name not in (".git", "__pycache__")]
            for name in names:
                path = f"{folder}/{name}"
                with contextlib.suppress(OSError):
                    status = os.lstat(path)
                    files[path] = (status.st_size, status.st_mtime_ns)
    return files


def changed(before: Snapshot, now: Snapshot) -> list[str]:
    """The paths of files that are new, gone or not the same, sorted."""
    return sorted(path for path in now.keys() | before.keys() if now.get(path) != before.get(path))


def without_ignored(paths: Sequence[str], repository: Path, committed: Path) -> list[str]:
    """The changed paths without those files of the repository that git ignores: its .gitignore files name them.

    A file that is `committed` (in this copy) counts, whatever they say. Git looks with an empty repository of ours: it
    reads no settings of the one that is graded.
    """
    names = {path: os.path.relpath(path, repository) for path in paths if Path(path).is_relative_to(repository)}
    names = {path: name for path, name in names.items() if not (committed / name).is_file()}
    if not names or not shutil.which("git"):
        return list(paths)
    ignored = _ignored(list(names.values()), repository)
    return [path for path in paths if names.get(path, "") not in ignored]


def _ignored(names: Sequence[str], repository: Path) -> set[str]:
    def git(*words: str) -> bytes:
        given = b"\0".join(os.fsencode(name) for name in names)
        home = environment(Path(own))
        done = subprocess.run(
            ["git", *words], env=home, cwd=repository, input=given, capture_output=True, timeout=SECONDS
        )
        return done.stdout

    with tempfile.TemporaryDirectory() as own:
        try:
            git("init", "-q", "--template=", own)
            answer = git(
                f"--git-dir={own}/.git", f"--work-tree={repository}", "check-ignore", "--no-index", "-z", "--stdin"
            )
        except (OSError, subprocess.TimeoutExpired):
            return set()
    return {os.fsdecode(name) for name in answer.split(b"\0") if name}
