"""What hostile repositories try on the grader: none gets a point that is not its own, none stops or slows a class."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import REPO
from PIL import Image
from test_grader import FOLDER, LIMITS, PICTURE, PREDICT, WRAPPER, WRITE, data, result_of, write

from dlcv import cli
from grader import classroom, copying, memory, outputs, rules, sandbox, workplace
from grader.copying import copy_repository
from grader.opening import Place, Refused
from grader.repository import grade
from grader.results import write_gradescope
from grader.sandbox import Limits

__all__ = ["data"]  # a fixture
CONTAINED = pytest.mark.skipif(
    sandbox.bubblewrap() is None, reason="bubblewrap is not installed, or may not make namespaces here"
)
PICTURES = WRAPPER.replace("predict", "picture")


def run_python(code: str, folder: Path, hidden: tuple[Path, ...] = (), limits: Limits = LIMITS) -> sandbox.Outcome:
    for name in ("home", "out"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return sandbox.run(["python3", "-c", code], folder, folder / "home", [folder], [], hidden, limits)


def ordinary(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command as a user who is not root. Namespaces are what there is for it: files of root's are its own."""
    start = ["bwrap", "--dev-bind", "/", "/", "--unshare-user", "--uid", "54321", "--gid", "54321", "--"]
    environment = os.environ | {"PYTHONPATH": str(REPO / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*start, *map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=120
    )


# What the sandbox lets through


@CONTAINED
def test_nothing_of_the_kernels_can_be_written(tmp_path: Path) -> None:
    """Every file of /proc but the processes', of /sys and of /dev is opened for writing: only devices let it."""
    code = """
import os
found, todo = [], ["/proc", "/sys", "/dev"]
while todo:
    folder = todo.pop()
    try:
        entries = list(os.scandir(folder))
    except OSError:
        continue
    for entry in entries:
        if entry.is_symlink() or folder == "/proc" and entry.name.isdigit():
            continue
        if entry.is_dir():
            todo.append(entry.path)
            continue
        try:
            os.close(os.open(entry.path, os.O_WRONLY | os.O_NONBLOCK))
            found.append(entry.path)
        except OSError:
            pass
print(*sorted(found))
"""
    outcome = run_python(code, tmp_path)
    assert outcome.ok, outcome
    devices = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/pts/ptmx"}
    assert "/dev/null" in outcome.stdout and set(outcome.stdout.split()) <= devices
    outcome = run_python("open('/proc/sys/kernel/core_pattern', 'w').write('core')", tmp_path)
    assert outcome.code == 1 and ("Read-only" in outcome.stderr or "Permission" in outcome.stderr)


@CONTAINED
def test_command_lines_do_not_name_others(tmp_path: Path) -> None:
    for name in ("anna", "ben"):
        (tmp_path / "class" / name).mkdir(parents=True)
    outcome = run_python(
        "import glob\nfor path in glob.glob('/proc/[0-9]*/cmdline'): print(open(path).read())",
        tmp_path / "own", (tmp_path / "class" / "anna", tmp_path / "class" / "ben"),
    )  # fmt: skip
    assert outcome.ok and "bwrap" in outcome.stdout and "anna" not in outcome.stdout


@CONTAINED
def test_other_temporary_folders_and_linked_data_are_hidden(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TMPDIR elsewhere than /tmp, where another's clone lies; digits/, a domain, a test/ and a csv that are links."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    other = tmp_path / "elsewhere" / f"{workplace.PREFIX}x" / "first" / "repository"
    other.mkdir(parents=True)
    (other / "predict.py").write_text("secret")
    store, linked = tmp_path / "store", tmp_path / "linked"
    shutil.copytree(data / "digits", store)
    (linked / "digits").mkdir(parents=True)
    (linked / "digits" / "mnistm").symlink_to(store / "mnistm")
    (linked / "digits" / "svhn").mkdir()
    (linked / "digits" / "svhn" / "test").symlink_to(store / "svhn" / "test")
    (linked / "digits" / "svhn" / "test.csv").symlink_to(store / "svhn" / "test.csv")
    shutil.move(store / "usps", tmp_path / "usps")
    (linked / "digits" / "usps").symlink_to(tmp_path / "usps")
    monkeypatch.setattr(sandbox, "SHARED", 1 << 20)
    answers = [tmp_path / "usps" / "test.csv", *(store / name / "test.csv" for name in ("mnistm", "svhn"))]
    assert all(path.is_file() for path in answers)
    # pytest's own folders lie in /tmp, which is hidden anyhow: here only what is said to be is.
    monkeypatch.setattr(sandbox, "home", lambda: None)
    covered = sandbox._covered

    def without_tmp(hidden: tuple[Path, ...]) -> list[Path]:
        return [folder for folder in covered(hidden) if folder != Path("/tmp")]

    monkeypatch.setattr(sandbox, "_covered", without_tmp)
    extra = f"for path in {[str(path) for path in [*answers, other / 'predict.py']]!r}:\n"
    extra += "    assert not os.path.isfile(path) or not os.path.getsize(path), path\n"
    root = write(tmp_path / "mallory", hw3_p3_sh=WRAPPER, predict_py=PREDICT + extra + WRITE)
    result = result_of(grade(root, linked, LIMITS, ["2020"]), "2020 3-2")
    assert result.score == 10, result.why


def test_the_graders_gpus_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert run_python("import os; print(os.environ['CUDA_VISIBLE_DEVICES'])", tmp_path).stdout == "3\n"


MEMFD = "import os\nfile = os.memfd_create('x')\nfor _ in range(96): os.write(file, bytes(1 << 20))\nprint('written')"
SHARED = (
    "import os, time\nblock = b'x' * (40 << 20)\nfor _ in range(4):\n    if not os.fork(): time.sleep(0.5); os._exit(0)"
)


@pytest.mark.parametrize("how", ["cgroup", "watching"])
def test_memory_is_counted_once_and_whole(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that processes share count once; a memfd that nobody has mapped counts where the kernel counts."""
    if how == "watching":
        monkeypatch.setattr(memory, "cgroup", lambda limit: None)
    elif sandbox.counts_memory() != "cgroup":
        pytest.skip("no control group can be made here")
    limits = Limits(seconds=20, memory=80 << 20)
    assert run_python(SHARED, tmp_path, limits=limits).ended == ""
    assert (
        "GiB of memory"
        in run_python(f"x = b'x' * {200 << 20}\nimport time; time.sleep(9)", tmp_path, limits=limits).ended
    )
    if how == "cgroup":
        assert "GiB of memory" in run_python(MEMFD, tmp_path, limits=limits).ended


def test_groups_of_killed_graders_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    if (group := memory.cgroup(1 << 30)) is None:
        pytest.skip("no control group can be made here")
    left = group.folder.with_name("dlcv-grader-999999999-1")
    left.mkdir()
    group.close()
    between = memory.cgroup(1 << 30)
    assert between is not None and left.exists()  # it is too young to be sure
    between.close()
    monkeypatch.setattr(memory, "OLD", -1.0)
    second = memory.cgroup(1 << 30)
    assert second is not None and not left.exists()
    second.close()
    assert not second.folder.exists()


# What it leaves behind, opened outside the sandbox

SELF = "wrapper = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'hw3_p1.sh')\nout = sys.argv[1]\n"
# name: (what picture.py does; what is told)
LEFT: dict[str, tuple[str, str]] = {
    "the wrapper becomes a pipe": ("os.remove(wrapper); os.mkfifo(wrapper); sys.exit(1)", "ended with code 1"),
    "the wrapper becomes a link to a device": (
        "os.remove(wrapper); os.symlink('/dev/zero', wrapper); sys.exit(1)", "ended with code 1"),
    "the output is a pipe": ("os.mkfifo(out)", "is not a regular file"),
    "the output is a socket": ("import socket; os.chdir(os.path.dirname(out))\n"
        "socket.socket(socket.AF_UNIX).bind('fig1_4.png')", "is not a regular file"),
    "the output is a link to another's": ("os.symlink(OTHER + '/fig1_4.png', out)", "is not a regular file"),
    "the folder is a link to another's": (
        "os.rmdir(os.path.dirname(out)); os.symlink(OTHER, os.path.dirname(out))", "cannot be read"),
    "the folder is a link that leads in a circle": (
        "os.rmdir(os.path.dirname(out)); os.symlink('out', os.path.dirname(out))", "cannot be read"),
    "the folder above is a link": (
        "top = os.path.dirname(os.path.dirname(out)); os.rmdir(top + '/out'); os.rmdir(top + '/elsewhere')\n"
        "os.symlink(OTHER, top + '/elsewhere')", "was not written"),
    "a file of many GiB without contents": ("open(out, 'wb').truncate(900 << 20)", "bytes"),
    "a picture of 60,000 x 60,000": (
        "import zlib\nfrom struct import pack\n"
        "def part(kind, body): return pack('>I', len(body)) + kind + body + pack('>I', zlib.crc32(kind + body))\n"
        "head = part(b'IHDR', pack('>IIBBBBB', 60000, 60000, 8, 2, 0, 0, 0)) + part(b'IDAT', zlib.compress(b''))\n"
        "open(out, 'wb').write(b'\\x89PNG\\r\\n\\x1a\\n' + head + part(b'IEND', b''))", "fig1_4.png"),
    "deep folders and one without permissions": (
        "os.chdir(os.path.dirname(out))\nos.mkdir('closed'); os.mkdir('closed/in'); os.chmod('closed', 0)\n"
        "for _ in range(300): os.mkdir('d'); os.chdir('d')", "was not written"),
}  # fmt: skip


@CONTAINED
@pytest.mark.parametrize("name", LEFT)
def test_what_is_left_behind_is_not_followed(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another student's picture is good and lies where the link leads: the grader could read it."""
    change, why = LEFT[name]
    other = tmp_path / "class" / "anna"
    other.mkdir(parents=True)
    Image.radial_gradient("L").resize((528, 264)).convert("RGB").save(other / "fig1_4.png")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    script = f"import os, sys\nOTHER = {str(other)!r}\n{SELF}{change}\n"
    root = write(tmp_path / "mallory", hw3_p1_sh=PICTURES, picture_py=script)
    start = time.monotonic()
    graded = grade(root, None, LIMITS, hidden=[tmp_path / "class"])
    result = result_of(graded, "2020 1-4")
    assert result.score == 0 and why in result.why and not graded.failures, result
    assert time.monotonic() - start < 15
    assert not list((tmp_path / "temporary").iterdir())  # nothing survives the clean-up


@CONTAINED
def test_a_linked_folder_of_faces_is_not_read(tmp_path: Path) -> None:
    other = tmp_path / "faces"
    other.mkdir()
    script = f"import os, sys\nos.rmdir(sys.argv[1]); os.symlink({str(other)!r}, sys.argv[1])\n"
    root = write(tmp_path / "mallory", hw2_p1_sh=WRAPPER.replace("predict", "folder"), folder_py=script)
    first = next(result for result in grade(root, None, LIMITS).results if result.problem == "2021 1")
    assert first.status == "failed" and "was replaced" in first.why
    assert "names" in FOLDER  # the good one's passes: test_grader.py


def test_files_are_opened_without_following_or_waiting(tmp_path: Path) -> None:
    """Each kind, directly; as `root` a path or an open descriptor that survives a renaming."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_text("x")
    (tmp_path / "link").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")
    assert Place(tmp_path, "a/b/file").read(10) == b"x"
    for path in ("link/b/file", "pipe", "a", "a/b/none", "a/b/file/x", "a/\0"):
        with pytest.raises(Refused):
            Place(tmp_path, path).read(10)
    with pytest.raises(Refused, match="1 bytes"):
        Place(tmp_path, "a/b/file").read(0)
    for path in ("link", "link/b", "pipe", "none"):
        with pytest.raises(Refused):
            Place(tmp_path, path).names(5)
    root = os.open(tmp_path / "a", os.O_RDONLY)
    (tmp_path / "a").rename(tmp_path / "moved")
    (tmp_path / "a").symlink_to("/")
    assert Place(root, "b/file").read(10) == b"x" and Place(root, "b").names(5) == ["file"]
    os.close(root)


def test_quoted_names_are_read(tmp_path: Path) -> None:
    """As the csv module and pandas write a name with a comma or a quote."""
    (tmp_path / "p.csv").write_text('image_name,label\n"a ""b"".png",3\n"left, blurred.png",4\nplain.png,5\n')
    names = ['a "b".png', "left, blurred.png", "plain.png"]
    assert outputs.read_predictions(Place(tmp_path, "p.csv"), names) == dict(zip(names, (3, 4, 5), strict=True))
    for row in ('"a.png,3', "a.png,3,", "a.png,33", "a.png,٣", "a.png"):
        (tmp_path / "p.csv").write_text(f"image_name,label\n{row}\n")
        with pytest.raises(outputs.WrongOutput, match="is not name,digit"):
            outputs.read_predictions(Place(tmp_path, "p.csv"), ["a.png"])


# Static rules: linear, limited


def nested(depth: int, inner: str) -> str:
    for _ in range(depth):
        inner = f'eval "$({inner})"'
    return inner


SLOW: dict[str, str] = {
    "eval in eval, 16 levels": nested(16, "true"),
    "eval in eval, 1,000 levels": nested(1_000, "true"),
    "env of env of env": "env " * 4_000 + "true",
    "a pipe without an end": "a|" * 4_000,
    "a long pipe": "a|" * 20_000,
    "shells in a row": "bash -c x;" * 1_600,
    "a shell in a shell in a shell": "bash -c '" * 1_700,
    "substitutions in substitutions": "x=$(" * 3_000 + "true" + ")" * 3_000,
    "arrays without an end": "a=(" * 3_000,
    "conditions in conditions": "if a; then " * 1_000 + "b" + "; fi" * 1_000,
    "here documents": "bash <<E\nrm x\nE\n" * 1_000,
    "forbidden words in python3 -c": "python3 -c '" + "rm " * 5_000 + "'",
    "a long script": "true\n" * 400_000,
}


def test_slow_scripts_are_checked_in_a_short_time(tmp_path: Path) -> None:
    """All of them in one repository, as wrappers and as what a wrapper calls; processor time, whoever else is busy."""
    findings, seconds = {}, {}
    for name, text in SLOW.items():
        (tmp_path / "hw3_p1.sh").write_text(text + "\n")
        start = time.process_time()
        findings[name] = rules.wrapper_findings(tmp_path, "hw3_p1.sh")
        seconds[name] = time.process_time() - start
    assert max(seconds.values()) < 10, seconds  # 1 s at most, when this was written
    refused = {name for name, listed in findings.items() if listed and "too complicated" in listed[0].what}
    assert {"eval in eval, 1,000 levels", "env of env of env", "a long pipe", "a long script"} <= refused
    assert not any(f.stops for f in findings["eval in eval, 16 levels"] + findings["shells in a row"])
    assert any("forbidden command rm" in f.what for f in findings["here documents"])
    assert all(findings[name][0].stops for name in refused)


def test_deep_python_is_checked(tmp_path: Path) -> None:
    (tmp_path / "deep.py").write_text("x = " + "(" * 5_000 + "1" + ")" * 5_000)
    (tmp_path / "system.py").write_text(f"import os\nos.system({nested(40, 'rm x')!r})\n")
    (tmp_path / "python.sh").write_text("python3 deep.py\n")
    (tmp_path / "carried.sh").write_text("python3 system.py\n")
    findings = rules.check_apart(tmp_path, ["python.sh", "carried.sh"])
    assert findings["python.sh"][0].stops and findings["carried.sh"][0].what == "is too complicated to check"


def test_what_is_not_checked_in_time_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "hw3_p1.sh").write_text("true\n")
    findings = rules.check_apart(tmp_path, ["hw3_p1.sh", "hw3_p2.sh"], seconds=0.001)
    assert [finding.what for finding in findings["hw3_p1.sh"]] == ["is too complicated to check"]
    assert findings["hw3_p2.sh"] == [] and "too many" in findings[""][0].what


def test_nested_commands_are_still_found(tmp_path: Path) -> None:
    (tmp_path / "hw3_p3.sh").write_text(nested(12, "rm x") + "\n")
    assert any("forbidden command rm" in finding.what for finding in rules.wrapper_findings(tmp_path, "hw3_p3.sh"))


def test_windows_line_ends_and_unreadable_archives_are_named(tmp_path: Path) -> None:
    """A clone made on Windows; Deflate64, as Windows Explorer zips large files."""
    import zipfile

    (tmp_path / "hw3_p3.sh").write_bytes(b"python3 x.py\r\n")
    with zipfile.ZipFile(tmp_path / "model.pth", "w") as archive:
        archive.writestr("model/data.pkl", b"x" * 100)
    content = (tmp_path / "model.pth").read_bytes()  # method 9 in both headers
    content = content.replace(b"PK\x03\x04\x14\x00\x00\x00\x00\x00", b"PK\x03\x04\x14\x00\x00\x00\x09\x00")
    content = content.replace(
        b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x09\x00"
    )
    (tmp_path / "model.pth").write_bytes(content)
    findings = rules.check_apart(tmp_path, ["hw3_p3.sh"])
    assert any("Windows line ends" in finding.what for finding in findings["hw3_p3.sh"])
    assert [finding.where for finding in findings[""]] == ["model.pth"] and "cannot be read" in findings[""][0].what


# Git


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@localhost", "-c", "protocol.file.allow=always"]
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *identity, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def commits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """anna's repository, whose solution others would like to have, and mallory's own."""
    top = tmp_path_factory.mktemp("git")
    for name, script in (("anna", "the solution"), ("mallory", "her own")):
        root = write(top / name, hw3_p1_sh=PICTURES, picture_py=script)
        git(root, "init", "-q", "-b", "main")
        git(root, "add", ".")
        git(root, "commit", "-qm", "x")
    git(top / "anna", "worktree", "add", "-q", str(top / "tree"), "-b", "second")
    git(top / "anna", "pack-refs", "--all")
    return top


def replace(path: Path, target: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.symlink_to(target)


def borrow(dot: Path, anna: Path) -> None:
    (dot / "objects" / "info").mkdir(exist_ok=True)
    (dot / "objects" / "info" / "alternates").write_text(f"{anna / '.git' / 'objects'}\n")
    (dot / "refs" / "heads" / "main").write_text(git(anna, "rev-parse", "main") + "\n")


def common(dot: Path, anna: Path) -> None:
    shutil.rmtree(dot / "objects")
    (dot / "commondir").write_text(f"{anna / '.git'}\n")


def setting(text: str) -> Callable[[Path, Path], None]:
    def change(dot: Path, anna: Path) -> None:
        with (dot / "config").open("a") as file:
            file.write(text.replace("ANNA", str(anna)) + "\n")

    return change


def hook(dot: Path, anna: Path) -> None:
    (dot / "hooks").mkdir(exist_ok=True)
    for name in ("post-checkout", "pre-receive", "post-upload-pack", "reference-transaction"):
        (dot / "hooks" / name).write_text("#!/bin/sh\ntouch MARKER\n".replace("MARKER", str(anna.parent / "marker")))
        (dot / "hooks" / name).chmod(0o755)


def as_file(text: str) -> Callable[[Path, Path], None]:
    def change(dot: Path, anna: Path) -> None:
        shutil.rmtree(dot)
        dot.write_text(text.replace("ANNA", str(anna)))

    return change


def inner(dot: Path, anna: Path) -> None:
    """A .git that names a folder in the hand-in, which is a worktree of anna's."""
    shutil.rmtree(dot)
    (dot.parent / "inside").mkdir()
    (dot.parent / "inside" / "HEAD").write_text("ref: refs/heads/main\n")
    (dot.parent / "inside" / "commondir").write_text(f"{anna / '.git'}\n")
    dot.write_text("gitdir: inside\n")


def pipe(dot: Path, anna: Path) -> None:
    (dot / "HEAD").unlink()
    os.mkfifo(dot / "HEAD")


MARK = "sh -c 'touch ANNA/../marker'"
VECTORS: dict[str, Callable[[Path, Path], None]] = {
    "alternates": borrow,
    "commondir": common,
    "a link for .git": lambda dot, anna: replace(dot, anna / ".git"),
    "a link for objects": lambda dot, anna: replace(dot / "objects", anna / ".git" / "objects"),
    "a link for refs": lambda dot, anna: replace(dot / "refs", anna / ".git" / "refs"),
    "a link for packed-refs": lambda dot, anna: replace(dot / "packed-refs", anna / ".git" / "packed-refs"),
    "a link for HEAD": lambda dot, anna: replace(dot / "HEAD", anna / ".git" / "HEAD"),
    "a pipe for HEAD": pipe,
    "a file that names another's": as_file("gitdir: ANNA/.git\n"),
    "a file that names another's, relative": as_file("gitdir: ../anna/.git\n"),
    "a file that names another's worktree": as_file("gitdir: ANNA/.git/worktrees/tree\n"),
    "a file that names a folder inside": inner,
    "a file of nothing": as_file(""),
    "hooks": hook,
    "core.worktree": setting("[core]\nworktree = ANNA"),
    "core.fsmonitor": setting(f"[core]\nfsmonitor = {MARK}"),
    "core.sshCommand": setting(f"[core]\nsshCommand = {MARK}"),
    "core.pager": setting(f"[core]\npager = {MARK}"),
    "core.alternateRefsCommand": setting(f"[core]\nalternateRefsCommand = {MARK}"),
    "core.hooksPath": setting("[core]\nhooksPath = ANNA/../hooks"),
    "uploadpack.packObjectsHook": setting(f"[uploadpack]\npackObjectsHook = {MARK}"),
    "filters": setting(f"[filter \"x\"]\nsmudge = {MARK}\nprocess = {MARK}\nrequired"),
    "credential.helper": setting(f"[credential]\nhelper = !{MARK}"),
    "alias": setting(f"[alias]\nclone = !{MARK}\nupload-pack = !{MARK}"),
    "include": setting("[include]\npath = ANNA/.git/config"),
    "a remote that promises objects": setting(
        "[extensions]\npartialClone = origin\n[remote \"origin\"]\npromisor\nurl = ANNA"),
    "ext::": setting(f"[remote \"origin\"]\npromisor\nurl = ext::{MARK}"),
    "url.insteadOf": setting("[url \"ANNA\"]\ninsteadOf = /"),
    "init.templateDir": setting("[init]\ntemplateDir = ANNA/.git"),
}  # fmt: skip


@pytest.mark.parametrize("name", VECTORS)
def test_git_brings_nothing_of_others_and_runs_nothing(name: str, commits: Path, tmp_path: Path) -> None:
    """Refused, or her own commit: never anna's, and no program of hers is run."""
    shutil.copytree(commits / "anna", tmp_path / "anna", symlinks=True)
    shutil.copytree(commits / "mallory", tmp_path / "mallory", symlinks=True)
    for worktree in (tmp_path / "anna" / ".git" / "worktrees").iterdir():  # copied along: it names the old place
        (worktree / "gitdir").write_text(f"{tmp_path / 'tree' / '.git'}\n")
    (tmp_path / "mallory" / "picture.py").write_text("not committed")
    VECTORS[name](tmp_path / "mallory" / ".git", tmp_path / "anna")
    start = time.monotonic()
    try:
        copy_repository((tmp_path / "mallory").resolve(), tmp_path / "work" / "copy")
        mine = tmp_path / "work" / "copy" / "picture.py"
        assert mine.read_text() == "her own" if mine.exists() else name == "a link for refs"  # no commit is left
        assert [path.name for path in (tmp_path / "work").iterdir()] == ["copy"]
    except cli.UserError as error:
        assert "mallory" in str(error) and "her own" not in str(error)
        assert not (tmp_path / "work" / "copy" / "picture.py").exists()
    assert not (tmp_path / "marker").exists() and time.monotonic() - start < 20


def test_worktrees_and_submodules_are_cloned(commits: Path, tmp_path: Path) -> None:
    """There .git is a file that leads out of the folder, to a place that names the folder in turn."""
    (commits / "tree" / "new.txt").write_text("not committed")
    copy_repository((commits / "tree").resolve(), tmp_path / "tree")
    assert (tmp_path / "tree" / "picture.py").exists() and not (tmp_path / "tree" / "new.txt").exists()
    (commits / "tree" / "new.txt").unlink()
    (tmp_path / "class").mkdir()
    git(tmp_path / "class", "init", "-q")
    git(tmp_path / "class", "submodule", "--quiet", "add", str(commits / "mallory"), "mallory")
    folder = tmp_path / "class" / "mallory"
    assert (folder / ".git").is_file()
    (folder / "picture.py").write_text("not committed")
    copy_repository(folder.resolve(), tmp_path / "copy", tmp_path / "second")
    assert {(tmp_path / name / "picture.py").read_text() for name in ("copy", "second")} == {"her own"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_a_repository_of_another_user_is_cloned(commits: Path, tmp_path: Path) -> None:
    """Git calls it dubious; here it reads bytes of it only."""
    root = tmp_path / "mallory"
    shutil.copytree(commits / "mallory", root, symlinks=True)
    for path in (root, *root.rglob("*")):
        os.chown(path, 65534, 65534)
    copy_repository(root.resolve(), tmp_path / "copy")
    assert (tmp_path / "copy" / "picture.py").read_text() == "her own"


@CONTAINED
def test_an_ordinary_user_grades(tmp_path: Path) -> None:
    """A user without a name and without rights, another's repository, folders without permissions left behind."""
    script = PICTURE + "import os\nos.chdir(os.path.dirname(sys.argv[1]))\n"
    script += "os.makedirs('../home/closed/in'); os.chmod('../home/closed', 0)\n"
    root = write(tmp_path / "anna", hw3_p1_sh=PICTURES, picture_py=script)
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "x")
    if os.geteuid() == 0:
        for path in (root, *root.rglob("*")):
            os.chown(path, 65534, 65534)
    (tmp_path / "temporary").mkdir()
    command = ["env", "-u", "HOME", f"TMPDIR={tmp_path / 'temporary'}", sys.executable, "-m", "grader", root]
    done = ordinary(*command, "--course", "2020", "--out", tmp_path / "out", "--seconds", 20, cwd=tmp_path)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    scores = {test["number"]: test for test in json.loads((tmp_path / "out" / "results.json").read_text())["tests"]}
    assert scores["2020 1-4"]["score"] == 5, scores
    assert not list((tmp_path / "temporary").iterdir())


def test_a_bomb_of_folders_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few hundred bytes of objects that name each other: ten files in ten folders in ten folders …"""
    git(tmp_path, "init", "-q", "bomb")
    root = tmp_path / "bomb"
    (root / "seed").write_text("x")
    name, kind = git(root, "hash-object", "-w", "seed"), "100644 blob"
    for _ in range(9):
        listing = "".join(f"{kind} {name}\t{number}\n" for number in range(10))
        done = subprocess.run(["git", "mktree"], cwd=root, input=listing, capture_output=True, text=True, check=True)
        name, kind = done.stdout.strip(), "040000 tree"
    git(root, "update-ref", "refs/heads/main", git(root, "commit-tree", name, "-m", "x"))
    git(root, "symbolic-ref", "HEAD", "refs/heads/main")
    monkeypatch.setattr(copying, "ENTRIES", 20_000)
    start = time.monotonic()
    with pytest.raises(cli.UserError, match="holds more than 20000 files"):
        copy_repository(root.resolve(), tmp_path / "copy")
    assert time.monotonic() - start < 10 and not (tmp_path / "copy").exists()


# Folders


def test_deep_hand_ins_are_graded_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    root = write(tmp_path / "r", hw3_p1_sh=PICTURES, picture_py=PICTURE)
    subprocess.run(["mkdir", "-p", "d/" * 1_100], cwd=root, check=True)
    try:
        assert result_of(grade(root, None, LIMITS), "2020 1-4").score == 5
    finally:
        workplace.remove_tree(root)
    assert not list((tmp_path / "temporary").iterdir()) and not root.exists()


def test_folders_of_killed_graders_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not one that is in use, nor any where locks do not work."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / f"{workplace.PREFIX}left"
    (left / "deep").mkdir(parents=True)
    (left / workplace.LOCK).touch()
    with workplace.work_folder() as first, workplace.work_folder():
        assert first.is_dir() and not left.exists()
    (left / "deep").mkdir(parents=True)
    (left / workplace.LOCK).touch()

    def no_locks(file: object, how: int) -> None:
        raise OSError(38, "Function not implemented")

    for without in (no_locks, lambda file, how: None):
        monkeypatch.setattr(workplace.fcntl, "flock", without)
        with workplace.work_folder() as folder:
            assert folder.is_dir() and left.is_dir()
        assert not folder.exists()


def test_graders_that_begin_together_keep_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One must not take another's new folder, which is not locked yet, for that of a killed grader."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def grading(number: int) -> bool:
        with workplace.work_folder() as folder:
            (folder / "grade").write_text(str(number))
            time.sleep(0.005)
            return (folder / "grade").read_text() == str(number)

    with ThreadPoolExecutor(8) as graders:
        assert all(graders.map(grading, range(300)))
    assert not list(tmp_path.iterdir())


# A class


def content(score: float = 3.0, **extra: object) -> str:
    more = {"failures": 0, "contained": True, "whole": True} | extra
    test = {"name": "VAE", "number": "2020 1-4", "output": "", "score": score, "max_score": 5.0, "status": "failed"}
    return json.dumps({"score": score, "extra_data": more, "tests": [test]})


def test_damaged_results_are_graded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty, cut off, of another program, of a grading that was ended; shadows of macOS are no repositories."""
    school, out = tmp_path / "school", tmp_path / "out"
    kept = {
        "empty": "", "object": "{}", "list": "[]", "cut": content()[:40], "null": "null", "text": '{"score": "x"}',
        "no points": json.dumps({"score": 1, "extra_data": {"failures": 0, "contained": True}, "tests": [1]}),
        "unfinished": content(whole=False), "failed": content(failures=1), "whole": content(),
    }  # fmt: skip
    for name, text in kept.items():
        (school / name).mkdir(parents=True)
        (out / name).mkdir(parents=True)
        (out / name / "results.json").write_text(text)
    (school / "__MACOSX" / "anna").mkdir(parents=True)
    (school / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    done: dict[str, list[str]] = {}

    def grade_one(repository: Path, place: Path, flags: list[str], total: float) -> str:
        done[place.name] = flags
        if place.name != "cut":
            place.mkdir(exist_ok=True)
            (place / "results.json").write_text(content(5.0))
        return ""

    monkeypatch.setattr(classroom, "grade_one", grade_one)
    rows = {row["name"]: row for row in classroom.grade_class(school, out, [], 2)}
    assert done.keys() == {*kept, "linked"} - {"whole"}
    assert rows.keys() == {*kept, "linked"} and rows["whole"]["score"] == 3.0 and rows["empty"]["score"] == 5.0
    assert rows["cut"]["trouble"] == "not graded" and (out / "class.csv").exists()
    assert str(tmp_path / "elsewhere") in done["empty"]  # hidden, too: a link leads there
    (school / "class.csv").mkdir()
    with pytest.raises(cli.UserError, match="a result is called so"):
        classroom.grade_class(school, out, [], 1)


def test_graders_that_are_ended_say_what_ended_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the last line of their progress."""
    progress = "import os, signal, sys, time; print('2020 1-4, VAE: passed', file=sys.stderr, flush=True); "
    monkeypatch.setattr(classroom, "GRACE", 0.5)
    for last, message in (
        ("os.kill(os.getpid(), signal.SIGKILL)", "the grader was ended by SIGKILL (out of memory?)"),
        ("sys.exit(143)", "the grader was ended by SIGTERM"),
        (
            "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
            "took longer than 0.5 s in all",
        ),
        ("sys.exit('grader: no such directory: x')", "grader: no such directory: x"),
    ):
        monkeypatch.setattr(classroom, "own_command", lambda *words, last=last: [sys.executable, "-c", progress + last])
        assert classroom.grade_one(tmp_path, tmp_path / "out", [], 0.5).removesuffix(", and was ended") == message


def test_a_class_uses_this_very_grader(tmp_path: Path) -> None:
    """Not another that is installed or on PYTHONPATH, as when the path of a clone holds a colon and is cut there."""
    (tmp_path / "grader").mkdir()
    (tmp_path / "grader" / "__init__.py").write_text("raise SystemExit('another grader')\n")
    command = sandbox.own_command("grader", "--seconds", "0")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:/no:such"}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "must be positive" in done.stderr, done.stderr


def test_a_class_that_is_killed_leaves_nothing_running(tmp_path: Path) -> None:
    """SIGKILL: no handler runs. What was graded until then is on disk; no folder, no grader, no wrapper is left."""
    wrapper = WRAPPER.replace("predict", "wait")
    root = write(tmp_path / "school" / "anna", hw3_p1_sh=wrapper, wait_py="import time; time.sleep(543.21)\n")
    (root / "report.pyc").write_bytes(b"")
    (tmp_path / "temporary").mkdir()
    words = ["--class", tmp_path / "school", "--out", tmp_path / "out", "--seconds", "60", "--jobs", "2"]
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary")}
    command = sandbox.own_command("grader", *map(str, words))
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def left() -> list[str]:
        lines = subprocess.run(["ps", "-ewwo", "args"], capture_output=True, text=True).stdout.splitlines()
        return [line for line in lines if str(tmp_path) in line and "ps -ewwo" not in line]

    try:
        results = tmp_path / "out" / "anna" / "results.json"
        until = time.monotonic() + 60
        while not (results.exists() and any("wait.py" in line for line in left())) and time.monotonic() < until:
            time.sleep(0.1)
        assert json.loads(results.read_text())["extra_data"]["whole"] is False
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    until = time.monotonic() + 20
    while (left() or list((tmp_path / "temporary").iterdir())) and time.monotonic() < until:
        time.sleep(0.1)
    assert left() == [] and not list((tmp_path / "temporary").iterdir())


def test_what_the_time_does_not_suffice_for_is_left_out(data: Path, tmp_path: Path) -> None:
    """A platform's own limit: no points are lost for it, and none given."""
    root = write(
        tmp_path / "r", hw3_p1_sh=PICTURES, picture_py="import time; time.sleep(30)", hw3_p2_sh=PICTURES,
        hw3_p3_sh=WRAPPER, predict_py=PREDICT + WRITE, hw2_p1_sh=PICTURES,
    )  # fmt: skip
    graded = grade(root, data, Limits(seconds=20, until=time.monotonic() + 2))
    assert {result.status for result in graded.results if result.problem != "rules"} <= {"left out", "failed"}
    for problem in ("2020 1-4", "2020 2-2", "2020 3-2"):
        result = result_of(graded, problem)
        assert result.status == "left out" and result.score is None and "time for all of the grading" in result.why
    assert graded.score == 0 and math.isclose(graded.points, 16)  # of 4-1, which is not there at all


def test_a_top_folder_is_named(tmp_path: Path) -> None:
    root = write(tmp_path / "r" / "hw3-anna", hw3_p1_sh=PICTURES)
    graded = grade(root.parent, None, LIMITS)
    assert graded.score == 0 and "hw3-anna/ does" in result_of(graded, "rules").measured


# Odd, not hostile


def test_odd_repositories_are_graded(tmp_path: Path) -> None:
    """Wrappers, files and names of 29 kinds that held: the good picture has its points, the rest one line each."""
    root = write(tmp_path / os.fsdecode(b"-rf a:b\n=1+1 <b> M\xfcller"), hw3_p1_sh=PICTURES, picture_py=PICTURE)
    wrappers: dict[str, Callable[[Path], object]] = {
        "hw3_p2.sh": lambda path: path.mkdir(),
        "hw3_p3.sh": lambda path: path.write_text(""),
        "hw3_p4.sh": lambda path: path.write_bytes(bytes(range(256))),
        "hw2_p1.sh": lambda path: path.symlink_to("none"),
        "hw2_p2.sh": lambda path: path.symlink_to("hw2_p2.sh"),
        "hw2_p3.sh": lambda path: os.mkfifo(path),
        "hw2_bonus.sh": lambda path: path.symlink_to("pipe"),
    }
    for name, make in wrappers.items():
        make(root / name)
    for name, target in {
        "up": "..",
        "self": "self",
        "top": "/",
        "dangling": "none",
        "two": "three",
        "three": "two",
    }.items():
        (root / name).symlink_to(target)
    os.mkfifo(root / "pipe")
    os.mkfifo(root / "fig1_4.png")
    (root / "report").mkdir()
    (root / "report" / "fig1_4.png").write_text("no picture")
    for name in ("--help", "-rf", "a\nb.py", "n" * 250, " ", "=1+1", "*", os.fsdecode(b"\xff\xfe.py"), "$(touch x)"):
        (root / name).write_text("x")
    for name, content in {"model.pth": b"PK\x03\x04" + bytes(50), "old.pkl": b"\x80\x02", "empty.pth": b""}.items():
        (root / name).write_bytes(content)
    (root / "picture.py").write_text("import picture\n" + PICTURE)  # it imports itself
    graded = grade(root, None, LIMITS)
    assert not graded.failures and result_of(graded, "2020 1-4").score == 5, graded
    others = [result for result in graded.results if result.problem not in ("rules", "2020 1-4")]
    assert all(not result.score and result.status != "passed" for result in others)
    write_gradescope(tmp_path / "results.json", graded, 1.0)
    assert json.loads((tmp_path / "results.json").read_text())["score"] == 5


def test_empty_and_broken_repositories_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds none of" in result_of(grade(tmp_path / "empty", None, LIMITS), "rules").measured
    root = write(tmp_path / "broken", hw3_p1_sh=PICTURES)
    (root / ".git").mkdir()
    with pytest.raises(cli.UserError, match="git cannot clone"):
        grade(root, None, LIMITS)
