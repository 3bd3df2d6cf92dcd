"""A fresh copy of a repository, as graders get it; nothing in the repository is run.

Git reads many files of a repository's .git and follows what they name: links, other repositories' objects, programs.
So git never sees a stranger's .git. Its objects, refs and HEAD are copied, as bytes, into a repository of ours, and
that is cloned: settings, hooks, links and alternates have no effect, and it does not matter whose files they are.
"""

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

from dlcv.cli import UserError
from grader.opening import Place, Refused
from grader.sandbox import limited
from grader.workplace import remove_tree

NOT_COPIED = {".git", ".venv", "venv", "hw2_data", "hw3_data"}  # at the top, where there is no git
SECONDS = 600  # for one command of git
ENTRIES, BYTES, FILE = 200_000, 8 << 30, 1 << 30  # of what is copied: files in number and size, and one file
NOT_TAKEN = {"alternates", "http-alternates"}  # of objects/info: where other objects lie


def copy_repository(repository: Path, *copies: Path) -> None:
    """What graders get: a clone of what is committed; without git a copy. Raises UserError."""
    for copy in copies:
        copy.parent.mkdir(parents=True, exist_ok=True)
    folders = git_folders(repository) if shutil.which("git") else None
    try:
        if folders is None:
            for copy in copies:
                _copy_tree(repository, copy, lambda folder, name: folder == str(repository) and name in NOT_COPIED)
            return
        bare = copies[0].with_name(f"{copies[0].name}.git")
        elsewhere = os.path.lexists(folders[1] / "objects" / "info" / "alternates")
        try:
            _copy_commits(*folders, bare)
            _require_limits(bare, repository)
            for copy in copies:
                _git(repository, "clone", "-q", "--", str(bare), str(copy))
                remove_tree(copy / ".git")
        except UserError as error:
            hint = " (its objects lie in another repository: git repack -a -d, remove objects/info/alternates)"
            raise UserError(f"{error}{hint if elsewhere else ''}") from None
        finally:
            remove_tree(bare)
    except (OSError, Refused) as error:
        raise UserError(f"cannot copy {repository}: {error}") from None


def git_folders(repository: Path) -> tuple[Path, Path] | None:
    """The folder of the repository's HEAD and that of its objects and refs; None without git.

    They are one but for a worktree. A .git that is a file (a worktree, a submodule) leads out of the repository; it is
    followed only where what it names says that it belongs here. Raises UserError for one that names another's.
    """
    dot, real = repository / ".git", repository.resolve()
    try:
        mode = dot.lstat().st_mode
    except OSError:
        return None
    if stat.S_ISDIR(mode):
        folder = dot
    elif stat.S_ISREG(mode):
        named = re.match(r"gitdir: (.+)", _read(dot))
        folder = (repository / (named[1].strip() if named else ".git")).resolve()
        if not folder.is_dir() or not (folder.is_relative_to(real) or _belongs(folder, real)):
            raise UserError(f"{dot} names {folder}, which is not this repository's: give a clone of it")
    else:
        folder = dot.resolve() if stat.S_ISLNK(mode) else dot
        if not folder.is_dir() or not folder.is_relative_to(real):
            raise UserError(f"{dot} leads out of the repository: give a clone of it")
    common = (folder / (_read(folder / "commondir").strip() or ".")).resolve()
    inside = folder.resolve().is_relative_to(real)
    if not common.is_dir() or (common != folder.resolve() and inside and not common.is_relative_to(real)):
        raise UserError(f"{folder / 'commondir'} leads out of the repository: give a clone of it")
    return folder, common


def _read(path: Path) -> str:
    """The text of a small file; "" where there is none."""
    try:
        return Place(path.parent, path.name).read(4_096).decode("utf-8", "replace")
    except Refused:
        return ""


def _belongs(folder: Path, repository: Path) -> bool:
    """Whether a git folder outside names `repository`, as git writes it: only who owns the folder can have it so."""
    if back := _read(folder / "gitdir").strip():  # of a worktree
        return (folder / back).resolve() == repository / ".git"
    if not (folder / "config").is_file():
        return False
    command = ["git", "config", "--file", str(folder / "config"), "--get", "core.worktree"]  # of a submodule
    answer = subprocess.run(command, capture_output=True, env=environment(folder), cwd=folder, timeout=SECONDS)
    back = answer.stdout.decode("utf-8", "replace").strip()
    return bool(back) and (folder / back).resolve() == repository


def environment(home: Path) -> dict[str, str]:
    """Variables for git, without anybody's settings."""
    own = {"PATH": os.environ.get("PATH", ""), "HOME": str(home), "GIT_LFS_SKIP_SMUDGE": "1", "LC_ALL": "C"}
    return own | {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}


