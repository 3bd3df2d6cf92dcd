"""experiments/peers.py and report/performance.py: missing clones, agreement, a measurement at a tiny size, tables."""

import csv
import json
from pathlib import Path
from types import ModuleType

import pytest
from conftest import REPO, assert_one_line, call, load_script, run_script

from dlcv.files import write_rows

SCRIPT = REPO / "experiments" / "peers.py"


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load_script("peers", monkeypatch)


def test_missing_clones_and_bad_use_are_one_line(tmp_path: Path) -> None:
    result = call("bash", REPO / "experiments" / "peers.sh", "vae_epoch", "--peers", tmp_path, "--data", tmp_path)
    assert_one_line(result, 1, f"{tmp_path / 'examples'} is not there: run the commands above")
    assert result.stdout.count("git clone https://github.com/") == 4
    assert_one_line(run_script("python3", SCRIPT, "gan"), 2, "no part 'gan'")
    assert_one_line(run_script("python3", SCRIPT, "reading", "--data", tmp_path), 1, "give --data")


def test_agreement(peers: ModuleType) -> None:
    assert peers.agree("[1.0, 200.0]", "[1.000005, 200.001]") and peers.agree('["1.png,3"]', '["1.png,3"]')
    assert not peers.agree("[1.0]", "[1.00002]")
    assert not peers.agree("[1.0]", "[1.0, 1.0]")
    assert not peers.agree('["1.png,3"]', '["1.png,4"]')
    assert not peers.agree("[1.0]", "[NaN]")


def test_reading_is_measured_and_not_twice(peers: ModuleType, digits: Path, tmp_path: Path) -> None:
    """The real command, on eight images, without any peer: two ways, one row each; and kept."""
    words = ["python3", SCRIPT, "reading", "--data", digits, "--rounds", 1, "--threads", 1, "--out", tmp_path]
    result = run_script(*words)
    assert result.returncode == 0, result.stderr
    rows = list(csv.DictReader((tmp_path / "peers.csv").open()))
    assert [row["way"] for row in rows] == ["ours", "DataLoader and PIL"] and len({row["result"] for row in rows}) == 1
    assert all(float(row["seconds"]) > 0 and float(row["peak_mib"]) > 50 for row in rows)
    facts = {key: rows[0][key] for key in ("commit", "torch", "cpu", "threads")} | {"commit": "0123456789"}
    rows = [row | facts for row in rows]
    assert peers.is_measured(rows, "reading", 1, facts, tmp_path, [])
    assert not peers.is_measured(rows, "reading", 2, facts, tmp_path, [])
    assert not peers.is_measured(rows, "reading", 1, facts | {"commit": "other"}, tmp_path, [])
    assert not peers.is_measured(rows, "vae_epoch", 1, facts, tmp_path, [])


def test_a_different_result_ends_the_measurement(
    peers: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    results = {"ours": (1.0, 100.0, json.dumps([1.0])), "DataLoader and PIL": (1.0, 100.0, json.dumps([1.1]))}
    monkeypatch.setattr(peers, "once", lambda part, way, *_: results[way])
    with pytest.raises(peers.cli.UserError, match="ours and DataLoader and PIL differ"):
        peers.measure("reading", tmp_path, tmp_path, 1, {"threads": "1"})


def test_the_inputs_of_cost_against_size(peers: ModuleType, digits: Path, tmp_path: Path) -> None:
    source = digits / "digits" / "mnistm" / "test"
    count = len(list(source.glob("*.png")))
    folder = peers.link_images(tmp_path / "images", source, count + 3)
    assert len(list(folder.iterdir())) == count + 3 and all(path.is_file() for path in folder.iterdir())
    school = peers.write_repositories(tmp_path / "class", 2, next(source.glob("*.png")))
    for repository in school.iterdir():
        assert call("bash", repository / "hw3_p1.sh", tmp_path / f"{repository.name}.png").returncode == 0
        assert (tmp_path / f"{repository.name}.png").read_bytes() == (repository / "picture.png").read_bytes()


def test_the_tables(tmp_path: Path) -> None:
    facts = {"commit": "c", "torch": "2", "cpu": "x", "threads": 2}
    times = [("ours", 1.0, 200), ("ours", 9.0, 200), ("ours", 2.0, 210), ("tllib", 3.0, 100), ("tllib", 3.0, 100)]
    write_rows(
        tmp_path / "peers.csv",
        [
            {"what": "dann_step", "title": "steps", "way": way, "seconds": seconds, "peak_mib": peak}
            | {"peer_commit": "" if way == "ours" else "abc"} | facts
            for way, seconds, peak in times
        ],
    )  # fmt: skip
    sizes = [("images", 1_000, 2.0), ("images", 1_000, 4.0), ("images", 10_000, 20.0), ("repositories", 4, 10.0)]
    lines = [{"what": what, "size": size, "seconds": seconds, "peak_mib": 500} | facts for what, size, seconds in sizes]
    write_rows(tmp_path / "size.csv", lines)
    text = tmp_path / "performance.md"
    text.write_text("".join(f"<!-- {name}: x -->\nold\n<!-- end -->\n" for name in ("conditions", "peers", "sizes")))
    words = ["python3", REPO / "report" / "performance.py", "--results", tmp_path, "--text", text, "--out", tmp_path]
    result = run_script(*words)
    assert result.returncode == 0, result.stderr
    written = text.read_text()
    assert "| steps | tllib | 3.00 | 2.00 | 1.50 | 100 | 200 | **0.50** |" in written and "old" not in written
    assert "| 1,000 images | 2 | 3.00 | 3.00 | 500 |" in written and "tllib abc" in written
    assert "| 4 repositories | 1 | 10.0 | 2.50 | 500 |" in written
    assert (tmp_path / "performance_size.png").stat().st_size > 1_000
    (tmp_path / "peers.csv").unlink()
    (tmp_path / "size.csv").unlink()
    assert_one_line(run_script(*words), 1, "run bash experiments/peers.sh")
