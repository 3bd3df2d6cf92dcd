"""dlcv.metrics against torch-fidelity on the same features, and at known limits."""

import http.server
import importlib
import shutil
import threading
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from conftest import REPO, SAMPLES, assert_one_line, call, run_script
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

from dlcv import metrics
from dlcv.cli import UsageError, UserError
from dlcv.data.folders import list_images, read_images


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.RandomState(0)
    mixing = rng.randn(32, 32)
    return rng.randn(400, 32) @ mixing, rng.randn(300, 32) @ (mixing + 0.2 * rng.randn(32, 32)) + 0.5


def test_frechet_distance_is_torch_fidelitys(pair: tuple[np.ndarray, np.ndarray]) -> None:
    statistics = [fid_features_to_statistics(torch.from_numpy(part)) for part in pair]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert metrics.frechet_distance(*pair) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_at_its_limits(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, _ = pair
    assert metrics.frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    assert metrics.frechet_distance(a, a + 2.0) == pytest.approx(32 * 4.0)  # only the mean moved
    few = a[:20]  # fewer points than dimensions: singular covariances
    assert metrics.frechet_distance(few, few) == pytest.approx(0, abs=1e-7 * np.trace(np.cov(few.T)))
    twice = [np.concatenate([x, x], axis=1) for x in pair]  # enough points, and singular all the same
    assert metrics.frechet_distance(*twice) == pytest.approx(2 * metrics.frechet_distance(*pair), rel=1e-6)
    one = np.random.RandomState(1).randn(100_000, 1)
    assert metrics.frechet_distance(one, 3 * one) == pytest.approx(4.0, rel=0.02)  # (3 - 1)² in one dimension


def test_kernel_distance_is_torch_fidelitys(pair: tuple[np.ndarray, np.ndarray]) -> None:
    expected = kid_features_to_metric(
        torch.from_numpy(pair[0]), torch.from_numpy(pair[1]), kid_subsets=20, kid_subset_size=200, rng_seed=5,
        verbose=False,
    )  # fmt: skip
    mean, deviation = metrics.kernel_distance(*pair, subsets=20, subset_size=200, seed=5)
    assert mean == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-6)
    assert deviation == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-6)


def test_kernel_distance_of_the_same_source_is_none() -> None:
    rng = np.random.RandomState(0)
    mean, _ = metrics.kernel_distance(rng.randn(2_000, 8), rng.randn(2_000, 8), subsets=20)
    assert abs(mean) < 0.01


def test_kernel_distance_of_no_more_images_than_a_subset_takes() -> None:
    rng = np.random.RandomState(5)
    a, b = rng.randn(300, 8), rng.randn(300, 8)
    assert metrics.kernel_distance(a, b) == metrics.kernel_distance(a, b, subset_size=150)  # half of them
    assert metrics.kernel_distance(a, b)[1] > 1e-3
    for few in (a[:3], a[:1]):
        with pytest.raises(UserError, match="at least four"):
            metrics.kernel_distance(few, b)


def test_precision_and_recall_at_their_limits(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, _ = pair
    assert metrics.precision_recall(a, a) == (1.0, 1.0)
    assert metrics.precision_recall(a, a + 1e6) == (0.0, 0.0)
    collapsed = np.repeat(a[:1], 100, axis=0)  # a mode that is real, and only one
    precision, recall = metrics.precision_recall(a, collapsed)
    assert precision == 1.0 and recall <= 4 / len(a)


def test_precision_by_hand() -> None:
    """Real points 0, 1, 2, 3 on a line, k = 1: each covers a radius of 1."""
    real = np.array([[0.0], [1.0], [2.0], [3.0]])
    fake = np.array([[3.9], [4.1], [-0.3], [-0.7], [7.0], [7.5]])  # their radii: 0.2, 0.2, 0.4, 0.4, 0.5, 0.5
    assert metrics.precision_recall(real, fake, k=1) == (3 / 6, 1 / 4)


def test_share_above_by_hand() -> None:
    assert metrics.share_above(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 2.0, 3.0])) == pytest.approx(3 / 6)
    assert metrics.share_above(torch.arange(4.0) + 9, torch.arange(9.0)) == 1


def test_efficientnet_features() -> None:
    images = read_images(SAMPLES, list_images(SAMPLES)[:6], 28)
    features = metrics.efficientnet_lite0()
    a = metrics.extract(features, images, batch_size=6)
    assert a.shape == (6, 1280) and a.dtype == np.float64 and (a >= 0).all() and a.std() > 0
    assert np.allclose(a, metrics.extract(features, images, batch_size=4), atol=1e-4)


