"""dlcv.data.digits and dlcv.data.check on files of every kind."""

import csv
import io
import os
import re
import shutil
import struct
import tracemalloc
import unicodedata
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SAMPLES, assert_one_line, run_script
from PIL import Image, ImageDraw

from dlcv.cli import UserError
from dlcv.data import folders as module
from dlcv.data.digits import read_folder, read_images, read_label_csv, read_labels
from dlcv.data.folders import list_images


def one(folder: Path, name: str) -> np.ndarray:
    images = read_images(folder, [name])
    assert images.shape == (1, 3, 28, 28) and images.dtype == torch.uint8
    return images[0].permute(1, 2, 0).numpy()


def gradient() -> np.ndarray:
    return np.add.outer(np.arange(28) * 5, np.arange(28) * 4).astype(np.uint8)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_joined_decoding_equals_pillow(tmp_path: Path, mode: str, level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    names = list_images(SAMPLES)
    for name in names:
        Image.open(SAMPLES / name).convert(mode).save(tmp_path / name, compress_level=level, dpi=(72, 72))
    by_pillow = np.stack([np.asarray(Image.open(tmp_path / name).convert("RGB")) for name in names])
    monkeypatch.setattr(module, "read_rgb", lambda *_: pytest.fail("a plain PNG took the slow way"))
    assert np.array_equal(read_images(tmp_path, names).permute(0, 2, 3, 1).numpy(), by_pillow)


@pytest.mark.parametrize("kind", range(5))
def test_every_png_filter(tmp_path: Path, kind: int) -> None:
    """All of PNG's line filters on noise, two images in a row: the second must not see the first's last line."""
    rng = np.random.RandomState(kind)
    for name in ("a.png", "b.png"):
        lines = b"".join(bytes([kind]) + rng.bytes(84) for _ in range(28))
        parts = (
            (b"IHDR", struct.pack(">IIBBBBB", 28, 28, 8, 2, 0, 0, 0)),
            (b"IDAT", zlib.compress(lines)),
            (b"IEND", b""),
        )
        data = b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in parts)
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    expected = [np.asarray(Image.open(tmp_path / name)).transpose(2, 0, 1) for name in ("a.png", "b.png")]
    assert np.array_equal(read_images(tmp_path, ["a.png", "b.png"]).numpy(), np.stack(expected))


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "I;16"])
def test_every_png_mode(tmp_path: Path, mode: str) -> None:
    grey = gradient()
    if mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "1":
        grey = np.where(grey > 100, 255, 0).astype(np.uint8)
        image = Image.fromarray(grey).convert("1")
    else:
        image = Image.fromarray(grey).convert(mode)
    image.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == mode
    assert np.array_equal(one(tmp_path, "a.png"), np.stack([grey] * 3, axis=2))


