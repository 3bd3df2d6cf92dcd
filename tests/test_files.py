"""dlcv.files: outputs are whole or not there, whatever happens; what is not theirs stays."""

import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dlcv import files
from dlcv.cli import Ended, UserError
from dlcv.files import atomic_path, check_writable, write_folder, write_text

NAMES = [f"{index:04d}.png" for index in range(200)]


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_directory_in_the_way_changes_nothing(tmp_path: Path) -> None:
    names = [f"{index}.png" for index in range(4)]
    write_folder(tmp_path, dict.fromkeys(names[:3], b"old"))
    (tmp_path / "3.png").mkdir()
    (tmp_path / "other.txt").write_text("another's")
    with pytest.raises(UserError, match=r"3\.png is a directory"):
        write_folder(tmp_path, dict.fromkeys(names, b"new"))
    assert [(tmp_path / name).read_bytes() for name in names[:3]] == [b"old"] * 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [*names, "other.txt"]
    (tmp_path / "3.png").rmdir()
    write_folder(tmp_path, dict.fromkeys(names, b"new"))
    assert {(tmp_path / name).read_bytes() for name in names} == {b"new"}
    assert (tmp_path / "other.txt").read_text() == "another's"


def test_a_new_folder_appears_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda a, b: seen.append(len(list(a.iterdir()))) or rename(a, b))
    write_folder(tmp_path / "a" / "b", dict.fromkeys(NAMES, b"new"))
    assert seen == [len(NAMES)]  # one rename, of the whole folder
    assert tree(tmp_path) == {f"a/b/{name}": b"new" for name in NAMES}
    umask = os.umask(0o022)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o777 & ~umask


@pytest.mark.parametrize("link", [False, True])
def test_a_folder_that_is_there_stays_the_same_folder(tmp_path: Path, link: bool) -> None:
    """A shell may stand in it, a container mount it: it is not replaced, and nothing is written beside it."""
    folder = tmp_path / "out"
    folder.mkdir(mode=0o750)
    (folder / "sub").mkdir()
    (folder / "sub" / "thesis.txt").write_text("mine")
    (folder / NAMES[5]).symlink_to("sub/thesis.txt")
    before = folder.stat().st_ino, folder.stat().st_mode
    if link:
        (tmp_path / "link").symlink_to("out")
    write_folder(tmp_path / ("link" if link else "out"), dict.fromkeys(NAMES, b"new"))
    assert (folder.stat().st_ino, folder.stat().st_mode) == before
    assert tree(folder) == dict.fromkeys(NAMES, b"new") | {"sub/thesis.txt": b"mine"}
    assert {path.name for path in tmp_path.iterdir()} == ({"out", "link"} if link else {"out"})


