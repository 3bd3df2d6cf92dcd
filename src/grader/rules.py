"""The courses' static rules: what must not stand in hw*.sh and in what they call. Nothing is run or unpickled here.

python -m grader.rules REPOSITORY hw3_p1.sh …      # one line of JSON for each wrapper, and one for the files
"""

import ast
import contextlib
import functools
import io
import json
import os
import pickletools
import re
import resource
import signal
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import tree_sitter
import tree_sitter_bash

from dlcv import cli
from grader.opening import Place, place_in
from grader.sandbox import own_command

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
READ = 1 << 18  # bytes of a Python file
SHELL = 1 << 14  # bytes of a shell script: where it has errors, the parser's time grows with the square (1 s for these)
BYTES = 4 << 20  # that are compared for one script, texts that its commands carry counted again
PARSING = 64  # times as much costs a byte that is parsed
DEEPEST = 20  # commands that carry commands, one in the other
FILES = 1_000  # scripts and modules of one wrapper
PICKLE = 2 << 20  # bytes of a pickle
LARGEST_READ = 16 << 30  # bytes of a file whose beginning is looked at
MEMORY = 4 << 30  # bytes, for all static rules of a repository
SECONDS = 60.0  # for all static rules of a repository
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


class TooComplicated(Exception):
    """A script is too large or nested too deeply to be checked in a short time."""


class _Budget:
    """What the check of one script may cost: commands in commands, and bytes that are parsed or compared in all."""

    def __init__(self) -> None:
        self.left, self.seen = BYTES, set[str]()

    def spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise TooComplicated


def read_source(root: Path, path: Path) -> str:
    """A script of the repository in `root`. Raises Refused; TooComplicated where it is too long to be checked."""
    with place_in(root, path).open(LARGEST) as file:
        text = file.read(READ + 1)
    if len(text) > READ:
        raise TooComplicated
    return text.decode("utf-8", "replace")


# The shell


@functools.cache
def _parser() -> tree_sitter.Parser:
    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


def _walk(node: tree_sitter.Node) -> Iterator[tuple[tree_sitter.Node, tree_sitter.Node | None]]:
    """Every node with its parent (node.parent would search it from the root)."""
    todo: list[tuple[tree_sitter.Node, tree_sitter.Node | None]] = [(node, None)]
    while todo:  # no recursion: a hostile script may be nested deeply
        current, parent = todo.pop()
        yield current, parent
        todo.extend((child, current) for child in reversed(current.children))


def _base(word: str) -> str:
    return word.rsplit("/", 1)[-1]


def _raw(node: tree_sitter.Node, budget: _Budget) -> str:
    raw = node.text or b""
    budget.spend(len(raw))
    return raw.decode("utf-8", "replace")


def _text(node: tree_sitter.Node, budget: _Budget) -> str:
    """A word without its quotes and backslashes, as the shell would take it."""
    return re.sub(r"""["'\\]""", "", _raw(node, budget))


def _quoted(node: tree_sitter.Node, budget: _Budget) -> str:
    """What stands between a word's quotes, backslashes and all."""
    raw = _raw(node, budget)
    return raw[1:-1] if len(raw) > 1 and raw[0] == raw[-1] and raw[0] in "\"'" else raw


def _commands(
    script: str, line: int = 0, budget: _Budget | None = None, depth: int = 0
) -> Iterator[tuple[int, list[str]]]:
    """(line, words) of every command, assignment and redirection, and of what bash -c, eval, env and the like carry.

    The work is linear: a text that is carried twice is read once. Raises TooComplicated.
    """
    budget = budget or _Budget()
    if script in budget.seen:
        return
    budget.seen.add(script)
    if depth > DEEPEST:
        raise TooComplicated
    source = script.encode()
    if len(source) > SHELL:
        raise TooComplicated
    budget.spend(PARSING * len(source))
    for node, parent in _walk(_parser().parse(source).root_node):
        here = line + node.start_point[0] + 1
        if node.type in ("variable_assignment", "file_redirect"):
            yield here, ["=", *(_text(child, budget) for child in (node, *node.children))]  # "=": no command
        if node.type == "declaration_command":  # export, declare, …
            yield here, [_text(child, budget) for child in node.children]
        if node.type != "command":
            continue
        parts = [child for child in node.children if child.type not in ("variable_assignment", "file_redirect")]
        words = [_text(part, budget) for part in parts]
        yield here, words
        for carrier in range(DEEPEST + 1):
            if not words or _base(words[0]) not in CARRIERS:
                break
            if carrier == DEEPEST:
                raise TooComplicated
            with_word = CARRIERS[_base(words[0])]
            skipped = 1  # flags, their words, numbers and assignments stand before what is carried
            while skipped < len(words) and re.match(r"-|\w+=|[\d.]+[smhd]?$", words[skipped]):
                skipped += 1 + bool(with_word and re.fullmatch(f"-[{with_word}]", words[skipped]))
            parts, words = parts[skipped:], words[skipped:]
            if words:
                yield here, words
        command = _base(words[0]) if words else ""
        carried: list[str] = []
        if command in ("trap", "eval"):
            carried = [_quoted(part, budget) for part in (parts[1:2] if command == "trap" else parts[1:])]
        if command in SHELLS:
            flags = [index for index, word in enumerate(words) if re.fullmatch(r"-\w*c", word)]
            carried = [_quoted(part, budget) for part in parts[flags[0] + 1 :]] if flags else []
            carried = [text for text in carried if text.strip("\"'") != "--"][:1]
            if parent and parent.type == "redirected_statement":
                for redirect in parent.children:
                    for other in (redirect, *redirect.children):
                        if other.type in ("heredoc_body", "herestring_redirect"):
                            text = _quoted(other, budget).removeprefix("<<<").strip(" \"'")
                            yield from _commands(text, here, budget, depth + 1)
        for text in carried:
            yield from _commands(text, here - 1, budget, depth + 1)
        for index, word in enumerate(words[:-1]):
            if command == "find" and word in ("-exec", "-execdir", "-ok"):
                budget.spend(len(words))
                yield here, words[index + 1 :]


