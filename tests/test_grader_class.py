"""python -m grader --class, here and on a local Dask cluster, and the Gradescope bundle."""

import csv
import json
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import assert_one_line, call
from test_grader import PICTURE, WRAPPER, write

from grader.classroom import grade_one
from grader.results import clean

FLAGS = ["--seconds", "20"]


@pytest.fixture
def school(tmp_path: Path) -> Path:
    """A good repository of one picture, one that crashes, one without any wrapper, one whose git is broken."""
    folder = tmp_path / "school"
    wrapper = WRAPPER.replace("predict", "picture")
    write(folder / "anna", hw3_p1_sh=wrapper, picture_py=PICTURE)
    write(folder / "=bob <b>", hw3_p1_sh=wrapper, picture_py="raise ValueError('<script>alert(1)</script>')")
    (folder / "no wrapper").mkdir()
    (folder / "broken" / ".git").mkdir(parents=True)
    return folder


def test_a_class_is_graded_and_resumed(school: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = call("python3", "-m", "grader", "--class", school, "--out", out, *FLAGS)
    assert first.returncode == 1 and "4 repositories, 0 graded before" in first.stdout  # one could not be graded
    assert "grader: 1 of 4 repositories could not be graded; broken: " in first.stderr
    rows = {row["repository"]: row for row in csv.DictReader((out / "class.csv").open())}
    assert rows.keys() == {"anna", "'=bob <b>", "no wrapper", "broken"}
    assert rows["anna"]["points"] == rows["anna"]["2020 1-4 VAE, 32 samples"] == "5.0"
    assert rows["'=bob <b>"]["points"] == "0.0" and "git cannot clone" in rows["broken"]["trouble"]
    assert (rows["no wrapper"]["points"], rows["no wrapper"]["broken rules"]) == ("0", "1")
    page = (out / "class.html").read_text()
    assert "anna" in page and "=bob &lt;b&gt;" in page and "<script>" not in page and "&lt;script&gt;" in page
    before = (out / "anna" / "results.json").stat().st_mtime_ns
    (out / "=bob <b>" / "results.json").unlink()  # as if it had been interrupted there
    failed = out / "no wrapper" / "results.json"  # as if the grader had failed
    failed.write_text(failed.read_text().replace('"failures": 0', '"failures": 1'))
    again = call("python3", "-m", "grader", "--class", school, "--out", out, *FLAGS)
    assert "4 repositories, 1 graded before" in again.stdout and '"failures": 0' in failed.read_text()
    assert (out / "anna" / "results.json").stat().st_mtime_ns == before
    assert (out / "=bob <b>" / "results.json").exists()


def test_a_class_on_a_dask_cluster(school: Path, tmp_path: Path) -> None:
    """Two worker processes on this machine; the command connects as it would to any scheduler."""
    distributed = pytest.importorskip("distributed")
    for name in ("no wrapper", "broken"):
        shutil.rmtree(school / name)
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, local_directory=str(tmp_path)
    ) as cluster:
        flags = ["--out", tmp_path / "out", "--dask", cluster.scheduler_address, *FLAGS]
        result = call("python3", "-m", "grader", "--class", school, *flags)
    assert result.returncode == 0, result.stderr
    assert {row["points"] for row in csv.DictReader((tmp_path / "out" / "class.csv").open())} == {"5.0", "0.0"}


def test_one_that_cannot_be_graded_does_not_raise(tmp_path: Path) -> None:
    assert "no such directory" in grade_one(tmp_path / "none", tmp_path / "out", [], 60)


def test_texts_of_strangers_are_cleaned() -> None:
    assert clean("a\x1b[31mred\n\tb\x00") == "a\N{REPLACEMENT CHARACTER}[31mred b\N{REPLACEMENT CHARACTER}"
    assert len(clean("x" * 10_000)) == 300


def test_the_gradescope_bundle_grades_a_submission(school: Path, tmp_path: Path) -> None:
    """Unpacked as Gradescope does, with this environment in the place of the image's."""
    assert_one_line(call("python3", "-m", "grader.bundle", "x.tar"), 2, "must end in .zip")
    result = call("python3", "-m", "grader.bundle", tmp_path / "bundle.zip")
    assert result.returncode == 0 and "without data" in result.stdout, result.stderr
    base = tmp_path / "autograder"
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        archive.extractall(base / "source")
        names = archive.namelist()
        assert {"setup.sh", "run_autograder", "src/grader/sandbox.py", "src/dlcv/metrics.py"} <= set(names)
        unused = ("trainer", "submit", "cs7643", "bundle", "models/vae", "evaluate", ".ipynb")
        assert not [name for name in names if any(word in name for word in unused)]
        assert sum(name.endswith(".pth") for name in names) == 1  # the course's digit classifier
        packages = archive.read("requirements.txt").decode()
        assert "torch==" in packages and "psutil==" in packages and "pytest" not in packages and "typst" not in packages
    (base / "venv").symlink_to(sys.prefix)
    shutil.copytree(school / "anna", base / "submission")
    graded = call("bash", base / "source" / "run_autograder", cwd=tmp_path, env={"AUTOGRADER": str(base)})
    assert graded.returncode == 0, graded.stderr
    content = json.loads((base / "results" / "results.json").read_text())
    scores = {test["number"]: test.get("score") for test in content["tests"]}
    assert scores["2020 1-4"] == 5 and scores["2020 2-2"] == 0 and scores["2020 3-2"] is None  # no data
