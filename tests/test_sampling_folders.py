"""hw2_p1.sh and hw2_p2.sh with the committed checkpoints, called as graders call them: one full run each.

The variants (threads, kernels, batch sizes) run on 32 images, which must be those of the full run.
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPO, assert_one_line, call, copy_repository, read_only, run_script
from PIL import Image

from dlcv.checkpoint import load_model
from dlcv.models.acgan import ACGANGenerator
from dlcv.models.sagan import SAGANGenerator
from dlcv.repro import noise
from dlcv.sampling import SEED, sample_digits, sample_images

NAMES = {
    "hw2_p1.sh": [f"{index:04d}.png" for index in range(1_000)],
    "hw2_p2.sh": [f"{digit}_{number:03d}.png" for digit in range(10) for number in range(1, 101)],
}
WRAPPERS = tuple(NAMES)
ROWS = {"hw2_p1.sh": range(32), "hw2_p2.sh": range(0, 1_000, 32)}  # of the variants
# SHA-256 of the decoded pixels of all images, in the order of their names. They change with the checkpoints alone.
PIXELS = {
    "hw2_p1.sh": "2d99d7584bcbe1f9d7c5e36f484e9e7c6121e5aeb4bee5c0fb0f652f9821d6e8",
    "hw2_p2.sh": "ef5efaa920024e73f34ea7f637211ea16f4dd810df4e516ceecd33d2190d58ce",
}


def read(folder: Path, wrapper: str) -> np.ndarray:
    pictures = []
    for name in NAMES[wrapper]:
        with Image.open(folder / name) as image:
            assert image.mode == "RGB"
            pictures.append(np.asarray(image))
    return np.stack(pictures)


def some(wrapper: str, batch_size: int = 8) -> np.ndarray:
    """The images of ROWS, computed here."""
    rows = torch.tensor(list(ROWS[wrapper]))
    if wrapper == "hw2_p1.sh":
        sagan = load_model(SAGANGenerator, REPO / "checkpoints" / "sagan.pth").double()
        return sample_images(sagan, noise(SEED, 1_000, sagan.config.latent_dim)[rows], batch_size)
    acgan = load_model(ACGANGenerator, REPO / "checkpoints" / "acgan.pth").double()
    return sample_digits(acgan, noise(SEED, 1_000, acgan.config.latent_dim)[rows], rows // 100, batch_size)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """hw2_p1.sh into a folder that is not there yet; hw2_p2.sh from a read-only clone with a strange name, elsewhere,
    over an old file and beside others."""
    work = tmp_path_factory.mktemp("graded")
    clone = copy_repository(work / "ein Klon 作業 ü")
    there = work / "there"
    there.mkdir()
    (there / "3_057.png").write_text("old")
    (there / "mine.txt").write_text("mine")
    with read_only(clone) as environment:
        for script, out in ((REPO / "hw2_p1.sh", "new ü/faces"), (clone / "hw2_p2.sh", "there")):
            result = call("bash", script, out, cwd=work, env=environment)
            assert result.returncode == 0 and result.stdout == result.stderr == "", result.stderr
    return {"hw2_p1.sh": work / "new ü" / "faces", "hw2_p2.sh": there}


@pytest.fixture(scope="module")
def pictures(folders: dict[str, Path]) -> dict[str, np.ndarray]:
    return {wrapper: read(folder, wrapper) for wrapper, folder in folders.items()}


def test_a_folder_holds_what_is_asked_for_and_what_was_there(folders: dict[str, Path]) -> None:
    assert {path.name for path in folders["hw2_p1.sh"].iterdir()} == set(NAMES["hw2_p1.sh"])
    assert {path.name for path in folders["hw2_p2.sh"].iterdir()} == {*NAMES["hw2_p2.sh"], "mine.txt"}
    assert (folders["hw2_p2.sh"] / "mine.txt").read_text() == "mine"
    assert {path.name for path in folders["hw2_p2.sh"].parent.iterdir()} == {"ein Klon 作業 ü", "new ü", "there"}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_pixels_are_those_of_every_machine(wrapper: str, pictures: dict[str, np.ndarray]) -> None:
    side = 64 if wrapper == "hw2_p1.sh" else 28
    assert pictures[wrapper].shape == (1_000, side, side, 3)
    assert hashlib.sha256(pictures[wrapper].tobytes()).hexdigest() == PIXELS[wrapper]


def test_the_reports_faces_are_the_wrappers(pictures: dict[str, np.ndarray]) -> None:
    with Image.open(REPO / "report" / "figures" / "sagan_faces.png") as image:
        picture = np.asarray(image)
    for index, face in enumerate(pictures["hw2_p1.sh"][:32]):
        top, left = 2 + index // 8 * 66, 2 + index % 8 * 66
        assert np.array_equal(picture[top : top + 64, left : left + 64], face)


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_same_pixels_in_every_batch_size(onednn: bool, batch_size: int, pictures: dict[str, np.ndarray]) -> None:
    for wrapper in WRAPPERS:
        with torch.backends.mkldnn.flags(enabled=onednn):
            images = some(wrapper, batch_size)
        assert np.array_equal(images, pictures[wrapper][list(ROWS[wrapper])])


@pytest.mark.parametrize("environment", [{"OMP_NUM_THREADS": "2"}, {"ONEDNN_MAX_CPU_ISA": "SSE41"}])
def test_same_pixels_in_every_environment(
    environment: dict[str, str], pictures: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """In a process of its own, for threads and kernels are chosen once."""
    code = "import sys, numpy as np, test_sampling_folders as t; np.savez(sys.argv[1], *map(t.some, t.WRAPPERS))"
    paths = f"{REPO / 'src'}:{REPO / 'tests'}"
    result = call("python3", "-c", code, tmp_path / "some.npz", env=environment | {"PYTHONPATH": paths})
    assert result.returncode == 0, result.stderr
    arrays = np.load(tmp_path / "some.npz")
    for index, wrapper in enumerate(WRAPPERS):
        assert np.array_equal(arrays[f"arr_{index}"], pictures[wrapper][list(ROWS[wrapper])])


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_mistakes_are_told_on_one_line(wrapper: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for arguments, code, message in (
        ([], 2, f"usage: bash {wrapper} DIR"),
        (["a", "b"], 2, "expected 1 argument, got 2"),
        (["-a"], 2, "a path that begins with - is written ./-a"),
        ([tmp_path / "file"], 1, "cannot write"),
    ):
        assert_one_line(run_script("bash", REPO / wrapper, *arguments, cwd=tmp_path), code, f"{wrapper}: ", message)
    assert (tmp_path / "file").read_text() == "mine"
