"""The own network's ablations: every variant is trained once, what is in the csv is not trained again."""

from pathlib import Path

import pytest
from conftest import load_script

from dlcv.files import read_rows, write_rows


def test_every_variant_is_trained_and_kept(arrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script("ablate_my_model", monkeypatch)
    monkeypatch.setattr(script, "RECIPES", {"mymodel": script.RECIPES["mymodel"] | {"batch_size": 8}})
    monkeypatch.setattr(script, "SHORT", {"patch": 0, "validation": 6})
    monkeypatch.setattr(script, "VARIANTS", {
        title: (switches | {"widths": (4, 4, 6, 8)}, values) for title, (switches, values) in script.VARIANTS.items()
    })  # fmt: skip
    out = tmp_path / "ablations.csv"
    words = ["ablate_my_model.py", "--data", str(arrays), "--steps", "1", "--out", str(out)]
    monkeypatch.setattr("sys.argv", words)
    networks = dict(script.part2.MODELS)
    try:
        script.main()
        rows = read_rows(out)
        assert len(rows) == len(script.VARIANTS) + 4 and {row["variant"] for row in rows} == set(script.VARIANTS)
        free = {row["variant"]: int(row["parameters"]) for row in rows}
        assert free[script.ORDINARY] > 1.8 * free[script.WHOLE]
        assert all(0 <= float(row["validation_accuracy"]) <= 1 for row in rows)
        write_rows(out, rows[1:])
        script.main()
        assert read_rows(out)[:-1] == rows[1:] and read_rows(out)[-1]["variant"] == script.WHOLE
    finally:
        script.part2.MODELS.update(networks)
