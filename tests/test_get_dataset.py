"""get_dataset.sh from end to end, against small stand-ins of every source served on 127.0.0.1."""

import bz2
import fcntl
import gzip
import hashlib
import io
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import REPO, assert_one_line, call, run_script
from PIL import Image
from scipy.io import savemat

from dlcv.data.build import ATTRIBUTES, blend
from dlcv.data.flowers import read_flowers
from dlcv.data.get import PARTS
from dlcv.data.sources import official_sources

RNG = np.random.RandomState(0)
DIGITS = RNG.randint(0, 256, (6, 28, 28)).astype(np.uint8) * (RNG.rand(6, 28, 28) < 0.2)
LABELS = np.arange(6)


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(struct.pack(">I", n) for n in array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes())


def packed(kind: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def picture(size: tuple[int, int], suffix: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RNG.randint(0, 256, (size[1], size[0], 3)).astype(np.uint8)).save(buffer, suffix)
    return buffer.getvalue()


def mat(n: int) -> bytes:
    buffer = io.BytesIO()
    labels = (np.arange(n) % 10 + 1).reshape(-1, 1).astype(np.uint8)  # 1 … 10, and 10 means 0
    savemat(buffer, {"X": RNG.randint(0, 256, (32, 32, 3, n)).astype(np.uint8), "y": labels})
    return buffer.getvalue()


def flower_labels(*numbers: int) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, {"labels": np.array([numbers], np.uint8)})
    return buffer.getvalue()


def stand_ins() -> dict[str, bytes]:
    usps = "\n".join(f"{k + 1} " + " ".join(f"{i + 1}:{RNG.uniform(-1, 1):.3f}" for i in range(256)) for k in range(3))
    attributes = ["5_o_Clock_Shadow", *sorted([*ATTRIBUTES, "Young"])]
    names = [f"{k + 1:06d}.jpg" for k in range(5)]
    lines = [f"{name} " + " ".join("1" if (k + i) % 2 else "-1" for i in range(15)) for k, name in enumerate(names)]
    batch = {b"data": RNG.randint(0, 256, (4, 3072)).astype(np.uint8), b"labels": [0, 1, 2, 3]}
    course = {
        f"hw3_data/digits/{d}/{s}/00000.png": picture((28, 28), "png")
        for d in ("usps", "mnistm", "svhn")
        for s in ("train", "test")
    }
    course |= {f"{Path(name).parent}.csv": b"image_name,label\n00000.png,1\n" for name in list(course)}
    course |= {
        f"hw3_data/face/{s}/{n}.png": picture((64, 64), "png") for s, n in (("train", "00000"), ("test", "40000"))
    }
    for split, name in (("train", "00000"), ("test", "40000")):
        course[f"hw3_data/face/{split}.csv"] = f"image_name,{','.join(ATTRIBUTES)}\n{name}.png{',1.0' * 13}\n".encode()
    course["__MACOSX/hw3_data/._face"] = b"x"
    files = {
        "hw3_data.zip": packed("zip", course),
        "usps.bz2": bz2.compress(usps.encode()),
        "usps.t.bz2": bz2.compress(usps.splitlines()[0].encode()),
        "train_32x32.mat": mat(12),
        "test_32x32.mat": mat(10),
        "BSR_bsds500.tgz": packed("tgz", {f"BSR/images/train/{k}.jpg": picture((40, 30), "jpeg") for k in range(3)}),
        "img_align_celeba.zip": packed(
            "zip", {f"img_align_celeba/{name}": picture((178, 218), "jpeg") for name in names}
        ),
        "list_attr_celeba.txt": "\n".join(["5", " ".join(attributes), *lines]).encode(),
        "list_eval_partition.txt": "\n".join(f"{n} {p}" for n, p in zip(names, "00012", strict=True)).encode(),
        "cifar-10-python.tar.gz": packed(
            "tgz",
            {f"cifar-10-batches-py/{n}": pickle.dumps(batch) for n in ("data_batch_1", "data_batch_2", "test_batch")}
            | {"cifar-10-batches-py/batches.meta": b"x"},
        ),
        "102flowers.tgz": packed("tgz", {f"jpg/image_{k:05d}.jpg": picture((30, 20), "jpeg") for k in (1, 2)}),
        "imagelabels.mat": flower_labels(74, 54),
        "setid.mat": b"x",
    }
    for prefix in ("mnist", "fashion"):
        for stem, n in (("train", 6), ("t10k", 4)):
            files[f"{prefix}-{stem}-images-idx3-ubyte.gz"] = idx(DIGITS[:n])
            files[f"{prefix}-{stem}-labels-idx1-ubyte.gz"] = idx(LABELS[:n])
    return files


