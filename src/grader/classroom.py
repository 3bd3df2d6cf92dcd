"""Grades every repository in a folder: each in a process of its own, in parallel, and only those not graded before.

Where the work runs is joblib's: joblib.parallel_config(backend="dask") or "ray" around grade_class takes it to a
cluster whose machines share the folders (docs/grading.md).
"""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import jinja2
import joblib

from dlcv.cli import UserError
from dlcv.files import write_text
from grader.results import clean

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


def grade_one(repository: Path, out: Path, flags: Sequence[str]) -> str:
    """Grades one repository into `out`; "" or what went wrong. It never raises: one must not stop a class."""
    command = [sys.executable, "-m", "grader", str(repository), "--out", str(out), *flags]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    except OSError as error:
        return f"cannot be graded: {error}"
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return clean(lines[-1] if lines else f"grading ended with code {done.returncode}")


def grade_class(folder: Path, out: Path, flags: Sequence[str], jobs: int) -> list[dict[str, object]]:
    """Grades every folder in `folder` with `flags` of python -m grader, and writes class.csv and class.html.

    Those whose out/<name>/results.json is there and tells of no fault of the grader are not graded again. Raises
    UserError when there is nothing to grade.
    """
    if not folder.is_dir():
        raise UserError(f"no such directory: {folder}")
    names = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not names:
        raise UserError(f"{folder} holds no folders; expected one for each repository")
    todo = [name for name in names if not _is_graded(out / name / "results.json")]
    # What is graded must not see the others, nor what they got.
    flags = [*flags, "--hide", str(folder.resolve()), str(out.resolve())]
    print(f"{len(names)} repositories, {len(names) - len(todo)} graded before", flush=True)
    calls = (joblib.delayed(grade_one)((folder / name).resolve(), (out / name).resolve(), flags) for name in todo)
    troubles = dict(zip(todo, joblib.Parallel(n_jobs=jobs, verbose=0)(calls), strict=True))
    rows = [_row(name, out / name / "results.json", troubles.get(name, "")) for name in names]
    _write_csv(out / "class.csv", rows)
    template = jinja2.Environment(autoescape=True).from_string(PAGE)
    write_text(out / "class.html", template.render(rows=rows))
    return rows


def _is_graded(results: Path) -> bool:
    return results.is_file() and not json.loads(results.read_text(encoding="utf-8"))["extra_data"]["failures"]


def _row(name: str, results: Path, trouble: str) -> dict[str, object]:
    if trouble or not results.is_file():
        empty: dict[str, object] = {"score": None, "points": None, "failed": 0, "tests": []}
        return {"name": clean(name), "trouble": trouble or "not graded", **empty}
    content = json.loads(results.read_text(encoding="utf-8"))
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
