"""Grades one repository: static rules, then every problem of the courses whose wrappers it holds."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dlcv import cli
from dlcv.cli import UserError
from grader import rules, sandbox
from grader.calls import WRAPPERS, Grading
from grader.courses import COURSES, sample_steps
from grader.rubric import Result
from grader.sandbox import Limits
from grader.workplace import work_folder

OUTSIDE = "write to the path given (or does another program write there? then grade again without it)"


@dataclass(frozen=True)
class Graded:
    results: list[Result]
    failures: list[str]  # of the grader itself
    contained: bool  # by bubblewrap
    whole: bool = True  # False: grading is still going on, or was ended

    @property
    def score(self) -> float:
        return sum(result.score for result in self.results if result.score is not None)

    @property
    def points(self) -> float:
        return sum(result.points for result in self.results if result.points is not None)


def find_courses(repository: Path) -> list[str]:
    """The courses of which a wrapper is there. Raises UserError when there is none."""
    courses = [course for course, names in WRAPPERS.items() if any((repository / name).is_file() for name in names)]
    if not courses:
        names = [name for names in WRAPPERS.values() for name in names]
        inside = [path.name for path in sorted(repository.iterdir()) if any((path / name).is_file() for name in names)]
        hint = f"; {inside[0]}/ does: that folder is what is to be graded" if inside else ""  # a zip's top folder
        raise UserError(f"what is committed holds none of {', '.join(names)}{hint}")
    return courses


def grade(
    repository: Path,
    data: Path | None,
    limits: Limits,
    courses: Sequence[str] | None = None,
    tell: Callable[[Result], None] = lambda result: None,
    hidden: Sequence[Path] = (),
    begin: Callable[[], None] = lambda: None,
    own: bool = False,
) -> Graded:
    """Grades a folder with `data` (the courses' layout) or without; `hidden` folders are found empty by what it calls.

    `begin` is called before the first wrapper, once nothing can be wrong with the command itself. With `own` the
    repository is the caller's: progress is shown on a terminal, and what its .gitignore files name may change. Raises
    UserError if it cannot begin.
    """
    if not repository.is_dir():
        raise UserError(f"no such directory: {repository}")
    repository = repository.resolve()
    results: list[Result] = []
    failures: list[str] = []

    def add(more: Sequence[Result]) -> None:
        for result in more:
            results.append(result)
            tell(result)

    with work_folder() as work:
        grading = Grading(repository, data.resolve() if data else None, limits, work, hidden, own)
        begin()
        try:
            courses = courses or find_courses(grading.copies[0])
        except UserError as error:  # a grade like others: nothing was handed in
            courses = []
            add([Result("rules", "wrappers", "failed", str(error), "commit them; --course grades all the same")])
        add([_finding(finding) for finding in _static(grading, courses)])
        steps = [step for course in courses for step in COURSES[course](grading)]
        if data is None and courses:
            steps += sample_steps(grading)
        for problem, step in cli.progress(steps, len(steps), "checks" if own else ""):
            try:
                add(step())
            except UserError:
                raise
            except Exception:  # a fault of the grader must not keep the rest from being graded
                failures.append(traceback.format_exc())
                add([Result(problem, "not graded", "left out", why="the grader failed here; a person must look")])
        for text in grading.outside:
            add([Result("rules", "writes outside its output", "failed", text, OUTSIDE)])
    return Graded(results, failures, sandbox.bubblewrap() is not None)


def _static(grading: Grading, courses: Sequence[str]) -> list[rules.Finding]:
    findings = [f for course in courses for name in WRAPPERS[course] for f in grading.findings[name]]
    return list(dict.fromkeys(findings + grading.findings[""]))


def _finding(finding: rules.Finding) -> Result:
    return Result("rules", finding.where, "failed", finding.what, finding.remedy)