def check_wrapper(root: Path, path: Path) -> list[Finding]:
    """Findings in a shell script. Raises Refused and TooComplicated."""
    script, name = read_source(root, path), path.relative_to(root).as_posix()
    findings: dict[tuple[str, str], Finding] = {}

    def add(line: int, what: str, remedy: str, stops: bool = False) -> None:
        findings.setdefault((name, what), Finding(f"{name}:{line}", what, remedy, stops))

    if "\r\n" in script:
        add(1, "has Windows line ends: bash cannot run it", "commit it with LF (*.sh text eol=lf in .gitattributes)")
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
            if re.search(r"system|popen|subprocess|run|call", code):
                for match in re.finditer(r"\b(?:" + "|".join(sorted(FORBIDDEN)) + r")\b", code):
                    add(line, f"uses the forbidden command {match[0]} in python3 -c", "do it in a script", True)
        for word in words:
            if re.match(r"(--?[\w-]+=)?/[\w.]", word) and not re.match(
                r".*/(dev/null|(usr/)?bin/(env|bash|sh))$", word
            ):
                add(line, f"holds the absolute path {word[:60]}", "paths come as arguments, or relative to the script")
    return list(findings.values())


def called_scripts(root: Path, wrapper: Path) -> list[Path]:
    """The scripts in the repository that a wrapper names, or a shell script that it calls."""
    scripts: dict[Path, None] = {wrapper.resolve(): None}
    todo = [wrapper.resolve()]
    while todo:
        script = todo.pop()
        for path in _named_scripts(root, script):
            if path not in scripts:
                scripts[path] = None
                todo += [path] if path.suffix != ".py" else []
            if len(scripts) > FILES:
                raise TooComplicated
    return list(scripts)[1:]


def _named_scripts(root: Path, script: Path) -> Iterator[Path]:
    for _, words in _commands(read_source(root, script)):
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
    findings: dict[tuple[str, str], Finding] = {}
    todo: list[Path] = [script]
    seen: set[Path] = set()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        if len(seen) > FILES:
            raise TooComplicated
        name = path.relative_to(root).as_posix()
        try:
            tree = ast.parse(read_source(root, path))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            findings[name, "syntax"] = Finding(name, f"is not Python ({error})"[:200], "correct it", True)
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
                findings.setdefault((name, top), Finding(f"{name}:{line}", f"imports {top}", remedy))
        for finding in _calls(tree, name):
            findings.setdefault((name, finding.what), finding)
    return list(findings.values())


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
                    words = [_base(command[0]) for _, command in _commands(first.value)]
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


def _streams(place: Place) -> Iterator[bytes]:
    """The pickles in a file, one after the other; no more than a few MiB in all."""
    with place.open(LARGEST_READ) as file:
        head = file.read(4)
        if (head[:1] == b"\x80" and head[1:2] in PROTOCOLS) or (place.suffix in WEIGHTS and head[:2] != b"PK"):
            file.seek(0)
            yield file.read(PICKLE)
        if head != b"PK\x03\x04":
            return
        left = 16 * PICKLE
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if entry.filename.endswith(".pkl") and left > 0:
                    with archive.open(entry) as opened:
                        stream = opened.read(min(left, 4 * PICKLE))
                    left -= len(stream)
                    yield stream


