"""dlcv.files: folders of outputs are replaced whole, or not touched."""

from pathlib import Path

import pytest

from dlcv.cli import UserError
from dlcv.files import write_folder


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
