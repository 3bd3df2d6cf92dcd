"""report/digit_results.py: tables from a small csv of runs, worked out by hand; collecting from runs and ledger."""

import csv
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from conftest import REPO, load_script, run_script

from dlcv.evaluate import append_to_ledger
from dlcv.files import write_rows, write_text


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, whose documents and figures lie in tmp_path."""
    module = load_script("digit_results", monkeypatch)
    module.DOCS, module.FIGURES = tmp_path, tmp_path
    module.RESULTS, module.SNAPSHOTS = tmp_path / "digit_runs.csv", tmp_path / "digit_snapshots.csv"
    return module


def write_runs(path: Path, runs: list[dict[str, object]]) -> None:
    common = {
        "study": "study_dann",
        "source": "usps",
        "target": "mnistm",
        "statistics": "target",
        "oracle_accuracy": "",
        "agreement": 0.9,
        "balance": 2.0,
        "reverse_accuracy": 0.5,
    }
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*common, "mode", "seed", "test_accuracy"])
        writer.writeheader()
        writer.writerows(common | run for run in runs)


def row(table: str, name: str) -> list[str]:
    return next(
        [c.strip() for c in line.split("|")[2:-1]] for line in table.splitlines() if line.startswith(f"| {name}")
    )


def test_tables(results: ModuleType) -> None:
    runs: list[dict[str, object]] = [
        {"mode": "dann", "seed": seed, "test_accuracy": value, "oracle_accuracy": best}
        for seed, value, best in ((0, 0.6, 0.6), (1, 0.7, 0.72), (2, 0.8, 0.81))
    ]
    runs += [{"mode": "source", "seed": seed, "test_accuracy": value} for seed, value in ((0, 0.5), (1, 0.5), (2, 0.9))]
    runs += [{"study": "study_uda", "mode": "uda", "seed": seed, "test_accuracy": 0.9} for seed in (0, 1)]
    none = {"study": "study_uda_without_threshold", "mode": "uda"}
    runs += [none | {"seed": seed, "test_accuracy": value, "agreement": 0.95} for seed, value in ((0, 0.91), (2, 0.5))]
    runs += [{"mode": "target", "source": "svhn", "seed": 0, "test_accuracy": 0.99}]
    runs += [{"mode": "dann", "seed": 3, "test_accuracy": ""}]  # not evaluated yet
    runs += [{"study": "ablation_dann_without_x", "mode": "dann", "seed": 0, "test_accuracy": 0.123}]
    half = {"study": "ablation_dann_without_y", "mode": "dann"}
    runs += [half | {"seed": seed, "test_accuracy": value} for seed, value in ((0, 0.4), (1, 0.6))]
    write_runs(results.RESULTS, runs)
    written = results.tables()
    table = written["digits table"]
    assert row(table, "DANN, submitted")[0] == "–" and row(table, "DANN |")[:2] == ["70.0 ± 10.0", "–"]
    assert row(table, "improved |")[0] == "90.0 ± 0.0 (n = 2)"
    assert row(table, "trained on target")[0] == "99.0 (n = 1)"  # whatever its source
    assert row(table, "trained on target")[4] == "99.0 (n = 1)"
    assert row(written["dann gains"], "DANN minus")[0] == "+6.7 ± 15.3"  # +10, +20, -10
    assert row(written["dann gains"], "oracle")[0] == "+1.0 ± 1.0"
    assert row(written["uda gains"], "improved minus DANN")[0] == "+25.0 ± 7.1 (n = 2)"  # +30, +20
    assert row(written["uda threshold"], "test: with the")[0] == "90.0 ± 0.0 (n = 2)"
    assert row(written["uda threshold"], "test: without |")[:2] == ["70.5 ± 29.0 (n = 2)", "–"]
    assert row(written["uda threshold"], "test: without minus")[0] == "+1.0 (n = 1)"  # seed 0 alone has both
    assert row(written["uda threshold"], "agreement (no labels): without minus")[0] == "+5.0 (n = 1)"
    assert row(written["dann ablation"], "the recipe")[0] == "70.0 ± 10.0"
    assert row(written["dann ablation"], "without x") == ["12.3", "–", "–"]
    assert row(written["dann ablation"], "without y")[0] == "50.0 ± 14.1 (n = 2)"


def test_how_well_the_rule_orders(results: ModuleType) -> None:
    """Two runs' snapshots, one in the right order; three variants, the best of which agrees least."""
    lines = ["source,target,seed,step,agreement,balance,confidence,test_accuracy"]
    for seed, truth in ((0, (0.5, 0.6, 0.7)), (1, (0.7, 0.5, 0.6))):
        for step, (agreement, accuracy) in enumerate(zip((0.8, 0.85, 0.9), truth, strict=True)):
            lines.append(f"usps,mnistm,{seed},{step},{agreement},{2 - step},{agreement},{accuracy}")
    results.SNAPSHOTS.write_text("\n".join(lines) + "\n")
    kept = {"study": "study_uda", "mode": "uda", "seed": 0, "test_accuracy": 0.7, "agreement": 0.75}
    names = ("everything", "without_alignment", "without_domain_norm")
    runs = [
        {"study": f"ablation_uda_{name}", "mode": "uda", "seed": 0, "agreement": agreement, "test_accuracy": accuracy}
        for name, agreement, accuracy in zip(names, (0.9, 0.8, 0.7), (0.5, 0.6, 0.7), strict=True)
    ]
    write_runs(results.RESULTS, [kept, *runs])
    table = results.rule_table()
    assert row(table, "agreement, over a run")[0] == "0.25 (n = 2)"  # 1 and -0.5
    assert row(table, "balance, over a run")[0] == "-0.25 (n = 2)"
    assert row(table, "the step number alone, over")[0] == "0.25 (n = 2)"
    assert row(table, "agreement, over the abl")[0] == "-1.00 (of 3)"
    assert row(table, "variant with")[:2] == ["everything", "–"]
    assert row(table, "best variant")[0] == "student's batches mixed (the teacher's are not)"
    assert row(table, "agreement minus")[0] == "+5.0 (n = 1)"
    ablation = results.tables()["uda ablation"]
    assert row(ablation, "without alignment") == ["60.0", "–", "80.0", "–"]


