"""The courses' static rules: what must not stand in hw*.sh and in what they call. Nothing is run or unpickled here."""

import ast
import functools
import io
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
CARRIERS = {  # commands that run another, and their flags that take a word
    "exec": "a", "env": "uCS", "command": "", "builtin": "", "nohup": "", "time": "fo", "timeout": "ks",
    "xargs": "adEIiLlnPs", "nice": "n", "setsid": "", "ionice": "cnp", "stdbuf": "ieo",
}  # fmt: skip
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
PROTOCOLS = {bytes([number]) for number in range(2, 6)}  # of pickles that say so
WEIGHTS = {".pth", ".pt", ".pkl", ".ckpt", ".bin", ".tar", ".pickle"}  # may hold older ones


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


def _base(word: str) -> str:
    return word.rsplit("/", 1)[-1]


def _quoted(node: tree_sitter.Node) -> str:
    """What stands between a word's quotes, backslashes and all."""
    raw = (node.text or b"").decode("utf-8", "replace")
    return raw[1:-1] if len(raw) > 1 and raw[0] == raw[-1] and raw[0] in "\"'" else raw


def _commands(script: str, line: int = 0) -> Iterator[tuple[int, list[str]]]:
    """(line, words) of every command, assignment and redirection, and of what bash -c, eval, env and the like carry."""
    for node in _walk(_parser().parse(script.encode()).root_node):
        here = line + node.start_point[0] + 1
        if node.type in ("variable_assignment", "file_redirect"):
            yield here, ["=", *(_text(child) for child in (node, *node.children))]  # "=": no command
        if node.type == "declaration_command":  # export, declare, …
            yield here, [_text(child) for child in node.children]
        if node.type != "command":
            continue
        parts = [child for child in node.children if child.type not in ("variable_assignment", "file_redirect")]
        words = [_text(child) for child in parts]
        yield here, words
        while words and _base(words[0]) in CARRIERS:
            with_word = CARRIERS[_base(words[0])]
            skipped = 1  # flags, their words, numbers and assignments stand before what is carried
            while skipped < len(words) and re.match(r"-|\w+=|[\d.]+[smhd]?$", words[skipped]):
                skipped += 1 + bool(with_word and re.fullmatch(f"-[{with_word}]", words[skipped]))
            parts, words = parts[skipped:], words[skipped:]
            if words:
                yield here, words
        command = _base(words[0]) if words else ""
        carried = parts[1:2] if command == "trap" else parts[1:] if command == "eval" else []
        if command in SHELLS:
            flags = [index for index, word in enumerate(words) if re.fullmatch(r"-\w*c", word)]
            carried = [part for part in parts[flags[0] + 1 :] if _text(part) != "--"][:1] if flags else []
            if node.parent and node.parent.type == "redirected_statement":
                for other in _walk(node.parent):
                    if other.type in ("heredoc_body", "herestring_redirect"):
                        yield from _commands(_quoted(other).removeprefix("<<<").strip(" \"'"), here)
        for part in carried:
            yield from _commands(_quoted(part), here - 1)
        for index, word in enumerate(words[:-1]):
            if command == "find" and word in ("-exec", "-execdir", "-ok"):
                yield here, words[index + 1 :]


def check_wrapper(root: Path, path: Path) -> list[Finding]:
    """Findings in a shell script."""
    script, name = read_source(path), path.relative_to(root).as_posix()
    found: dict[tuple[str, str], Finding] = {}

    def add(line: int, what: str, remedy: str, stops: bool = False) -> None:
        found.setdefault((name, what), Finding(f"{name}:{line}", what, remedy, stops))

    for line, words in _commands(script):
        command = _base(words[0])
        if any(re.match(r"CUDA_VISIBLE_DEVICES(=|$)", word) for word in words):
            add(line, "sets CUDA_VISIBLE_DEVICES", "leave the choice of the GPU to the grader", True)
        if command in FORBIDDEN:
            add(line, f"uses the forbidden command {command}", "do it in Python, relative to the script", True)
        if command in ("python", "python2"):
            add(line, f"calls {command}", "call python3")
        if re.match(r"\$|`", command) and "/" not in words[0]:
            add(line, f"runs {words[0][:60]}: what that is cannot be checked", "write the command's name")
        if command in SHELLS and not any(word for word in words[1:] if not word.startswith("-")):
            add(line, f"lets {command} read its commands: they cannot be checked", "write them into the script")
        if re.fullmatch(r"python\d?(\.\d+)?", command) and "-c" in words[:-1]:
            code = words[words.index("-c") + 1]
            for match in re.finditer(r"\b(?:" + "|".join(sorted(FORBIDDEN)) + r")\b", code):
                if re.search(r"system|popen|subprocess|run|call", code):
                    add(line, f"uses the forbidden command {match[0]} in python3 -c", "do it in a script", True)
        for word in words:
            if re.match(r"(--?[\w-]+=)?/[\w.]", word) and not re.match(
                r".*/(dev/null|(usr/)?bin/(env|bash|sh))$", word
            ):
                add(line, f"holds the absolute path {word[:60]}", "paths come as arguments, or relative to the script")
    return list(found.values())