def _git(repository: Path, *words: str, where: Path | None = None) -> bytes:
    """What git prints. Raises UserError with git's last line, about `repository`."""
    flags = ["-c", "core.hooksPath=/dev/null", "-c", "protocol.allow=never", "-c", "protocol.file.allow=always"]
    command = limited(["git", *flags, *(["-C", str(where)] if where else []), *words], FILE)
    try:
        done = subprocess.run(
            command, env=environment(Path(os.devnull)), stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise UserError(f"git cannot clone {repository}: it took longer than {SECONDS} s") from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        why = next((line for line in lines if line.startswith(("fatal:", "error:"))), "no reason given")
        raise UserError(f"git cannot clone {repository}: {why}")
    return done.stdout


def _copy_commits(folder: Path, common: Path, bare: Path) -> None:
    """A bare repository of ours with the commits of another: bytes of objects and refs, and nothing else of it."""
    config = _read(common / "config")
    if re.search(r"^\s*refstorage\s*=\s*reftable", config, re.MULTILINE | re.IGNORECASE):
        raise UserError(f"cannot copy {common}: its refs are a reftable; git refs migrate --ref-format=files")
    sha256 = re.search(r"^\s*objectformat\s*=\s*sha256", config, re.MULTILINE | re.IGNORECASE)
    kind = ["--object-format=sha256"] if sha256 else []
    _git(folder, "init", "-q", "--bare", "--template=", *kind, "--", str(bare))
    for part in ("objects", "refs"):
        if (common / part).is_dir() and not (common / part).is_symlink():
            _copy_tree(common / part, bare / part, lambda folder, name: name in NOT_TAKEN, links=False)
    for top, name in ((folder, "HEAD"), (common, "packed-refs"), (common, "shallow")):
        if (text := _read_large(top / name)) is not None:
            (bare / name).write_bytes(text)
        elif name == "HEAD":
            raise UserError(f"git cannot clone {folder}: it has no HEAD")


def _read_large(path: Path) -> bytes | None:
    """The bytes of a file of refs; None where there is none, or a link."""
    try:
        return Place(path.parent, path.name).read(64 << 20)
    except Refused:
        return None


def _require_limits(bare: Path, repository: Path) -> None:
    """Raises UserError where a commit of a few bytes would become more files than anybody hands in."""
    command = ["git", "-C", str(bare), "ls-tree", "-r", "-z", "--long", "HEAD"]
    count = size = 0
    with subprocess.Popen(
        limited(command, FILE), env=environment(bare), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdout
        rest = b""
        try:
            while block := os.read(process.stdout.fileno(), 1 << 20):
                *entries, rest = (rest + block).split(b"\0")
                count += len(entries)
                for entry in entries:
                    length = entry.split(b"\t", 1)[0].rsplit(b" ", 1)[-1]
                    size += int(length) if length.isdigit() else 0
                if count > ENTRIES or size > BYTES:
                    raise UserError(f"{repository} holds more than {ENTRIES} files or {BYTES >> 30} GiB: too much")
        finally:
            process.kill()


def _copy_tree(source: Path, copy: Path, left_out: Callable[[str, str], bool], links: bool = True) -> None:
    """Folders and regular files, and links as links; pipes and the like are left out. No recursion: it may be deep.

    Raises OSError; UserError where it is too much.
    """
    copy.mkdir(exist_ok=True)
    todo = [(str(source), str(copy))]  # strings: a Path of 1,500 parts takes its time
    count = size = 0
    while todo:
        folder, target = todo.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                new = f"{target}/{entry.name}"
                if entry.name == "__pycache__" or left_out(folder, entry.name):
                    continue
                count += 1
                if entry.is_symlink():
                    if links:
                        os.symlink(os.readlink(entry.path), new)  # noqa: PTH115, PTH211
                elif entry.is_dir(follow_symlinks=False):
                    if not os.path.isdir(new):  # refs/heads is in every new repository  # noqa: PTH112
                        os.mkdir(new)  # noqa: PTH102
                    todo.append((entry.path, new))
                elif entry.is_file(follow_symlinks=False):
                    size += entry.stat(follow_symlinks=False).st_size
                    if count > ENTRIES or size > BYTES:
                        raise UserError(f"{source} holds more than {ENTRIES} files or {BYTES >> 30} GiB: too much")
                    _copy_file(Path(entry.path), Path(new))


def _copy_file(path: Path, new: Path) -> None:
    try:
        with Place(path.parent, path.name).open(BYTES) as file, new.open("wb") as copy:
            shutil.copyfileobj(file, copy, 1 << 20)
            new.chmod(0o755 if os.fstat(file.fileno()).st_mode & 0o100 else 0o644)
    except Refused as error:
        raise UserError(f"cannot copy {path}: {error}") from None