def test_negative_gains_keep_their_sign(results: ModuleType) -> None:
    assert results.cell([-0.01, -0.03], "+") == "-2.0 ± 1.4 (n = 2)"
    assert results.cell([], "+") == "–"


def test_collect_joins_runs_and_ledger(results: ModuleType, digits: Path, tmp_path: Path) -> None:
    study = tmp_path / "runs" / "study_uda"
    run = study / "usps_svhn_uda_seed0"
    trained = run_script(
        "python3", REPO / "train" / "train_uda.py", "--data", digits, "--source", "usps", "--target", "svhn", "--steps",
        4, "--evaluate-every", 2, "--batch-size", 8, "--target-batch-size", 8, "--width", 4, "--reverse-steps", 2,
        "--out", run,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    other = tmp_path / "runs" / "study_uda_without_threshold"
    shutil.copytree(run, other / run.name)  # the same bytes: the ledger knows them by their SHA-256
    for path, accuracy in ((run / "model.pth", 0.25), (run / "snapshots" / "step_000002.pth", 0.5)):
        append_to_ledger(
            tmp_path / "test_reads.csv", checkpoint=path.name, sha256=results.digest_of(path), domain="svhn",
            split="test", statistics="target", images=10, purpose="test", accuracy=accuracy,
        )  # fmt: skip
    results.collect([study, other])
    (snapshot,) = results.read_snapshots()
    assert snapshot["step"] == "2" and float(snapshot["test_accuracy"]) == 0.5
    first, second = results.read_results()
    assert (first["mode"], first["seed"], first["step"], first["labelled"], first["unlabelled"]) == (
        "uda", "0", "4", "36", "40",
    )  # fmt: skip
    assert (float(first["test_accuracy"]), float(first["oracle_accuracy"]), first["oracle_step"]) == (0.25, 0.5, "2")
    assert second["test_accuracy"] == first["test_accuracy"]
    # A step that this run did not save is of an earlier training and goes; another seed's stays.
    write_rows(results.SNAPSHOTS, [snapshot, snapshot | {"step": "3"}, snapshot | {"seed": "1"}])
    results.collect([study, other])
    assert results.read_snapshots() == [snapshot, snapshot | {"seed": "1"}]
    shutil.rmtree(run)  # its lines stay
    results.collect([study, other])
    assert results.read_results() == [first, second]


def test_texts_keep_what_stands_around_a_table(
    results: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_runs(results.RESULTS, [{"mode": "dann", "seed": 0, "test_accuracy": 0.6}])
    text = tmp_path / "x.md"
    write_text(text, "before\n<!-- digits table: by x -->\nold\n<!-- end -->\nafter\n")
    monkeypatch.setattr(results, "TEXTS", [text])
    monkeypatch.setattr("sys.argv", ["digit_results.py", "--runs", str(tmp_path)])
    results.main()
    lines = text.read_text().splitlines()
    assert lines[:2] == ["before", "<!-- digits table: by x -->"] and lines[-2:] == ["<!-- end -->", "after"]
    assert "60.0 (n = 1)" in text.read_text() and "old" not in lines