def test_transparent_pixels_keep_their_colour(tmp_path: Path) -> None:
    pixels = np.dstack([gradient(), gradient(), gradient(), np.full((28, 28), 7, np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(one(tmp_path, "a.png"), pixels[:, :, :3])


def digit(ink: object, canvas: object, mode: str = "RGBA") -> Image.Image:
    """A ring of hard edges, as a stand-in for a digit."""
    image = Image.new(mode, (28, 28), canvas)
    ImageDraw.Draw(image).ellipse((6, 4, 20, 24), outline=ink, width=4)
    return image


@pytest.mark.parametrize(
    ("mode", "ink", "canvas"),
    [
        ("RGBA", (0, 0, 0, 255), (0, 0, 0, 0)),
        ("RGBA", (0, 0, 0, 255), (255, 255, 255, 0)),
        ("RGBA", (40, 0, 0, 255), (0, 0, 60, 0)),
        ("RGBA", (0, 0, 0, 255), (90, 200, 20, 0)),
        ("LA", (0, 255), (0, 0)),
    ],
)
def test_dark_ink_on_a_transparent_canvas_is_laid_on_white(
    tmp_path: Path, mode: str, ink: object, canvas: object
) -> None:
    """What a drawing program writes: the colours below the alpha channel need not show anything."""
    for name in ("a.png", "b.webp", "c.tiff"):
        if mode == "RGBA" or name == "a.png":
            digit(ink, canvas, mode).save(tmp_path / name, **({"lossless": True} if name == "b.webp" else {}))
            (tmp_path / name).rename(tmp_path / "x.png")
            pixels = one(tmp_path, "x.png").astype(int)
            on_white = np.asarray(digit("black", "white", "RGB")).astype(int)
            assert np.abs(pixels - on_white).max() <= 40, name


@pytest.mark.parametrize("canvas", [(0, 0, 0, 0), (255, 255, 255, 0), (10, 200, 30, 0)])
def test_bright_ink_on_a_transparent_canvas_is_laid_on_black(tmp_path: Path, canvas: object) -> None:
    digit((250, 255, 240, 255), canvas).save(tmp_path / "a.png")
    on_black = np.asarray(digit((250, 255, 240), "black", "RGB"))
    assert np.array_equal(one(tmp_path, "a.png"), on_black)


def test_a_grey_that_means_transparent(tmp_path: Path) -> None:
    """PNG's tRNS: one grey level is the canvas, the ink is its neighbour."""
    digit(0, 1, "L").save(tmp_path / "a.png", transparency=1)
    assert np.array_equal(one(tmp_path, "a.png"), np.asarray(digit("black", "white", "RGB")))


def test_pictures_keep_their_colours_below_any_alpha(tmp_path: Path) -> None:
    """House numbers with a ramp, with noise, with nothing in the alpha channel: as if it were not there."""
    rng = np.random.RandomState(0)
    alphas = [np.tile(np.arange(28) * 9, (28, 1)), rng.randint(0, 256, (28, 28)), np.zeros((28, 28)), np.eye(28) * 255]
    for name in list_images(SAMPLES)[:20]:
        pixels = np.asarray(Image.open(SAMPLES / name).convert("RGB"))
        for alpha in alphas:
            Image.fromarray(np.dstack([pixels, alpha.astype(np.uint8)])).save(tmp_path / "a.png")
            visible = np.asarray(Image.fromarray(pixels).convert("L"))[alpha > 0]
            if not visible.size or np.ptp(visible) >= 64:
                assert np.array_equal(one(tmp_path, "a.png"), pixels)


@pytest.mark.parametrize("kind", ["EPS", "DDS", "PPM", "SGI", "TGA", "PCX", "ICNS"])
def test_other_formats_are_no_images_whatever_their_name(tmp_path: Path, kind: str) -> None:
    """Pillow knows them, and hands EPS to Ghostscript."""
    Image.fromarray(gradient()).convert("RGB").save(tmp_path / "a.png", kind)
    with pytest.raises(UserError, match=r"a\.png as an image: it is not an image \(PNG, JPEG, BMP, GIF, WEBP, TIFF\)"):
        one(tmp_path, "a.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF"])
def test_damage_of_every_kind_is_one_error(tmp_path: Path, kind: str) -> None:
    """Flipped bytes, cut ends: an image or a UserError, nothing else, and no remark of Pillow's."""
    rng = np.random.RandomState(0)
    buffer = io.BytesIO()
    Image.fromarray(gradient()).convert("RGB").save(buffer, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(60):
            data = bytearray(buffer.getvalue())
            for place in rng.randint(0, min(len(data), 400), 4):
                data[place] = rng.randint(256)
            (tmp_path / "a.png").write_bytes(data[: rng.randint(len(data)) if rng.rand() < 0.3 else None])
            try:
                one(tmp_path, "a.png")
            except UserError as error:
                assert "a.png" in str(error)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "00017.png", tmp_path / "a.png")
    os.truncate(tmp_path / "a.png", 5_000_000_000)  # sparse
    tracemalloc.start()
    with pytest.raises(UserError, match=r"a\.png has 5,000,000,000 bytes: too large"):
        one(tmp_path, "a.png")
    assert tracemalloc.get_traced_memory()[1] < 10e6
    tracemalloc.stop()
    os.truncate(tmp_path / "a.png", 200_000)  # more than a plain one has, and still an image
    assert np.array_equal(one(tmp_path, "a.png"), one(SAMPLES, "00017.png"))


def test_links_among_the_images(tmp_path: Path) -> None:
    """Those that lead to a file are images; others are named, for a grader counts a row that is missing."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").symlink_to(SAMPLES / "00017.png")
    assert list_images(folder) == ["a.png"]
    for target, message in (
        ("nowhere.png", r"b\.png is a link to nowhere\.png, which cannot be read: No such file"),
        ("b.png", r"b\.png is a link that leads in a circle"),
        (str(SAMPLES), r"b\.png is a link to .*, which is not a file"),
    ):
        (folder / "b.png").symlink_to(target)
        with pytest.raises(UserError, match=message):
            list_images(folder)
        (folder / "b.png").unlink()
    os.mkfifo(folder / "b.png")
    with pytest.raises(UserError, match=r"b\.png is not a regular file"):
        list_images(folder)
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(UserError, match=r"cannot read .*circle: Too many levels of symbolic links"):
        list_images(tmp_path / "circle")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: unicodedata.normalize("NFD", text),
        lambda text: text.rstrip("\n"),
        lambda text: re.sub(r"^([^,\"\n]*),", r'"\1",', text, flags=re.MULTILINE),
    ],
)
def test_labels_as_any_program_writes_them(tmp_path: Path, change: object) -> None:
    """Commas and quotes in names, UTF-8's mark, Windows' line ends, umlauts in two pieces, a last line without end."""
    names = ["a, b.png", 'say "x".png', "Müller.png", "plain.png"]
    folder = tmp_path / "digits" / "svhn" / "test"
    folder.mkdir(parents=True)
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(
        [["image_name", "label"], *([name, label] for label, name in enumerate(names))]
    )
    folder.with_suffix(".csv").write_bytes(change(buffer.getvalue()).encode())
    assert read_labels(tmp_path, "svhn", "test", names).tolist() == [0, 1, 2, 3]
    decomposed = [unicodedata.normalize("NFD", name) for name in names]
    assert read_labels(tmp_path, "svhn", "test", decomposed).tolist() == [0, 1, 2, 3]


def test_names_that_are_not_utf8_go_through_a_csv(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"image_name,label\n\xff.png,4\n")
    assert read_label_csv(tmp_path / "p.csv") == {"\udcff.png": 4}


def test_the_cache_needs_no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    assert module.cache_folder() is None
    names, images = read_folder(SAMPLES)
    assert len(names) == len(images) == 100


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.fromarray(gradient()).convert("RGB").quantize(16)
    image.save(tmp_path / "a.png", transparency=3)
    assert np.array_equal(one(tmp_path, "a.png"), np.asarray(image.convert("RGB")))


def test_cmyk_jpeg_and_other_sizes(tmp_path: Path) -> None:
    Image.fromarray(gradient()).resize((64, 40)).convert("CMYK").save(tmp_path / "a.JPG", quality=95)
    assert list_images(tmp_path) == ["a.JPG"]
    wide = np.asarray(Image.fromarray(gradient()).convert("RGB"), dtype=int)
    assert np.abs(one(tmp_path, "a.JPG").astype(int) - wide).mean() < 6


def test_names_sorted_and_foreign_files_ignored(tmp_path: Path) -> None:
    for name in ("10.png", "9.png", "B.PNG", "c.jpeg"):
        Image.fromarray(gradient()).save(tmp_path / name)
    for name in (".DS_Store", "Thumbs.db", "test.csv", "._9.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert list_images(tmp_path) == ["10.png", "9.png", "B.PNG", "c.jpeg"]


def bomb() -> bytes:
    """A PNG header that promises 60000 x 60000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 1000)
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (header, data, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def small_bomb() -> bytes:
    """A 28x28 PNG whose pixel data unpacks to 300 MB."""
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", 28, 28, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" * 300_000_000, 1)),
        (b"IEND", b""),
    )
    data = b"".join(struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in parts)
    return b"\x89PNG\r\n\x1a\n" + data


