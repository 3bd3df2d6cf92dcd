"""The courses' static rules: what must not stand in hw*.sh and in what they call. Nothing is run or unpickled here."""

import ast
import functools
import pickletools
import re
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tree_sitter
import tree_sitter_bash

FORBIDDEN = frozenset(
    {"rm", "sudo", "su", "cp", "mv", "mkdir", "rmdir", "cd", "pip", "pip3", "curl", "conda", "apt", "apt-get", "chmod"}
    | {"chown", "dd", "ln", "kill", "pkill", "mkfs", "reboot", "shutdown", "mount", "umount"}
)  # the courses' list and, as they say, "other commands that change the system"
SHELLS = {"bash", "sh", "dash", "zsh"}
CARRIERS = {"exec", "env", "command", "builtin", "nohup", "time", "timeout", "xargs", "nice", "setsid"}  # run another
PACKAGES = {"torch", "torchvision", "numpy", "pandas", "sklearn", "PIL"}
LARGEST = 100 * 2**20  # bytes of a file: what GitHub takes
READ = 2 << 20  # bytes of a script that are looked at
# What state dicts are made of.
PLAIN = re.compile(
    r"(collections OrderedDict|torch\._utils _rebuild_(tensor_v2|parameter)|torch\.serialization _get_layout"
    r"|torch (\w+Storage|Size|device|\w*float\w*|\w*int\w*|bool)|torch\.storage (_load_from_bytes|\w+Storage)"
    r"|numpy(\._?core)?\.(multiarray|numeric) (_reconstruct|scalar|_frombuffer)|numpy (ndarray|dtype)|_codecs encode"
    r"|(__builtin__|builtins) (set|frozenset|complex|bytearray|slice))$"
)
WEIGHTS = {".pth", ".pt", ".pkl", ".ckpt", ".bin", ".tar", ".pickle"}


@dataclass(frozen=True)
class Finding:
    where: str  # path in the repository, and the line
    what: str
    remedy: str
    stops: bool = False  # the wrapper is not run


