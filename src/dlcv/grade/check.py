"""The minute before the deadline: static rules, the bundled sample, every file that the course collects."""

import re
from dataclasses import dataclass
from pathlib import Path

from dlcv.grade.calls import WRAPPERS
from dlcv.grade.repository import find_courses, grade
from dlcv.grade.sandbox import Limits

REPORTS = {"2020": r"hw3_\w+\.pdf", "2021": r"hw2_\w+\.pdf"}


@dataclass(frozen=True)
class Advice:
    what: str
    remedy: str


def missing_files(repository: Path, course: str) -> list[Advice]:
    """What the course collects and the repository does not hold."""
    names = {path.name for path in repository.iterdir() if path.is_file()}
    found = [
        Advice(f"{name} is not there", f"the graders call it: bash {name} …; write it")
        for name in WRAPPERS[course]
        if name not in names and name != "hw2_bonus.sh"  # a bonus
    ]
    if not any(re.fullmatch(REPORTS[course], name) for name in names):
        example = REPORTS[course].replace(r"\w+\.pdf", "<studentID>.pdf")
        found.append(Advice(f"{example} is not there", "the report lies at the top of the repository"))
    return found


def check(repository: Path, limits: Limits) -> list[Advice]:
    """Everything found, each with its remedy; wrappers are called twice, on 100 bundled digits. Raises UserError."""
    courses = find_courses(repository)
    found = [advice for course in courses for advice in missing_files(repository, course)]
    graded = grade(repository, None, limits, courses)
    for result in graded.results:
        if result.status == "failed" and result.problem == "rules":
            found.append(Advice(f"{result.title} {result.measured}", result.why))
        elif result.status == "failed" and not result.why.endswith("is not there"):
            found.append(
                Advice(f"{result.problem}, {result.title}: {result.why}", "call it as the graders do and mend it")
            )
    for text in graded.failures:
        found.append(
            Advice("the grader itself failed: " + text.strip().splitlines()[-1], "report it, with the repository")
        )
    return list(dict.fromkeys(found))
