"""dlcv.data.faces: images, attributes by name, what is held out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dlcv.cli import UserError
from dlcv.data.faces import hold_out, read_attributes, read_faces


def test_faces_are_what_pillow_reads(faces: Path) -> None:
    names, images = read_faces(faces.parent, "test")
    assert names[0] == "00000.png" and images.shape == (9, 3, 64, 64) and images.dtype == torch.uint8
    expected = np.asarray(Image.open(faces / "face" / "test" / "00003.png")).transpose(2, 0, 1)
    assert np.array_equal(images[3].numpy(), expected)


def test_attributes_by_name(faces: Path) -> None:
    table = read_attributes(faces, "test", ["00003.png", "00004.png"], ["Smiling", "Male"])
    assert table.tolist() == [[True, True], [False, False]]
    with pytest.raises(UserError, match="no column Bald"):
        read_attributes(faces, "test", ["00003.png"], ["Bald"])
    with pytest.raises(UserError, match=r"no row for x\.png"):
        read_attributes(faces, "test", ["x.png"], ["Male"])


def test_bad_attributes_are_told(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "face" / "test").mkdir(parents=True)
    with pytest.raises(UserError, match=r"cannot read .*test\.csv"):
        read_attributes(tmp_path, "test", ["a.png"], ["Male"])
    (tmp_path / "face" / "test.csv").write_text("image_name,Male\na.png,yes\n")
    with pytest.raises(UserError, match=r"must be 0\.0 or 1\.0"):
        read_attributes(tmp_path, "test", ["a.png"], ["Male"])


def test_what_is_held_out_is_held_out() -> None:
    training, held_out = hold_out(27_097)
    assert len(held_out) == 2_903 and len(training) == 24_194
    assert sorted([*training.tolist(), *held_out.tolist()]) == list(range(27_097))
    assert torch.equal(hold_out(27_097)[1], held_out)
    with pytest.raises(UserError, match="at least two"):
        hold_out(1)
    small_training, small = hold_out(36)
    assert len(small) == 4 and len(small_training) == 32


def test_faces_of_another_size_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "face128" / "train"
    folder.mkdir(parents=True)
    Image.new("RGB", (128, 128), (10, 20, 30)).save(folder / "00000.png")
    names, images = read_faces(tmp_path, "train", 128)
    assert names == ["00000.png"] and images.shape == (1, 3, 128, 128) and images[0, :, 5, 5].tolist() == [10, 20, 30]
    with pytest.raises(UserError, match="holds no folder face/"):
        read_faces(tmp_path, "train")
