"""report/grade_table.py: the table of docs/grading.md says what results.json says."""

import json
from pathlib import Path

import pytest
from conftest import load_script

CONTENT = {
    "score": 7.5, "execution_time": 3, "output": "",
    "tests": [
        {"name": "hw3_p1.sh:2", "number": "rules", "output": "calls python", "status": "failed"},
        {"name": "VAE", "number": "2020 1-4", "output": "32 samples", "score": 2.5, "max_score": 5, "status": "failed"},
        {"name": "three | pairs", "number": "2020 3-2", "output": "90 %", "score": 5.0, "max_score": 10},
        {"name": "FID", "number": "2021 1", "output": "left out: no weights"},
    ],
}  # fmt: skip


def test_the_table_is_that_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script("grade_table", monkeypatch)
    monkeypatch.setattr(script, "TEXT", tmp_path / "grading.md")
    (tmp_path / "grading.md").write_text("before\n<!-- grades: x -->\nold\n<!-- end -->\nafter\n")
    (tmp_path / "results.json").write_text(json.dumps(CONTENT))
    monkeypatch.setattr("sys.argv", ["grade_table.py", str(tmp_path / "results.json")])
    script.main()
    lines = (tmp_path / "grading.md").read_text().splitlines()
    assert lines[2:8] == [
        "| problem |  | points | measured, or why not |",
        "|---|---|---|---|",
        "| 2020 1-4 | VAE | 2.5 of 5 | 32 samples |",
        "| 2020 3-2 | three \\| pairs | 5 of 10 | 90 % |",
        "| 2021 1 | FID | left out | no weights |",
        "| all | static rules broken: 1 | 7.5 of 15 | 3 s |",
    ]
    assert lines[0] == "before" and lines[-1] == "after" and "old" not in lines
