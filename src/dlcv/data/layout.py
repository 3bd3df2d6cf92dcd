"""Where the courses' data lies: <root>/digits, <root>/face."""

from pathlib import Path

from dlcv.cli import UserError


def find_root(data: Path | None, part: str) -> Path:
    """The folder that holds `part` (digits, face): `data` or its hw3_data; without `data`, hw3_data or data/hw3_data.

    Raises UserError, saying where the data can be had, when there is no such folder.
    """
    bases = [data] if data is not None else [Path(), Path("data")]
    for base in bases:
        for root in (base, base / "hw3_data", base / "hw2_data"):
            if (root / part).is_dir() and (data is not None or root != base):
                return root
    where = (
        f"{data} holds no folder {part}/"
        if data is not None
        else f"neither hw3_data/{part} nor data/hw3_data/{part} is here"
    )
    raise UserError(f"{where}: give --data FOLDER, the courses' hw3_data, or build it: bash get_dataset.sh")