class Site:
    def __init__(self, folder: Path) -> None:
        self.folder, self.requests, self.md5 = folder, list[str](), dict[str, str]()
        outer = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path.lstrip("/"))
                super().do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    site = Site(folder)
    for name, data in stand_ins().items():
        (folder / name).write_bytes(data)
        site.md5[name] = hashlib.md5(data).hexdigest()
    yield site
    site.http.shutdown()


def get(site: Site, tmp_path: Path, *flags: object, shell: bool = False) -> subprocess.CompletedProcess[str]:
    """What get_dataset.sh runs (or that itself), with a table that sends every official source to the site."""
    table: dict[str, object] = {}
    for name, source in official_sources().items():
        gdown = "drive:" if source.urls[0].startswith("drive:") else ""
        urls = [f"{site.url}/gone/{name}", f"{gdown}{site.url}/{name}"]
        table[name] = {"urls": urls, "md5": site.md5.get(name) if source.md5 else None}
    (tmp_path / "sources.json").write_text(json.dumps(table))
    site.requests.clear()
    words = ["--out", tmp_path / "my data", "--sources", tmp_path / "sources.json", *flags]
    environment = {"no_proxy": "127.0.0.1", "http_proxy": "", "HOME": str(tmp_path)}
    if shell:
        return call("bash", REPO / "get_dataset.sh", *words, env=environment)
    return run_script("python3", "-m", "dlcv.data.get", *words, env=environment)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_course_archive(site: Site, tmp_path: Path) -> None:
    result = get(site, tmp_path, "--only", "digits", "face", shell=True)
    assert result.returncode == 0, result.stderr
    root = tmp_path / "my data" / "hw3_data"
    assert (root / "digits" / "svhn" / "test" / "00000.png").exists() and (
        root / "face" / "test" / "40000.png"
    ).exists()
    assert set(site.requests) == {"gone/hw3_data.zip", "hw3_data.zip"}
    before = files(root)
    again = get(site, tmp_path, "--only", "digits", "face")
    assert again.returncode == 0 and not site.requests and files(root) == before


def test_official_sources(site: Site, tmp_path: Path) -> None:
    (site.folder / "hw3_data.zip").unlink()  # the course's archives are gone
    result = get(site, tmp_path)
    assert result.returncode == 0, result.stderr
    out = tmp_path / "my data"
    counts = {"usps": (3, 1), "mnistm": (6, 4), "svhn": (12, 10)}
    for domain, numbers in counts.items():
        for split, n in zip(("train", "test"), numbers, strict=True):
            folder = out / "hw3_data" / "digits" / domain / split
            pictures = [Image.open(path) for path in sorted(folder.iterdir())]
            assert len(pictures) == n and {picture.size for picture in pictures} == {(28, 28)}
            assert {picture.mode for picture in pictures} == {"L" if domain == "usps" else "RGB"}
    digits = out / "hw3_data" / "digits"
    assert (digits / "usps" / "train.csv").read_text() == "image_name,label\n00000.png,0\n00001.png,1\n00002.png,2\n"
    labels = (digits / "svhn" / "test.csv").read_text().split()
    assert labels[1] == "00000.png,1" and labels[-1] == "00009.png,0"
    face = (out / "hw3_data" / "face" / "train.csv").read_text().splitlines()
    assert face[0] == "image_name," + ",".join(ATTRIBUTES) and len(face) == 4
    assert face[1] == "00000.png," + ",".join(
        str(float((1 + sorted([*ATTRIBUTES, "Young"]).index(a)) % 2)) for a in ATTRIBUTES
    )
    assert Image.open(out / "hw3_data" / "face" / "test" / "40000.png").size == (64, 64)
    fashion, cifar = np.load(out / "fashion_mnist.npz"), np.load(out / "cifar10.npz")
    assert np.array_equal(fashion["train_images"], DIGITS) and np.array_equal(fashion["test_labels"], LABELS[:4])
    assert cifar["train_images"].shape == (8, 32, 32, 3) and cifar["test_labels"].tolist() == [0, 1, 2, 3]
    assert read_flowers(out, ["sunflower", "rose"], size=16).labels.tolist() == [0, 1]
    check = run_script("python3", "-m", "dlcv.data.check", out)
    assert check.returncode == 0, check.stdout

    before = files(out)
    assert get(site, tmp_path).returncode == 0
    assert not [name for name in site.requests if "hw" not in name] and files(out) == before

    # MNIST-M is the same on every machine.
    other = tmp_path / "other"
    (tmp_path / "my data").rename(other)
    assert get(site, tmp_path, "--official", "--only", "digits").returncode == 0
    assert files(tmp_path / "my data" / "hw3_data" / "digits") == files(other / "hw3_data" / "digits")


