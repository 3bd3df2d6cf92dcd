"""report/cs7643_results.py: tables from tiny runs that are written by hand, figures, cells."""

import csv
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from conftest import load_script

from dlcv.cli import UserError


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script as a module whose documents lie in tmp_path."""
    module = load_script("cs7643_results", monkeypatch)
    module.DOCS = tmp_path / "docs"
    (tmp_path / "docs" / "models").mkdir(parents=True)
    (tmp_path / "README.md").write_text("")
    names = ("networks", "long tail", "long tail by class", "long tail pairs", "own network", "ablations", "choices")
    names += ("gamma", "whole trainings", "weights", "errors")
    (tmp_path / "docs" / "models" / "cs7643.md").write_text(
        "".join(f"<!-- cs7643 {n}: x -->\n<!-- end -->\n" for n in names)
    )
    return module


def write_run(root: Path, name: str, right: list[int], **recipe: object) -> None:
    """A run whose network gets the first right[c] of ten test images of class c right."""
    run = root / "runs" / name
    run.mkdir(parents=True)
    common = {"seed": 0, "epochs": 3, "beta": 0.0, "loss_type": "CE", "learning_rate": 0.1, "validation": 100}
    provenance = {"recipe": common | recipe, "commit": "c", "epoch": 3, "parameters": 1234}
    provenance |= {"metrics": {}, "data": {"training": [10 - c for c in range(10)]}}
    (run / "model.json").write_text(json.dumps(provenance))
    log = [{"step": 1, "accuracy": 0.1, "loss": 2.0}]
    for step, share in ((2, 0.9), (4, 1.0)):  # validation accuracies at the end of two epochs: the last one counts
        each = {f"validation_class_{c}": share * n / 10 for c, n in enumerate(right)}
        log.append({"step": step, "validation_accuracy": share * sum(right) / 100} | each)
    (run / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    labels = np.repeat(np.arange(10), 10)
    predictions = np.concatenate([[c] * n + [(c + 1) % 10] * (10 - n) for c, n in enumerate(right)])
    (root / "kept").mkdir(exist_ok=True)
    np.savez(root / "kept" / f"{name}.npz", labels=labels, predictions=predictions[None])


def test_tables_by_hand(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path, "cifar_mymodel_seed0", [9] * 10)
    for seed, bonus in ((0, 1), (1, 3)):
        write_run(tmp_path, f"cifar_longtail_ce_seed{seed}", [8] * 5 + [2] * 5, seed=seed)
        right = [8] * 5 + [2 + bonus] * 5
        write_run(tmp_path, f"cifar_longtail_cb_focal_seed{seed}", right, seed=seed, beta=0.9999)
    write_run(tmp_path, "cifar_mymodel_seed0_quick", [1] * 10)  # is not one of them
    write_run(tmp_path, "cifar_choice_cb_focal_beta_0.9", [8] * 5 + [2] * 5, loss_type="Focal", beta=0.9)
    write_run(tmp_path, "cifar_choice_ce_lr_0.2", [6] * 10, learning_rate=0.2)
    for seed, right in ((0, 4), (1, 6)):
        write_run(tmp_path, f"cifar_gamma_0.5_seed{seed}", [9] * 5 + [right] * 5, seed=seed, gamma=0.5)
    write_run(tmp_path, "cifar_gamma_2.0_seed0", [9] * 10, gamma=2.0)
    words = ["--runs", tmp_path / "runs", "--kept", tmp_path / "kept", "--out", tmp_path / "figures"]
    monkeypatch.setattr("sys.argv", ["cs7643_results.py", *map(str, words)])
    script.main()
    text = (tmp_path / "docs" / "models" / "cs7643.md").read_text()
    assert "| own model | 1,234 | 3 | 90.0 (n = 1) |" in text
    assert "| cross entropy | 50.0 ± 0.0 (n = 2) |  | 80.0 ± 0.0 (n = 2) | 20.0 ± 0.0 (n = 2) |" in text
    # Class-balanced: 55 and 65 %, 5 and 15 points above cross entropy, all of it in the smaller classes.
    gained = "60.0 ± 7.1 (n = 2) | +10.0 ± 7.1 (n = 2) | 80.0 ± 0.0 (n = 2) | 40.0 ± 14.1 (n = 2)"
    assert f"| class-balanced focal loss | {gained} |" in text
    assert "| class-balanced focal loss | 0.1 | 0.9 | 50.0 ± 5.0 | 80.0 | 20.0 |" in text
    assert "| cross entropy | 0.2 |  | 60.0 ± 4.9 | 60.0 | 60.0 |" in text
    assert "| 0.5 | 70.0 ± 7.1 (n = 2) | 90.0 ± 0.0 (n = 2) | 50.0 ± 14.1 (n = 2) |" in text
    assert "| 2.0 | 90.0 (n = 1) | 90.0 (n = 1) | 90.0 (n = 1) |" in text
    # The t statistic of +5 and +15 is 10 / 5 = 2; with one degree of freedom p = 1 - 2/π arctan 2.
    pair = "| class-balanced focal loss minus cross entropy | +5.0 | +15.0 | +10.0 ± 7.1 (n = 2) | 0.3 | 0.3 |"
    assert pair in text and text.count(" minus cross entropy | +") == 1  # the other losses have no runs yet
    assert "200 epochs): class-balanced focal loss minus cross entropy |  |  | +4.2 |  |  |" in text
    assert "| plane | 10 | 80.0 | 80.0 |" in text and "| truck | 1 | 20.0 | 40.0 |" in text
    with (tmp_path / "docs" / "results" / "cs7643_runs.csv").open(newline="") as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert len(rows) == 5 and rows["cifar_longtail_ce_seed1"]["truck"] == "0.2000"
    assert (tmp_path / "figures" / "cs7643_curves_mymodel.png").stat().st_size > 5_000
    assert not (tmp_path / "figures" / "cs7643_longtail.png").exists()  # what says that the study is whole
    for seed in range(3):
        for loss in script.LOSSES:
            if not (tmp_path / "runs" / f"cifar_longtail_{loss}_seed{seed}").exists():
                write_run(tmp_path, f"cifar_longtail_{loss}_seed{seed}", [5] * 10, seed=seed)
    script.main()
    assert (tmp_path / "figures" / "cs7643_longtail.png").stat().st_size > 5_000
    text = (tmp_path / "docs" / "models" / "cs7643.md").read_text()
    for path in (tmp_path / "runs").iterdir():  # what was measured stays when the runs are gone
        path.rename(tmp_path / path.name)
    write_run(tmp_path, "cifar_mymodel_seed1", [7] * 10, seed=1)
    script.main()
    expected = text.replace(
        "| own model | 1,234 | 3 | 90.0 (n = 1) |", "| own model | 1,234 | 3 | 80.0 ± 14.1 (n = 2) |"
    )
    assert (tmp_path / "docs" / "models" / "cs7643.md").read_text() == expected != text


def test_weights_and_errors_by_hand(script: ModuleType, tmp_path: Path) -> None:
    # Two sizes of class, 1 and 3 images at beta 0.9999: weights nearly as 3 to 1, together 10.
    line = {"run": "cifar_longtail_ce_seed0", "seed": 0, "training": [3] * 5 + [1] * 5}
    rows = script.weight_table([line]).splitlines()
    assert rows[-1] == "| 0.9999 | " + "0.50 | " * 5 + "1.50 | " * 5 + "0.75 | 96 |"  # (Σw)² / Σw² = 225 / 15 of 20
    assert script.error_table() == ""
    lines = [["loss", "images", "class", *script.CLASSES]]
    for loss in script.BALANCED.values():
        for images in ("training", "validation"):
            for c, name in enumerate(script.CLASSES):
                counts = [0] * 10
                counts[c], counts[0], counts[9] = 5, counts[0] + 4, counts[9] + 1
                lines.append([loss, images, name, *map(str, counts)])
    (tmp_path / "docs" / "results").mkdir()
    with (tmp_path / "docs" / "results" / "cs7643_confusions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    table = script.error_table()
    assert "| bird | 10 | 50.0 | 50.0 | 40.0 | 10.0 | 50.0 | 50.0 | 40.0 | 10.0 |" in table


def test_what_is_missing_is_told(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--runs", tmp_path / "runs", "--kept", tmp_path / "kept"]
    monkeypatch.setattr("sys.argv", ["cs7643_results.py", *map(str, words)])
    with pytest.raises(UserError, match="study_photos"):
        script.main()
    write_run(tmp_path, "cifar_twolayer_seed0", [1] * 10)
    (tmp_path / "kept" / "cifar_twolayer_seed0.npz").unlink()
    with pytest.raises(UserError, match="--evaluate first"):
        script.main()
