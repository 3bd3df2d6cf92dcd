"""Builds the assignments' data on your machine: bash get_dataset.sh [--out data] [--only digits face …]

Takes the courses' own archives where they can still be had, otherwise builds the same layout from the official sources:
    <out>/hw3_data/digits/{usps,mnistm,svhn}/{train,test}/*.png with train.csv, test.csv
    <out>/hw3_data/face/{train,test}/*.png with train.csv, test.csv (13 attributes)
    <out>/fashion_mnist.npz, <out>/cifar10.npz   train_images, train_labels, test_images, test_labels
    <out>/flowers-102/jpg/*.jpg with imagelabels.mat, setid.mat, as torchvision leaves them
What is there is not built or fetched again; downloads are kept in <out>/downloads, verified, and mended when damaged.

part            to fetch    on disk     building, on one free core
digits          340 MB      0.7 GB      5 minutes (180,000 small files)
face            1.5 GB      0.5 GB      2 minutes
fashion_mnist   31 MB       31 MB       seconds
cifar10         170 MB      170 MB      seconds
flowers         345 MB      0.35 GB     seconds
all             2.4 GB      1.8 GB      8 minutes
Where a course's archive can be had, digits and face come from it instead, and are only unpacked. The downloads stay:
both columns of space while they are there. Remove <out>/downloads when all parts are in place.

Where a download is refused (Google Drive allows only so many a day), fetch the file with a browser, save it in
<out>/downloads under the name that --list shows, and run this again: it is verified and used.
"""

import argparse
import fcntl
from contextlib import suppress
from pathlib import Path
from typing import IO

from dlcv import cli

PARTS = ("digits", "face", "fashion_mnist", "cifar10", "flowers")


def main() -> None:
    parser = cli.ArgumentParser(
        prog="get_dataset.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder to build in (default: data)")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="parts to build (default: all)")
    parser.add_argument("--official", action="store_true", help="leave out the courses' archives")
    parser.add_argument("--list", action="store_true", help="show each file's name and addresses, and fetch nothing")
    parser.add_argument("--sources", type=Path, metavar="JSON", help="table of mirrors: dlcv.data.sources.read_sources")
    args = parser.parse_args()
    from dlcv.data import build
    from dlcv.data.sources import address, fetch, official_sources, read_sources

    sources = official_sources() | (read_sources(args.sources) if args.sources else {})
    if args.list:
        for name, source in sources.items():
            here = "  (is here)" if (args.out / "downloads" / name).is_file() else ""
            print(cli.printable(f"{name:<32}{' or '.join(map(address, source.urls))}{here}"))
        return

    def get(name: str) -> Path:
        return fetch(name, sources[name], args.out / "downloads")

    wanted = {part for part in args.only if part in ("digits", "face")}
    there = {part for part in wanted if (args.out / "hw3_data" / part).is_dir()}
    failures = []
    with _lock(args.out):
        if wanted - there and not args.official:
            build.course_archive(args.out, get)
        for part in PARTS:
            if part in args.only:
                try:
                    build.BUILDERS[part](args.out, get)
                    print(f"{part}: in place")
                except (cli.UserError, OSError) as error:  # a full disk, too; the other parts may still be had
                    failures.append(f"{part}: {error}")
    if failures:
        raise cli.UserError("; ".join(failures))


def _lock(out: Path) -> IO[str]:
    """An open file that locks `out` against a second run until it is closed. Raises UserError where one is at work."""
    try:
        (out / "downloads").mkdir(parents=True, exist_ok=True)
        lock = (out / "downloads" / ".lock").open("w")
    except OSError as error:
        raise cli.UserError(f"cannot write into {out}: {error.strerror}") from None
    with suppress(OSError):  # a file system without locks
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise cli.UserError(f"another get_dataset.sh is at work in {out}; wait until it is done") from None
    return lock


if __name__ == "__main__":
    cli.run(main, "get_dataset.sh")
