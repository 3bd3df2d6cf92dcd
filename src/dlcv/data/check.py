"""Checks the courses' digit data: python -m dlcv.data.check hw3_data

Counts images, looks at modes, sizes and labels, and names every difference from what the assignments describe.
Exit code 0 when everything can be used, 1 when something cannot (a folder, a label or an image is missing or broken).
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dlcv import cli

with cli.packages_needed(__doc__):
    from dlcv.data.digits import DOMAINS, SIZE, read_label_csv, split_folder
    from dlcv.data.folders import list_images
    from dlcv.data.layout import spellings
    from dlcv.images import open_image, read_rgb

EXPECTED = {  # images and image mode in the assignment's text (DLCV 2020, homework 3, "Dataset")
    ("usps", "train"): (7_291, "L"),
    ("usps", "test"): (2_007, "L"),
    ("mnistm", "train"): (60_000, "RGB"),
    ("mnistm", "test"): (10_000, "RGB"),
    ("svhn", "train"): (73_257, "RGB"),
    ("svhn", "test"): (26_032, "RGB"),
}


def check_split(data: Path | None, domain: str, split: str) -> tuple[list[str], list[str]]:
    """Returns (differences from the assignment, faults that make the split unusable), one line each."""
    folder = split_folder(data, domain, split)
    differences, faults = [], []
    try:
        names = list_images(folder)
    except cli.UserError as error:
        return [], [str(error)]
    count, mode = EXPECTED[domain, split]
    if len(names) != count:
        differences.append(f"{len(names)} images, the assignment says {count}")

    def look(name: str) -> tuple[str, tuple[int, int]] | str:
        try:
            read_rgb(folder / name)
            with open_image(folder / name) as image:
                return image.mode, image.size
        except cli.UserError as error:
            return str(error)

    with ThreadPoolExecutor(2) as pool:
        looks = list(pool.map(look, names))
    faults += _shorten([item for item in looks if isinstance(item, str)])
    modes = Counter(item[0] for item in looks if not isinstance(item, str))
    sizes = Counter(item[1] for item in looks if not isinstance(item, str))
    for found_mode, n in modes.items():
        if found_mode != mode:
            differences.append(
                f"{n} images of mode {found_mode}, the assignment's are {mode}: read as RGB all the same"
            )
    for size, n in sizes.items():
        if size != (SIZE, SIZE):
            differences.append(f"{n} images of {size[0]}x{size[1]}: resized to {SIZE}x{SIZE} when read")

    try:
        table = read_label_csv(folder.with_suffix(".csv"))
    except cli.UserError as error:
        return differences, [*faults, str(error)]
    keys = spellings(names, table)
    faults += _shorten([f"{name} has no label in {split}.csv" for name in names if name not in keys])
    known = set(keys.values())
    faults += _shorten([f"{name} stands in {split}.csv but not in the folder" for name in table if name not in known])
    absent = sorted(set(range(10)) - set(table.values()))
    if absent:
        differences.append(f"no image of the digits {absent}")
    shares = Counter(table.values())
    print(f"{domain}/{split}: {len(names)} images; digits 0-9: {' '.join(str(shares[digit]) for digit in range(10))}")
    return differences, faults


def _shorten(lines: list[str]) -> list[str]:
    return lines if len(lines) <= 3 else [*lines[:3], f"… and {len(lines) - 3} more of this kind"]


def main() -> int:
    parser = cli.ArgumentParser(prog="python -m dlcv.data.check", description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", help="hw3_data (default: hw3_data or data/hw3_data)")
    args = parser.parse_args()
    unusable = 0
    for domain in DOMAINS:
        for split in ("train", "test"):
            differences, faults = check_split(args.data, domain, split)
            for line in differences:
                print(cli.printable(f"  differs: {domain}/{split}: {line}"))
            for line in faults:
                print(cli.printable(f"  FAULT:   {domain}/{split}: {line}"))
            unusable += len(faults)
    print("everything can be used" if not unusable else f"{unusable} faults: see the lines marked FAULT")
    return 1 if unusable else 0


if __name__ == "__main__":
    cli.run(main, "dlcv.data.check")
