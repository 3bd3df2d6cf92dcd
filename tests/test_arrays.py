"""data/arrays.py and data/splits.py, and the augmentations of photographs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dlcv.cli import UserError
from dlcv.data import augment
from dlcv.data.arrays import read_arrays
from dlcv.data.splits import hold_out


def test_images_and_labels_are_the_files(arrays: Path) -> None:
    for name, channels in (("cifar10", 3), ("fashion_mnist", 1)):
        file = np.load(arrays / f"{name}.npz")
        for split, count in (("train", 60), ("test", 20)):
            images, labels = read_arrays(arrays, name, split)  # type: ignore[arg-type]
            assert images.dtype == torch.uint8 and images.shape[:2] == (count, channels) and images.is_contiguous()
            expected = file[f"{split}_images"][7]
            assert np.array_equal(images[7].permute(1, 2, 0).squeeze(2).numpy(), expected)
            assert labels.dtype == torch.int64 and np.array_equal(labels.numpy(), file[f"{split}_labels"])


def test_bad_files_are_told(arrays: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"get_dataset.sh --only cifar10"):
        read_arrays(tmp_path, "cifar10", "train")
    (tmp_path / "cifar10.npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="cannot read"):
        read_arrays(tmp_path, "cifar10", "train")
    whole = (arrays / "cifar10.npz").read_bytes()
    (tmp_path / "cifar10.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="cannot read"):
        read_arrays(tmp_path, "cifar10", "train")
    good = dict(np.load(arrays / "cifar10.npz"))
    for change, message in (
        ({"train_images": good["train_images"][:, :16]}, "holds train images uint8"),
        ({"train_labels": good["train_labels"][:5]}, "with labels"),
        ({"train_labels": good["train_labels"] + 5}, "labels must be 0 to 9"),
    ):
        np.savez(tmp_path / "cifar10.npz", **(good | change))  # type: ignore[arg-type]
        with pytest.raises(UserError, match=message):
            read_arrays(tmp_path, "cifar10", "train")


def test_what_is_held_out() -> None:
    training, held_out = hold_out(50_000, 5_000)
    assert len(held_out) == 5_000 and torch.equal(torch.cat([training, held_out]).sort().values, torch.arange(50_000))
    assert [len(part) for part in hold_out(60, 5_000)] == [54, 6]


def test_shifts_move_by_whole_pixels_and_mirror_the_edge() -> None:
    x = torch.arange(32 * 32).view(1, 1, 32, 32).expand(200, 3, 32, 32).contiguous()
    y = augment.random_shifts(x, torch.Generator().manual_seed(0), 4)
    moved = x[0, 0, 16, 16] - y[:, 0, 16, 16]
    assert {(16 - int(v // 32), 16 - int(v % 32)) for v in y[:, 0, 16, 16]} <= {
        (a, b) for a in range(-4, 5) for b in range(-4, 5)
    }
    assert len(moved.unique()) > 50
    padded = torch.nn.functional.pad(x[:1].double(), (4, 4, 4, 4), mode="reflect")[0, 0]
    for image in y[:20]:
        down, right = divmod(int(image[0, 16, 16]) - (16 * 32 + 16) + 4 * 33, 32)
        assert torch.equal(image[0].double(), padded[down : down + 32, right : right + 32])
    assert torch.equal(y, augment.random_shifts(x, torch.Generator().manual_seed(0), 4))


def test_half_are_mirrored() -> None:
    x = torch.rand(400, 3, 4, 4)
    y = augment.random_flips(x, torch.Generator().manual_seed(0))
    same, mirrored = ((y == other).flatten(1).all(1) for other in (x, x.flip(3)))
    assert (same ^ mirrored).all() and 150 < int(mirrored.sum()) < 250
