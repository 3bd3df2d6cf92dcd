"""Builds the assignments' data in the courses' layout, from the courses' archives or the official sources.

The command is dlcv.data.get (get_dataset.sh), which says what is built.
"""

import csv
import gzip
import io
import pickle
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import loadmat
from torchvision.datasets import USPS
from tqdm import tqdm

from dlcv import cli
from dlcv.files import atomic_path

SEED = 0  # of MNIST-M's background patches
ATTRIBUTES = [
    "Bangs", "Big_Lips", "Black_Hair", "Blond_Hair", "Brown_Hair", "Heavy_Makeup", "High_Cheekbones", "Male",
    "Mouth_Slightly_Open", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Lipstick",
]  # fmt: skip
FACES = {"train": ("0", 0, 40_000), "test": ("2", 40_000, 2_621)}  # CelebA's partition, first name, how many
Get = Callable[[str], Path]


def write_split(
    folder: Path, header: list[str], rows: Iterable[tuple[Image.Image, list[object]]], first: int, n: int
) -> None:
    """Writes images as 00000.png, … into `folder`, their rows into <folder>.csv, which comes last and means: whole."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    lines: list[list[object]] = [list(header)]
    for index, (image, values) in enumerate(tqdm(rows, total=n, desc=f"writing {folder}", mininterval=1.0)):
        name = f"{first + index:05d}.png"
        image.save(partial / name, compress_level=1)
        lines.append([name, *values])
    if len(lines) - 1 != n:
        raise cli.UserError(
            f"{folder} would have {len(lines) - 1} images, expected {n}; its download must be incomplete"
        )
    table = folder.with_suffix(".csv")
    if folder.exists():
        # Ours holds numbered images and at most a csv beside; anything else is somebody's work.
        foreign = [path.name for path in folder.iterdir() if not re.fullmatch(r"\d{5}\.png", path.name)]
        if foreign:
            raise cli.UserError(f"{folder} holds {foreign[0]}, which is not ours to delete; move it and run this again")
        shutil.rmtree(folder)
    table.unlink(missing_ok=True)  # before the folder: an old csv must not vouch for new images
    partial.rename(folder)
    with atomic_path(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)


def is_whole(folder: Path) -> bool:
    """The csv is there and the folder holds all of its images."""
    table = folder.with_suffix(".csv")
    if not table.is_file() or not folder.is_dir():
        return False
    with table.open(newline="", encoding="utf-8", errors="replace") as file:
        return {row[0] for row in csv.reader(file) if row} - {"image_name"} <= {path.name for path in folder.iterdir()}


def course_archive(out: Path, get: Get) -> bool:
    """Unpacks the first of the courses' archives that can be had; False when both are gone."""
    for name in ("hw3_data.zip", "hw2_data.zip"):
        try:
            archive = get(name)
        except cli.UserError as error:
            print(cli.printable(f"the course's archive is not to be had: {error}"))
            continue
        partial = out / ".course.partial"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            with zipfile.ZipFile(archive) as content:
                for member in tqdm(content.infolist(), desc=f"unpacking {name}", mininterval=1.0):
                    member.filename = member.filename.replace("\\", "/")  # of some programs on Windows
                    if not member.filename.startswith("__MACOSX"):
                        content.extract(member, partial)  # which stays below, whatever the name
            top = next((path.parent for path in sorted(partial.rglob("digits")) if path.is_dir()), None)
            if top is None:
                print(f"{name} holds no folder digits/; going on without it")
                continue
            for part in ("digits", "face"):
                if (top / part).is_dir() and not (out / "hw3_data" / part).exists():
                    (out / "hw3_data").mkdir(parents=True, exist_ok=True)
                    (top / part).rename(out / "hw3_data" / part)
            return True
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return False


