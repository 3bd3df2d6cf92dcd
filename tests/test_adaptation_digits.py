"""report/adaptation_digits.py: the same digits as three networks read them, in one picture."""

from pathlib import Path

import torch
from conftest import REPO, assert_one_line, run_script
from PIL import Image

from dlcv.checkpoint import save_checkpoint
from dlcv.models.digit_net import DigitNet, DigitNetConfig


def test_draws_both_pairs_and_says_what_is_missing(digits: Path, tmp_path: Path) -> None:
    command = ["python3", REPO / "report" / "adaptation_digits.py", "--data", digits, "--runs", tmp_path / "runs"]
    command += ["--out", tmp_path / "figures"]
    assert_one_line(run_script(*command), 1, "adaptation_digits.py", "dann_usps_mnistm_source_seed0", "train it first")
    torch.manual_seed(0)
    for pair in ("usps_mnistm", "mnistm_svhn"):
        path = tmp_path / "runs" / f"dann_{pair}_source_seed0" / "model.pth"
        path.parent.mkdir(parents=True)
        save_checkpoint(path, DigitNet(DigitNetConfig(width=4)), {})
    result = run_script(*command)
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "figures" / "adaptation.png") as image:
        pixels = image.convert("RGB")
        colours = {colour for _, colour in pixels.getcolors(1 << 24) or []}
    assert pixels.width > 1000 and (0xD5, 0x5E, 0x00) in colours  # an untrained network reads some digits differently
