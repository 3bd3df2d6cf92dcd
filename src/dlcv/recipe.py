"""A recipe is a frozen dataclass; its fields become command-line flags, its comments their help."""

import argparse
import dataclasses
import inspect
import math
import re
import sys
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from dlcv.cli import ArgumentParser, UsageError

Recipe = TypeVar("Recipe")
# Fields that many recipes have and that mean the same in all; parse checks them. The others' limits stand in a recipe.
POSITIVE = {"steps", "epochs", "batch_size", "lr", "lr_g", "lr_d", "evaluate_every"}


def parse(
    cls: type[Recipe],
    description: str,
    quick: dict[str, Any],
    presets: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Recipe, argparse.Namespace]:
    """The recipe that the command line asks for, and the flags that every training script has.

    Those are --data, --out, --resume, --save-seconds and --quick, which replaces defaults by `quick` (flags still win);
    args.run holds what dlcv.trainer.Run takes of them. `description`: what is trained, a sentence.
    With `presets` the first word of the command line names the one whose values are the defaults (args.preset).
    Raises UsageError for unknown flags, values of the wrong type and impossible ones.
    """
    parser = ArgumentParser(description=description)
    if presets:
        parser.add_argument("preset", choices=presets, help="the network or experiment whose values are the defaults")
    parser.add_argument("--data", type=Path, help="folder of the data (default: the usual places, see README)")
    parser.add_argument(
        "--out", type=Path, help="folder that the run writes to (default: one under runs/, named after the recipe)"
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in --out from its last save; without a save, begin it"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a small run, of under five minutes on two cores, to see that everything works",
    )
    parser.add_argument(
        "--save-seconds", type=float, default=240.0, help="longest time between two saves, in seconds (240)"
    )
    comments = field_comments(cls)
    types = typing.get_type_hints(cls)
    defaults: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        name, kind = field.name, types[field.name]
        defaults[name] = field.default
        shown = f"{field.default}, or the preset's" if presets else field.default
        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": f"{comments.get(name, '')} ({shown})"}
        if kind is bool:
            options["action"] = argparse.BooleanOptionalAction
        elif typing.get_origin(kind) is typing.Literal:
            options["choices"] = typing.get_args(kind)
        else:
            options["type"] = kind
        parser.add_argument("--" + name.replace("_", "-"), **options)
    args = parser.parse_args(sys.argv[1:])
    what = description + (" A small run (--quick) that shows that everything works." if args.quick else "")
    args.run = {"resume": args.resume, "save_seconds": args.save_seconds, "what": what}
    given = {name: getattr(args, name) for name in defaults if hasattr(args, name)}
    defaults |= presets[args.preset] if presets else {}
    recipe = cls(**(defaults | (quick if args.quick else {}) | given))
    require_positive(recipe, *(name for name in defaults if name in POSITIVE))
    require_between(recipe, 0, math.inf, *(name for name in defaults if name in ("seed", "weight_decay")))
    require_between(recipe, 0, 1, *(name for name in defaults if name == "ema"))
    return recipe, args


def run_folder(args: argparse.Namespace, name: str) -> Path:
    """Where the run writes to: --out, or runs/<name>, with _quick behind it after --quick."""
    return args.out or Path("runs") / (name + ("_quick" if args.quick else ""))


def require_positive(recipe: object, *names: str) -> None:
    """Raises UsageError for the first of the named fields that is not above 0."""
    for name in names:
        value = getattr(recipe, name)
        if not value > 0:
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be above 0")


def require_between(recipe: object, low: float, high: float, *names: str) -> None:
    """Raises UsageError for the first of the named fields that is not in [low, high]."""
    for name in names:
        value = getattr(recipe, name)
        if not low <= value <= high:
            wanted = f"must be between {low:g} and {high:g}" if math.isfinite(high) else f"must be at least {low:g}"
            raise UsageError(f"--{name.replace('_', '-')} {value}: {wanted}")


def field_comments(cls: type) -> dict[str, str]:
    """field → the comment behind its line in the class body, % doubled for argparse."""
    lines = inspect.getsource(cls).splitlines()
    matches = (re.match(r"\s+(\w+):[^#]*#\s*(.*)", line) for line in lines)
    return {match[1]: match[2].replace("%", "%%") for match in matches if match}
