"""Where the data sets come from, and fetching one file of them, verified."""

import json
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import gdown
from torchvision import datasets
from torchvision.datasets.utils import check_integrity, download_url

from dlcv.cli import UserError

_BSDS = "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/BSR/BSR_bsds500.tgz"


@dataclass(frozen=True)
class Source:
    """A file to fetch. `urls` are tried in order; drive:ID (or drive:URL) goes through gdown; md5 where published."""

    urls: tuple[str, ...]
    md5: str | None = None


def official_sources() -> dict[str, Source]:
    """local file name → source; addresses and checksums of the official sets are torchvision's."""
    sources = {
        "hw3_data.zip": Source(("drive:1KYKMajoyan6Dk5rZjAHqSOGRDCbHKMCj",)),  # DLCV 2020, homework 3
        "hw2_data.zip": Source(("drive:1BwZiFfGKAqIOFRupt6xO7-KuhPYd5VMO",)),  # DLCV 2021, homework 2
        "BSR_bsds500.tgz": Source((_BSDS,)),
        "cifar-10-python.tar.gz": Source((datasets.CIFAR10.url,), datasets.CIFAR10.tgz_md5),
    }
    for table in (datasets.USPS.split_list, datasets.SVHN.split_list):
        for url, name, md5 in table.values():
            sources[name] = Source((url,), md5)
    for prefix, dataset in (("mnist", datasets.MNIST), ("fashion", datasets.FashionMNIST)):
        for name, md5 in dataset.resources:
            sources[f"{prefix}-{name}"] = Source(tuple(mirror + name for mirror in dataset.mirrors), md5)
    for file_id, md5, name in datasets.CelebA.file_list:
        sources[name] = Source((f"drive:{file_id}",), md5)
    return sources


def read_sources(path: Path) -> dict[str, Source]:
    """A table of mirrors: JSON, {"file name": {"urls": [...], "md5": "..." or null}}; replaces the official entries."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        return {name: Source(tuple(entry["urls"]), entry.get("md5")) for name, entry in table.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no table of sources: {error}") from None


def fetch(name: str, source: Source, folder: Path) -> Path:
    """The verified file folder/name; fetched, with a progress bar, only if it is not there or damaged.

    Verified by MD5 where the source publishes one, otherwise an archive by reading all of it.
    Raises UserError when no address gives it.
    """
    path = folder / name
    if path.exists() and _is_whole(path, source.md5):
        return path
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{name}.part"
    reasons = []
    for url in source.urls:
        print(f"fetching {name} from {url}", flush=True)
        part.unlink(missing_ok=True)
        try:
            if url.startswith("drive:"):
                address = url.removeprefix("drive:")
                if "://" in address:
                    gdown.download(url=address, output=str(part))
                else:
                    gdown.download(id=address, output=str(part))
            else:
                download_url(url, str(folder), part.name)
        except Exception as error:  # gdown, urllib and http.client each raise their own kinds
            reasons.append(f"{url}: {' '.join(str(error).split())[:150]}")
            continue
        if _is_whole(part, source.md5, name):
            part.replace(path)
            return path
        reasons.append(f"{url}: what arrived is damaged or something else")
    part.unlink(missing_ok=True)
    raise UserError(f"cannot get {name} ({'; '.join(reasons)}); run this again later")


def _is_whole(path: Path, md5: str | None, name: str | None = None) -> bool:
    if md5 is not None:
        return bool(check_integrity(path, md5))
    try:
        if (name or path.name).endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                return archive.testzip() is None
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                while file is not None and file.read(1 << 20):
                    pass
        return True
    except (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, ValueError, zlib.error):
        return False
