"""What is published was trained with the defaults of its training script; what differs stands in one list."""

import dataclasses
import runpy
from pathlib import Path
from typing import Any

import pytest
from conftest import REPO

from dlcv.checkpoint import read_checkpoint

PATHS = sorted((REPO / "checkpoints").glob("*.pth"))
NO_TRAINING = {"digit_classifier.pth", "face_descriptor.pth"}  # the course's own, face-api's
# Checkpoint → what its recipe has that is not the script's default.
DIFFERENT: dict[str, dict[str, Any]] = {
    "cifar_cnn_separable.pth": {"separable": True},
    **{
        f"{method}_{source}_{target}.pth": {"source": source, "target": target}
        for method in ("dann", "uda")
        for source in ("usps", "mnistm", "svhn")
        for target in ("usps", "mnistm", "svhn")
    },
}


def script_of(name: str) -> Path:
    """The training script whose noun the checkpoint's name begins with."""
    scripts = {path.stem.removeprefix("train_"): path for path in (REPO / "train").glob("train_*.py")}
    return scripts[max((noun for noun in scripts if name.startswith(noun)), key=len)]


def assert_default(name: str, script: Path, recipe: dict[str, Any]) -> None:
    cls = runpy.run_path(str(script))["Recipe"]
    default, different = dataclasses.asdict(cls()), DIFFERENT.get(name, {})
    assert recipe == default | different, f"{name}: not {script.name}'s defaults"


@pytest.mark.parametrize("path", [path for path in PATHS if path.name not in NO_TRAINING], ids=lambda path: path.name)
def test_published_is_default(path: Path) -> None:
    provenance = read_checkpoint(path)["provenance"]
    assert_default(path.name, script_of(path.name), provenance["recipe"])
    if "prior" in provenance:
        assert_default(f"{path.name} prior", REPO / "train" / "train_vae_prior.py", provenance["prior"]["recipe"])