def test_damage_and_interruption_are_repaired(site: Site, tmp_path: Path) -> None:
    assert get(site, tmp_path, "--official", "--only", "digits").returncode == 0
    out = tmp_path / "my data"
    before = files(out)
    downloads = out / "downloads"
    for name in ("usps.bz2", "BSR_bsds500.tgz"):  # cut short by a crash of an earlier run
        (downloads / name).write_bytes((downloads / name).read_bytes()[:-30])
    (out / "hw3_data" / "digits" / "usps" / "train.csv").unlink()  # stopped before its end
    (out / "hw3_data" / "digits" / "mnistm" / "test" / "00001.png").unlink()
    (out / "hw3_data" / "digits" / "mnistm" / ".train.partial").mkdir()
    result = get(site, tmp_path, "--official", "--only", "digits")
    assert result.returncode == 0, result.stderr
    assert {name for name in site.requests if not name.startswith("gone/")} == {"usps.bz2", "BSR_bsds500.tgz"}
    assert files(out) == before


def test_what_cannot_be_had_is_named_and_the_rest_is_built(site: Site, tmp_path: Path) -> None:
    (site.folder / "cifar-10-python.tar.gz").write_bytes(b"a page that says: not found")
    (site.folder / "fashion-train-images-idx3-ubyte.gz").unlink()
    result = get(site, tmp_path, "--official", "--only", "cifar10", "fashion_mnist", "face")
    assert result.returncode == 1 and "Traceback" not in result.stderr
    message = result.stderr.strip().splitlines()[-1]
    assert message.startswith("get_dataset.sh: ") and "fashion-train-images-idx3-ubyte.gz" in message
    assert "cifar-10-python.tar.gz" in message and "damaged or something else" in message
    assert (tmp_path / "my data" / "hw3_data" / "face" / "train.csv").exists()
    assert not list((tmp_path / "my data" / "downloads").glob("*.part"))


