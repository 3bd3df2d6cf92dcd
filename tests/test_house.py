"""What holds for the whole repository: directions of imports, the graders' static rules, checkpoints, texts."""

import ast
import hashlib
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from conftest import REPO, call, load_script

from dlcv.checkpoint import read_manifest

WRAPPERS = sorted(REPO.glob("hw*.sh"))
GRADERS_PACKAGES = {"torch", "torchvision", "numpy", "pandas", "sklearn", "PIL"}


def imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def reached(path: Path) -> set[Path]:
    """The file and every file of ours that it imports, however deep."""
    files: set[Path] = set()
    todo = [path]
    while todo:
        file = todo.pop()
        if file in files:
            continue
        files.add(file)
        for name in imports(file):
            for candidate in (f"{name.replace('.', '/')}.py", f"{name.replace('.', '/')}/__init__.py"):
                if name.startswith("dlcv") and (REPO / "src" / candidate).exists():
                    todo.append(REPO / "src" / candidate)
    return files


def called_by_wrappers() -> set[Path]:
    scripts = {REPO / match for w in WRAPPERS for match in re.findall(r"\$root/(inference/\w+\.py)", w.read_text())}
    assert scripts
    return scripts


def test_wrappers_are_short_and_call_python3() -> None:
    assert {"hw3_p3.sh", "hw2_p3.sh"} <= {path.name for path in WRAPPERS}
    for path in WRAPPERS:
        text = path.read_text()
        assert len(text.splitlines()) < 10
        assert "exec python3 " in text and "set -euo pipefail" in text


def test_wrappers_use_nothing_forbidden() -> None:
    forbidden = r"\b(rm|sudo|CUDA_VISIBLE_DEVICES|cp|mv|mkdir|cd|pip|curl|apt|export|chmod)\b"
    for path in WRAPPERS:
        code = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("#"))
        assert not re.search(forbidden, code), path
        assert not re.search(r"(^|[\s\"'=])/\w", code), f"absolute path in {path}"


def test_inference_calls_nothing_forbidden() -> None:
    for script in called_by_wrappers():
        for path in reached(script):
            text = path.read_text()
            assert not re.search(r"\b(im)?show\(|os\.system|CUDA_VISIBLE_DEVICES|/home/|/root/", text), path
            if path.name != "checkpoint.py":  # asks git for the commit, when saving
                assert "subprocess" not in text, path


def test_inference_imports_only_the_graders_packages() -> None:
    allowed = GRADERS_PACKAGES | set(sys.stdlib_module_names) | {"dlcv"}
    for script in called_by_wrappers():
        for path in reached(script):
            foreign = {name.split(".")[0] for name in imports(path)} - allowed
            assert not foreign, f"{path} imports {foreign}"


@pytest.mark.parametrize("script", ["predict_digits.py"])
def test_inference_starts_without_slow_packages(script: str, tmp_path: Path) -> None:
    """What is really loaded: torchvision, pandas and scikit-learn cost seconds and are not needed."""
    words = [str(REPO / "inference" / script), "--model", "svhn=dann_mnistm_svhn.pth", str(REPO / "samples" / "svhn")]
    words += ["svhn", str(tmp_path / "out.csv")]
    code = "import atexit, runpy, sys; atexit.register(lambda: print(*sys.modules)); sys.argv = sys.argv[1:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    result = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    loaded = result.stdout.split()
    assert "torch" in loaded and (tmp_path / "out.csv").exists()
    assert not {"torchvision", "pandas", "sklearn", "scipy", "matplotlib", "tensorboard"} & set(loaded)


def modules_of(package: str) -> dict[str, set[str]]:
    """Each module of a package in src/, with those modules of the same package that it imports."""
    src = REPO / "src"
    files = {".".join(path.relative_to(src).with_suffix("").parts): path for path in (src / package).rglob("*.py")}
    known = {name: path for name, path in files.items() if not name.endswith("__init__")}
    return {name: imports(path) & known.keys() for name, path in known.items()}


def assert_no_circles(imported: dict[str, set[str]]) -> None:
    left = dict(imported)
    while left:
        done = {name for name, needed in left.items() if not needed & left.keys()}
        assert done, f"these import each other: {sorted(left)}"
        left = {name: needed for name, needed in left.items() if name not in done}


def test_imports_point_one_way() -> None:
    """data → model → train → checkpoint → inference → report: nothing points back, by module and by folder."""
    modules = modules_of("dlcv")
    assert {"dlcv.trainer", "dlcv.data.faces", "dlcv.models.vae", "dlcv.cs7643.recipes"} <= modules.keys()
    assert_no_circles(modules)
    folders: dict[str, set[str]] = {}
    for name, imported in modules.items():
        folder = name.split(".")[1]
        others = {other.split(".")[1] for other in imported} - {folder}
        folders[folder] = folders.get(folder, set()) | others
        outside = {"grader", "train", "inference", "report", "experiments", "tests"}
        assert not {other.split(".")[0] for other in imports(REPO / "src" / f"{name.replace('.', '/')}.py")} & outside
    assert_no_circles(folders)
    assert not {"models", "trainer", "checkpoint"} & folders["data"], "data knows no model"


