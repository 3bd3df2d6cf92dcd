"""The courses' points: what a measured value earns. Pure arithmetic, from the slides of 2020 and the text of 2021."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "failed", "left out"]
NAMES = {"usps": "USPS", "mnistm": "MNIST-M", "svhn": "SVHN"}
SOURCES = {  # of each target, in the order of the slides
    "2020": {"mnistm": "usps", "svhn": "mnistm", "usps": "svhn"},
    "2021": {"usps": "mnistm", "mnistm": "svhn", "svhn": "usps"},
}
BASELINES = {  # percent, of DANN
    "2020": {"mnistm": 40.0, "svhn": 40.0, "usps": 40.0},
    "2021": {"usps": 72.0, "mnistm": 42.0, "svhn": 28.0},
}
DIGIT_LINES = {"simple": 70.0, "strong": 80.0}  # percent, 2021, problem 2
FID_LINES, IS_LINES = {"simple": 35.0, "strong": 30.0}, {"simple": 2.0, "strong": 2.15}  # 2021, problem 1
PICTURE_POINTS = 5.0
GIVEN = {"3-2": 3.0, "4-1": 6.0}  # for a number at all
MORE = {"3-2": (0.0, 3.0, 5.0, 7.0), "4-1": (0.0, 4.0, 7.0, 10.0)}  # for none, one, two, three scenarios passed


@dataclass(frozen=True)
class Result:
    problem: str  # "2020 3-2"
    title: str
    status: Status
    measured: str = ""
    why: str = ""  # points were lost, or something was left out
    score: float | None = None  # None: the course gives no points here, or they cannot be graded here
    points: float | None = None  # at most
    seconds: float = 0.0


@dataclass(frozen=True)
class Attempt:
    """What came of calling a wrapper, twice."""

    accuracy: float | None = None  # percent; for a picture 100
    wrong: str = ""  # a wrong file format
    failed: str = ""  # no output at all: it crashed, was ended, is not there, was not run
    differs: str = ""  # why it counts as not reproduced
    left_out: str = ""
    seconds: float = 0.0

    @property
    def trouble(self) -> str:
        return self.wrong or self.failed or self.left_out or self.differs


def grade_picture(problem: str, title: str, attempt: Attempt) -> Result:
    """All points for a picture of the right format, half if it cannot be reproduced. Looks are for people."""
    if attempt.left_out:
        return Result(problem, title, "left out", "", attempt.left_out, seconds=attempt.seconds)
    if attempt.wrong or attempt.failed:
        return Result(problem, title, "failed", "", attempt.trouble, 0.0, PICTURE_POINTS, attempt.seconds)
    score = PICTURE_POINTS / 2 if attempt.differs else PICTURE_POINTS
    status: Status = "failed" if attempt.differs else "passed"
    return Result(problem, title, status, "32 samples", attempt.differs, score, PICTURE_POINTS, attempt.seconds)


def grade_adaptation(
    problem: str, title: str, attempts: Mapping[str, Attempt], lines: Mapping[str, float | None], beyond: bool
) -> Result:
    """2020's 3-2 (`beyond` False: at least the line) and 4-1 (True: above it), three targets → attempts and lines.

    A pair whose line is None, as there is nothing to be above of, is not passed. Any wrong format costs all points,
    anything not reproduced half of them. Without all three the points are left out.
    """
    kind = problem.split()[-1]
    most, seconds = GIVEN[kind] + MORE[kind][-1], sum(attempt.seconds for attempt in attempts.values())
    measured = ", ".join(f"{NAMES[t]} {a.accuracy:.1f} %" for t, a in attempts.items() if a.accuracy is not None)
    reasons = [f"{NAMES[target]}: {attempt.trouble}" for target, attempt in attempts.items() if attempt.trouble]
    passed = 0
    for target, attempt in attempts.items():
        if attempt.accuracy is None:
            continue
        line = lines[target]
        if line is None:
            reasons.append(f"{NAMES[target]}: no number in 3-2 to be above of")
        elif attempt.accuracy > line or (attempt.accuracy == line and not beyond):
            passed += 1
        else:
            reasons.append(
                f"{NAMES[target]}: {attempt.accuracy:.1f} % is not {'above' if beyond else 'at least'} {line:.1f} %"
            )
    if any(attempt.left_out for attempt in attempts.values()) and not any(a.wrong for a in attempts.values()):
        return Result(problem, title, "left out", measured, "; ".join(reasons), seconds=seconds)
    score = GIVEN[kind] + MORE[kind][passed] if any(a.accuracy is not None for a in attempts.values()) else 0.0
    if any(attempt.wrong for attempt in attempts.values()):
        score = 0.0
    elif any(attempt.differs for attempt in attempts.values()):
        score /= 2
    status: Status = "passed" if score == most else "failed"
    return Result(problem, title, status, measured, "; ".join(reasons), score, most, seconds)


def grade_line(problem: str, title: str, attempt: Attempt, line: float | None, beyond: bool = False) -> Result:
    """2021: passed or not; `line` in percent, None where there is nothing to be above of."""
    if attempt.left_out:
        return Result(problem, title, "left out", "", attempt.left_out, seconds=attempt.seconds)
    if attempt.accuracy is None or attempt.differs:
        return Result(problem, title, "failed", "", attempt.trouble, seconds=attempt.seconds)
    measured = f"{attempt.accuracy:.1f} %"
    if line is None:
        why = "problem 3 has no number to be above of"
        return Result(problem, title, "failed", measured, why, seconds=attempt.seconds)
    good = attempt.accuracy > line or (attempt.accuracy == line and not beyond)
    why = "" if good else f"not {'above' if beyond else 'at least'} {line:.1f} %"
    return Result(problem, title, "passed" if good else "failed", measured, why, seconds=attempt.seconds)
