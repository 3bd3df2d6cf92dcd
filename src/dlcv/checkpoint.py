"""Inference checkpoints: tensors and plain values in one file, checked against MANIFEST where it lies beside."""

import dataclasses
import functools
import hashlib
import io
import re
import subprocess
import warnings
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from dlcv.cli import UserError
from dlcv.files import write_bytes

CHECKPOINTS = Path(__file__).resolve().parents[2] / "checkpoints"
Model = TypeVar("Model", bound=nn.Module)


def save_checkpoint(path: Path, model: nn.Module, provenance: dict[str, Any]) -> None:
    """Writes class name, config, weights and provenance (recipe, metrics, data counts, seed; commit and torch added).

    `model.config` is the frozen dataclass that the model was built from. Written whole or not at all.
    """
    buffer = io.BytesIO()
    torch.save(
        {
            "arch": type(model).__name__,
            "config": dataclasses.asdict(model.config),  # type: ignore[call-overload]
            "weights": {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()},
            "provenance": {"commit": current_commit(), "torch": str(torch.__version__)} | provenance,
        },
        buffer,
    )
    write_bytes(path, buffer.getvalue())


def load_model(cls: type[Model], path: Path) -> Model:
    """The model of class `cls` in `path`, on the CPU, in eval mode.

    Where a MANIFEST lies beside the file and names it, its SHA-256 is verified.
    Raises UserError for a missing, damaged or foreign file.
    """
    return model_from(cls, read_checkpoint(path), path)


def model_from(cls: type[Model], content: dict[str, Any], path: Path) -> Model:
    """The model of class `cls` from what `read_checkpoint` returned. Raises UserError as `load_model` does."""
    if content["arch"] != cls.__name__:
        raise UserError(f"{path.name} holds a {content['arch']}, not a {cls.__name__}")
    config_type: Any = cls.Config  # type: ignore[attr-defined]
    weights = content["weights"]
    try:
        _check_sizes(content["config"], weights)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's remarks about layers without a weight
            model = cls(config_type(**content["config"]))
        model.load_state_dict(weights)
    except Exception as error:  # a wrong config can fail anywhere in the model's constructor
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path.name} does not fit this version of {cls.__name__}: {reason}") from None
    bad = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
    if bad:
        raise UserError(
            f"{path.name} holds weights that are not finite numbers ({bad[0]}): its training failed; "
            "take an earlier snapshot, or train again"
        )
    return model.eval()


def _check_sizes(config: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
    """Raises ValueError for a whole number that no network with these weights can have: it would fill the memory."""
    limit = max([256, *(size for tensor in weights.values() for size in tensor.shape)])
    for name, value in config.items():
        if type(value) is int and not 0 <= value <= limit:
            raise ValueError(f"its config says {name} {value}")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, verified: arch, config, weights, provenance."""
    return as_checkpoint(read_content(path), path)


def digest_of(path: Path) -> str:
    """The first twelve hexadecimal digits of a file's SHA-256, by which the ledgers know a checkpoint."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def read_content(path: Path) -> Any:
    """Whatever tensors and plain values `path` holds, read once and verified against the MANIFEST beside it.

    Raises UserError for a file that is missing, damaged or no such file.
    """
    known = read_manifest(path.parent / "MANIFEST")
    remedy = "run: bash download_models.sh" if path.name in known else "train it first, or give another path"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the checkpoint {path} ({error.strerror}); {remedy}") from None
    expected = known.get(path.name)
    if expected is not None and hashlib.sha256(data).hexdigest() != expected:
        raise UserError(f"{path} is damaged (its SHA-256 is not the one in MANIFEST); {remedy}")
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # what is no checkpoint can end anywhere in the unpickler
        raise UserError(f"{path} is not a checkpoint of this project: {str(error)[:80]}") from None


def as_checkpoint(content: Any, path: Path) -> dict[str, Any]:
    """What `read_content` found in `path`, when it has a checkpoint's parts. Raises UserError otherwise."""
    kinds = {"arch": str, "config": dict, "weights": dict, "provenance": dict}
    if not isinstance(content, dict) or not all(isinstance(content.get(key), kind) for key, kind in kinds.items()):
        raise UserError(f"{path} is not a checkpoint of this project")
    if not all(isinstance(weight, torch.Tensor) for weight in content["weights"].values()):
        raise UserError(f"{path} is not a checkpoint of this project: not all of its weights are tensors")
    return content


def read_manifest(path: Path) -> dict[str, str]:
    """name → SHA-256 of a MANIFEST (the format of sha256sum); empty when there is none.

    Raises UserError for a line that is none of that format.
    """
    if not path.is_file():
        return {}
    known = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](\S.*?)\s*", line)
        if match:
            known[match[2]] = match[1].lower()
        elif line.strip():
            raise UserError(
                f"{path}, line {number}: not a SHA-256, two spaces and a file name; "
                f"restore it: git checkout checkpoints/{path.name}"
            )
    return known


CODE = ("src", "train", "inference", "experiments", ":(glob)report/*.py")  # as git names them


@functools.cache
def current_commit(paths: tuple[str, ...] = CODE) -> str:
    """The commit of the code around this file, "+" if one of `paths` was changed since, or "unknown".

    Asked once a process: call it early, and what is recorded is the code that ran.
    """
    root = Path(__file__).resolve().parents[2]
    git = ["git", "-C", str(root)]
    try:
        commit = subprocess.run([*git, "rev-parse", "--short=10", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", *paths], check=False)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip() + ("+" if changed.returncode else "")