def test_a_model_stands_alone() -> None:
    """It imports torch and, where two would be twins, another model. The table that knows them all is no model."""
    for path in (REPO / "src" / "dlcv" / "models").glob("[!_]*.py"):
        ours = {name for name in imports(path) if name.startswith("dlcv")}
        if path.stem != "table":
            assert all(name.startswith("dlcv.models.") for name in ours), f"{path} imports {ours}"
            foreign = {name.split(".")[0] for name in imports(path)} - {"torch", "dlcv"} - set(sys.stdlib_module_names)
            assert not foreign, f"{path} imports {foreign}"


def test_the_grader_is_a_package_of_its_own() -> None:
    """It may import dlcv, never the other way round; what was imported to import a file does not import that file."""
    modules = modules_of("grader")
    assert {"grader.calls", "grader.sandbox", "grader.submit"} <= modules.keys()
    assert_no_circles(modules)


def test_importing_does_nothing() -> None:
    """No seeds, no output, no global state, whichever module is imported."""
    modules = [
        ".".join(path.relative_to(REPO / "src").with_suffix("").parts)
        for path in sorted((REPO / "src").rglob("*.py"))
        if path.name != "__init__.py"
    ]
    code = f"""
import importlib, random, numpy as np, torch
before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), torch.get_num_threads())
for name in {modules!r}:
    importlib.import_module(name)
after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), torch.get_num_threads())
assert before == after
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0 and result.stdout == "" and result.stderr == "", result.stderr


def test_every_model_stands_in_every_room() -> None:
    others = {  # no noun of their own: a part of another's, the course's file, the list of all
        "digit_net": "dann",
        "digit_classifier": "acgan",
        "table": "dann",
        "dcgan": "flowers",
    }
    for path in (REPO / "src" / "dlcv" / "models").glob("[!_]*.py"):
        noun = others.get(path.stem, path.stem)
        for other in (f"train/train_{noun}.py", f"tests/test_{noun}.py", f"docs/models/{noun}.md"):
            assert (REPO / other).exists(), f"{noun} has no {other}"


def test_no_drawers() -> None:
    names = {path.stem for path in REPO.rglob("*.py") if ".venv" not in path.parts}
    assert not names & {"utils", "util", "misc", "common", "helpers"}


def test_checkpoints_are_those_of_the_manifest() -> None:
    manifest = read_manifest(REPO / "checkpoints" / "MANIFEST")
    files = {path.name: path for path in (REPO / "checkpoints").glob("*.pth")}
    assert set(files) == set(manifest)
    for name, path in files.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == manifest[name], name
        assert path.stat().st_size < 25e6
    assert sum(path.stat().st_size for path in files.values()) < 120e6
    wanted = {name for wrapper in WRAPPERS for name in re.findall(r"\w+\.pth", wrapper.read_text())}
    assert wanted <= set(manifest)


def test_figures_choose_their_backend() -> None:
    """One file imports matplotlib, after it has set MPLBACKEND: a notebook's may name a module that is not here."""
    tracked = subprocess.run(["git", "-C", str(REPO), "ls-files", "*.py"], capture_output=True, text=True, check=True)
    files = [REPO / name for name in tracked.stdout.split() if not name.startswith("tests/") and (REPO / name).exists()]
    importing = [path for path in files if any(name.split(".")[0] == "matplotlib" for name in imports(path))]
    assert [path.name for path in importing] == ["plotting.py"]
    environment = os.environ | {"MPLBACKEND": "module://not_here", "PYTHONPATH": str(REPO / "src")}
    code = "import plotting; print(plotting.plt.get_backend())"
    command, folder = [sys.executable, "-c", code], importing[0].parent
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
    assert result.stdout.strip().lower() == "agg", result.stderr


def test_clones_on_windows() -> None:
    """No two names that differ in case alone, none that Windows refuses, and line ends that bash and sha256sum take."""
    git = ["git", "-C", str(REPO)]
    names = subprocess.run([*git, "ls-files"], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len({name.casefold() for name in names}) == len(names)
    refused = r"[<>:\"|?*\\\x00-\x1f]|[ .](/|$)|(^|/)(con|prn|aux|nul|com\d|lpt\d)(\.|/|$)"
    assert [name for name in names if re.search(refused, name, re.IGNORECASE) or len(name) > 150] == []
    scripts = [name for name in names if name.endswith((".sh", "MANIFEST", "Makefile", ".csv"))]
    ends = subprocess.run([*git, "check-attr", "eol", "--", *scripts], capture_output=True, text=True, check=True)
    assert {line.split(": ")[2] for line in ends.stdout.splitlines()} == {"lf"}
    assert not [name for name in names if b"\r\n" in (REPO / name).read_bytes() and name in scripts]


def test_nothing_refers_to_this_machine() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True).stdout.split()
    assert "README.md" in tracked
    for name in tracked:
        path = REPO / name
        if path.suffix in (".py", ".sh", ".md", ".toml", ".txt", "") and name not in ("CONTRIBUTING.md", "docs/LOG.md"):
            assert not re.search(r"\.\./shared|/work/|\.library", path.read_text(errors="ignore")) or path == Path(
                __file__
            )