def read_idx(path: Path) -> np.ndarray:
    """MNIST's file format: magic number (its last byte counts the dimensions), sizes as big-endian int32, bytes."""
    data = gzip.decompress(path.read_bytes())
    sizes = np.frombuffer(data, ">i4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * len(sizes)).reshape(sizes)


def idx_split(get: Get, prefix: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    stem = f"{prefix}-{'train' if split == 'train' else 't10k'}"
    return read_idx(get(f"{stem}-images-idx3-ubyte.gz")), read_idx(get(f"{stem}-labels-idx1-ubyte.gz"))


def photographs(get: Get) -> list[np.ndarray]:
    """The photographs of BSDS500, sorted by name: (H, W, 3) uint8 each."""
    pictures = []
    with tarfile.open(get("BSR_bsds500.tgz")) as archive:
        for member in sorted((m for m in archive if m.name.endswith(".jpg")), key=lambda m: m.name):
            file = archive.extractfile(member)
            assert file is not None
            pictures.append(np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")))
    if not pictures:
        raise cli.UserError("BSR_bsds500.tgz holds no photographs; delete it and run this again")
    return pictures


def blend(digit: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """MNIST-M's digit: 255 - patch where the MNIST digit has any ink, the patch elsewhere. (28, 28), (28, 28, 3) uint8.

    The threshold is read off the official release, whose digits cover 19.0 % of the pixels of images with plain
    backgrounds, with hard edges; MNIST's non-zero pixels are 19.1 %.
    """
    return np.where(digit[:, :, None] > 0, 255 - patch, patch).astype(np.uint8)


def mnistm_rows(get: Get, split: str) -> Iterator[tuple[Image.Image, list[object]]]:
    images, labels = idx_split(get, "mnist", split)
    pictures, rng = photographs(get), np.random.RandomState(SEED + (split == "test"))
    for digit, label in zip(images, labels, strict=True):
        picture = pictures[rng.randint(len(pictures))]
        top, left = rng.randint(picture.shape[0] - 27), rng.randint(picture.shape[1] - 27)
        yield Image.fromarray(blend(digit, picture[top : top + 28, left : left + 28])), [int(label)]


def usps_rows(get: Get, split: str) -> tuple[int, Iterator[tuple[Image.Image, list[object]]]]:
    path = get("usps.bz2" if split == "train" else "usps.t.bz2")
    dataset = USPS(str(path.parent), train=split == "train")  # parses the file that `get` verified
    resized = (Image.fromarray(image).resize((28, 28), Image.Resampling.BICUBIC) for image in dataset.data)
    return len(dataset.data), ((image, [label]) for image, label in zip(resized, dataset.targets, strict=True))


def svhn_rows(get: Get, split: str) -> tuple[int, Iterator[tuple[Image.Image, list[object]]]]:
    content = loadmat(get(f"{split}_32x32.mat"))
    images, labels = content["X"].transpose(3, 0, 1, 2), content["y"].reshape(-1) % 10  # SVHN writes 0 as 10
    resized = (Image.fromarray(image).resize((28, 28), Image.Resampling.BICUBIC) for image in images)
    return len(images), ((image, [int(label)]) for image, label in zip(resized, labels, strict=True))


def digits(out: Path, get: Get) -> None:
    for domain in ("usps", "mnistm", "svhn"):
        for split in ("train", "test"):
            folder = out / "hw3_data" / "digits" / domain / split
            if is_whole(folder):
                continue
            if domain == "mnistm":
                n, rows = len(idx_split(get, "mnist", split)[1]), mnistm_rows(get, split)
            else:
                n, rows = (usps_rows if domain == "usps" else svhn_rows)(get, split)
            write_split(folder, ["image_name", "label"], rows, 0, n)


def face(out: Path, get: Get) -> None:
    """CelebA's aligned faces, the central 178x178 square downscaled to 64x64, by the official partition."""
    folders = {split: out / "hw3_data" / "face" / split for split in FACES}
    if all(is_whole(folder) for folder in folders.values()):
        return
    partition = dict(line.split() for line in get("list_eval_partition.txt").read_text().splitlines() if line.strip())
    _, header, *lines = get("list_attr_celeba.txt").read_text().splitlines()
    columns = [header.split().index(name) for name in ATTRIBUTES]
    values = {line.split()[0]: line.split()[1:] for line in lines if line.strip()}
    with zipfile.ZipFile(get("img_align_celeba.zip")) as archive:

        def rows(names: list[str]) -> Iterator[tuple[Image.Image, list[object]]]:
            for name in names:
                frame = Image.open(io.BytesIO(archive.read(f"img_align_celeba/{name}"))).convert("RGB")
                small = frame.resize((64, 64), Image.Resampling.LANCZOS, box=(0, 20, 178, 198))
                yield small, [1.0 if values[name][column] == "1" else 0.0 for column in columns]

        for split, (part, first, count) in FACES.items():
            if not is_whole(folders[split]):
                names = sorted(name for name, its_part in partition.items() if its_part == part)[:count]
                write_split(folders[split], ["image_name", *ATTRIBUTES], rows(names), first, len(names))


def fashion_mnist(out: Path, get: Get) -> None:
    path = out / "fashion_mnist.npz"
    if not path.exists():
        (a, b), (c, d) = idx_split(get, "fashion", "train"), idx_split(get, "fashion", "test")
        with atomic_path(path) as temporary:
            np.savez_compressed(temporary, train_images=a, train_labels=b, test_images=c, test_labels=d)


class _Unpickler(pickle.Unpickler):
    """CIFAR-10's batches are pickles; theirs need NumPy's arrays and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        if module.split(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype", "_frombuffer"):
            return super().find_class(module, name)
        raise cli.UserError(f"the CIFAR-10 archive asks for {module}.{name}: it is not the official one")


def cifar10(out: Path, get: Get) -> None:
    path = out / "cifar10.npz"
    if path.exists():
        return
    parts: dict[str, list[dict[bytes, object]]] = {"train": [], "test": []}
    with tarfile.open(get("cifar-10-python.tar.gz")) as archive:
        for member in sorted(archive.getnames()):
            kind = Path(member).name.split("_")[0]
            if kind in ("data", "test"):
                file = archive.extractfile(member)
                assert file is not None
                parts["train" if kind == "data" else "test"].append(_Unpickler(file, encoding="bytes").load())
    arrays = {}
    for split, batches in parts.items():
        images = np.concatenate([np.asarray(batch[b"data"]) for batch in batches])
        arrays[f"{split}_images"] = images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        arrays[f"{split}_labels"] = np.concatenate([np.asarray(batch[b"labels"]) for batch in batches])
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)  # type: ignore[arg-type]


def flowers(out: Path, get: Get) -> None:
    """Flowers102 as torchvision unpacks it; the folder gets its name last, which means that it is whole."""
    folder = out / "flowers-102"
    if folder.is_dir():
        return
    partial = out / ".flowers-102.partial"
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "jpg").mkdir(parents=True)
    with tarfile.open(get("102flowers.tgz")) as archive:
        for member in tqdm(archive, desc=f"writing {folder}", mininterval=1.0):
            file = archive.extractfile(member) if member.name.endswith(".jpg") else None
            if file is not None:
                (partial / "jpg" / Path(member.name).name).write_bytes(file.read())
    for name in ("imagelabels.mat", "setid.mat"):
        shutil.copyfile(get(name), partial / name)
    images, labels = len(list((partial / "jpg").iterdir())), loadmat(partial / "imagelabels.mat")["labels"].size
    if images != labels:
        raise cli.UserError(f"102flowers.tgz holds {images} images, expected {labels}; it must be incomplete")
    partial.rename(folder)


BUILDERS = {"digits": digits, "face": face, "fashion_mnist": fashion_mnist, "cifar10": cifar10, "flowers": flowers}