def test_pixel_data_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(small_bomb())
    tracemalloc.start()
    read_images(tmp_path, ["a.png"])  # Pillow takes the 28 lines that it needs
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["text", "truncated", "empty", "bomb", "big", "damaged"])
def test_broken_images_are_named(tmp_path: Path, kind: str) -> None:
    good = (SAMPLES / list_images(SAMPLES)[0]).read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 0xFF
    big = tmp_path / "big"
    Image.new("1", (9000, 9000)).save(big, "PNG")
    content = {
        "text": b"hello",
        "truncated": good[: len(good) // 2],
        "empty": b"",
        "bomb": bomb(),
        "big": big.read_bytes(),
        "damaged": bytes(flipped),
    }
    (tmp_path / "bad.png").write_bytes(content[kind])
    with pytest.raises(UserError, match=r"bad\.png"):
        read_images(tmp_path, ["bad.png"])


def test_a_file_cut_anywhere_is_named(tmp_path: Path) -> None:
    good = (SAMPLES / list_images(SAMPLES)[0]).read_bytes()
    for length in [*range(70), len(good) - 30]:  # (whole pixel data without the end of the file is read)
        (tmp_path / "bad.png").write_bytes(good[:length])
        with pytest.raises(UserError, match=r"bad\.png"):
            read_images(tmp_path, ["bad.png"])


def test_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "train"
    folder.mkdir()
    for name in list_images(SAMPLES)[:5]:
        shutil.copy(SAMPLES / name, folder)
    names, images = read_folder(folder)
    calls: list[int] = []
    real = module.read_images
    monkeypatch.setattr(module, "read_images", lambda *a: calls.append(1) or real(*a))
    again_names, again = read_folder(folder)
    assert not calls and again_names == names and torch.equal(again, images)

    os.utime(folder / names[0], ns=(1, 1))  # touched: decoded anew
    read_folder(folder)
    assert len(calls) == 1

    for file in (tmp_path / "cache" / "dlcv").iterdir():  # damaged: decoded anew and mended
        file.write_bytes(file.read_bytes()[:50])
    assert torch.equal(read_folder(folder)[1], images)
    assert len(calls) == 2
    read_folder(folder)
    assert len(calls) == 2


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(read_folder(SAMPLES)[1]) == 100


def test_labels(digits: Path) -> None:
    names, images = read_folder(digits / "digits" / "svhn" / "train")
    labels = read_labels(digits, "svhn", "train", names)
    assert len(images) == len(labels) == 40 and labels.dtype == torch.int64
    assert torch.equal(labels, read_labels(digits.parent, "svhn", "train", names))  # the folder that holds hw3_data
    with pytest.raises(UserError, match=r"no label for x\.png"):
        read_labels(digits, "svhn", "train", ["x.png"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "first line"),
        ("image_name;label\\na.png;1\\n", "first line must be image_name,label, found image_name;label"),
        ("name,label\na.png,1\n", "first line"),
        ("image_name,label\na.png,1\n\n", "line 3"),
        ("image_name,label\na.png,10\n", "line 2"),
        ("image_name,label\na.png,01\n", "line 2"),
        ("image_name,label\na.png,1.0\n", "line 2"),
        ("image_name,label\na.png\n", "line 2"),
        ("image_name,label\na.png,1\na.png,2\n", "twice"),
    ],
)
def test_malformed_csv(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_label_csv(tmp_path / "p.csv")


def test_check_names_differences_and_faults(digits: Path, tmp_path: Path) -> None:
    result = run_script("python3", "-m", "dlcv.data.check", digits, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "usps/train: 40 images, the assignment says 7291" in result.stdout
    assert "everything can be used" in result.stdout

    bad = tmp_path / "bad"
    shutil.copytree(digits, bad)
    folder = bad / "digits" / "mnistm"
    (folder / "train" / "00003.png").write_bytes(b"no image")
    (folder / "test.csv").write_text("image_name,label\n00000.png,1\n99999.png,2\n")
    Image.new("RGB", (32, 32)).save(folder / "test" / "00001.png")
    shutil.rmtree(bad / "digits" / "usps" / "test")
    result = run_script("python3", "-m", "dlcv.data.check", bad)
    assert result.returncode == 1
    for part in (
        "FAULT:   mnistm/train: cannot read",
        "00003.png as an image: it is not an image (PNG, JPEG, BMP, GIF, WEBP, TIFF)",
        "FAULT:   mnistm/test: 00001.png has no label",
        "FAULT:   mnistm/test: 99999.png stands in test.csv but not in the folder",
        "differs: mnistm/test: 1 images of 32x32",
        "FAULT:   usps/test: no such directory",
    ):
        assert part in result.stdout


def test_data_that_is_not_there(tmp_path: Path) -> None:
    result = run_script("python3", "-m", "dlcv.data.check", cwd=tmp_path)
    assert_one_line(result, 1, "hw3_data/digits", "--data", "get_dataset.sh")
