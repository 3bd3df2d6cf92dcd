"""experiments/inversion_study.py: what it chooses, and the whole experiment with runs that are faked."""

import csv
import json
import runpy
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import REPO, run_script
from PIL import Image

from dlcv import study
from dlcv.inversion import METHODS

SCRIPT = REPO / "experiments" / "inversion_study.py"
script = SimpleNamespace(**runpy.run_path(str(SCRIPT)))


def test_the_choice_is_the_best_of_each_weight_and_the_methods_that_help() -> None:
    scores = dict.fromkeys(script.choices(Path("faces"), Path("runs"), ()), 0.9) | {"start": 0.8, "mse": 1.0}
    assert script.decide(scores)["lpips-weight"] == 0.1 and script.decide(scores)["cosine-weight"] == 0.05
    scores |= {"lpips-weight_0.3": 0.7, "face-weight_0.0": 0.79, "noise": 0.5, "pull_0.0003": 0.75, "tune": 0.81}
    chosen = script.decide(scores)
    assert (chosen["lpips-weight"], chosen["cosine-weight"], chosen["face-weight"]) == (0.3, 0.05, 0.0)
    assert chosen["pull"] == 0.0003 and chosen["methods"] == ["pull", "noise"]
    none = script.decide(scores | {"noise": 0.9, "pull_0.0003": 0.85})
    assert none["methods"] == ["tune"]  # none helps: the best of them


def test_the_score_is_relative_to_plain_mse() -> None:
    plain = {"l2": {"mean": 0.02}, "lpips": {"mean": 0.4}, "cosine": {"mean": 0.1}}
    assert script.score(plain, plain) == pytest.approx(1)
    half = {"l2": {"mean": 0.02}, "lpips": {"mean": 0.2}, "cosine": {"mean": 0.0}}
    assert script.score(half, plain) == pytest.approx(0.5)


@pytest.fixture
def inverted(monkeypatch: pytest.MonkeyPatch) -> list[study.Job]:
    """The runs that were begun; each writes what invert_faces.py would, with numbers that fall from run to run."""
    begun: list[study.Job] = []

    def work(runs: Sequence[study.Job], jobs: int, list_only: bool) -> int:
        for run in [] if list_only else [run for run in runs if not run.is_done()]:
            begun.append(run)
            run.out.mkdir(parents=True)
            value = 1 / len(begun)
            metrics = {metric: {"mean": value, "std": 0.0} for metric in ("l2", "lpips", "cosine")}
            facts = {"settings": {"iterations": 1000, "lr": 0.01}, "images": 1}
            facts |= {"data": {"generator": "12ab", "images": "34cd"}}
            (run.out / "summary.json").write_text(json.dumps(metrics | facts))
            (run.out / "reconstructions").mkdir()
            Image.new("RGB", (8, 8), "white").save(run.out / "reconstructions" / "a.png")
            (run.out / "metrics.csv").write_text(f"image_name,l2,lpips,cosine,seconds\na,{value},{value},{value},2.0\n")
        return 0

    monkeypatch.setattr(study, "work", work)
    return begun


def test_the_whole_experiment(faces: Path, inverted: list[study.Job], tmp_path: Path) -> None:
    command = ["python3", SCRIPT, "--targets", tmp_path / "t", "--data", faces, "--runs", tmp_path / "runs"]
    command += ["--results", tmp_path / "inversion.csv"]
    (tmp_path / "t").mkdir()
    Image.new("RGB", (16, 16), "black").save(tmp_path / "t" / "a.png")
    result = run_script(*command, "--list")
    assert result.returncode == 0 and not inverted
    result = run_script(*command, "--", "--evaluate-every", 10)
    assert result.returncode == 0, result.stderr
    first = [run for run in inverted if "choice" in run.out.parts]
    then = [run for run in inverted if "targets" in run.out.parts]
    assert len(first) == 2 + 8 + len(METHODS) and len(then) == 6 + len(METHODS) + 1 + 4  # 4: changes of the loss
    assert all(run.flags[0] == str(tmp_path / "runs" / "choice_faces") for run in first)  # never the targets
    assert len(list((tmp_path / "runs" / "choice_faces").glob("*.png"))) == 4  # all that are held out of 36
    assert all(run.flags[0] == str(tmp_path / "t") and run.flags[-2:] == ("--evaluate-every", "10") for run in then)
    assert all("--iterations" not in run.flags for run in then)  # the assignment's 1,000
    rows = list(csv.DictReader((tmp_path / "inversion.csv").open()))
    assert [row["run"] for row in rows][:6] == ["z_mse", "z_own", "w_mse", "w_own", "w+_mse", "w+_own"]
    assert rows[-1]["run"] == "proposed" and "| proposed | 1 | 0." in result.stdout
    terms = list(csv.DictReader((tmp_path / "inversion_terms.csv").open()))
    without = ["w+_own_without-lpips", "w+_own_without-cosine", "w+_own_without-face", "w+_own_mse-for-face"]
    assert [row["run"] for row in terms] == ["w+_own", *without]
    assert all(float(row["face"]) == pytest.approx(1) for row in terms)  # white images, black targets
    own, *changed = (dict(zip(run.flags[1::2], run.flags[2::2], strict=False)) for run in (then[5], *then[-4:]))
    for term, weights in zip(("lpips", "cosine", "face"), changed[:3], strict=True):
        assert weights == own | {f"--{term}-weight": "0.0"}  # only this term is missing
    last = {name: float(value) for name, value in changed[3].items() if name.endswith("-weight")}
    share = 1 / (1 + float(own["--face-weight"]))
    assert last == {
        "--face-weight": 0.0,
        **{f"--{term}-weight": pytest.approx(share * float(own[f"--{term}-weight"])) for term in ("lpips", "cosine")},
    }
    settings = {row["setting"]: row["value"] for row in csv.DictReader((tmp_path / "inversion_settings.csv").open())}
    assert settings["iterations"] == "1000" and settings["generator"] == "12ab" and settings["choice_faces"] == "20"
    choice = list(csv.DictReader((tmp_path / "inversion_choice.csv").open()))
    assert [row["run"] for row in choice][:2] == ["mse", "start"] and float(choice[0]["score"]) == 1
    count = len(inverted)
    assert run_script(*command).returncode == 0 and len(inverted) == count  # what is done stays done