def called_scripts(root: Path, wrapper: Path) -> list[Path]:
    """The scripts in the repository that a wrapper names, or a shell script that it calls."""
    found: list[Path] = []
    todo = [wrapper]
    while todo and len(found) < 1_000:
        script = todo.pop()
        for path in _named_scripts(root, script):
            if path not in (*found, wrapper.resolve()):
                found.append(path)
                todo += [path] if path.suffix != ".py" else []
    return found


def _named_scripts(root: Path, script: Path) -> Iterator[Path]:
    for _, words in _commands(read_source(script)):
        loaded = words[1:2] if _base(words[0]) in {"source", ".", *SHELLS} else []
        names = [
            re.sub(r"^(\$\([^)]*\)|\$\{[^}]*\}|\$\w+)/", "", word)
            for word in words
            if word.endswith((".py", ".sh")) or word in loaded
        ]
        if words[0] in ("python", "python3") and "-m" in words[:-1]:
            module = words[words.index("-m") + 1].replace(".", "/")
            names += [f"{place}{module}{end}" for place in ("", "src/") for end in (".py", "/__main__.py")]
        for name in names:
            try:
                path = (root / name).resolve()
                if path.is_file() and path.is_relative_to(root):
                    yield path
            except (OSError, ValueError, RuntimeError):  # names too long, with a zero byte, links in a ring
                continue


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


def _streams(path: Path) -> Iterator[bytes]:
    """The pickles in a file, one after the other; no more than a few MiB in all."""
    with path.open("rb") as file:
        head = file.read(4)
        if (head[:1] == b"\x80" and head[1:2] in PROTOCOLS) or (path.suffix.lower() in WEIGHTS and head[:2] != b"PK"):
            file.seek(0)
            yield file.read(READ)
        if head != b"PK\x03\x04":
            return
    left = 16 * READ
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.filename.endswith(".pkl") and left > 0:
                with archive.open(entry) as opened:
                    stream = opened.read(min(left, 4 * READ))
                left -= len(stream)
                yield stream


def pickled_names(path: Path) -> set[str]:
    """ "module name" of every global that unpickling the file would import; read, not run. Empty: no pickle."""
    names: set[str] = set()
    try:
        for stream in _streams(path):
            names |= _names_in(io.BytesIO(stream))
    except Exception:  # a broken or hostile archive; what was found until then counts
        pass
    return names


def _names_in(stream: io.BytesIO) -> set[str]:
    names: set[str] = set()
    end = len(stream.getbuffer())
    first = True
    while stream.tell() < end:  # torch wrote several, and then its numbers, before it wrote archives
        here = stream.getbuffer()[stream.tell() : stream.tell() + 2].tobytes()
        if not first and (here[:1] != b"\x80" or here[1:] not in PROTOCOLS):
            break
        first = False
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
            break
    return names


def check_files(root: Path) -> list[Finding]:
    """Files that are too large, and weights that hold more than tensors."""
    found = []
    for path in sorted(root.rglob("*")):
        try:
            if path.is_symlink() or not path.is_file() or ".git" in path.relative_to(root).parts:
                continue
        except OSError:
            continue
        name = path.relative_to(root).as_posix()
        if (size := path.stat().st_size) > LARGEST:
            remedy = "a smaller model, or fetch it by wget"
            found.append(Finding(name, f"is {size / 2**20:.0f} MiB, over {LARGEST >> 20}", remedy))
        code = sorted(entry for entry in pickled_names(path) if not PLAIN.match(entry))
        if code:
            what = f"pickles {code[0].replace(' ', '.')}" + (f" and {len(code) - 1} more" if len(code) > 1 else "")
            found.append(Finding(name, f"{what}: code, not only tensors", "save model.state_dict()"))
    return found
