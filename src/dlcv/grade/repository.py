"""Grades one repository: static rules, then every problem of the courses whose wrappers it holds."""

import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dlcv.cli import UserError
from dlcv.grade import rules
from dlcv.grade.calls import WRAPPERS, Grading
from dlcv.grade.courses import COURSES, grade_sample
from dlcv.grade.rubric import Result
from dlcv.grade.sandbox import Limits


@dataclass(frozen=True)
class Graded:
    results: list[Result]
    failures: list[str]  # of the grader itself

    @property
    def score(self) -> float:
        return sum(result.score for result in self.results if result.score is not None)

    @property
    def points(self) -> float:
        return sum(result.points for result in self.results if result.points is not None)


def find_courses(repository: Path) -> list[str]:
    """The courses of which a wrapper is there. Raises UserError when there is none."""
    if not repository.is_dir():
        raise UserError(f"no such directory: {repository}")
    found = [course for course, names in WRAPPERS.items() if any((repository / name).is_file() for name in names)]
    if not found:
        raise UserError(
            f"{repository} holds none of {', '.join(name for names in WRAPPERS.values() for name in names)}"
        )
    return found


def grade(
    repository: Path,
    data: Path | None,
    limits: Limits,
    courses: Sequence[str] | None = None,
    tell: Callable[[Result], None] = lambda result: None,
) -> Graded:
    """Grades a folder with `data` (the courses' layout) or without. Raises UserError if it cannot begin."""
    repository = repository.resolve()
    courses = courses or find_courses(repository)
    results: list[Result] = []
    failures: list[str] = []

    def add(found: Sequence[Result]) -> None:
        for result in found:
            results.append(result)
            tell(result)

    with _work_folder() as work:
        grading = Grading(repository, data.resolve() if data else None, limits, work)
        add([_finding(finding) for finding in _static(grading, courses)])
        steps = [COURSES[course](grading) for course in courses]
        if data is None:
            steps.append(grade_sample(grading))
        for step in steps:
            try:
                for found in step:
                    add(found)
            except UserError:
                raise
            except Exception:  # a fault of the grader must not keep the rest from being graded
                failures.append(traceback.format_exc())
        for text in grading.outside:
            add([Result("rules", "writes outside its output", "failed", text, "write to the path given")])
    return Graded(results, failures)


def _static(grading: Grading, courses: Sequence[str]) -> list[rules.Finding]:
    found = [f for course in courses for name in WRAPPERS[course] for f in grading.findings[name]]
    return list(dict.fromkeys(found + rules.check_files(grading.copies[0])))


def _finding(finding: rules.Finding) -> Result:
    return Result("rules", finding.where, "failed", finding.what, finding.remedy)


@contextmanager
def _work_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="grade-")).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
