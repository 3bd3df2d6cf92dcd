"""experiments/blind_preferences.py: letters stand for the runs that the sheets show."""

from pathlib import Path

import pytest
from conftest import load_script
from PIL import Image

from dlcv.cli import UserError
from dlcv.files import read_rows

RUNS = ("z_mse", "w_mse", "w+_mse", "w+_own", "proposed", "w+_own_without-face", "w+_own_mse-for-face")
GREYS = {run: grey for grey, run in enumerate(RUNS, 1)}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two targets; the reconstructions of each run have a grey of their own."""
    (tmp_path / "targets").mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / "targets" / name)
        for run, grey in GREYS.items():
            folder = tmp_path / "runs" / "targets" / run / "reconstructions"
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (grey, grey, grey)).save(folder / name)
    return tmp_path


def test_sheets_show_the_runs_in_the_order_that_counting_knows(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, drawn = load_script("blind_preferences", monkeypatch), {}
    monkeypatch.setattr(script, "draw_faces", lambda rows, path, **_: drawn.setdefault(path.stem, rows))
    script.draw_sheets(runs / "targets", runs / "runs", seed=3)
    assert set(drawn) == set(script.COMPARISONS)
    for comparison, rows in drawn.items():
        for number, row in enumerate(rows, 1):
            assert [int(face[0, 0, 0]) for face in row[1:]] == [GREYS[r] for r in script.order(comparison, number, 3)]
    drawn.clear()
    script.draw_sheets(runs / "targets", runs / "runs", 3, ["face-control"])
    assert list(drawn) == ["face-control"]
    orders = {tuple(script.order("space", number, seed)) for number in range(1, 6) for seed in range(5)}
    assert len(orders) == 6  # every order comes up


def test_answers_are_counted_once_and_checked(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script("blind_preferences", monkeypatch)
    order = script.order("method", 2, 0)
    letter = "ABC"[order.index("proposed")]
    (runs / "answers.csv").write_text(f"comparison,number,letter\nmethod,2,{letter}\nspace,1,b\n")
    words = ["count", runs / "answers.csv", "--viewer", "anna", "--targets", runs / "targets"]
    words += ["--results", runs / "results.csv"]
    monkeypatch.setattr("sys.argv", ["blind_preferences.py", *map(str, words)])
    script.main()
    rows = read_rows(runs / "results.csv")
    assert [row["chosen"] for row in rows] == ["proposed", script.order("space", 1, 0)[1]]
    assert rows[0]["image_name"] == "b" and rows[0]["viewer"] == "anna"
    with pytest.raises(UserError, match="answers of anna already"):
        script.main()
    for line in ("method,3,A", "method,1,C", "colour,1,A", "method,1,A\nmethod,1,B"):
        (runs / "answers.csv").write_text(f"comparison,number,letter\n{line}\n")
        monkeypatch.setattr("sys.argv", ["blind_preferences.py", *map(str, words[:3]), "ben", *map(str, words[4:])])
        with pytest.raises(UserError, match=r"is on no sheet|answered twice"):
            script.main()


def test_the_sentence_names_counts_and_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script("blind_preferences", monkeypatch)
    lines = [{"comparison": "loss", "chosen": "w+_own"}] * 10
    assert script.tell(lines) == ["loss: w+_mse 0, w+_own 10 of 10; w+_own against chance: p = 0.002"]