def test_what_is_not_ours_is_not_deleted(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "my data" / "hw3_data" / "digits" / "usps" / "train"
    folder.mkdir(parents=True)
    (folder / "thesis.txt").write_text("mine")
    result = get(site, tmp_path, "--official", "--only", "digits")
    assert result.returncode == 1 and "thesis.txt, which is not ours" in result.stderr.splitlines()[-1]
    assert (folder / "thesis.txt").read_text() == "mine"


def test_pickles_that_ask_for_more_than_arrays_are_refused(site: Site, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> object:
            return (print, ("run!",))

    data = packed("tgz", {"cifar-10-batches-py/data_batch_1": pickle.dumps(Evil())})
    (site.folder / "cifar-10-python.tar.gz").write_bytes(data)
    site.md5["cifar-10-python.tar.gz"] = hashlib.md5(data).hexdigest()
    result = get(site, tmp_path, "--only", "cifar10")
    assert result.returncode == 1 and "asks for builtins.print" in result.stderr and "run!" not in result.stdout


def test_wrong_checksum_is_refused(site: Site, tmp_path: Path) -> None:
    table = {"usps.bz2": {"urls": [f"{site.url}/usps.bz2"], "md5": "0" * 32}}
    (tmp_path / "bad.json").write_text(json.dumps(table))
    result = run_script(
        "python3", "-m", "dlcv.data.get", "--official", "--only", "digits", "--out", tmp_path / "d",
        "--sources", tmp_path / "bad.json", env={"no_proxy": "127.0.0.1"},
    )  # fmt: skip
    assert result.returncode == 1 and "usps.bz2" in result.stderr and "damaged or something else" in result.stderr
    assert not (tmp_path / "d" / "hw3_data").exists()


def test_mistakes(tmp_path: Path) -> None:
    script = ("python3", "-m", "dlcv.data.get")
    assert_one_line(run_script(*script, "--only", "everything"), 2, "get_dataset.sh:", "invalid choice")
    (tmp_path / "s.json").write_text("[1]")
    assert_one_line(run_script(*script, "--sources", tmp_path / "s.json"), 1, "no table of sources")


def test_the_help_says_what_each_part_takes() -> None:
    usage = call("bash", REPO / "get_dataset.sh", "--help").stdout
    for part in (*PARTS, "all"):
        assert re.search(rf"(?m)^{part} +[\d.]+ [MG]B +[\d.]+ [MG]B +(\d+ minutes|seconds)", usage), part
    assert "save it in\n<out>/downloads under the name that --list shows" in usage


def test_usage_without_the_packages(tmp_path: Path) -> None:
    """From a clone whose path holds a colon, by a Python that has none of the packages, and nothing is written."""
    clone = tmp_path / "a:b"
    for folder in ("src/dlcv/data", "src/dlcv"):
        (clone / folder).mkdir(parents=True, exist_ok=True)
        for file in (REPO / folder).glob("*.py"):
            shutil.copy(file, clone / folder)
    shutil.copy(REPO / "get_dataset.sh", clone)
    bare = tmp_path / "bin"
    bare.mkdir()
    (bare / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} -I -S -B "$@"\n')
    (bare / "python3").chmod(0o755)
    environment = os.environ | {"PATH": f"{bare}:/usr/bin:/bin"}
    for words, code in ((["--help"], 0), (["-h"], 0), ([], 1)):
        command = ["bash", clone / "get_dataset.sh", *words]
        result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=bare)
        assert result.returncode == code, result.stderr
        if code:
            assert_one_line(result, 1, "get_dataset.sh: No module named", "make setup")
        else:
            for part in ("usage: get_dataset.sh", "340 MB", "save it in", "--list"):
                assert part in result.stdout
    assert [path.name for path in bare.iterdir()] == ["python3"]


def test_the_names_of_files_fetched_by_hand(site: Site, tmp_path: Path) -> None:
    lines = get(site, tmp_path, "--list").stdout.splitlines()
    assert not site.requests and not (tmp_path / "my data").exists()
    assert [line for line in lines if line.startswith("hw3_data.zip ") and f"{site.url}/hw3_data.zip" in line]
    folder = tmp_path / "my data" / "downloads"
    folder.mkdir(parents=True)
    shutil.copy(site.folder / "hw3_data.zip", folder)
    assert "(is here)" in get(site, tmp_path, "--list").stdout
    assert get(site, tmp_path, "--only", "digits").returncode == 0 and not site.requests


def test_two_at_once(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "my data" / "downloads"
    folder.mkdir(parents=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert_one_line(get(site, tmp_path, "--only", "digits"), 1, "another get_dataset.sh is at work")
    assert not site.requests


def with_method(archive: bytes, field: int, value: int) -> bytes:
    """The zip with another value in a two-byte field (place in the central directory) of every entry."""
    changed = bytearray(archive)
    with zipfile.ZipFile(io.BytesIO(archive)) as content:
        place = content.start_dir
        for entry in content.infolist():
            struct.pack_into("<H", changed, entry.header_offset + field - 2, value)
            struct.pack_into("<H", changed, place + field, value)
            place += 46 + sum(struct.unpack_from("<HHH", changed, place + 28))
    return bytes(changed)


@pytest.mark.parametrize(
    ("field", "value", "message"), [(10, 9, "compressed in a way"), (10, 12, "damaged"), (8, 1, "encrypted")]
)
def test_archives_that_cannot_be_read_are_no_archives(
    site: Site, tmp_path: Path, field: int, value: int, message: str
) -> None:
    """Deflate64, BZIP2's mark on other bytes, encryption: a remark, and the next source is tried."""
    good = (site.folder / "hw3_data.zip").read_bytes()
    (site.folder / "hw3_data.zip").write_bytes(with_method(good, field, value))
    (site.folder / "hw2_data.zip").write_bytes(good)
    result = get(site, tmp_path, "--only", "digits")
    assert result.returncode == 0, result.stderr
    assert message in result.stdout and (tmp_path / "my data" / "hw3_data" / "digits" / "svhn" / "test.csv").exists()


def test_archives_stay_in_their_folder(site: Site, tmp_path: Path) -> None:
    """Names that lead out, absolute names, backslashes of Windows, links."""
    with zipfile.ZipFile(site.folder / "hw3_data.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            entry = zipfile.ZipInfo("x")
            entry.filename = name.replace("/", "\\")
            archive.writestr(entry, data)
        for name in ("../../out.txt", "/tmp/../../out.txt", "..\\..\\out.txt"):
            archive.writestr(name, b"out")
        link = zipfile.ZipInfo("hw3_data/face")
        link.filename, link.external_attr = "hw3_data/link", 0o120777 << 16
        archive.writestr(link, "/etc")
    (site.folder / "hw3_data.zip").write_bytes(buffer.getvalue())
    result = get(site, tmp_path, "--only", "digits")
    assert result.returncode == 0, result.stderr
    data = tmp_path / "my data"
    assert (data / "hw3_data" / "digits" / "svhn" / "test" / "00000.png").exists()
    assert not list(tmp_path.rglob("out.txt")) and not [path for path in data.rglob("*") if path.is_symlink()]
    assert not (data / ".course.partial").exists()


def test_without_a_network_one_line_says_what_to_do(tmp_path: Path) -> None:
    table = {"fashion-train-images-idx3-ubyte.gz": {"urls": ["http://nowhere.invalid/x.gz"], "md5": "0" * 32}}
    (tmp_path / "s.json").write_text(json.dumps(table))
    words = ("--only", "fashion_mnist", "--out", tmp_path / "d", "--sources", tmp_path / "s.json")
    result = run_script("python3", "-m", "dlcv.data.get", *words)
    assert result.returncode == 1 and "Traceback" not in result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert "the server cannot be reached" in line or "http" in line  # behind a proxy its answer stands there
    assert f"by hand from http://nowhere.invalid/x.gz, save it as {tmp_path}/d/downloads/fashion-train" in line


def test_official_table_has_checksums_where_they_are_published() -> None:
    without = {name for name, source in official_sources().items() if source.md5 is None}
    assert without == {"hw3_data.zip", "hw2_data.zip", "BSR_bsds500.tgz"}
    assert all(url.startswith(("https://", "http://", "drive:")) for s in official_sources().values() for url in s.urls)


def test_blend() -> None:
    digit = np.zeros((28, 28), np.uint8)
    digit[3, 4], digit[5, 6] = 255, 1
    patch = RNG.randint(0, 256, (28, 28, 3)).astype(np.uint8)
    result = blend(digit, patch)
    assert (result[3, 4] == 255 - patch[3, 4]).all() and (result[5, 6] == 255 - patch[5, 6]).all()
    result[3, 4], result[5, 6] = patch[3, 4], patch[5, 6]
    assert (result == patch).all()


def test_flowers_that_are_incomplete_are_not_put_in_place(site: Site, tmp_path: Path) -> None:
    labels = flower_labels(74, 54, 1)  # one more than there are images
    (site.folder / "imagelabels.mat").write_bytes(labels)
    site.md5["imagelabels.mat"] = hashlib.md5(labels).hexdigest()
    result = get(site, tmp_path, "--only", "flowers")
    assert result.returncode == 1
    assert "flowers: 102flowers.tgz holds 2 images, expected 3" in result.stderr.splitlines()[-1]  # below the progress
    assert not (tmp_path / "my data" / "flowers-102").exists()
