"""Where the data sets come from, and fetching one file of them, verified."""

import json
import tarfile
import textwrap
import zipfile
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
    for name, md5 in datasets.Flowers102._file_dict.values():
        sources[name] = Source((datasets.Flowers102._download_url_prefix + name,), md5)
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


def address(url: str) -> str:
    """A source's address as a browser takes it."""
    place = url.removeprefix("drive:")
    return place if "://" in place else f"https://drive.google.com/uc?id={place}"


def fetch(name: str, source: Source, folder: Path) -> Path:
    """The verified file folder/name; fetched, with a progress bar, only if it is not there or damaged.

    Verified by MD5 where the source publishes one, otherwise an archive by reading all of it.
    Raises UserError when no address gives it.
    """
    path = folder / name
    reasons = []
    if path.exists():
        fault = _fault(path, source.md5, name)
        if not fault:
            return path
        reasons.append(f"{path} {fault}")
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{name}.part"
    for url in source.urls:
        print(f"fetching {name} from {url}", flush=True)
        part.unlink(missing_ok=True)
        try:
            if url.startswith("drive:"):  # cookies would be kept in the home, which not everybody has
                gdown.download(url=address(url), output=str(part), use_cookies=False)
            else:
                download_url(url, str(folder), part.name)
        except Exception as error:  # gdown, urllib and http.client each raise their own kinds
            reasons.append(f"{url}: {_shortly(error)}")
            continue
        fault = _fault(part, source.md5, name)
        if not fault:
            part.replace(path)
            return path
        reasons.append(f"{url}: what arrived {fault}")
    part.unlink(missing_ok=True)
    by_hand = f"fetch it by hand from {address(source.urls[0])}, save it as {path}, and run this again"
    raise UserError(f"cannot get {name} ({'; '.join(reasons)}); run this again later, or {by_hand}")


def _shortly(error: Exception) -> str:
    text = " ".join(str(error).split())
    if any(sign in text for sign in ("name resolution", "Name or service", "NameResolution", "unreachable")):
        return "the server cannot be reached (is there a network?)"
    return textwrap.shorten(text, 200, placeholder=" …") or type(error).__name__


def _fault(path: Path, md5: str | None, name: str) -> str:
    """What is wrong with a file of a download, or an empty string."""
    damaged = "is damaged or something else"
    if md5 is not None:
        return "" if path.is_file() and check_integrity(path, md5) else damaged
    try:
        if name.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                return damaged if archive.testzip() else ""
        with tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member)
                while file is not None and file.read(1 << 20):
                    pass
        return ""
    except NotImplementedError:  # Deflate64, which Windows Explorer takes beyond 2 GB
        return "is compressed in a way that Python cannot read (unpack it and zip it anew with another program)"
    except RuntimeError:
        return "is encrypted"
    except Exception:  # zipfile and tarfile meet damage with errors of many kinds
        return damaged
