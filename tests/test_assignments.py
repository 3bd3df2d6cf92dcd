"""docs/assignments: written by report/assignments.py, no dead link, no sub-problem without a row."""

import re
from pathlib import Path

import pytest
from conftest import REPO, load_report_script

# Every sub-problem of the texts.
ASKED = {
    "dlcv2020": [*(f"1-{n}" for n in range(1, 7)), *(f"2-{n}" for n in range(1, 5)), *(f"3-{n}" for n in range(1, 7)),
                 *(f"4-{n}" for n in range(1, 5))],
    "dlcv2021": ["1-1", "1-2", "1-3, 1-4", "1-5", "2-1", "2-2 to 2-4", "2-5", "3-1 to 3-3", "3-4", "3-5", "bonus"],
    "eee7331": ["1, Part A: table", "1, Part A: 0, 1", "1, Part A: 2", "1, Part A: 3", "1, Part B: 1, 2",
                "1, Part B: 3, 4",                "2, 1.(a)", "2, 1.(b)", "2, 2.", "2, bonus"],
    "cs7643": ["theory 1", "theory 2", "theory 3", "paper review", "1.1, 1.2", "1.3", "2.1", "2.2", "3.1: loss",
               "3.1: experiments", "4.1", "4.2"],
    "tud": [*(f"4 {letter})" for letter in "abcdef"), *(f"5 {letter})" for letter in "abcdefg")],
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_pages_are_up_to_date_and_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_report_script("assignments", monkeypatch)
    assert script.ASSIGNMENTS.keys() == ASKED.keys()
    page = (REPO / "docs" / "assignments" / f"{name}.md").read_text(encoding="utf-8")
    assert page == script.page(script.ASSIGNMENTS[name]), "python report/assignments.py writes them anew"
    assert [row.problem for row in script.ASSIGNMENTS[name].rows] == ASKED[name]
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (REPO / "docs" / "assignments" / link).exists(), link


def test_the_table_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """python -m grader.submit refuses what it says is not built."""
    table = (REPO / "report" / "assignments.csv").read_text(encoding="utf-8")
    assert table == load_report_script("assignments", monkeypatch).table(), (
        "python report/assignments.py writes it anew"
    )


def test_points_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = load_report_script("assignments", monkeypatch).ASSIGNMENTS["dlcv2020"].rows
    each = {n: sum(eval(row.points) for row in rows if row.problem.startswith(f"{n}-")) for n in (1, 2, 3, 4)}
    assert each == {1: 30, 2: 20, 3: 35, 4: 35}
    tud = load_report_script("assignments", monkeypatch).ASSIGNMENTS["tud"].rows
    assert {k: sum(float(r.points) for r in tud if r.problem[0] == k) for k in "45"} == {"4": 8.5, "5": 8.5}


def test_what_is_not_there_is_not_claimed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = load_report_script("assignments", monkeypatch)
    page = script.page(script.ASSIGNMENTS["dlcv2020"], tmp_path)
    assert page.count("**not built yet**") == 20 and "](" not in page
    row = next(row for row in script.ASSIGNMENTS["eee7331"].rows if row.problem == "2, 2.")
    for name in row.code:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    page = script.page(script.ASSIGNMENTS["eee7331"], tmp_path)
    assert page.count("**built, not measured yet**: no docs/results/inversion.csv") == 4
