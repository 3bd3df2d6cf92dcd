"""What only a GPU shows: the wrappers' outputs are those of the CPU, and trainings resume to the same bits.

python3 -m pytest -m gpu        # skipped where PyTorch finds no GPU
"""

from pathlib import Path

import pytest
import torch
from conftest import REPO, SAMPLES, call, kill_after_first_save

from dlcv.checkpoint import read_checkpoint
from dlcv.trainer import read_save

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU on this machine"),
]
# Runs a script with deterministic algorithms only: it ends with an error where an operation has none.
DETERMINISTIC = (
    "import runpy, sys, torch; torch.use_deterministic_algorithms(True); sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
FACES = ["--batch-size", 4, "--latent-dim", 6, "--steps", 40, "--evaluate-every", 20]
TRAININGS: dict[str, tuple[str, list[object]]] = {  # script → fixture with its data, flags of a tiny training
    "train_vae.py": ("faces", [*FACES, "--width", 4]),
    "train_gan.py": ("faces", [*FACES, "--width", 4]),
    "train_sagan.py": ("faces", [*FACES, "--width", 8, "--width-d", 8]),
    "train_stylegan2.py": (
        "faces",
        ["--resolution", 16, "--begin", 8, "--steps", 40, "--grow-steps", 20, "--fade-steps", 5, "--batch-size", 4,
         "--latent-dim", 8, "--mapping-layers", 2, "--width", 0.05, "--evaluate-every", 20],
    ),
    "train_acgan.py": ("digits", [*FACES, "--width", 4, "--width-d", 4]),
    "train_dann.py": (
        "digits", ["--source", "svhn", "--target", "mnistm", "--steps", 40, "--batch-size", 8, "--width", 4]
    ),
    "train_uda.py": (
        "digits",
        ["--source", "usps", "--target", "svhn", "--steps", 40, "--batch-size", 8, "--target-batch-size", 6,
         "--width", 4, "--threshold", 0, "--warmup", 0],
    ),
    "train_autoencoder.py": ("arrays", ["--steps", 40, "--batch-size", 10, "--evaluate-every", 20]),
    "train_cifar_cnn.py": ("arrays", ["--epochs", 10, "--batch-size", 16]),
    "train_flowers.py": (
        "flowers",
        ["--size", 16, "--channels", 8, "--latent-dim", 5, "--batch-size", 3, "--epochs", 10],
    ),
}  # fmt: skip
WITHOUT_GPU = {"CUDA_VISIBLE_DEVICES": ""}


@pytest.mark.parametrize("wrapper", ["hw3_p3.sh", "hw3_p4.sh", "hw2_p3.sh", "hw2_bonus.sh"])
@pytest.mark.parametrize("domain", ["svhn", "mnistm", "usps"])
def test_rows_are_those_of_the_cpu(wrapper: str, domain: str, tmp_path: Path) -> None:
    for name, env in (("gpu.csv", {}), ("cpu.csv", WITHOUT_GPU)):
        result = call("bash", REPO / wrapper, SAMPLES, domain, tmp_path / name, env=env)
        assert result.returncode == 0, result.stderr
    assert (tmp_path / "gpu.csv").read_bytes() == (tmp_path / "cpu.csv").read_bytes()


@pytest.mark.parametrize("wrapper", ["hw3_p1.sh", "hw3_p2.sh", "hw2_p1.sh", "hw2_p2.sh"])
def test_pixels_are_those_of_the_cpu(wrapper: str, tmp_path: Path) -> None:
    suffix = ".png" if wrapper.startswith("hw3") else ""
    contents = []
    for name, env in (("gpu", {}), ("cpu", WITHOUT_GPU)):
        out = tmp_path / f"{name}{suffix}"
        result = call("bash", REPO / wrapper, out, env=env)
        assert result.returncode == 0, result.stderr
        files = [out] if out.is_file() else sorted(out.iterdir())
        contents.append([(path.name.removeprefix(name), path.read_bytes()) for path in files])
    assert contents[0] == contents[1]


@pytest.mark.parametrize("bf16", [True, False], ids=["bf16", "float32"])
@pytest.mark.parametrize("script", TRAININGS)
def test_a_resumed_training_ends_with_the_same_bits(
    script: str, bf16: bool, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixture, flags = TRAININGS[script]
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what makes cuBLAS deterministic
    words = ["-c", DETERMINISTIC, REPO / "train" / script, "--data", request.getfixturevalue(fixture), *flags]
    if "bf16" in (REPO / "train" / script).read_text(encoding="utf-8"):
        words.append("--bf16" if bf16 else "--no-bf16")
    elif bf16:
        pytest.skip(f"{script} has no bfloat16")
    result = call("python3", *words, "--out", tmp_path / "whole")
    assert result.returncode == 0, result.stderr
    parts = tmp_path / "parts"
    kill_after_first_save(parts, *words, "--out", parts, "--save-seconds", 0.001)
    step = read_save(parts / "last.pt")["step"]
    result = call("python3", *words, "--out", parts, "--resume")
    assert result.returncode == 0, result.stderr
    a, b = (read_checkpoint(tmp_path / name / "model.pth") for name in ("whole", "parts"))
    assert 0 < step < a["provenance"]["step"]
    assert all(torch.equal(value, b["weights"][name]) for name, value in a["weights"].items())
