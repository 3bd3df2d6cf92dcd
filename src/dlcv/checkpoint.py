"""Inference checkpoints: tensors and plain values in one file, checked against MANIFEST where it lies beside."""

import dataclasses
import functools
import hashlib
import io
import subprocess
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
    """The model of class `cls` from what `read_checkpoint` returned."""
    if content["arch"] != cls.__name__:
        raise UserError(f"{path.name} holds a {content['arch']}, not a {cls.__name__}")
    config_type: Any = cls.Config  # type: ignore[attr-defined]
    try:
        model = cls(config_type(**content["config"]))
        model.load_state_dict(content["weights"])
    except (RuntimeError, TypeError) as error:
        raise UserError(f"{path.name} does not fit this version of {cls.__name__}: {error}") from None
    return model.eval()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, verified: arch, config, weights, provenance."""
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
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # what is no checkpoint can end anywhere in the unpickler
        raise UserError(f"{path} is not a checkpoint of this project: {str(error)[:80]}") from None
    if not isinstance(content, dict) or not {"arch", "config", "weights", "provenance"} <= content.keys():
        raise UserError(f"{path} is not a checkpoint of this project")
    return content


def read_manifest(path: Path) -> dict[str, str]:
    """name → SHA-256 of a MANIFEST (the format of sha256sum); empty when there is none."""
    if not path.is_file():
        return {}
    pairs = (line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    return {name.strip().lstrip("*"): digest for digest, name in pairs}


CODE = ("src", "train", "inference", ":(glob)report/*.py")  # as git names them


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