# Commands in the texts.
COMMANDS = {"tensorboard", "dask", "."}  # of the packages and of the shell: only that they are known
CARDS = sorted((REPO / "docs" / "models").glob("*.md"))
WITH_COMMANDS = [*(REPO / name for name in ("README.md", "docs/READING.md", "docs/grading.md")), *CARDS]


def commands_of(text: str, inline: bool) -> list[list[str]]:
    """The commands in a text's fenced blocks (those marked ```text show output), and `inline` ones, if wanted."""
    lines: list[str] = []
    for language, body in re.findall(r"(?ms)^```(\w*)\n(.*?)^```", text):
        if language != "text":
            lines += body.replace("\\\n", " ").splitlines()
    if inline:
        lines += re.findall(r"`((?:make|bash|python3?) [^-`][^`]*)`", re.sub(r"(?ms)^```.*?^```", "", text))
    commands = [shlex.split(line, comments=True) for line in lines]
    return [words for words in commands if words]


@cache
def help_of(*program: str) -> str:
    """What a script of ours or a module prints for --help."""
    result = call(*program, "--help", cwd=REPO, env={"PYTHONPATH": str(REPO / "src")})
    assert result.returncode == 0 and "usage" in result.stdout, (program, result.stderr)
    return result.stdout


@pytest.mark.parametrize("text", WITH_COMMANDS, ids=lambda path: path.name)
def test_commands_in_the_texts_are_known(text: Path) -> None:
    """Every script, module and make target is there, and --help knows every option; nothing is run."""
    makefile = (REPO / "Makefile").read_text()
    commands = commands_of(text.read_text(encoding="utf-8"), inline=text not in CARDS)  # cards tell of former options
    assert commands
    for words in commands:
        program, *rest = words
        if program == "make":
            for word in rest:
                name = word.split("=")[0]
                known = rf"(?m)^{name} \?=|\$\((if \$\()?{name}\)" if "=" in word else rf"(?m)^{name}:"
                assert re.search(known, makefile), f"{text.name}: {' '.join(words)}: the Makefile has no {name}"
        elif program in ("bash", "python", "python3"):
            length = 2 if rest[0] == "-m" else 1
            usage = help_of("python3" if program == "python" else program, *rest[:length])
            own = rest[length : rest.index("--")] if "--" in rest else rest[length:]  # behind it: another script's
            for option in (word.split("=")[0] for word in own if re.match("--[a-z]", word)):
                known = re.search(rf"(?<![\w-]){option}(?![\w-])", usage)
                assert known, f"{text.name}: {' '.join(words)}: its --help has no {option}"
        else:
            assert program in COMMANDS, f"{text.name}: {' '.join(words)}: which command is that?"


def test_the_readme_names_the_packages_versions() -> None:
    readme = " ".join((REPO / "README.md").read_text(encoding="utf-8").split())
    pinned = dict(re.findall(r"(?m)^([\w-]+)==([\d.]+)", (REPO / "requirements.txt").read_text()))
    for name in ("torch", "torchvision", "numpy", "pandas", "scikit-learn", "pillow"):
        assert f"{name} {pinned[name]}" in readme


def test_links_in_the_texts_lead_somewhere() -> None:
    for text in [REPO / "README.md", REPO / "CONTRIBUTING.md", *(REPO / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)\s]+)\)", text.read_text(encoding="utf-8")):
            name, _, anchor = link.partition("#")
            page = text.parent / name if name else text
            assert "://" in link or page.exists(), f"{text.name}: {link}"
            if anchor and "://" not in link:
                titles = re.findall(r"(?m)^#+ (.*)", page.read_text(encoding="utf-8"))
                anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
                assert anchor in anchors, f"{text.name}: {link}"


def test_the_first_texts_are_short_and_wrapped() -> None:
    """No line over 120 columns but in tables, and the README has at most 150 lines that are not a table's."""
    for text in (REPO / "README.md", REPO / "docs" / "READING.md", REPO / "docs" / "layout.md"):
        lines = text.read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if len(line) > 120 and not line.startswith("|")], text.name
    lines = (REPO / "README.md").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if not line.startswith("|")]) <= 150


def test_the_readmes_table_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    table = load_script("overview", monkeypatch).table()
    assert table in (REPO / "README.md").read_text(encoding="utf-8"), "python report/overview.py writes it anew"
