"""experiments/study_digits.py and experiments/publish_checkpoints.py on tiny real data."""

import json
from pathlib import Path

from conftest import REPO, assert_one_line, call, run_script

from dlcv.checkpoint import load_model, read_checkpoint, read_manifest
from dlcv.models.digit_net import DigitNet

# Runs of the choices that are there before the study begins: trainings take seconds each.
DONE_CHOICES = ("ce_lr_0.1", "ce_lr_0.2", "cb_focal_beta_0.9", "cb_focal_beta_0.999", "cb_focal_beta_0.9999")
DONE_CHOICES += ("cb_focal_lr_0.2",)


def test_study_is_resumable_and_published(digits: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    command = ["python3", REPO / "experiments" / "study_digits.py", "dann", "--out", study]
    command += ["--seeds", 0, "--pairs", "svhn_usps"]
    assert "0 of 3 runs are done" in run_script(*command, "--list").stdout
    flags = ["--", "--data", digits, "--steps", 2, "--batch-size", 8, "--width", 4, "--reverse-steps", 2]
    first = call(*command, "--modes", "dann", "--jobs", 1, *flags)
    assert first.returncode == 0, first.stdout
    listed = run_script(*command, "--list").stdout
    assert "1 of 3 runs are done" in listed and "svhn_usps_source_seed0" in listed and "svhn_usps_dann" not in listed
    before = (study / "svhn_usps_dann_seed0" / "model.pth").read_bytes()
    assert run_script(*command, *flags).returncode == 0
    assert "3 of 3 runs are done" in run_script(*command, "--list").stdout
    assert (study / "svhn_usps_dann_seed0" / "model.pth").read_bytes() == before
    recipe = read_checkpoint(study / "svhn_usps_source_seed0" / "model.pth")["provenance"]["recipe"]
    assert (recipe["source"], recipe["target"], recipe["mode"], recipe["steps"]) == ("svhn", "usps", "source", 2)

    publish = [
        "python3",
        REPO / "experiments" / "publish_checkpoints.py",
        "--study",
        study,
        "--into",
        tmp_path / "checkpoints",
    ]
    result = call(*publish)
    assert result.returncode == 0, result.stderr
    assert set(read_manifest(tmp_path / "checkpoints" / "MANIFEST")) == {"dann_svhn_usps.pth"}
    load_model(DigitNet, tmp_path / "checkpoints" / "dann_svhn_usps.pth")  # its SHA-256 is the MANIFEST's
    command = ["python3", REPO / "experiments" / "publish_checkpoints.py", "--into", tmp_path / "checkpoints"]
    model = study / "svhn_usps_source_seed0" / "model.pth"
    assert run_script(*command, f"one.pth={model}").returncode == 0
    assert set(read_manifest(tmp_path / "checkpoints" / "MANIFEST")) == {"dann_svhn_usps.pth", "one.pth"}
    assert (tmp_path / "checkpoints" / "one.pth").read_bytes() == model.read_bytes()
    assert_one_line(run_script(*command), 2, "give NAME=FILE, or --study")
    assert_one_line(run_script(*command, "one.pth"), 2, "not one.pth")
    assert_one_line(run_script(*command, "two.pth=/nowhere.pth"), 1, "/nowhere.pth")


def test_failures_are_told(digits: Path, tmp_path: Path) -> None:
    script = REPO / "experiments" / "study_digits.py"
    failed = run_script(
        "python3",
        script,
        "dann",
        "--out",
        tmp_path / "s",
        "--seeds",
        0,
        "--pairs",
        "svhn_usps",
        "--",
        "--data",
        "/nowhere",
    )
    assert failed.returncode == 1 and "FAILED" in failed.stdout and "/nowhere holds no folder digits/" in failed.stdout
    assert_one_line(run_script("python3", script, "uda", "--pairs", "svhn_mnist"), 2, "unknown pairs: svhn_mnist")
    assert_one_line(run_script("python3", script, "uda", "list"), 2, "unrecognized arguments: list")
    assert_one_line(run_script("python3", script), 2, "method")
    assert_one_line(run_script("python3", script, "uda", "--jobs", 0), 2, "--jobs 0")
    assert_one_line(run_script("python3", script, "uda", "--modes", "dann"), 2, "only DANN's study")


def test_the_improved_methods_study(digits: Path, tmp_path: Path) -> None:
    command = ["python3", REPO / "experiments" / "study_digits.py", "uda", "--out", tmp_path / "s"]
    assert "0 of 18 runs are done" in run_script(*command, "--list").stdout
    flags = ["--data", digits, "--steps", 2, "--batch-size", 8, "--target-batch-size", 8, "--width", 4]
    result = run_script(*command, "--seeds", 2, "--pairs", "usps_svhn", "--", *flags, "--reverse-steps", 2)
    assert result.returncode == 0, result.stdout
    recipe = read_checkpoint(tmp_path / "s" / "usps_svhn_uda_seed2" / "model.pth")["provenance"]["recipe"]
    assert (recipe["source"], recipe["target"], recipe["seed"]) == ("usps", "svhn", 2)
    assert "1 of 18 runs are done" in run_script(*command, "--list").stdout


def test_the_studies_of_photographs(arrays: Path, tmp_path: Path) -> None:
    script = REPO / "experiments" / "study_photos.py"
    counts = {"eee7331": 6, "cs7643": 15, "choices": 9, "gamma": 12, "longtail": 12, "autoencoder": 5}
    for study, count in counts.items():
        listed = run_script("python3", script, study, "--runs", tmp_path, "--list").stdout
        assert f"0 of {count} runs are done" in listed and listed.count("left:") == count
    flags = ["--", "--data", arrays, "--epochs", 1, "--batch-size", 20, "--validation", 6]
    done = [tmp_path / f"cifar_choice_{name}" / "model.pth" for name in DONE_CHOICES]
    for path in done:
        path.parent.mkdir()
        path.write_text("done")
    result = call("python3", script, "choices", "--runs", tmp_path, *flags, "--imbalance-factor", 2)
    assert result.returncode == 0, result.stdout
    assert result.stdout.startswith("6 of 9 runs are done")
    assert {path.read_text() for path in done} == {"done"}  # what is done is left alone
    recipes = {path.parent.name: json.loads(path.read_text())["recipe"] for path in tmp_path.glob("*/model.json")}
    assert recipes["cifar_choice_ce_lr_0.05"]["learning_rate"] == 0.05
    assert recipes["cifar_choice_cb_focal_beta_0.99"]["beta"] == 0.99
    assert recipes["cifar_choice_cb_focal_lr_0.4"]["learning_rate"] == 0.4
    assert "9 of 9 runs are done" in run_script("python3", script, "choices", "--runs", tmp_path, "--list").stdout
    assert_one_line(run_script("python3", script, "choices", "--jobs", 0), 2, "--jobs 0")
