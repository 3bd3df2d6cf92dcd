"""Part 2's recipes, one for each network and experiment; its yaml files are written from them.

python -m dlcv.cs7643.recipes            # writes part2/configs/config_<name>.yaml
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dlcv import cli, recipe
from dlcv.files import write_text

CONFIGS = Path(__file__).resolve().parent / "part2" / "configs"


@dataclass(frozen=True)
class Recipe:
    model: Literal["TwoLayerNet", "VanillaCNN", "MyModel", "ResNet-32"] = "ResNet-32"  # the network
    batch_size: int = 128  # images a step
    learning_rate: float = 0.1  # peak learning rate of SGD
    schedule: Literal["steps", "triangular"] = "steps"  # fall after epochs step1 and step2, or rise and fall linearly
    step1: int = 6  # epoch after which the learning rate is a tenth of its peak (schedule steps)
    step2: int = 8  # epoch after which the learning rate is a hundredth of its peak (schedule steps)
    warmup: int = 0  # epochs over which the learning rate rises to its peak (schedule steps)
    epochs: int = 10  # passes over the training images
    momentum: float = 0.9  # momentum of SGD
    nesterov: bool = False  # Nesterov's momentum
    reg: float = 0.0005  # weight decay
    loss_type: Literal["CE", "Focal"] = "CE"  # cross entropy, or (class-balanced) focal loss
    label_smoothing: float = 0.0  # label smoothing of the cross entropy
    beta: float = 0.0  # beta of the class weights by effective numbers; 0 weighs all classes alike
    gamma: float = 0.0  # focusing exponent of the focal loss; 0 is cross entropy
    imbalance: Literal["regular", "imbalance"] = "regular"  # all images, or a long tail of them
    imbalance_factor: float = 100.0  # largest class divided by smallest
    augment: bool = True  # training images moved by up to 4 pixels, half of them mirrored
    border: Literal["black", "reflect"] = "black"  # what moved images show beyond their edge: black, or mirrored pixels
    patch: int = 0  # side of a square in each training image that shows another image instead, pixels; 0: none
    small: int = 32  # side of the training images in pixels during the first steps
    small_until: float = 0.0  # share of the steps with these smaller images; then 32 pixels
    validation: int = 5_000  # training images that are held out for choosing; 0 keeps the last epoch
    bf16: bool = False  # bfloat16 autocast in training, on hardware that computes in it
    seed: int = 0  # random seed of the initial weights, the order and the augmentation

    def __post_init__(self) -> None:
        recipe.require_positive(self, "batch_size", "learning_rate", "epochs")
        recipe.require_between(self, 1, 5_000, "imbalance_factor")
        recipe.require_between(self, 8, 32, "small")
        recipe.require_between(self, 0, 1, "small_until")
        recipe.require_between(self, 0, 31, "patch")
        if self.patch and not self.augment:
            raise cli.UsageError(f"--patch {self.patch} belongs to --augment: add --patch 0")
        if self.nesterov and not self.momentum:
            raise cli.UsageError("--momentum 0: Nesterov's momentum needs one; add --no-nesterov")
        recipe.require_between(self, 0, 0.999999, "beta", "momentum", "label_smoothing")
        if self.loss_type == "CE" and (self.beta or self.gamma):
            raise cli.UsageError("--beta and --gamma belong to --loss-type Focal")
        if self.loss_type == "Focal" and self.label_smoothing:
            raise cli.UsageError("--label-smoothing belongs to --loss-type CE")
        for name in ("step1", "step2", "warmup", "reg", "gamma", "validation", "seed"):
            if getattr(self, name) < 0:
                raise cli.UsageError(f"--{name} {getattr(self, name)}: must not be negative")

    def solver_arguments(self) -> dict[str, object]:
        """What Solver(**kwargs) of part 2 takes."""
        values = dataclasses.asdict(self)
        return values | {"steps": [values.pop("step1"), values.pop("step2")]}


# How the long tail's values were chosen: docs/models/cs7643.md.
_COURSE: dict[str, object] = {"learning_rate": 0.0001}  # the course's own, its code's shifts and mirroring included
_PLAIN = {**_COURSE, "augment": False}  # at that rate networks learn too slowly to gain by more images
_LONG_TAIL = {
    "imbalance": "imbalance", "epochs": 24, "step1": 16, "step2": 21, "warmup": 3, "bf16": True, "validation": 0,
}  # fmt: skip
_BALANCED = {**_LONG_TAIL, "loss_type": "Focal", "beta": 0.99, "gamma": 1.0}
# Candidates for the long tail's values, compared on held-out validation images; the other recipes use the best ones.
CHOICES: dict[str, dict[str, object]] = {
    **{f"resnet32_ce_lr_{x}": {**_LONG_TAIL, "validation": 5_000, "learning_rate": x} for x in (0.05, 0.1, 0.2)},
    **{
        f"resnet32_cb_focal_beta_{x}": {**_BALANCED, "validation": 5_000, "learning_rate": 0.1, "beta": x}
        for x in (0.9, 0.99, 0.999, 0.9999)
    },
    # Class weights sum to 10, so the mean over images falls to 0.17 at beta 0.9999: it may want larger steps.
    **{
        f"resnet32_cb_focal_lr_{x}": {**_BALANCED, "validation": 5_000, "learning_rate": x, "beta": 0.9999}
        for x in (0.2, 0.4)
    },
}
# What the focal factor gives beside balanced weights, with validation images held out.
GAMMAS: dict[str, dict[str, object]] = {
    f"resnet32_cb_focal_gamma_{x}": {**_BALANCED, "validation": 5_000, "gamma": x} for x in (0.0, 0.5, 1.0, 2.0)
}
RECIPES: dict[str, dict[str, object]] = {
    "twolayer": {"model": "TwoLayerNet", **_PLAIN},
    "vanilla_cnn": {"model": "VanillaCNN", **_PLAIN},
    "twolayer_course": {"model": "TwoLayerNet", **_COURSE},
    "vanilla_cnn_course": {"model": "VanillaCNN", **_COURSE},
    "mymodel": {
        "model": "MyModel", "schedule": "triangular", "epochs": 40, "nesterov": True, "label_smoothing": 0.1,
        "border": "reflect", "patch": 10, "small": 24, "small_until": 0.5, "bf16": True, "validation": 2_000,
    },
    "resnet32_ce": _LONG_TAIL,
    "resnet32_cb_ce": {**_BALANCED, "gamma": 0.0},
    "resnet32_focal": {**_LONG_TAIL, "loss_type": "Focal", "gamma": 1.0},
    "resnet32_cb_focal": _BALANCED,
    **CHOICES,
    **GAMMAS,
}  # fmt: skip
SECTIONS = {
    "Train": (
        "batch_size", "learning_rate", "schedule", "steps", "warmup", "epochs", "momentum", "nesterov", "reg", "bf16",
        "validation", "seed",
    ),
    "network": ("model",),
    "data": ("imbalance", "imbalance_factor", "augment", "border", "patch", "small", "small_until"),
    "loss": ("loss_type", "label_smoothing", "beta", "gamma"),
}  # fmt: skip


def as_yaml(name: str) -> str:
    """The recipe in the course's form: sections of keys, all of which go to Solver."""
    import yaml  # here, so that a training's --help needs no package

    values = Recipe(**RECIPES[name]).solver_arguments()  # type: ignore[arg-type]
    assert sorted(values) == sorted(key for keys in SECTIONS.values() for key in keys)
    sections = {section: {key: values[key] for key in keys} for section, keys in SECTIONS.items()}
    header = f"# {name}: written by python -m dlcv.cs7643.recipes\n"
    return header + yaml.safe_dump(sections, sort_keys=False, default_flow_style=None)


def main() -> None:
    cli.ArgumentParser(prog="python -m dlcv.cs7643.recipes", description=__doc__).parse_args()
    for name in RECIPES:
        write_text(CONFIGS / f"config_{name}.yaml", as_yaml(name))
    print(f"{len(RECIPES)} files in {CONFIGS}")


if __name__ == "__main__":
    cli.run(main, "dlcv.cs7643.recipes")
