"""Files that other programs read of this repository: workflow, pre-commit, citation, changelog, line ends, licence.

And names in our own files.
"""

import ast
import os
import re
import subprocess
import tomllib

import yaml
from conftest import REPO

from dlcv.checkpoint import read_manifest

ROOMS = ("src", "train", "inference", "report", "experiments", "tests")
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]


def test_the_workflow_calls_the_check_that_runs_here() -> None:
    workflow = yaml.safe_load((REPO / ".github" / "workflows" / "ci.yml").read_text())
    assert {"push", "pull_request"} <= workflow[True].keys()  # YAML 1.1 reads the key `on` as true
    commands = [step.get("run") for job in workflow["jobs"].values() for step in job["steps"]]
    assert ".ci/run" in commands and os.access(REPO / ".ci" / "run", os.X_OK)


def test_pre_commit_runs_the_locked_ruff() -> None:
    hooks = yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text())["repos"]
    assert {"ruff", "ruff-format", "end-of-file-fixer"} <= {hook["id"] for repo in hooks for hook in repo["hooks"]}
    (ruff,) = (repo["rev"] for repo in hooks if "ruff" in repo["repo"])
    assert f"ruff=={ruff.removeprefix('v')}" in (REPO / "requirements.txt").read_text().split()


def test_the_citation_has_what_the_format_requires() -> None:
    citation = yaml.safe_load((REPO / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys() and citation["authors"]
    assert (str(citation["version"]), citation["license"]) == (PROJECT["version"], PROJECT["license"])


def test_the_changelog_uses_the_words_of_keep_a_changelog() -> None:
    text = (REPO / "CHANGELOG.md").read_text()
    kinds = set(re.findall(r"^### (.*)$", text, re.M))
    assert "## [Unreleased]" in text
    assert kinds and kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_scripts_and_manifests_keep_their_line_ends() -> None:
    paths = ["hw3_p1.sh", "get_dataset.sh", "checkpoints/MANIFEST"]
    command = ["git", "-C", str(REPO), "check-attr", "eol", *paths]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines == [f"{path}: eol: lf" for path in paths]


def test_the_licence_names_every_checkpoint_and_nothing_else() -> None:
    patterns = re.findall(r"[\w*]+\.pth", (REPO / "LICENSE").read_text())
    folders = (REPO / "checkpoints", REPO / "src" / "dlcv" / "cs7643" / "part2" / "checkpoints")
    names = {name for folder in folders for name in read_manifest(folder / "MANIFEST")}
    for pattern in patterns:
        assert any(re.fullmatch(pattern.replace(".", r"\.").replace("*", ".*"), name) for name in names), pattern
    for name in names:
        assert any(re.fullmatch(p.replace(".", r"\.").replace("*", ".*"), name) for p in patterns), name


def test_names_say_what_a_value_is() -> None:
    """Variables and arguments, also those of lambdas; programs inside strings are not looked at."""
    places = []
    for path in sorted(path for room in ROOMS for path in (REPO / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            stored = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else None
            name = node.arg if isinstance(node, ast.arg) else stored
            if name in ("told", "found"):
                places.append(f"{path.relative_to(REPO)}:{node.lineno}")
    assert not places, f"no `told` or `found`: name what the value is (message, labels, rng): {', '.join(places)}"
