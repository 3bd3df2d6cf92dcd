"""A folder of small images as one uint8 tensor, decoded fast and only once; files are taken in sorted name order."""

import hashlib
import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dlcv import cli
from dlcv.cli import UserError
from dlcv.data.layout import list_images
from dlcv.files import atomic_path
from dlcv.images import read_rgb

_THREADS = 2  # half of the work is the interpreter's: a third gains nothing: docs/LOG.md, "Decoding small PNGs"
_FORMAT = 2  # version of the cache: raise it whenever the same file is decoded to other pixels
_BLOCK = 500  # files that a thread decodes at a time
_LARGE = 1 << 16  # bytes; no plain PNG of ours has as many, and what has goes to read_rgb, which knows a limit
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2  # PNG's colour types


def read_images(folder: Path, names: list[str], size: int, progress: str = "") -> torch.Tensor:
    """The named files of any size and image mode as uint8 (N, 3, size, size) RGB, decoded in threads.

    Raises UserError, naming the file, when one cannot be decoded. `progress` labels the progress line on a terminal.
    """
    images = np.empty((len(names), 3, size, size), dtype=np.uint8)

    def read_block(start: int) -> None:
        plain = _PlainPngs(images)
        for index in range(start, min(start + _BLOCK, len(names))):
            path = os.path.join(folder, names[index])  # noqa: PTH118 - Path objects cost as much as the decoding
            try:
                with open(path, "rb", buffering=0) as file:  # noqa: PTH123
                    data = file.read(_LARGE)
            except OSError as error:
                raise UserError(f"cannot read {path}: {error.strerror or error}") from None
            if len(data) == _LARGE or not plain.add(index, data):
                images[index] = np.asarray(read_rgb(Path(path), size)).transpose(2, 0, 1)
        plain.decode()

    starts = range(0, len(names), _BLOCK)
    with warnings.catch_warnings(), ThreadPoolExecutor(_THREADS) as pool:
        warnings.simplefilter("ignore")  # Pillow's remarks on files that it reads all the same
        for _ in cli.progress(pool.map(read_block, starts), len(starts), progress):
            pass
    return torch.from_numpy(images)


class _PlainPngs:
    """PNGs of the wanted size and of 8 bits, grey or RGB, not interlaced, decoded many at a time.

    Pillow spends ten times longer on opening such a small file than on its pixels. So the scan lines of many files are
    joined to one tall PNG, a line of zeros between any two (no filter looks further up), which Pillow opens once.
    """

    def __init__(self, images: np.ndarray) -> None:
        self.images = images
        self.size = images.shape[-1]
        self.start = _SIGNATURE + struct.pack(">I4sII", 13, b"IHDR", self.size, self.size)
        self.waiting: dict[int, list[tuple[int, bytes]]] = {_GREY: [], _RGB: []}

    def add(self, index: int, data: bytes) -> bool:
        """Takes the file for images[index], or returns False: not plain or not sound, which Pillow tells apart."""
        if len(data) < 33 or data[:24] != self.start:
            return False
        if data[24] != 8 or data[25] not in self.waiting or data[26:29] != b"\0\0\0":
            return False
        stream, position = b"", 33
        while (kind := data[position + 4 : position + 8]) != b"IEND":
            length = int.from_bytes(data[position : position + 4], "big")
            if kind == b"IDAT":
                stream += data[position + 8 : position + 8 + length]
            elif not kind or kind[:1].isupper() or kind == b"tRNS":  # cut short, unknown but critical, transparent
                return False
            position += 12 + length
        row = 1 + self.size * (3 if data[25] == _RGB else 1)
        unpacker = zlib.decompressobj()
        try:
            lines = unpacker.decompress(stream, self.size * row + 1)  # no further, should it be a bomb
        except zlib.error:
            return False
        if len(lines) != self.size * row or not unpacker.eof or max(lines[::row]) > 4:  # eof: its checksum is right
            return False
        self.waiting[data[25]].append((index, lines))
        return True

    def decode(self) -> None:
        """Writes the pixels of all files taken so far into the images."""
        for colour, waiting in self.waiting.items():
            if not waiting:
                continue
            channels = 3 if colour == _RGB else 1
            separator = bytes(1 + self.size * channels)
            lines = b"".join(part for _, lines in waiting for part in (separator, lines))
            header = struct.pack(">IIBBBBB", self.size, len(waiting) * (self.size + 1), 8, colour, 0, 0, 0)
            chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 0)), (b"IEND", b""))
            png = b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks)
            tall = np.asarray(Image.open(io.BytesIO(_SIGNATURE + png)))
            pixels = tall.reshape(len(waiting), self.size + 1, self.size, channels)[:, 1:].transpose(0, 3, 1, 2)
            self.images[[index for index, _ in waiting]] = pixels


def fingerprint(*tensors: torch.Tensor) -> str:
    """16 hexadecimal digits that say which images (and labels) these are: of the SHA-256 of their bytes."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(np.ascontiguousarray(tensor.numpy()).data)
    return digest.hexdigest()[:16]


def cache_folder() -> Path | None:
    """Where decoded folders and features are kept: $XDG_CACHE_HOME/dlcv or ~/.cache/dlcv; None without a home."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dlcv"
    except RuntimeError:  # a user that the system does not know, as containers have, and no HOME
        return None


def read_folder(folder: Path, size: int) -> tuple[list[str], torch.Tensor]:
    """Names, images uint8 (N, 3, size, size) of a folder; decoded once, then taken from a cache (~/.cache/dlcv).

    The cache is keyed by the folder's path and every file's name, size and modification time.
    """
    names = list_images(folder)
    caches = cache_folder()
    if caches is None:
        return names, read_images(folder, names, size)
    place = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:16]
    key = hashlib.sha256(str(_FORMAT).encode())
    for name in names:
        stat = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118 - 60,000 Path objects cost a second
        key.update(os.fsencode(f"\n{name} {stat.st_size} {stat.st_mtime_ns}"))
    cached = caches / f"images{size}-{place}-{key.hexdigest()[:16]}.npy"
    try:
        kept = np.load(cached)
        if kept.shape == (len(names), 3, size, size) and kept.dtype == np.uint8:
            return names, torch.from_numpy(kept)
    except (OSError, ValueError, EOFError):
        pass
    images = read_images(folder, names, size)
    try:
        with atomic_path(cached) as temporary:
            np.save(temporary, images.numpy())
        for older in cached.parent.glob(f"images{size}-{place}-*.npy"):
            if older != cached:
                older.unlink(missing_ok=True)
    except UserError:
        pass  # a home that cannot be written costs the next start some seconds, no more
    return names, images
