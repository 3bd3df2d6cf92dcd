"""How report scripts come by test answers: through dlcv.evaluate and its ledger, and not twice."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dlcv import cli
from dlcv.evaluate import OWN_LEDGER


def add_arguments(parser: cli.ArgumentParser) -> None:
    """Adds --evaluate and --ledger."""
    parser.add_argument("--evaluate", action="store_true", help="first read the test answers that were not read yet")
    parser.add_argument(
        "--ledger", type=Path, default=OWN_LEDGER,
        help=f"csv that --evaluate adds each reading to (default: {OWN_LEDGER}; the project's: docs/test_reads.csv)",
    )  # fmt: skip


def evaluate(checkpoints: Sequence[Path], data: Path | None, *flags: str) -> None:
    """Calls dlcv.evaluate, which reads answers and writes down that it did."""
    command = [sys.executable, "-m", "dlcv.evaluate", *map(str, checkpoints), *flags]
    if subprocess.run(command + (["--data", str(data)] if data else []), check=False).returncode:
        raise cli.UserError("dlcv.evaluate failed, see above")


def look(checkpoints: Sequence[Path], save: Path, data: Path | None, *flags: str) -> None:
    """Has dlcv.evaluate read answers into `save` (npz), unless that was done with these checkpoints before."""
    if save.exists() and all(save.stat().st_mtime > path.stat().st_mtime for path in checkpoints):
        return
    evaluate(checkpoints, data, *flags, "--save", str(save))


def kept_result(path: Path) -> dict[str, np.ndarray]:
    """What dlcv.evaluate saved."""
    if not path.exists():
        raise cli.UserError(f"{path} is not there: run this with --evaluate first")
    return dict(np.load(path))