def test_foreign_weights_are_not_called_fid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / "pt_inception-2015-12-05-6726825d.pth").write_bytes(b"something else")
    with pytest.raises(UserError, match="not the official file"):
        metrics.inception()


def test_weights_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(metrics, "INCEPTION_URL", "http://127.0.0.1:9/pt_inception.pth")
    with pytest.raises(UserError, match="--features efficientnet"):
        metrics.inception()
    assert not list(tmp_path.rglob("*.pth"))


def test_a_download_that_breaks_off_is_one_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Half(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 500)

        def log_message(self, *_: object) -> None: ...

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with http.server.HTTPServer(("127.0.0.1", 0), Half) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        monkeypatch.setattr(metrics, "INCEPTION_URL", f"http://127.0.0.1:{server.server_port}/pt_inception.pth")
        with pytest.raises(metrics.Unavailable, match="500 bytes read, 500 more expected"):
            metrics.inception()
    assert not list(tmp_path.rglob("*.pth"))


def test_inception_score_is_torch_fidelitys() -> None:
    logits = torch.randn(203, 12, generator=torch.Generator().manual_seed(0)).double() * 3
    expected = isc_features_to_metric(logits, splits=7)  # which shuffles, too
    mean, deviation = metrics.inception_score(logits.softmax(1).numpy(), splits=7)
    assert mean == pytest.approx(expected["inception_score_mean"], rel=1e-9)
    assert deviation == pytest.approx(expected["inception_score_std"], rel=1e-6)


