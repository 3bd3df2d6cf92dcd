"""download_models.sh with real wget against a server on 127.0.0.1."""

import hashlib
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import REPO, call

CONTENT = {"a.pth": os.urandom(300_000), "b.pth": os.urandom(200_000)}


class Server:
    """Serves a folder; answers byte ranges, and on demand breaks off in the middle of a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str | None]] = []
        self.break_off_after: int | None = None
        self.wait = 0.0  # seconds before each answer
        outer = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append((self.path, self.headers.get("Range")))
                time.sleep(outer.wait)
                path = outer.folder / self.path.lstrip("/")
                if not path.is_file():
                    self.send_error(404)
                    return
                data = path.read_bytes()
                wanted = self.headers.get("Range")
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                if start >= len(data) > 0:
                    self.send_error(416)
                    return
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(len(data) - start))
                if wanted:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.end_headers()
                end = len(data) if outer.break_off_after is None else start + outer.break_off_after
                self.wfile.write(data[start:end])
                if end < len(data):
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    folder = tmp_path / "served"
    folder.mkdir()
    for name, data in CONTENT.items():
        (folder / name).write_bytes(data)
    server = Server(folder)
    yield server
    server.http.shutdown()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A repository whose MANIFEST names two checkpoints; both are in place."""
    clone = tmp_path / "my clone"
    folder = clone / "checkpoints"
    folder.mkdir(parents=True)
    shutil.copy(REPO / "download_models.sh", clone)
    lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in CONTENT.items()]
    (folder / "MANIFEST").write_text("".join(lines))
    for name, data in CONTENT.items():
        (folder / name).write_bytes(data)
    return clone