def read_source(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(READ).decode("utf-8", "replace")


# The shell


@functools.cache
def _parser() -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


def _walk(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    todo = [node]
    while todo:  # no recursion: a hostile script may be nested deeply
        found = todo.pop()
        yield found
        todo.extend(reversed(found.children))


def _text(node: tree_sitter.Node) -> str:
    """A word without its quotes and backslashes, as the shell would take it."""
    return re.sub(r"""["'\\]""", "", (node.text or b"").decode("utf-8", "replace"))


def _commands(script: str, line: int = 0) -> Iterator[tuple[int, list[str]]]:
    """(line, words) of every command, assignment and redirection, and of what bash -c, eval, env and the like carry."""
    for node in _walk(_parser().parse(script.encode()).root_node):
        here = line + node.start_point[0] + 1
        if node.type in ("variable_assignment", "file_redirect"):
            yield here, ["=", *(_text(child) for child in (node, *node.children))]  # "=": no command
        if node.type != "command":
            continue
        parts = [child for child in node.children if child.type not in ("variable_assignment", "file_redirect")]
        words = [_text(child) for child in parts]
        yield here, words
        while words and words[0].rsplit("/", 1)[-1] in CARRIERS:
            skipped = 1  # flags, their numbers, and assignments stand before what is carried
            while skipped < len(words) and re.match(r"-|\w+=|[\d.]+[smh]?$", words[skipped]):
                skipped += 1
            parts, words = parts[skipped:], words[skipped:]
            if words:
                yield here, words
        command = words[0].rsplit("/", 1)[-1] if words else ""
        for index, part in enumerate(parts[1:], 1):
            if command == "eval" or (command in SHELLS and re.fullmatch(r"-\w*c", words[index - 1])):
                raw = (part.text or b"").decode("utf-8", "replace")
                quoted = len(raw) > 1 and raw[0] == raw[-1] and raw[0] in "\"'"
                yield from _commands(raw[1:-1] if quoted else raw, here - 1)
            elif command == "find" and words[index - 1] in ("-exec", "-execdir", "-ok"):
                yield here, words[index:]


def check_wrapper(root: Path, path: Path) -> list[Finding]:
    """Findings in a shell script."""
    script, name = read_source(path), path.relative_to(root).as_posix()
    found: dict[tuple[str, str], Finding] = {}

    def add(line: int, what: str, remedy: str, stops: bool = False) -> None:
        found.setdefault((name, what), Finding(f"{name}:{line}", what, remedy, stops))

    for line, words in _commands(script):
        command = words[0].rsplit("/", 1)[-1]
        if any(word.startswith("CUDA_VISIBLE_DEVICES=") for word in words):
            add(line, "sets CUDA_VISIBLE_DEVICES", "leave the choice of the GPU to the grader", True)
        if command in FORBIDDEN:
            add(line, f"uses the forbidden command {command}", "do it in Python, relative to the script", True)
        if command == "python":
            add(line, "calls python", "call python3")
        for word in words:
            if re.match(r"(--?[\w-]+=)?/[\w.]", word) and not re.match(
                r".*/(dev/null|(usr/)?bin/(env|bash|sh))$", word
            ):
                add(line, f"holds the absolute path {word[:60]}", "paths come as arguments, or relative to the script")
    return list(found.values())


def called_scripts(root: Path, wrapper: Path) -> list[Path]:
    """The .py and .sh files that a wrapper names, where they lie in the repository."""
    found: list[Path] = []
    for _, words in _commands(read_source(wrapper)):
        names = [
            re.sub(r"^(\$\([^)]*\)|\$\{[^}]*\}|\$\w+)/", "", word) for word in words if word.endswith((".py", ".sh"))
        ]
        if words[0] in ("python", "python3") and "-m" in words[:-1]:
            module = words[words.index("-m") + 1].replace(".", "/")
            names += [f"{place}{module}{end}" for place in ("", "src/") for end in (".py", "/__main__.py")]
        for name in names:
            path = (root / name).resolve()
            if path.is_file() and path.is_relative_to(root) and path not in (*found, wrapper):
                found.append(path)
    return found


# Python


def _imports(tree: ast.AST, package: list[str]) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *filter(None, [node.module])])
            yield node.lineno, name
            yield from ((node.lineno, f"{name}.{alias.name}") for alias in node.names)


def _module_file(root: Path, places: list[Path], name: str) -> Path | None:
    for place in places:
        for candidate in (place / f"{name.replace('.', '/')}.py", place / name.replace(".", "/") / "__init__.py"):
            if candidate.is_file() and candidate.resolve().is_relative_to(root):
                return candidate
    return None


def _is_ours(places: list[Path], name: str) -> bool:
    top = name.split(".")[0]
    return any((place / top).is_dir() or (place / f"{top}.py").is_file() for place in places)


def check_python(root: Path, script: Path) -> list[Finding]:
    """Findings in a script and in every module of the repository that it imports, however deep."""
    found: dict[tuple[str, str], Finding] = {}
    todo: list[Path] = [script]
    seen: set[Path] = set()
    while todo and len(seen) < 1_000:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        name = path.relative_to(root).as_posix()
        try:
            tree = ast.parse(read_source(path))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            found[name, "syntax"] = Finding(name, f"is not Python ({error})"[:200], "correct it", True)
            continue
        places = [script.parent, root, root / "src"]
        package = list(path.relative_to(root / "src" if path.is_relative_to(root / "src") else root).parts[:-1])
        for line, module in _imports(tree, package):
            target = _module_file(root, places, module)
            top = module.split(".")[0]
            if target:
                todo.append(target.resolve())
            elif top and top not in PACKAGES | set(sys.stdlib_module_names) and not _is_ours(places, module):
                remedy = f"only {', '.join(sorted(PACKAGES))} and the standard library are there"
                found.setdefault((name, top), Finding(f"{name}:{line}", f"imports {top}", remedy))
        for finding in _calls(tree, name):
            found.setdefault((name, finding.what), finding)
    return list(found.values())