def test_inception_score_at_its_limits() -> None:
    one = np.eye(10)[np.full(40, 3)]
    assert metrics.inception_score(one, splits=4) == (1.0, 0.0)  # always the same class
    unsure = np.full((40, 10), 0.1)
    assert metrics.inception_score(unsure, splits=4)[0] == pytest.approx(1.0)
    all_classes = np.eye(10)[np.arange(40) % 10]
    assert metrics.inception_score(all_classes, splits=1)[0] == pytest.approx(10.0)
    by_class = metrics.inception_score(np.eye(10)[np.arange(40) // 4], splits=4)[0]
    assert by_class > 0.6 * metrics.inception_score(all_classes, splits=4)[0]  # whatever the order of the files
    with pytest.raises(ValueError, match="cannot be cut"):
        metrics.inception_score(one[:3], splits=4)


def test_class_entropies_at_their_limits() -> None:
    """One class: both 0. Unsure: both ln C. All classes, surely: ln C and 0. Their difference is ln of the score."""
    one, unsure, every = np.eye(10)[np.full(40, 3)], np.full((40, 10), 0.1), np.eye(10)[np.arange(40) % 10]
    assert metrics.class_entropies(one) == pytest.approx((0, 0))
    assert metrics.class_entropies(unsure) == pytest.approx((np.log(10), np.log(10)))
    assert metrics.class_entropies(every) == pytest.approx((np.log(10), 0))
    some = np.random.RandomState(0).dirichlet(np.ones(7), 50)
    entropy, conditional = metrics.class_entropies(some)
    assert np.exp(entropy - conditional) == pytest.approx(metrics.inception_score(some, splits=1)[0])


def test_a_folder_against_itself(tmp_path: Path) -> None:
    """The command: distance 0, names that say what was measured, the reference's features kept."""
    command = ["python3", REPO / "inference" / "evaluate_images.py", "--features", "efficientnet"]
    folder = tmp_path / "images ü"
    folder.mkdir()
    for name in list_images(SAMPLES)[:12]:
        shutil.copy(SAMPLES / name, folder)
    result = call(*command, folder, "--reference", folder, "--cache", tmp_path / "cache")
    assert result.returncode == 0, result.stderr
    first, second, _, third = result.stdout.splitlines()
    assert first == "FD-EffNetLite0: 0.00" and second.startswith("IS-EffNetLite0: ")
    assert third.startswith("12 images against 12, read as 64x64") and "FID: " not in result.stdout
    assert 1 < float(second.split()[1]) < 13 and len(list((tmp_path / "cache").iterdir())) == 1
    for words, message in (
        ([tmp_path / "none", "--reference", folder], "no such directory"),
        ([folder, "--reference", tmp_path], "no images"),
    ):
        assert_one_line(run_script(*command, *words), 1, message)


@pytest.fixture
def evaluate_images(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """inference/evaluate_images.py as a module whose networks are small stand-ins."""
    monkeypatch.syspath_prepend(str(REPO / "inference"))
    module = importlib.import_module("evaluate_images")

    def means(images: torch.Tensor) -> torch.Tensor:
        return images.float().mean((2, 3))  # (B, 3)

    def classes(images: torch.Tensor) -> torch.Tensor:
        return (images.float().mean((2, 3)) / 20).softmax(1)

    monkeypatch.setattr(metrics, "inception", lambda: means)
    monkeypatch.setattr(metrics, "inception_classifier", lambda: classes)
    return module


def run_main(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr("sys.argv", ["evaluate_images.py", *map(str, words)])
    module.main()


@pytest.fixture
def two_folders(tmp_path: Path) -> tuple[Path, Path]:
    folders = tmp_path / "a", tmp_path / "b"
    for folder, names in zip(folders, (list_images(SAMPLES)[:14], list_images(SAMPLES)[20:40]), strict=True):
        folder.mkdir()
        for name in names:
            shutil.copy(SAMPLES / name, folder)
    return folders


def test_official_names_are_the_official_networks_numbers(
    evaluate_images: ModuleType, two_folders: tuple[Path, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """FID and IS are the arithmetic on what the two networks say of the folders' images, and go into the csv."""
    a, b = two_folders
    run_main(evaluate_images, monkeypatch, a, "--reference", b, "--cache", tmp_path / "c", "--csv", tmp_path / "s.csv")
    first, second, entropies, third = capsys.readouterr().out.splitlines()
    means = [read_images(f, list_images(f), 64).double().mean((2, 3)).numpy() for f in (a, b)]
    assert float(first.removeprefix("FID: ")) == pytest.approx(metrics.frechet_distance(*means), rel=1e-3)
    score = metrics.inception_score(torch.from_numpy(means[0] / 20).softmax(1).numpy())
    assert second == f"IS: {score[0]:.3f} ± {score[1]:.3f} (10 parts)"
    assert entropies.startswith("entropies in nats: H(y) ")
    assert "14 images against 20" in third and "bilinear to 299" in third and "6726825d" in third
    line = (tmp_path / "s.csv").read_text().splitlines()[1]
    assert ",a,14,20,FID," in line and ",IS," in line
    run_main(evaluate_images, monkeypatch, a, "--reference", b, "--cache", tmp_path / "c", "--limit", 12)
    assert "12 images against 20" in capsys.readouterr().out
    with pytest.raises(UsageError, match="holds 14 images"):
        run_main(evaluate_images, monkeypatch, a, "--reference", b, "--limit", 15)


def test_each_official_network_is_used_by_itself(
    evaluate_images: ModuleType, two_folders: tuple[Path, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def absent() -> metrics.Features:
        raise metrics.Unavailable("IS needs weights")

    monkeypatch.setattr(metrics, "inception_classifier", absent)
    a, b = two_folders
    run_main(evaluate_images, monkeypatch, a, "--reference", b, "--cache", tmp_path / "c")
    output = capsys.readouterr().out
    assert "IS needs weights" in output and "\nFID: " in output
    assert "\nIS-EffNetLite0: " in output and "\nIS: " not in output

    def damaged() -> metrics.Features:
        raise UserError("x.pth is not the official file")

    monkeypatch.setattr(metrics, "inception", damaged)
    with pytest.raises(UserError, match="not the official file"):
        run_main(evaluate_images, monkeypatch, a, "--reference", b, "--cache", tmp_path / "c")


def test_a_damaged_or_unwritable_cache_costs_time_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8)

    def means(batch: torch.Tensor) -> torch.Tensor:
        return batch.float().mean((2, 3))

    wanted = metrics.kept_features("means", means, images, tmp_path)
    (kept,) = tmp_path.glob("means-*.npy")
    for damage in (b"", b"not numpy", kept.read_bytes()[:-20]):
        kept.write_bytes(damage)
        assert np.array_equal(metrics.kept_features("means", means, images, tmp_path), wanted)
        assert np.array_equal(np.load(kept), wanted)
    (tmp_path / "file").write_text("")
    assert np.array_equal(metrics.kept_features("means", means, images, tmp_path / "file" / "cache"), wanted)
    assert "features are not kept" in capsys.readouterr().err
