"""The grader on repositories made for it: one good, many bad, each losing exactly what the rule says."""

import json
import pickle
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from conftest import REPO, assert_one_line, call
from PIL import Image

from dlcv import cli
from grader import rubric, rules, sandbox
from grader.__main__ import main
from grader.check import check
from grader.repository import Graded, grade
from grader.sandbox import Limits

WRAPPER = 'root="$(dirname "${BASH_SOURCE[0]}")"\nexec python3 "$root/predict.py" "$@"\n'
# Reads the digit from the grey of the picture; of DANN's predictions every fourth is wrong.
PREDICT = """
import os, random, re, sys
from PIL import Image
folder, target, out = sys.argv[-3:]
rows = []
for index, name in enumerate(sorted(os.listdir(folder))):
    digit = Image.open(os.path.join(folder, name)).convert("L").getpixel((0, 0)) // 26
    if "improved" not in sys.argv and index % 4 == 0:
        digit = (digit + 1) % 10
    rows.append(f"{name},{digit}")
text = "image_name,label\\n" + "\\n".join(rows) + "\\n"
"""
WRITE = "open(out, 'w').write(text)\n"
PICTURE = """
import sys, numpy as np
from PIL import Image
pixels = np.random.RandomState(0).randint(0, 255, (4 * 66, 8 * 66, 3), dtype=np.uint8)
Image.fromarray(pixels).save(sys.argv[1])
"""
LIMITS = Limits(seconds=20, memory=1 << 30, output=1 << 20)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("graders") / "hw3_data"
    for target in ("usps", "mnistm", "svhn"):
        folder = root / "digits" / target / "test"
        folder.mkdir(parents=True)
        rows = ["image_name,label"]
        for index in range(12):
            Image.new("L", (28, 28), index % 10 * 26).save(folder / f"{index:05d}.png")
            rows.append(f"{index:05d}.png,{index % 10}")
        folder.with_suffix(".csv").write_text("\n".join(rows) + "\n")
    return root


