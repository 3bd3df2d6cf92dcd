"""The minute before the deadline: static rules, the bundled sample, every file that the course collects."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dlcv.cli import UserError
from grader import sandbox
from grader.calls import WRAPPERS
from grader.changes import changed, snapshot, without_ignored
from grader.copying import copy_repository
from grader.repository import find_courses, grade
from grader.rules import every_file
from grader.sandbox import Limits
from grader.workplace import work_folder

REPORTS = {"2020": r"hw3_\w+\.pdf", "2021": r"hw2_\w+\.pdf"}


@dataclass(frozen=True)
class Advice:
    what: str
    remedy: str


def missing_files(repository: Path, course: str) -> list[Advice]:
    """What the course collects and the repository does not hold."""
    names = {path.name for path in repository.iterdir() if path.is_file()}
    findings = [
        Advice(f"{name} is not there", f"the graders call it: bash {name} …; write it")
        for name in WRAPPERS[course]
        if name not in names and name != "hw2_bonus.sh"  # a bonus
    ]
    if not any(re.fullmatch(REPORTS[course], name) for name in names):
        example = REPORTS[course].replace(r"\w+\.pdf", "<studentID>.pdf")
        findings.append(Advice(f"{example} is not there", "the report lies at the top of the repository"))
    return findings


def uncommitted_files(repository: Path, committed: Path) -> list[Advice]:
    """What lies in the repository and will not reach the graders so: wrappers, reports, changes."""
    findings = []
    collected = [*(name for names in WRAPPERS.values() for name in names)]
    collected += sorted(p.name for p in repository.iterdir() if any(re.fullmatch(r, p.name) for r in REPORTS.values()))
    for name in collected:
        if (repository / name).is_file() and not (committed / name).is_file():
            findings.append(Advice(f"{name} is not committed", f"git add -f {name}, commit and push"))
    for path in every_file(committed):
        name, here = path.relative_to(committed).as_posix(), repository / path.relative_to(committed)
        if not here.is_file():
            findings.append(
                Advice(f"{name} is committed and no longer here", "commit that it is gone, or bring it back")
            )
        elif here.stat().st_size != path.stat().st_size or here.read_bytes() != path.read_bytes():
            findings.append(Advice(f"{name} is not committed as it is here", "commit and push, or undo the change"))
    return findings


def changed_meanwhile(repository: Path, paths: Sequence[str]) -> list[Advice]:
    """That others changed `paths` while bubblewrap kept the wrappers from writing there."""
    if not paths:
        return []
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    what = f"{Path(paths[0]).relative_to(repository).as_posix()}{more} changed during the check"
    return [Advice(what, "another program or person writes there: check again when it is done")]


def check(repository: Path, limits: Limits, begin: Callable[[], None] = lambda: None) -> list[Advice]:
    """Everything found, each with its remedy; wrappers are called twice, on 100 bundled digits. Raises UserError.

    `begin` is called before the first wrapper, once nothing can be wrong with the command itself. Progress is shown on
    a terminal.
    """
    if not repository.is_dir():
        raise UserError(f"no such directory: {repository}")
    repository = repository.resolve()
    with work_folder() as work:
        committed = work / "repository"
        copy_repository(repository, committed)
        courses = find_courses(committed)
        findings = [advice for course in courses for advice in missing_files(repository, course)]
        findings += uncommitted_files(repository, committed)
        before = snapshot(repository)
        graded = grade(repository, None, limits, courses, begin=begin, own=True)
        if sandbox.bubblewrap():  # without it, `grade` reports each change, whoever made it
            findings += changed_meanwhile(
                repository, without_ignored(changed(before, snapshot(repository)), repository, committed)
            )
    for result in graded.results:
        if result.status == "failed" and result.problem == "rules":
            findings.append(Advice(f"{result.title} {result.measured}", result.why))
        elif result.status == "failed" and not result.why.endswith("is not there"):
            findings.append(
                Advice(f"{result.problem}, {result.title}: {result.why}", "call it as the graders do and mend it")
            )
    for text in graded.failures:
        findings.append(
            Advice("the grader itself failed: " + text.strip().splitlines()[-1], "report it, with the repository")
        )
    return list(dict.fromkeys(findings))
