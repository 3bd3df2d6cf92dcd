"""How peers_ways.py takes code from the peers' clones: as it is, without copying it and without installing it."""

import ast
import contextlib
import importlib
import importlib.util
import io
import sys
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
import torch

Result = tuple[float, list[float]]  # seconds of the work, and numbers that all ways must agree on


@dataclass(frozen=True)
class Settings:
    peers: Path  # folder of the clones
    data: Path | None  # hw3_data
    steps: int  # timed steps of a training; of the VAE: epochs
    batch: int  # images of a batch; DANN: of each domain
    size: int  # features per image, of the Fréchet distance


def definitions(path: Path, names: set[str], **variables: Any) -> Namespace:
    """Functions and classes of a script, without running the rest of it; `variables`: what they use of the rest."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names]
    exec(compile(tree, str(path), "exec"), variables)
    return Namespace(**{name: variables[name] for name in names})


SCRIPT = "script_of_a_peer"  # the module's name in sys.modules, while it runs and after it


def run_script(path: Path, *words: object) -> ModuleType:
    """Runs a script unmodified, but for an `if __name__ == "__main__"` at its end. What it prints is lost."""
    spec = importlib.util.spec_from_file_location(SCRIPT, path)
    assert spec and spec.loader
    sys.modules[SCRIPT] = module = importlib.util.module_from_spec(spec)
    sys.argv = [str(path), *map(str, words)]
    with contextlib.redirect_stdout(io.StringIO()):
        spec.loader.exec_module(module)
    return module


def tllib(peers: Path, name: str) -> Any:
    """A module of tllib.

    The packages' own __init__ files are left out, since they import all of tllib and with it packages that are not
    needed. Two names that newer NumPy and torch have dropped are put back, and a package that only prints tables is
    replaced by an empty one; nothing that computes is replaced.
    """
    root = peers / "Transfer-Learning-Library"
    for package in (
        "tllib",
        "tllib.alignment",
        "tllib.modules",
        "tllib.utils",
        "tllib.vision",
        "tllib.vision.datasets",
    ):
        if package not in sys.modules:
            sys.modules[package] = module = ModuleType(package)
            module.__path__ = [str(root.joinpath(*package.split(".")))]
    np.float = float  # type: ignore[attr-defined] # until NumPy 1.24 another name of float
    torch.utils.data.dataset.T_co = TypeVar("T_co", covariant=True)  # type: ignore[attr-defined,misc] # annotations
    sys.modules.setdefault("prettytable", ModuleType("prettytable"))
    return importlib.import_module(f"tllib.{name}")
