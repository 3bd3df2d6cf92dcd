"""get_dataset.sh from end to end, against small stand-ins of every source served on 127.0.0.1."""

import bz2
import gzip
import hashlib
import io
import json
import pickle
import struct
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from conftest import REPO, assert_one_line, call
from PIL import Image
from scipy.io import savemat

from dlcv.data.get import ATTRIBUTES, blend
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
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


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


def get(site: Site, tmp_path: Path, *flags: object) -> subprocess.CompletedProcess[str]:
    """Runs get_dataset.sh with a table that sends every official source to the site, with the site's checksums."""
    table: dict[str, object] = {}
    for name, source in official_sources().items():
        gdown = "drive:" if source.urls[0].startswith("drive:") else ""
        urls = [f"{site.url}/gone/{name}", f"{gdown}{site.url}/{name}"]
        table[name] = {"urls": urls, "md5": site.md5.get(name) if source.md5 else None}
    (tmp_path / "sources.json").write_text(json.dumps(table))
    site.requests.clear()
    return call(
        "bash", REPO / "get_dataset.sh", "--out", tmp_path / "my data", "--sources", tmp_path / "sources.json", *flags,
        env={"no_proxy": "127.0.0.1", "http_proxy": "", "HOME": str(tmp_path)},
    )  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_course_archive(site: Site, tmp_path: Path) -> None:
    result = get(site, tmp_path, "--only", "digits", "face")
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
    check = call("python3", "-m", "dlcv.data.check", out)
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
    result = call(
        "bash", REPO / "get_dataset.sh", "--official", "--only", "digits", "--out", tmp_path / "d",
        "--sources", tmp_path / "bad.json", env={"no_proxy": "127.0.0.1"},
    )  # fmt: skip
    assert result.returncode == 1 and "usps.bz2" in result.stderr and "damaged or something else" in result.stderr
    assert not (tmp_path / "d" / "hw3_data").exists()


def test_mistakes(tmp_path: Path) -> None:
    script = REPO / "get_dataset.sh"
    assert_one_line(call("bash", script, "--only", "everything"), 2, "get_dataset.sh:", "invalid choice")
    (tmp_path / "s.json").write_text("[1]")
    assert_one_line(call("bash", script, "--sources", tmp_path / "s.json"), 1, "no table of sources")


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