def pickled_names(place: Place) -> tuple[set[str], str]:
    """ "module name" of every global that unpickling would import; read, not run. And why it cannot be read, or "".

    Empty: no pickle.
    """
    names: set[str] = set()
    try:
        for stream in _streams(place):
            names |= _names_in(io.BytesIO(stream))
    except (NotImplementedError, RuntimeError) as error:  # Deflate64, a password: torch.load cannot read it either
        return names, str(error)
    except Exception:  # a broken or hostile archive; what was found until then counts
        pass
    return names, ""


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


def every_file(root: Path) -> Iterator[Path]:
    """Regular files below `root` but for .git, in the order of their names; links are not followed. No recursion."""
    todo = [str(root)]  # strings: a Path of 1,500 parts takes its time
    while todo:
        folder = todo.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=True)
        except OSError:  # unreadable, or its path is too long
            continue
        files = []
        for entry in entries:
            if entry.name == ".git":
                continue
            with contextlib.suppress(OSError):
                if entry.is_dir(follow_symlinks=False):
                    todo.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    files.append(Path(entry.path))
        yield from reversed(files)


def check_files(root: Path) -> list[Finding]:
    """Files that are too large, and weights that hold more than tensors."""
    findings = []
    for path in every_file(root):
        name = path.relative_to(root).as_posix()
        if (size := path.lstat().st_size) > LARGEST:
            remedy = "a smaller model, or fetch it by wget"
            findings.append(Finding(name, f"is {size / 2**20:.0f} MiB, over {LARGEST >> 20}", remedy))
        names, trouble = pickled_names(Place(root, name))
        code = sorted(entry for entry in names if not PLAIN.match(entry))
        if code:
            what = f"pickles {code[0].replace(' ', '.')}" + (f" and {len(code) - 1} more" if len(code) > 1 else "")
            findings.append(Finding(name, f"{what}: code, not only tensors", "save model.state_dict()"))
        if trouble:
            findings.append(Finding(name, f"is an archive that cannot be read ({trouble})", "save it by torch.save"))
    return findings


# All rules, in a process of their own


def wrapper_findings(root: Path, name: str) -> list[Finding]:
    """Findings in a wrapper and in all that it calls and imports; whatever its names and bytes are, it never raises."""
    try:
        if not (root / name).is_file():
            return []
        wrapper = (root / name).resolve()
        if not wrapper.is_relative_to(root):
            return [Finding(name, "is a link out of the repository", "a script of its own", True)]
        findings = check_wrapper(root, wrapper)
        for script in called_scripts(root, wrapper):
            findings += (check_python if script.suffix == ".py" else check_wrapper)(root, script)
        return list(dict.fromkeys(findings))
    except TooComplicated:
        return [Finding(name, "is too complicated to check", "a short, plain script", True)]
    except Exception as error:
        return [Finding(name, f"cannot be checked ({type(error).__name__})", "a plain script", True)]


def check_apart(root: Path, names: Sequence[str], seconds: float = SECONDS) -> dict[str, list[Finding]]:
    """wrapper_findings of each name, and check_files under "", from a process that is ended after `seconds`.

    Parsers are other people's, and scripts hostile: what is not checked by then is a finding. Raises RuntimeError where
    the grader itself failed.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            own_command("grader.rules", str(root), *names), stdin=subprocess.DEVNULL, stdout=out, stderr=err
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        finally:
            process.kill()
            process.wait()
        if code > 0:
            err.seek(0)
            raise RuntimeError(f"static rules: {err.read()[-2_000:].decode('utf-8', 'replace')}")
        out.seek(0)
        lines = out.read().decode("utf-8").split("\n")[:-1]
    findings = {name: [Finding(*row) for row in rows] for name, rows in map(json.loads, lines)}
    for name in (*names, ""):
        if name not in findings:
            what = "is too complicated to check" if name else "are too many, or too complicated, to check"
            there = not name or os.path.lexists(root / name)
            findings[name] = [Finding(name or "files", what, "a short, plain script", bool(name))] if there else []
    return findings


def main() -> None:
    """Prints one JSON line for each wrapper, [name, findings], and one for the files."""
    parser = cli.ArgumentParser(prog="python -m grader.rules", description=__doc__)
    parser.add_argument("repository", type=Path, help="folder to look at; nothing in it is run")
    parser.add_argument("wrappers", nargs="*", metavar="WRAPPER", help="names of shell scripts at its top")
    args = parser.parse_args()
    root, names = args.repository, args.wrappers
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for name in names:
        print(json.dumps([name, [astuple(finding) for finding in wrapper_findings(root, name)]]), flush=True)
    print(json.dumps(["", [astuple(finding) for finding in check_files(root)]]), flush=True)


if __name__ == "__main__":
    cli.run(main, "grader.rules")