def ending(number: signal.Signals, at: int, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The signal arrives before the `at`-th call of a method of Path."""
    count = 0
    original = getattr(Path, method)

    def wrapped(self: Path, *rest: object) -> object:
        nonlocal count
        count += 1
        if count == at:
            signal.raise_signal(number)
        return original(self, *rest)

    monkeypatch.setattr(Path, method, wrapped)


@pytest.fixture
def ends() -> object:
    """SIGTERM's handler as cli.run sets it."""
    before = signal.signal(signal.SIGTERM, lambda number, _: (_ for _ in ()).throw(Ended(number)))
    yield Ended
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_writing_leaves_nothing(
    tmp_path: Path, there: bool, number: signal.Signals, ends: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    if there:
        write_folder(folder, dict.fromkeys(NAMES[:50], b"old"))
    before = tree(tmp_path)
    ending(number, 114, "write_bytes", monkeypatch)
    with pytest.raises((KeyboardInterrupt, Ended)):
        write_folder(folder, dict.fromkeys(NAMES, b"new"))
    assert tree(tmp_path) == before and folder.exists() == there


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_moving_comes_after_all_are_in_place(
    tmp_path: Path, number: signal.Signals, ends: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "out", dict.fromkeys(NAMES, b"old"))
    ending(number, 114, "rename", monkeypatch)
    with pytest.raises((KeyboardInterrupt, Ended)):
        write_folder(tmp_path / "out", dict.fromkeys(NAMES, b"new"))
    assert tree(tmp_path) == {f"out/{name}": b"new" for name in NAMES}


@pytest.mark.parametrize("at", [1, 2, 113, 114, 250])
def test_a_move_that_fails_is_undone_with_those_before_it(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path / "out", dict.fromkeys(NAMES[::2], b"old"))
    before = tree(tmp_path)
    count = 0
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        nonlocal count
        count += 1
        if count == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(UserError, match="No space left"):
        write_folder(tmp_path / "out", dict.fromkeys(NAMES, b"new"))
    assert tree(tmp_path) == before


@pytest.mark.parametrize("inside", [False, True])
def test_what_a_killed_process_left_is_removed(tmp_path: Path, inside: bool) -> None:
    """SIGKILL while it writes; the next run, in whatever container, finds the lock free. A living one's stays."""
    folder = tmp_path / "out"
    if inside:
        folder.mkdir()
    code = """if True:
        import os, sys
        from pathlib import Path
        from dlcv.files import write_folder
        write = Path.write_bytes
        def stop(self, data):
            if self.name == "0114.png":
                print("writing", flush=True)
                sys.stdin.read()
            return write(self, data)
        Path.write_bytes = stop
        write_folder(Path(sys.argv[1]), {f"{i:04d}.png": b"new" for i in range(200)})
        """
    command = [sys.executable, "-c", code, str(folder)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == b"writing\n"
    processes[0].kill()
    processes[0].wait()
    place = folder if inside else tmp_path
    left = list(place.glob(".partial-*"))
    assert len(left) == 2
    for path in left:
        os.utime(path, (time.time() - 10, time.time() - 10))
    write_folder(folder, dict.fromkeys(NAMES, b"mine"))
    assert len(list(place.glob(".partial-*"))) == 1
    processes[1].communicate()
    assert processes[1].returncode == 0
    assert tree(tmp_path) == {f"out/{name}": b"new" for name in NAMES}
    assert not list(tmp_path.rglob(".partial-*"))


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There leftovers are known by their age."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    folder = tmp_path / "out"
    with files._temporary_folder(tmp_path, folder) as temporary:
        old, young = (temporary.with_name(temporary.name[:-4] + end) for end in ("aaaa", "bbbb"))
    for path, age in ((old, 100_000), (young, 1_000)):
        path.mkdir()
        os.utime(path, (time.time() - age,) * 2)
    write_folder(folder, dict.fromkeys(NAMES, b"new"))
    assert not old.exists() and young.exists() and len(list(folder.iterdir())) == len(NAMES)


def test_two_that_make_the_same_folder_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the rename another process makes it: its files are replaced, others stay."""
    folder = tmp_path / "out"
    held = files._signals_held_back

    def meanwhile() -> object:
        if not folder.exists():
            folder.mkdir()
            (folder / NAMES[0]).write_bytes(b"theirs")
            (folder / "more").write_bytes(b"theirs")
        return held()

    monkeypatch.setattr(files, "_signals_held_back", meanwhile)
    write_folder(folder, dict.fromkeys(NAMES, b"new"))
    assert tree(tmp_path) == {f"out/{name}": b"new" for name in NAMES} | {"out/more": b"theirs"}


def test_checking_changes_nothing(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b" / "c.csv")
    files.check_folder(tmp_path / "a" / "b", NAMES)
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "c.csv"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x" * 246 + ".csv", "ü" * 125 + ".csv", "a." + "y" * 250, "." + "z" * 254])
def test_the_longest_names(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / "new" / name, "text")
    assert (tmp_path / "new" / name).read_text() == "text" and len(list((tmp_path / "new").iterdir())) == 1
    for path in (tmp_path / f"{name}{'x' * 10}", tmp_path / ("ü" * 128) / "o.csv"):
        with pytest.raises(UserError, match="too long"):
            write_text(path, "text")


def test_links(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "dangling").symlink_to(tmp_path / "new" / "file")
    for write in (lambda: write_text(tmp_path / "a", "x"), lambda: write_folder(tmp_path / "a", {"x": b"x"})):
        with pytest.raises(UserError, match=r"cannot write .*a: .*(circle|symbolic links)"):
            write()
    write_text(tmp_path / "dangling", "text")  # where it points to
    assert (tmp_path / "new" / "file").read_text() == "text" and (tmp_path / "dangling").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "dangling", "new"]
