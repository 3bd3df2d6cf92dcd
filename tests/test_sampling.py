"""hw3_p1.sh and hw3_p2.sh with the committed checkpoints, called as graders call them."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import REPO, assert_one_line, call, read_only, run_in_one_process, run_script
from PIL import Image

from dlcv.checkpoint import load_model
from dlcv.models.gan import Generator
from dlcv.models.vae import VAE
from dlcv.repro import noise
from dlcv.sampling import SEED, sample_images

WRAPPERS = ("hw3_p1.sh", "hw3_p2.sh")
FIGURES = {"hw3_p1.sh": "fig1_4.png", "hw3_p2.sh": "fig2_2.png"}
# SHA-256 of the decoded pixels. They change with the checkpoints, and with nothing else.
PIXELS = {
    "hw3_p1.sh": "b2b8655818b87c82c7283dbdc9088217558fee9197f6261c63175421ac966d19",
    "hw3_p2.sh": "95f67f4eda244cff8f76e07cc08d4cf442cecd74e9499c8df2a9082f8302f766",
}


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def digest(picture: np.ndarray) -> str:
    return hashlib.sha256(picture.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    folder = tmp_path_factory.mktemp("samples")
    for wrapper in WRAPPERS:
        result = call("bash", REPO / wrapper, folder / f"{wrapper}.png")
        assert result.returncode == 0 and result.stdout == result.stderr == "", result.stderr
    return {wrapper: pixels(folder / f"{wrapper}.png") for wrapper in WRAPPERS}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_pixels_are_those_of_every_machine_and_of_the_report(wrapper: str, pictures: dict[str, np.ndarray]) -> None:
    assert pictures[wrapper].shape == (4 * 66 + 2, 8 * 66 + 2, 3)
    assert digest(pictures[wrapper]) == PIXELS[wrapper]
    assert np.array_equal(pictures[wrapper], pixels(REPO / "report" / "figures" / FIGURES[wrapper]))


@pytest.mark.parametrize(
    "environment", [{"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "2"}, {"ONEDNN_MAX_CPU_ISA": "SSE41"}]
)
def test_same_pixels_in_every_environment(
    environment: dict[str, str], pictures: dict[str, np.ndarray], tmp_path: Path
) -> None:
    """In a process of its own for each, where both wrappers run: threads and kernels are chosen once."""
    result = run_in_one_process(
        [["bash", REPO / wrapper, tmp_path / f"{wrapper}.png"] for wrapper in WRAPPERS], environment
    )
    assert result.returncode == 0, result.stderr
    for wrapper in WRAPPERS:
        assert np.array_equal(pixels(tmp_path / f"{wrapper}.png"), pictures[wrapper])


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_same_pixels_in_every_batch_size(onednn: bool, batch_size: int, pictures: dict[str, np.ndarray]) -> None:
    vae = load_model(VAE, REPO / "checkpoints" / "vae.pth").double()
    gan = load_model(Generator, REPO / "checkpoints" / "gan.pth").double()
    for wrapper, generate, latent_dim in (
        ("hw3_p1.sh", lambda z: vae.sample(z) * 2 - 1, vae.config.latent_dim),
        ("hw3_p2.sh", gan, gan.config.latent_dim),
    ):
        with torch.backends.mkldnn.flags(enabled=onednn):
            images = sample_images(generate, noise(SEED, 32, latent_dim), batch_size)
        for index, image in enumerate(images):
            top, left = 2 + index // 8 * 66, 2 + index % 8 * 66
            assert np.array_equal(image, pictures[wrapper][top : top + 64, left : left + 64])


def test_from_elsewhere_with_strange_paths(repo_copy: Path, pictures: dict[str, np.ndarray], tmp_path: Path) -> None:
    """A read-only clone in a folder with a strange name; relative and absolute paths; new folders."""
    clone = repo_copy.rename(tmp_path / "ein Klon 作業 ü")
    workplace = tmp_path / "some where"
    workplace.mkdir()
    with read_only(clone) as environment:
        for wrapper, out in (("hw3_p1.sh", "a b/ö.PNG"), ("hw3_p2.sh", str(tmp_path / "absolute.png"))):
            result = call("bash", f"../{clone.name}/{wrapper}", out, cwd=workplace, env=environment)
            assert result.returncode == 0, result.stderr
            assert np.array_equal(pixels(workplace / out), pictures[wrapper])


def test_jpg(pictures: dict[str, np.ndarray], tmp_path: Path) -> None:
    assert run_script("bash", REPO / "hw3_p2.sh", "o.jpg", cwd=tmp_path).returncode == 0
    with Image.open(tmp_path / "o.jpg") as image:
        assert image.format == "JPEG"
    difference = np.abs(pixels(tmp_path / "o.jpg").astype(int) - pictures["hw3_p2.sh"])
    assert 0 < difference.mean() < 6  # JPEG's error


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_mistakes_are_told_on_one_line(wrapper: str, tmp_path: Path) -> None:
    (tmp_path / "out.gif").write_text("mine")
    for arguments, code, message in (
        ([], 2, f"usage: bash {wrapper} OUT"),
        (["a.png", "b.png"], 2, "expected 1 argument, got 2"),
        ([tmp_path / "out.gif"], 1, "must end in .png or .jpg"),
        ([tmp_path], 1, "must end in .png or .jpg"),
        ([tmp_path / "out.gif" / "o.png"], 1, "cannot write"),
        (["--help.png"], 2, "--help.png: no such option; a path that begins with - is written ./--help.png"),
        ([""], 2, "a path is empty"),
    ):
        assert_one_line(run_script("bash", REPO / wrapper, *arguments, cwd=tmp_path), code, f"{wrapper}: ", message)
    assert (tmp_path / "out.gif").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"out.gif"}