def write(root: Path, **files: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        stem, _, ending = name.rpartition("_")
        (root / f"{stem}.{ending}").write_text(text)
    return root


def result_of(graded: Graded, problem: str) -> rubric.Result:
    (result,) = (each for each in graded.results if each.problem == problem)
    return result


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write(
        tmp_path_factory.mktemp("good") / "a repository ü",
        hw3_p3_sh=WRAPPER,
        hw3_p4_sh=WRAPPER.replace('"$@"', 'improved "$@"'),
        predict_py=PREDICT + WRITE,
        hw3_p1_sh=WRAPPER.replace("predict", "picture"),
        hw3_p2_sh=WRAPPER.replace("predict", "picture"),
        picture_py=PICTURE,
    )
    assert call("python3", root / "picture.py", root / "fig1_4.png").returncode == 0  # as in the report
    return root


def test_a_good_repository_gets_every_point(good: Path, data: Path, tmp_path: Path) -> None:
    flags = ["--data", data.parent, "--out", tmp_path / "results", "--seconds", 20]
    result = call("python3", "-m", "grader", good, *flags, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "36 of 36 points" in result.stdout
    content = json.loads((tmp_path / "results" / "results.json").read_text())
    scores = {test["number"]: (test["score"], test["max_score"]) for test in content["tests"]}
    assert scores == {"2020 1-4": (5, 5), "2020 2-2": (5, 5), "2020 3-2": (10, 10), "2020 4-1": (16, 16)}
    assert content["score"] == 36 and all(test["status"] == "passed" for test in content["tests"])
    suite = ET.parse(tmp_path / "results" / "results.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "0", "0")


def test_root_cannot_leave_the_sandbox(data: Path, tmp_path: Path) -> None:
    """What root could do in namespaces of its own: uncover answers, write anywhere, see others' files."""
    if sandbox.bubblewrap() is None:
        pytest.skip("bubblewrap is not installed, or may not make namespaces here")
    secret = tmp_path / "other" / "secret"
    secret.parent.mkdir()
    secret.write_text("x")
    answers = data / "digits" / "svhn" / "test.csv"
    extra = f"""
import ctypes
libc = ctypes.CDLL(None)
for place in ({str(data)!r}, {str(secret.parent)!r}, '/tmp'):
    libc.umount2(place.encode(), 2)
libc.mount(None, b'/', None, 32 | 4096, None)
libc.unshare(0x10000000 | 0x00020000)
for place in ({str(data)!r}, {str(secret.parent)!r}, '/tmp'):
    libc.umount2(place.encode(), 2)
libc.mount(None, b'/', None, 32 | 4096, None)
assert not os.path.exists({str(answers)!r}) and not os.path.exists({str(secret)!r})
for place in ({str(data / "planted")!r}, '/usr/planted', '/tmp/planted', '/run/planted'):
    try:
        open(place, 'w')
    except OSError:
        continue
    raise SystemExit('wrote ' + place)
"""
    root = write(tmp_path / "repository", hw3_p3_sh=WRAPPER, predict_py=PREDICT + extra + WRITE)
    result = result_of(grade(root, data, LIMITS, hidden=[secret.parent]), "2020 3-2")
    assert result.score == 10, result.why
    assert not (data / "planted").exists() and not Path("/usr/planted").exists()


def test_a_sandbox_that_cannot_begin_is_the_graders_trouble(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sandbox.bubblewrap() is None:
        pytest.skip("bubblewrap is not installed, or may not make namespaces here")
    start = (*(sandbox.bubblewrap() or ()), "--bind", "/no such folder", "/mnt")
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: start)
    root = write(tmp_path / "repository", hw3_p3_sh=WRAPPER, predict_py=PREDICT + WRITE)
    graded = grade(root, data, LIMITS, ["2020"])
    assert len(graded.failures) == 2 and "bubblewrap cannot begin" in graded.failures[0]  # 3-2 and 4-1
    assert result_of(graded, "2020 3-2").status == "left out"


def csv_variant(change: str) -> str:
    return PREDICT + change + "\n" + WRITE


RANDOM = """
text = re.sub("0000[0-3].png,[0-9]", lambda found: found[0][:-1] + random.choice("0123456789"), text)
"""
# What one run leaves in its clone and home, the next one gives again: they must not meet.
KEEPER = """
kept = [os.path.join(place, "kept") for place in (os.path.dirname(__file__), os.environ["HOME"])]
if any(map(os.path.exists, kept)):
    text = open(next(filter(os.path.exists, kept))).read()
else:
    text = re.sub("0000[0-3].png,[0-9]", lambda found: found[0][:-1] + random.choice("0123456789"), text)
for path in kept:
    with open(path, "w") as file:
        file.write(text)
"""
# name: (predict.py or, with .sh, the wrapper; points of 3-2, of ten; what is told)
BAD: dict[str, tuple[str, float, str]] = {
    "wrong header": (csv_variant("text = text.replace('image_name', 'id')"), 0, "the header is"),
    "missing row": (csv_variant("text = '\\n'.join(text.split('\\n')[:-2]) + '\\n'"), 0, "has no row for 00011.png"),
    "row twice": (csv_variant("text += rows[0] + '\\n'"), 0, "stands there twice"),
    "unknown row": (csv_variant("text += 'x.png,1\\n'"), 0, "not in the folder"),
    "blank line": (csv_variant("text += '\\n'"), 0, "blank line"),
    "no line end": (csv_variant("text = text[:-1]"), 0, "does not end with a line end"),
    "unsorted": (csv_variant("text = '\\n'.join(['image_name,label', *rows[::-1]]) + '\\n'"), 0, "not sorted"),
    "label is a float": (csv_variant("text = text.replace(',5', ',5.0')"), 0, "is not name,digit"),
    "not text": (PREDICT + "open(out, 'wb').write(b'\\xff\\x00')", 0, "not UTF-8"),
    "a link to the answers": (PREDICT + "os.symlink('/etc/passwd', out)", 0, "not a regular file"),
    "a pipe": (PREDICT + "os.mkfifo(out)", 0, "not a regular file"),
    "writes elsewhere": (PREDICT + "open('predictions.csv', 'w').write(text)", 0, "was not written"),
    "random output": (csv_variant(RANDOM), 5, "another output"),
    "keeps its answers for the second run": (csv_variant(KEEPER), 5, "another output"),
    "weaker than the line": (csv_variant("text = re.sub(',[0-9]', ',7', text)"), 3, "is not at least 40.0 %"),
    "crashes": ("raise ValueError('no such model')", 0, "ValueError: no such model"),
    "crashes for one target": (csv_variant("assert target != 'svhn'"), 8, "SVHN: hw3_p3.sh ended with code 1"),
    "sleeps": ("import time; time.sleep(1000)", 0, "took longer than"),
    "prints for ever": ("while True: print('y' * 1000)", 0, "printed more than 1 MiB"),
    "eats memory": ("x = [bytearray(1 << 24) for _ in range(1 << 16)]", 0, "GiB of memory"),
    "uses rm": ("set -e\npython3 \"$(dirname $0)/predict.py\" \"$@\"; rm x\n.sh", 0, "not run: hw3_p3.sh:2"),
    "uses rm in bash -c": ("bash -c 'rm -rf \"$HOME\"'\n.sh", 0, "forbidden command rm"),
    "hard-coded path": ("python3 /home/student/hw3/predict.py \"$@\"\n.sh", 0, "ended with code"),
    "no such file": ("python3 missing.py\n.sh", 0, "ended with code"),
    "crashes in the second run": (csv_variant("assert '/first/' in __file__"), 5, "the second run ended with code 1"),
    "a script's name with a zero byte": ("python3 \0.py\n.sh", 0, "ended with code"),
    "a script's name that is too long": (f"python3 {'x' * 400}.py\n.sh", 0, "ended with code"),
    "fetches without a network": ("wget -q http://127.0.0.1:9/model.pth\n.sh", 0, "--network lets it"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_repository_loses_what_the_rule_says(name: str, data: Path, tmp_path: Path) -> None:
    text, points, message = BAD[name]
    script = text.endswith(".sh")
    wrapper = text.removesuffix(".sh") if script else WRAPPER
    root = write(tmp_path / "repository", hw3_p3_sh=wrapper, predict_py=PREDICT + WRITE if script else text)
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    limits = Limits(seconds=1.5, memory=LIMITS.memory, output=LIMITS.output) if name == "sleeps" else LIMITS
    graded = grade(root, data, limits)
    result = result_of(graded, "2020 3-2")
    assert not graded.failures
    assert (result.score, result.points) == (points, 10) and message in result.why
    for problem, most in (("2020 1-4", 5), ("2020 2-2", 5), ("2020 4-1", 16)):  # not there, and graded all the same
        other = result_of(graded, problem)
        assert (other.score, other.points) == (0, most) and "is not there" in other.why
    assert before == {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}


def test_children_do_not_outlive_their_check(data: Path, tmp_path: Path) -> None:
    """A daemon of its own session, whose parent has ended."""
    daemon = "import subprocess\nsubprocess.Popen(['setsid', 'sleep', '654.321'], start_new_session=True,"
    daemon += " stdout=-3, stderr=-3)\n"
    root = write(tmp_path / "repository", hw3_p3_sh=WRAPPER, predict_py=PREDICT + daemon + WRITE)
    graded = grade(root, data, LIMITS)
    assert result_of(graded, "2020 3-2").score == 10  # what it wrote counts
    assert not any("654.321" in " ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))


def test_without_bubblewrap_writes_outside_are_noticed_and_children_ended(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: None)
    root = tmp_path / "repository"
    extra = f"import subprocess\nopen({str(root / 'planted.txt')!r}, 'a').write('x')\n"
    extra += "subprocess.Popen(['setsid', 'sleep', '765.432'], start_new_session=True, stdout=-3, stderr=-3)\n"
    write(root, hw3_p3_sh=WRAPPER, predict_py=PREDICT + extra + WRITE)
    graded = grade(root, data, LIMITS)
    texts = [result.measured for result in graded.results if result.title == "writes outside its output"]
    assert any("planted.txt" in text for text in texts) and any("left 1 processes running" in text for text in texts)
    assert not any("765.432" in " ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))


@pytest.mark.skipif(sandbox.bubblewrap() is None, reason="bubblewrap is not installed, or may not make namespaces here")
def test_with_bubblewrap_nothing_outside_is_written_and_answers_are_hidden(data: Path, tmp_path: Path) -> None:
    root, outside = tmp_path / "repository", tmp_path / "outside"
    extra = f"try: open({str(outside)!r}, 'w')\nexcept OSError: pass\n"
    extra += f"assert not os.path.exists({str(data / 'digits' / 'svhn' / 'test.csv')!r})\n"
    extra += "import socket\ntry: socket.create_connection(('127.0.0.1', 1), 1)\n"
    extra += "except ConnectionRefusedError: pass\nassert len(os.listdir('/sys/class/net')) >= 0\n"
    write(root, hw3_p3_sh=WRAPPER, predict_py=PREDICT + extra + WRITE)
    assert result_of(grade(root, data, LIMITS), "2020 3-2").score == 10
    assert not outside.exists()


def test_the_environment_and_names_tell_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets of the grader's environment are not passed on; names with shell characters are names."""
    monkeypatch.setenv("GRADER_TOKEN", "secret")
    extra = "assert 'GRADER_TOKEN' not in os.environ and len(os.environ) < 12, sorted(os.environ)\n"
    root = write(tmp_path / "$(touch x); rm -rf 'a b'", hw3_p3_sh=WRAPPER, predict_py=PREDICT + extra + WRITE)
    assert result_of(grade(root, data, LIMITS), "2020 3-2").score == 10


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (exec, ("open('exploded', 'w')",))


def test_pickles_with_code_are_named_and_not_run(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = write(tmp_path / "repository", hw3_p3_sh=WRAPPER, predict_py=PREDICT + WRITE)
    (root / "model.pkl").write_bytes(pickle.dumps(Bomb()))
    torch.save(torch.nn.Linear(2, 2), root / "whole.pth")
    torch.save(torch.nn.Linear(2, 2), root / "old.model", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(2, 2).state_dict(), root / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({"weights": torch.nn.Linear(2, 2).state_dict(), "step": 3}, root / "state.pth")
    graded = grade(root, data, LIMITS)
    measured = {result.title: result.measured for result in graded.results if result.problem == "rules"}
    assert measured.keys() == {"model.pkl", "whole.pth", "old.model"}
    assert "exec" in measured["model.pkl"] and "torch.nn.modules.linear.Linear" in measured["whole.pth"]
    assert result_of(graded, "2020 3-2").score == 10 and not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("change", "score", "message"),
    [
        ("", 5, ""),
        ("Image.fromarray(pixels[:100]).save(sys.argv[1])", 0, "no room for 32 samples"),
        ("Image.fromarray(pixels).convert('L').save(sys.argv[1])", 0, "mode L"),
        ("Image.fromarray(pixels).save(sys.argv[1], format='JPEG')", 0, "holds JPEG"),
        ("Image.new('RGB', (528, 264)).save(sys.argv[1])", 0, "all pixels are the same"),
        ("import os; os.remove(sys.argv[1])", 0, "was not written"),
        ("open(sys.argv[1], 'r+b').truncate(5000)", 0, "no image that can be read"),
        ("pixels[0] = np.random.randint(0, 99, 3); Image.fromarray(pixels).save(sys.argv[1])", 2.5, "another output"),
        ("Image.fromarray(np.tile(pixels[:128, :512], (1, 2, 1))).save(sys.argv[1])", 2.5, "is another"),  # 2 x 16
        # It must not do to put the picture where the report's is looked for.
        ("pixels[0, 0] = 7\nfor path in (sys.argv[1], __file__.replace('picture.py', 'fig1_4.png')):\n"
         "    Image.fromarray(pixels).save(path)", 2.5, "fig1_4.png in the repository is another"),
        ("pixels[0, 0] = 7; Image.fromarray(pixels).save(sys.argv[1])", 2.5, "fig1_4.png in the repository is another"),
    ],
)  # fmt: skip
def test_pictures(change: str, score: float, message: str, good: Path, tmp_path: Path) -> None:
    root = write(tmp_path / "r", hw3_p1_sh=WRAPPER.replace("predict", "picture"), picture_py=PICTURE + change)
    (root / "report").mkdir()
    (root / "report" / "fig1_4.png").write_bytes((good / "fig1_4.png").read_bytes())
    result = result_of(grade(root, None, LIMITS), "2020 1-4")
    assert (result.score, result.points) == (score, 5) and message in result.why


FOLDER = """
import os, sys, numpy as np
from PIL import Image
names = [f"{i:04d}.png" for i in range(1000)]
for i, name in enumerate(names):
    Image.new("RGB", (64, 64), (i % 256, i // 256, 0)).save(os.path.join(sys.argv[1], name))
"""


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ("", "passed", ""),
        ("os.remove(os.path.join(sys.argv[1], '0999.png'))", "failed", "0999.png was not written (1 of 1000 missing)"),
        ("open(os.path.join(sys.argv[1], 'x.txt'), 'w')", "failed", "'x.txt' was not asked for"),
        ("Image.new('RGB', (32, 32)).save(os.path.join(sys.argv[1], '0100.png'))", "failed", "has 32x32 pixels"),
    ],
)
def test_folders_of_2021(change: str, status: str, message: str, tmp_path: Path) -> None:
    root = write(tmp_path / "r", hw2_p1_sh=WRAPPER.replace("predict", "folder"), folder_py=FOLDER + change)
    graded = grade(root, None, LIMITS)
    first, *scores = (result for result in graded.results if result.problem == "2021 1")
    assert (first.status, first.points) == (status, None) and message in first.why
    assert len(scores) == 4 and all(result.status in ("left out", "failed") for result in scores)


def test_generated_digits_are_graded_by_the_courses_classifier(tmp_path: Path) -> None:
    """1,000 copies of the bundled digits that it recognises, and of one that it does not."""
    script = (
        "import os, shutil, sys\n"
        "here = os.path.dirname(os.path.abspath(__file__))\n"
        "for d in range(10):\n"
        "    for n in range(1, 101):\n"
        "        shutil.copyfile(os.path.join(here, f'{d}.png'), os.path.join(sys.argv[1], f'{d}_{n:03d}.png'))\n"
    )
    root = write(tmp_path / "r", hw2_p2_sh=WRAPPER.replace("predict", "digits"), digits_py=script)
    for digit in range(10):
        Image.fromarray(np.full((28, 28, 3), 25 * digit, dtype=np.uint8)).save(root / f"{digit}.png")
    graded = grade(root, None, LIMITS)
    simple, strong = (result for result in graded.results if result.problem == "2021 2")
    # Flat pictures: it says the same digit, or two, to all.
    assert float(simple.measured.split()[0]) in (0.0, 10.0, 20.0, 30.0)
    assert simple.status == strong.status == "failed" and "not at least 70.0 %" in simple.why


def test_without_data_only_the_sample_is_run(tmp_path: Path) -> None:
    root = write(tmp_path / "r", hw3_p3_sh=WRAPPER, predict_py=PREDICT + WRITE)
    graded = grade(root, None, LIMITS)
    result = result_of(graded, "2020 3-2")
    assert result.status == "left out" and result.score is None and "no test images here" in result.why
    assert result_of(graded, "sample").status == "passed"


def test_a_fault_of_the_grader_stops_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write(tmp_path / "r", hw3_p3_sh=WRAPPER, predict_py=PREDICT + WRITE, hw2_p3_sh=WRAPPER)

    def broken(*_: object) -> object:
        raise RuntimeError("a fault")

    monkeypatch.setattr(rubric, "grade_picture", broken)
    graded = grade(root, data, LIMITS)
    assert len(graded.failures) == 2 and "a fault" in graded.failures[0]
    assert result_of(graded, "2020 1-4").status == "left out" and result_of(graded, "2020 3-2").score == 10
    assert any(result.problem == "2021 3" and result.status == "passed" for result in graded.results)


def check_lines(root: Path) -> list[str]:
    return [f"{advice.what} → {advice.remedy}" for advice in check(root, LIMITS)]


def test_check_says_what_is_missing(good: Path, tmp_path: Path) -> None:
    result = call("python3", "-m", "grader", "--check", good, cwd=tmp_path)
    assert result.returncode == 3
    assert "hw3_<studentID>.pdf is not there → " in result.stdout and result.stdout.endswith("1 findings\n")
    root = write(tmp_path / "r", hw3_p3_sh="python x.py /home/me/out.csv\n", x_py="import cv2\ncv2.imshow('a', 1)\n")
    lines = check_lines(root)
    for text in ("calls python", "absolute path /home/me", "imports cv2", "calls imshow()", "hw3_p1.sh is not there"):
        assert sum(text in line and " → " in line for line in lines) == 1, (text, lines)


def test_check_says_what_is_not_committed(tmp_path: Path) -> None:
    root = write(tmp_path / "r", hw3_p1_sh=WRAPPER, predict_py=PICTURE, hw3_p2_sh=WRAPPER, hw3_x_pdf="a report")
    for command in (["init", "-q"], ["add", "hw3_p1.sh", "predict.py"], ["commit", "-qm", "x"]):
        done = call("git", "-C", root, "-c", "user.name=x", "-c", "user.email=x@localhost", *command)
        assert done.returncode == 0, done.stderr
    (root / "predict.py").write_text(PICTURE + "\n")
    lines = check_lines(root)
    for text in (
        "hw3_p2.sh is not committed → git add",
        "hw3_x.pdf is not committed",
        "predict.py is not committed as",
    ):
        assert sum(text in line for line in lines) == 1, (text, lines)
    assert not any("hw3_p2.sh is not there" in line or "<studentID>" in line for line in lines)


@pytest.mark.parametrize("contained", [True, False])
def test_check_says_what_others_changed_and_leaves_out_what_git_ignores(
    contained: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An editor at work, a training in runs/. Without bubblewrap nobody knows whether it was the wrapper."""
    root = write(tmp_path / "r", hw3_p1_sh=WRAPPER, predict_py=PICTURE, _gitignore="runs/\nforced.txt\n", forced_txt="")
    (root / "runs").mkdir()
    for command in (["init", "-q"], ["add", "-f", "forced.txt", "."], ["commit", "-qm", "x"]):
        done = call("git", "-C", root, "-c", "user.name=x", "-c", "user.email=x@localhost", *command)
        assert done.returncode == 0, done.stderr
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: ("bwrap",) if contained else None)

    def run(*_: object) -> sandbox.Outcome:
        for name in ("runs/log.jsonl", *changing):
            with (root / name).open("a") as file:
                file.write("x")
        return sandbox.Outcome(1, 0.1, 0, "", "", "", 0)

    monkeypatch.setattr(sandbox, "run", run)
    changing: list[str] = []
    assert not any("changed" in line for line in check_lines(root))
    changing = ["forced.txt", "new.txt"]
    lines = [line for line in check_lines(root) if "changed" in line]
    assert lines and all("forced.txt" in line and " and 1 more changed" in line for line in lines), lines
    assert all(("changed during the check" if contained else "while hw3_p1.sh ran") in line for line in lines), lines


def test_check_shows_progress_on_a_terminal_only(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, str]] = []

    def progress(items: list[object], total: int, what: str) -> list[object]:
        shown.append((total, what))  # shown on a terminal only: test_cli.py
        return []

    monkeypatch.setattr(cli, "progress", progress)
    check(good, LIMITS)
    grade(good, None, LIMITS)
    (total, what), (_, nothing) = shown
    assert total > 0 and what == "checks" and nothing == ""


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("bash <<E\nrm x\nE", "forbidden command rm"),
        ('bash -c -- "rm x"', "forbidden command rm"),
        ("env -u A rm x", "forbidden command rm"),
        ("timeout -s KILL 5 rm x", "forbidden command rm"),
        ('trap "rm x" EXIT', "forbidden command rm"),
        ("python3 -c \"import os; os.system('rm x')\"", "forbidden command rm"),
        ("find . -exec rm {} +", "forbidden command rm"),
        ("source inner", "forbidden command mv"),
        ("bash outer.sh", "forbidden command mv"),
        ("export CUDA_VISIBLE_DEVICES", "sets CUDA_VISIBLE_DEVICES"),
        ("echo 'rm x' | bash", "lets bash read its commands"),
        ("x=rm; $x y", "cannot be checked"),
        ("python2 x.py", "calls python2"),
    ],
)
def test_rules_of_the_shell(script: str, message: str, tmp_path: Path) -> None:
    root = write(tmp_path, hw3_p3_sh=script + "\n", outer_sh="source ./inner\n")
    (root / "inner").write_text("mv a b\n")
    findings = rules.check_wrapper(root, root / "hw3_p3.sh")
    for other in rules.called_scripts(root, root / "hw3_p3.sh"):
        findings += rules.check_wrapper(root, other) if other.suffix != ".py" else []
    assert any(message in finding.what for finding in findings), findings


def test_a_linked_wrapper_is_checked(data: Path, tmp_path: Path) -> None:
    root = write(tmp_path / "r", real_sh="rm x\n", predict_py=PREDICT + WRITE)
    (root / "hw3_p3.sh").symlink_to("real.sh")
    assert "forbidden command rm" in result_of(grade(root, data, LIMITS), "2020 3-2").why
    (root / "hw3_p3.sh").unlink()
    (root / "hw3_p3.sh").symlink_to(tmp_path / "outside.sh")
    (tmp_path / "outside.sh").write_text("true\n")
    assert "a link out of the repository" in result_of(grade(root, data, LIMITS), "2020 3-2").why


@pytest.mark.parametrize("contained", [True, False])
def test_bad_use_is_one_line(
    contained: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With and without bubblewrap: the remark that it is missing comes only once calls begin."""
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: ("bwrap",) if contained else None)
    (tmp_path / "empty").mkdir()
    for words, code, message in (
        ([tmp_path / "none"], 1, "no such directory"),
        (["--check", tmp_path / "empty"], 1, "holds none of hw3_p1.sh"),
        ([REPO, "--data", tmp_path], 1, "holds no folder"),
        ([REPO, "--seconds", 0], 2, "must be positive"),
    ):
        monkeypatch.setattr("sys.argv", ["grade", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.run(main, "grader")
        lines = capsys.readouterr().err.splitlines()
        assert ended.value.code == code and len(lines) == 1 and message in lines[0], lines
    monkeypatch.setattr("sys.argv", ["grade", str(tmp_path / "empty"), "--out", str(tmp_path / "out")])
    main()  # nothing to call: only the remark depends on bubblewrap
    assert ("bubblewrap is not installed" in capsys.readouterr().err) is not contained


def test_a_command_says_what_is_wrong_with_its_use(tmp_path: Path) -> None:
    assert_one_line(call("python3", "-m", "grader", tmp_path / "none"), 1, "grader: no such directory")


def test_an_empty_repository_gets_no_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    for flags, points in (([], 0), (["--course", "2020"], 10)):  # without data the pictures' points only
        words = [str(tmp_path / "empty"), "--out", str(tmp_path / "out"), *flags]
        monkeypatch.setattr("sys.argv", ["grader", *words])
        assert main() == 0
        content = json.loads((tmp_path / "out" / "results.json").read_text())
        assert content["score"] == 0 and sum(test.get("max_score", 0) for test in content["tests"]) == points
        assert any(test["status"] == "failed" for test in content["tests"])


def test_points_of_the_rubric() -> None:
    """By hand, from the slides."""
    a, lines = rubric.Attempt, rubric.BASELINES["2020"]

    def dann(*accuracies: float | None, **more: str) -> float | None:
        attempts = {t: a(x) if x is not None else a(failed="crashed") for t, x in zip(lines, accuracies, strict=True)}
        if more:
            attempts["svhn"] = a(attempts["svhn"].accuracy if "differs" in more else None, **more)
        return rubric.grade_adaptation("2020 3-2", "", attempts, lines, beyond=False).score

    assert [dann(39, 39, 39), dann(40, 39, 39), dann(40, 41, 39), dann(40, 41, 90)] == [3, 6, 8, 10]
    assert [dann(None, None, None), dann(None, None, 90), dann(50, None, 50)] == [0, 6, 8]
    assert [dann(50, 50, 50, differs="x"), dann(50, 50, 50, wrong="x"), dann(50, 50, 50, left_out="x")] == [5, 0, None]
    none = {"mnistm": None, "svhn": 50.0, "usps": 50.0}
    improved = {target: a(60.0) for target in lines}
    result = rubric.grade_adaptation("2020 4-1", "", improved, none, beyond=True)
    assert result.score == 13 and "no number in 3-2" in result.why
    assert rubric.grade_line("2021 bonus", "", a(60.0), None, beyond=True).status == "failed"
    for own, points in (
        ({}, 16),
        ({"svhn": 60.0}, 13),
        ({"svhn": 61.0, "usps": 60.0}, 10),
        (dict.fromkeys(lines, 60.0), 6),
    ):
        given = dict.fromkeys(lines, 50.0) | own
        assert rubric.grade_adaptation("2020 4-1", "", improved, given, beyond=True).score == points