def download(clone: Path, url: str | None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {"no_proxy": "127.0.0.1", "http_proxy": ""} | ({"MODELS_URL": url} if url else {})
    return call("bash", clone / "download_models.sh", cwd=cwd, env=environment)


def whole(clone: Path) -> bool:
    files = {path.name: path.read_bytes() for path in (clone / "checkpoints").iterdir() if path.name != "MANIFEST"}
    return files == CONTENT


def test_nothing_to_do_needs_no_address(clone: Path, server: Server) -> None:
    result = download(clone, None)
    assert result.returncode == 0 and "all checkpoints are in place" in result.stdout
    assert not server.requests


def test_missing_file(clone: Path, server: Server, tmp_path: Path) -> None:
    (clone / "checkpoints" / "b.pth").unlink()
    assert download(clone, server.url + "/", cwd=tmp_path).returncode == 0
    assert whole(clone) and server.requests == [("/b.pth", None)]


@pytest.mark.parametrize("damage", [lambda data: data[:1000], lambda data: b"x" + data[1:], lambda data: b""])
def test_damaged_file_is_replaced(clone: Path, server: Server, damage: object) -> None:
    path = clone / "checkpoints" / "a.pth"
    path.write_bytes(damage(path.read_bytes()))
    assert download(clone, server.url).returncode == 0
    assert whole(clone)


def test_wrong_content_is_refused(clone: Path, server: Server) -> None:
    (server.folder / "a.pth").write_bytes(b"something else")
    (clone / "checkpoints" / "a.pth").unlink()
    result = download(clone, server.url)
    assert result.returncode == 1
    assert "wrong SHA-256" in result.stderr and "MODELS_URL" in result.stderr
    assert not (clone / "checkpoints" / "a.pth").exists() and not (clone / "checkpoints" / "a.pth.part").exists()


def test_404_does_not_stop_the_others(clone: Path, server: Server) -> None:
    (server.folder / "a.pth").unlink()
    for name in CONTENT:
        (clone / "checkpoints" / name).unlink()
    result = download(clone, server.url)
    assert result.returncode == 1 and "a.pth could not be fetched" in result.stderr
    assert [path.name for path in sorted((clone / "checkpoints").iterdir())] == ["MANIFEST", "b.pth"]


def test_nothing_listening(clone: Path, server: Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    damaged = clone / "checkpoints" / "a.pth"
    damaged.write_bytes(b"damaged")
    result = download(clone, url)
    assert result.returncode == 1 and "could not be fetched" in result.stderr
    assert damaged.read_bytes() == b"damaged"  # nothing is lost, and nothing pretends to be whole


def test_interrupted_download_is_taken_up_again(clone: Path, server: Server) -> None:
    (clone / "checkpoints" / "a.pth").unlink()
    (clone / "checkpoints" / "a.pth.part").write_bytes(CONTENT["a.pth"][:120_000])  # what a kill left
    server.break_off_after = 100_000  # and now the line breaks once or twice more
    result = download(clone, server.url)
    assert result.returncode == 0, result.stderr
    assert whole(clone)
    ranges = [wanted for _, wanted in server.requests]
    assert ranges[0] == "bytes=120000-" and "bytes=220000-" in ranges


def test_part_of_another_version(clone: Path, server: Server) -> None:
    (clone / "checkpoints" / "a.pth").unlink()
    (clone / "checkpoints" / "a.pth.part").write_bytes(b"old" * 10_000)
    assert download(clone, server.url).returncode == 0
    assert whole(clone)


def test_default_address_is_the_github_remote(clone: Path) -> None:
    (clone / "checkpoints" / "a.pth").unlink()
    subprocess.run(["git", "init", "-q", clone], check=True)
    result = download(clone, None)
    assert result.returncode == 1 and "set MODELS_URL" in result.stderr
    fake = clone / "bin"
    fake.mkdir()
    (fake / "wget").write_text('#!/bin/sh\nfor word; do :; done\necho "$word" >&2\nexit 1\n')
    (fake / "wget").chmod(0o755)
    for remote in (
        "git@github.com:someone/hw3.git",
        "https://github.com/someone/hw3",
        "https://me@github.com/someone/hw3.git",
    ):
        subprocess.run(["git", "-C", clone, "config", "remote.origin.url", remote], check=True)
        environment = os.environ | {"PATH": f"{fake}{os.pathsep}{os.environ['PATH']}"}
        result = subprocess.run(
            ["bash", clone / "download_models.sh"], capture_output=True, text=True, env=environment, check=False
        )
        assert "https://raw.githubusercontent.com/someone/hw3/HEAD/checkpoints/a.pth\n" in result.stderr


def test_a_directory_in_a_models_place(clone: Path, server: Server) -> None:
    for name in CONTENT:
        (clone / "checkpoints" / name).unlink()
    (clone / "checkpoints" / "a.pth").mkdir()
    result = download(clone, server.url)
    assert result.returncode == 1
    assert [line for line in result.stderr.splitlines() if "is a directory; move it away" in line]
    assert (clone / "checkpoints" / "a.pth").is_dir() and not list((clone / "checkpoints" / "a.pth").iterdir())
    assert (clone / "checkpoints" / "b.pth").read_bytes() == CONTENT["b.pth"]
    (clone / "checkpoints" / "a.pth").rmdir()
    assert download(clone, server.url).returncode == 0 and whole(clone)


def test_two_at_once(clone: Path, server: Server) -> None:
    """The second one waits, and finds that nothing is left to do."""
    for name in CONTENT:
        (clone / "checkpoints" / name).unlink()
    server.wait = 0.2
    environment = os.environ | {"no_proxy": "127.0.0.1", "http_proxy": "", "MODELS_URL": server.url}
    processes = [
        subprocess.Popen(["bash", clone / "download_models.sh"], env=environment, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    assert whole(clone)
    assert sorted(path for path, _ in server.requests) == ["/a.pth", "/b.pth"]


@pytest.mark.parametrize("change", [lambda text: text.replace("\n", "\r\n"), lambda text: text.replace("  ", " *")])
def test_a_manifest_of_another_system(clone: Path, server: Server, change: object) -> None:
    manifest = clone / "checkpoints" / "MANIFEST"
    manifest.write_bytes(change(manifest.read_text()).encode())
    (clone / "checkpoints" / "b.pth").unlink()
    assert download(clone, server.url).returncode == 0 and whole(clone)


def test_names_in_the_manifest_stay_in_the_folder(clone: Path, server: Server) -> None:
    manifest = clone / "checkpoints" / "MANIFEST"
    manifest.write_text(f"{'0' * 64}  ../a.pth\nword\n" + manifest.read_text())
    result = download(clone, server.url)
    assert result.returncode == 1 and result.stderr.count("is no line of SHA-256 and file name") == 2
    assert not server.requests and not (clone / "a.pth").exists()


def test_usage(clone: Path) -> None:
    for word, code, start in (("--help", 0, "usage: bash download_models.sh"), ("-h", 0, "usage"), ("more", 2, "")):
        result = call("bash", clone / "download_models.sh", word, env={"PATH": "/usr/bin:/bin"})
        assert result.returncode == code and result.stdout.startswith(start)
    assert result.stderr.startswith("download_models.sh: no arguments are taken, got 'more'")