def _calls(tree: ast.AST, name: str) -> Iterator[Finding]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("show", "imshow"):
                yield Finding(
                    f"{name}:{node.lineno}", f"calls {called}()", "graders have no screen: save to the path given"
                )
            first = node.args[0] if node.args else None
            words: list[str] = []
            if called in ("system", "popen", "run", "call", "check_call", "check_output", "Popen"):
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    words = [command[0].rsplit("/", 1)[-1] for _, command in _commands(first.value)]
                elif isinstance(first, ast.List) and first.elts and isinstance(first.elts[0], ast.Constant):
                    words = [str(first.elts[0].value).rsplit("/", 1)[-1]]
            for word in words:
                if word in FORBIDDEN:
                    yield Finding(
                        f"{name}:{node.lineno}", f"calls the forbidden command {word}", "do it in Python", True
                    )
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if re.match(r"/[\w.-]+/[^\s]", node.value) and not node.value.startswith(("/dev/", "/proc/", "/sys/")):
                what = f"holds the absolute path {node.value[:60]}"
                yield Finding(f"{name}:{node.lineno}", what, "paths come as arguments, or relative to the script")
            if "CUDA_VISIBLE_DEVICES" in node.value and "\n" not in node.value:
                yield Finding(f"{name}:{node.lineno}", "names CUDA_VISIBLE_DEVICES", "leave it to the grader", True)


# Files


def pickled_names(path: Path) -> set[str]:
    """ "module name" of every global that unpickling the file would import; read, not run. Empty: no pickle."""
    streams = []
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    if entry.filename.endswith(".pkl") and entry.file_size < READ * 16:
                        streams.append(archive.read(entry))
        else:
            with path.open("rb") as file:
                streams.append(file.read(READ))
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError):
        return set()
    names: set[str] = set()
    for stream in streams:
        pushed: list[str | None] = []  # strings, as they would come to lie on the stack
        memo: dict[int, str | None] = {}
        try:
            for operation, argument, _ in pickletools.genops(stream):
                if operation.name == "GLOBAL":
                    names.add(str(argument))
                elif operation.name == "STACK_GLOBAL":
                    names.add(" ".join(text or "?" for text in pushed[-2:]))
                elif operation.name == "MEMOIZE":
                    memo[len(memo)] = pushed[-1] if pushed else None
                elif "PUT" in operation.name:
                    memo[int(argument or 0)] = pushed[-1] if pushed else None
                elif "GET" in operation.name:
                    pushed.append(memo.get(int(argument or 0)))
                elif "UNICODE" in operation.name or "STRING" in operation.name:
                    pushed.append(str(argument))
        except Exception:  # whatever a broken or hostile stream brings; what was found until then counts
            continue
    return names


def check_files(root: Path) -> list[Finding]:
    """Files that are too large, and weights that hold more than tensors."""
    found = []
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or ".git" in path.relative_to(root).parts:
            continue
        name = path.relative_to(root).as_posix()
        if (size := path.stat().st_size) > LARGEST:
            remedy = "a smaller model, or fetch it by wget"
            found.append(Finding(name, f"is {size / 2**20:.0f} MiB, over {LARGEST >> 20}", remedy))
        if path.suffix.lower() in WEIGHTS:
            code = sorted(entry for entry in pickled_names(path) if not PLAIN.match(entry))
            if code:
                what = f"pickles {code[0].replace(' ', '.')}" + (f" and {len(code) - 1} more" if len(code) > 1 else "")
                found.append(Finding(name, f"{what}: code, not only tensors", "save model.state_dict()"))
    return found
