"""Grades as files and as a table: Gradescope's results.json, JUnit XML, the terminal."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from dlcv.files import write_bytes, write_text
from grader import sandbox
from grader.repository import Graded
from grader.rubric import Result

LENGTH = 300  # characters of any text that came from a repository


def clean(text: str) -> str:
    """One line without control characters: file names and messages come from strangers."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))[:LENGTH]


def write_gradescope(path: Path, graded: Graded, seconds: float) -> None:
    """results.json as Gradescope's autograders write it (gradescope-autograders.readthedocs.io, specifications)."""
    tests = []
    for result in graded.results:
        text = clean(". ".join(filter(None, [result.measured, result.why])))
        test: dict[str, object] = {"name": clean(result.title), "number": result.problem, "output": text}
        if result.points is not None:
            test |= {"score": result.score, "max_score": result.points}
        if result.status != "left out":
            test["status"] = result.status
        else:
            test["output"] = f"left out: {text}"
        tests.append(test)
    summary = f"{graded.score:g} of {graded.points:g} points that can be graded here"
    if graded.failures:
        summary += f"; the grader failed {len(graded.failures)} times"
    if not graded.whole:
        summary += "; grading was not finished"
    if not graded.contained:
        summary += "; bubblewrap held nothing back: what was graded could read the answers"
    extra: dict[str, object] = {"failures": len(graded.failures), "contained": graded.contained, "whole": graded.whole}
    extra["memory"] = sandbox.counts_memory()
    content = {"score": graded.score, "execution_time": round(seconds), "output": summary, "extra_data": extra}
    content |= {"tests": tests}
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def write_junit(path: Path, graded: Graded) -> None:
    """JUnit XML, as CI systems read it."""
    suite = ET.Element(
        "testsuite", name="grade", tests=str(len(graded.results)), errors=str(len(graded.failures)),
        failures=str(sum(result.status == "failed" for result in graded.results)),
        skipped=str(sum(result.status == "left out" for result in graded.results)),
    )  # fmt: skip
    for result in graded.results:
        name = {"classname": result.problem, "name": clean(result.title), "time": f"{result.seconds:.1f}"}
        case = ET.SubElement(suite, "testcase", name)
        if result.status != "passed":
            kind = "failure" if result.status == "failed" else "skipped"
            ET.SubElement(case, kind, message=clean(f"{result.measured} {result.why}"))
    for text in graded.failures:
        case = ET.SubElement(suite, "testcase", classname="grade", name="the grader itself")
        ET.SubElement(case, "error", message=clean(text[-LENGTH:]))
    write_bytes(path, ET.tostring(suite, encoding="utf-8", xml_declaration=True))


def table(results: Sequence[Result]) -> str:
    """A readable table; points where the course gives them."""
    rows = []
    for result in results:
        points = "" if result.points is None else f"{result.score:g} / {result.points:g}"
        rows.append(
            [result.problem, clean(result.title), result.status, points, clean(result.measured), clean(result.why)]
        )
    header = ["problem", "what", "", "points", "measured", "why"]
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(4)]
    lines = []
    for row in [header, *rows]:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True))
        lines.append(f"{line}  {': '.join(filter(None, row[4:]))}".rstrip())
    return "\n".join(lines)
