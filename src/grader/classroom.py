"""Grades every repository in a folder: each in a process of its own, in parallel, and only those not graded before.

Where the work runs is joblib's: joblib.parallel_config(backend="dask") around grade_class takes it to a
cluster whose machines share the folders (docs/grading.md).
"""

import csv
import io
import json
import math
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import joblib

from dlcv.cli import UserError
from dlcv.files import write_text
from grader.results import clean
from grader.sandbox import own_command

GRACE = 30.0  # seconds that a grader gets to end by itself

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Grades</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
.wide { overflow-x: auto } table { border-collapse: collapse }
th, td { padding: .3rem .6rem; text-align: left; border-bottom: 1px solid #ccc; vertical-align: top }
.failed { color: #a00 } .left { color: #666 } summary { cursor: pointer }
</style>
<h1>Grades</h1>
<p>{{ rows|length }} repositories; points of what can be graded by a program.</p>
<div class="wide"><table><tr><th>repository<th>points<th>of<th>details</tr>
{% for row in rows %}<tr><td>{{ row.name }}
<td>{{ "%g"|format(row.score) if row.score is not none else "" }}
<td>{{ "%g"|format(row.points) if row.points is not none else "" }}
<td>{% if row.trouble %}<span class="failed">{{ row.trouble }}</span>{% else %}<details>
<summary>{{ row.failed }} of {{ row.tests|length }} checks failed
{{- "" if row.contained else ", not contained" }}</summary><table>
{% for test in row.tests %}<tr class="{{ test.status or 'left' }}"><td>{{ test.number }}<td>{{ test.name }}
<td>{{ test.status or "left out" }}
<td>{% if test.max_score is defined %}{{ "%g / %g"|format(test.score, test.max_score) }}{% endif %}
<td>{{ test.output }}</tr>
{% endfor %}</table></details>{% endif %}</tr>
{% endfor %}</table></div>
</html>
"""


def grade_one(repository: Path, out: Path, flags: Sequence[str], total: float) -> str:
    """Grades one repository into `out`, in at most `total` seconds; "" or what went wrong.

    It never raises: one must not stop a class.
    """
    words = [str(repository), "--out", str(out), "--total", str(total), "--die-with-parent", *flags]
    # UTF-8 whatever the locale: what is printed are names and texts of strangers.
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:replace"}
    try:
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                own_command("grader", *words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                env=environment,
            )  # fmt: skip
            try:
                code = process.wait(total + GRACE)
            except subprocess.TimeoutExpired:
                return f"took longer than {total:g} s in all, and was ended"
            finally:
                _end(process)
            errors.seek(max(0, errors.seek(0, os.SEEK_END) - 10_000))
            lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    except Exception as error:
        return clean(f"cannot be graded: {error}")
    if code == 0:
        return ""
    if code < 0 or code > 128:  # the last line tells what was graded last, not what ended it
        number = -code if code < 0 else code - 128
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return f"the grader was ended by {name}" + (" (out of memory?)" if number == signal.SIGKILL else "")
    return clean(lines[-1] if lines else f"grading ended with code {code}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a grader: first so that it can end what it started and remove its folders."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def grade_class(
    folder: Path, out: Path, flags: Sequence[str], jobs: int, total: float = math.inf
) -> list[dict[str, object]]:
    """Grades every folder in `folder` with `flags` of python -m grader, and writes class.csv and class.html.

    Those whose out/<name>/results.json is there, whole, and without a fault of the grader are not graded again. None
    takes longer than `total` seconds. Raises UserError when there is nothing to grade.
    """
    if not folder.is_dir():
        raise UserError(f"no such directory: {folder}")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    shadows = [name for name in names if name == "__MACOSX"]  # what macOS puts into its zips beside the real folders
    names = [name for name in names if name not in shadows]
    if not names:
        raise UserError(f"{folder} holds no folders; expected one for each repository")
    if taken := [name for name in names if name in ("class.csv", "class.html")]:
        raise UserError(f"{folder / taken[0]}: a result is called so; rename that folder")
    todo = [name for name in names if not _is_graded(out / name / "results.json")]
    # What is graded must not see the others, wherever links to them lead, nor what they got.
    places = {folder.resolve(), out.resolve(), *((folder / name).resolve() for name in names)}
    inner = {place for place in places for other in places if place != other and place.is_relative_to(other)}
    flags = [*flags, "--hide", *map(str, sorted(places - inner))]
    left_out = f", without {', '.join(shadows)}" if shadows else ""
    print(f"{len(names)} repositories{left_out}, {len(names) - len(todo)} graded before", flush=True)
    calls = (
        joblib.delayed(grade_one)((folder / name).resolve(), (out / name).resolve(), flags, total) for name in todo
    )
    # Threads: each waits for a process of its own, and leaves no worker behind when this one is ended.
    outcomes = joblib.Parallel(n_jobs=jobs, verbose=0, prefer="threads")(calls)
    troubles = dict(zip(todo, outcomes, strict=True))
    rows = [_row(name, out / name / "results.json", troubles.get(name, "")) for name in names]
    _write_csv(out / "class.csv", rows)
    template = jinja2.Environment(autoescape=True).from_string(PAGE)
    write_text(out / "class.html", template.render(rows=rows))
    return rows


def _content(results: Path) -> dict[str, Any] | None:
    """What a results.json holds; None where it is missing, empty, cut off, or not one of ours."""
    try:
        content = json.loads(results.read_text(encoding="utf-8"))
        extra = content["extra_data"]
        points = [(float(test.get("score", 0)), float(test.get("max_score", 0))) for test in content["tests"]]
        kinds = [(test["name"], test["number"], test["output"]) for test in content["tests"]]
        fine = isinstance(extra["failures"], int) and isinstance(extra["contained"], bool) and len(kinds) == len(points)
        return content if fine and isinstance(content["score"], int | float) else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _is_graded(results: Path) -> bool:
    content = _content(results)
    return content is not None and not content["extra_data"]["failures"] and content["extra_data"].get("whole", True)


def _row(name: str, results: Path, trouble: str) -> dict[str, object]:
    content = _content(results)
    if trouble or content is None:
        empty: dict[str, object] = {"score": None, "points": None, "failed": 0, "tests": []}
        return {"name": clean(name), "trouble": trouble or "not graded", **empty}
    tests = content["tests"]
    return {
        "name": clean(name), "trouble": "", "score": content["score"], "tests": tests,
        "contained": content["extra_data"]["contained"],
        "points": sum(test.get("max_score", 0) for test in tests),
        "failed": sum(test.get("status") == "failed" for test in tests),
    }  # fmt: skip


def _cell(text: object) -> str:
    """A spreadsheet must not take a stranger's text for a formula."""
    return f"'{text}" if str(text)[:1] in ("=", "+", "-", "@") else str(text)


def _write_csv(path: Path, rows: Sequence[dict[str, object]]) -> None:
    problems: dict[str, None] = {}
    for row in rows:
        for test in row["tests"]:  # type: ignore[attr-defined]
            if test["number"] != "rules":
                problems[f"{test['number']} {test['name']}"] = None
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["repository", "points", "of", "broken rules", *problems, "trouble"])
    for row in rows:
        tests: list[dict[str, object]] = row["tests"]  # type: ignore[assignment]
        values = {f"{t['number']} {t['name']}": t.get("score", t.get("status", "left out")) for t in tests}
        broken = sum(test["number"] == "rules" for test in tests)
        cells = [
            row["name"],
            row["score"],
            row["points"],
            broken,
            *(values.get(p, "") for p in problems),
            row["trouble"],
        ]
        writer.writerow([_cell("" if cell is None else cell) for cell in cells])
    write_text(path, file.getvalue())
