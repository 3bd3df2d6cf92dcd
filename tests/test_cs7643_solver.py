"""part2/solver.py, its own network, the recipes and their yaml files, and train/train_cifar.py on tiny data."""

import ast
import copy
import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import REPO, assert_one_line, call, kill_after_first_save, run_script

from dlcv.checkpoint import read_manifest
from dlcv.cs7643 import recipes
from dlcv.cs7643.part2.models import MyModel, TwoLayerNet, VanillaCNN
from dlcv.cs7643.part2.models.my_model import MirrorConv2d
from dlcv.cs7643.part2.solver import Solver, long_tail
from dlcv.trainer import read_save

PART2 = REPO / "src" / "dlcv" / "cs7643" / "part2"
SCRIPT = REPO / "train" / "train_cifar.py"


@pytest.fixture(scope="module")
def data(arrays: Path) -> dict[str, np.ndarray]:
    file = np.load(arrays / "cifar10.npz")
    return {"images": file["train_images"], "labels": file["train_labels"]}


def tiny(data: dict[str, np.ndarray], **more: object) -> Solver:
    return Solver(**data, **({"validation": 6, "batch_size": 9, "epochs": 2, "save_best": False} | more))


def test_one_update_is_torchs(data: dict[str, np.ndarray]) -> None:
    solver = tiny(data, learning_rate=0.05, model="VanillaCNN")
    x, y = solver._batch(0)
    reference = copy.deepcopy(solver.model)
    loss = torch.nn.functional.cross_entropy(reference(x), y)
    optimizer = torch.optim.SGD(reference.parameters(), 0.05, momentum=0.9, weight_decay=5e-4)
    loss.backward()
    optimizer.step()
    solver.model.train()
    output, ours = solver._compute_loss_update_params(x, y)
    assert output.shape == (9, 10) and ours.item() == pytest.approx(loss.item(), abs=1e-6)
    for a, b in zip(solver.model.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-7)


def test_nothing_is_updated_in_eval_mode(data: dict[str, np.ndarray]) -> None:
    solver = tiny(data, learning_rate=0.05)
    solver.model.eval()
    before = {name: tensor.clone() for name, tensor in solver.model.state_dict().items()}
    output, loss = solver._compute_loss_update_params(*solver._batch(0))
    assert not output.requires_grad and not loss.requires_grad
    assert all(torch.equal(before[name], tensor) for name, tensor in solver.model.state_dict().items())


def test_learning_rates(data: dict[str, np.ndarray]) -> None:
    def rates(**more: object) -> list[float]:
        solver = tiny(data, learning_rate=1.0, **more)
        assert solver.steps_per_epoch == 6
        learning_rates = []
        for step in range(solver.epochs * 6):
            solver._adjust_learning_rate(step / 6)
            learning_rates.append(solver.optimizer.param_groups[0]["lr"])
        return learning_rates

    assert rates(epochs=5, steps=[2, 4], warmup=0)[::6] == [1.0, 1.0, 0.1, 0.1, 0.01]
    assert rates(epochs=4, steps=[3, 4], warmup=2)[::6] == [0.5, 1.0, 1.0, 0.1]
    up_and_down = rates(epochs=10, schedule="triangular")
    assert max(up_and_down) == up_and_down[12] == 1.0 and up_and_down[0] == 0.2 and up_and_down[-1] < 0.03


def test_validation_images_are_not_trained_on(data: dict[str, np.ndarray]) -> None:
    solver = tiny(data)
    assert len(solver.val_images) == 6 and len(solver.train_images) == 54
    flat = [images.flatten(1).tolist() for images in (solver.train_images, solver.val_images)]
    assert not {tuple(row) for row in flat[0]} & {tuple(row) for row in flat[1]}
    assert sum(solver.cls_num_list) == 54
    for step in range(6):
        assert len(solver._batch(step)[0]) == 9
    everything = tiny(data, validation=0)
    assert len(everything.train_images) == 60 and everything._evaluate(0)[0] == 0.0


def test_a_patch_shows_a_square_of_another_image(data: dict[str, np.ndarray]) -> None:
    """Outside of the square each image is as without it; inside it is the batch's image before it. Labels stay."""
    images, labels = tiny(data, validation=0)._batch(0)
    patched, labels_too = tiny(data, validation=0, patch=10)._batch(0)
    assert torch.equal(labels, labels_too)
    corners = set()
    for number, (image, plain) in enumerate(zip(patched, images, strict=True)):
        changed = (image != plain).any(0)
        rows, columns = changed.any(1).nonzero().flatten(), changed.any(0).nonzero().flatten()
        top, left = int(rows[0]), int(columns[0])
        assert rows[-1] - top < 10 and columns[-1] - left < 10 and changed.sum() > 50
        inside = torch.where(changed, image, images[number - 1])
        assert torch.equal(inside, images[number - 1])
        corners.add((top, left))
    assert len(corners) > 5


def test_batches_are_the_images_of_their_labels(data: dict[str, np.ndarray]) -> None:
    """Without augmentation the rows themselves; with it each image is its own, moved by up to 4 pixels or mirrored."""
    plain, moved = tiny(data, augment=False, validation=0), tiny(data, augment=True, validation=0)
    rows = torch.randperm(60, generator=torch.Generator().manual_seed(0))[:9]  # seed 0, epoch 0
    images, labels = plain._batch(0)
    assert torch.equal(images, plain._normalise(plain.train_images[rows])) and torch.equal(
        labels, plain.train_labels[rows]
    )
    mirrored = 0
    for image, row in zip(moved._batch(0)[0], rows, strict=True):
        framed = torch.nn.functional.pad(moved.train_images[row], (4, 4, 4, 4))
        flips = [
            flip
            for flip in (False, True)
            for down in range(9)
            for right in range(9)
            if torch.equal(
                image,
                moved._normalise((framed.flip(2) if flip else framed)[None, :, down : down + 32, right : right + 32])[
                    0
                ],
            )
        ]
        assert flips, "an image that is none of its source"
        mirrored += all(flips)
    assert 0 < mirrored < 9


def test_the_skeletons_names_work(data: dict[str, np.ndarray]) -> None:
    a, b = tiny(data, learning_rate=0.05), tiny(data, learning_rate=0.05)
    a.train()
    for epoch in range(2):
        b._train_step(epoch)
        accuracy, matrix = b._evaluate(epoch)
        assert 0 <= accuracy <= 1 and matrix.shape == (10, 10)
    assert all(torch.equal(x, y) for x, y in zip(a.model.parameters(), b.model.parameters(), strict=True))
    assert b._check_accuracy(torch.eye(4), torch.tensor([0, 1, 2, 0])).item() == 0.75
    a._reset()
    assert a.best_model is None and a.best_cm is None


def test_every_image_comes_once_an_epoch(data: dict[str, np.ndarray]) -> None:
    solver = tiny(data)
    labels = torch.cat([solver._batch(step)[1] for step in range(6)])
    assert torch.equal(labels.sort().values, solver.train_labels.sort().values)
    a, b = solver._batch(3)[0], solver._batch(3)[0]
    assert torch.equal(a, b)


def test_long_tail_is_exponential() -> None:
    labels = np.random.RandomState(1).permutation(np.repeat(np.arange(10), 500))
    rows = long_tail(labels, 100)
    counts = np.bincount(labels[rows])
    assert counts[0] == 500 and counts[9] == 5 and np.all(np.diff(counts) < 0)
    assert np.allclose(counts, 500 * 100 ** (-np.arange(10) / 9), atol=1)
    assert np.array_equal(rows, long_tail(labels, 100)) and len(set(rows)) == len(rows)
    assert np.bincount(labels[long_tail(labels, 1)]).tolist() == [500] * 10


def test_class_weights_follow_the_long_tail(data: dict[str, np.ndarray]) -> None:
    images = np.repeat(data["images"], 20, axis=0)
    labels = np.repeat(np.arange(10), 120)
    solver = Solver(
        images=images, labels=labels, imbalance="imbalance", imbalance_factor=10, loss_type="Focal", beta=0.99,
        gamma=1.0, model="ResNet-32", validation=100,
    )  # fmt: skip
    weight = solver.criterion.weight
    assert weight.argmin() == 0 and weight.argmax() == 9 and weight.sum().item() == pytest.approx(10, abs=1e-4)
    assert solver.criterion.gamma == 1.0


def test_mirror_convolution_is_an_ordinary_one_with_mirrored_filters() -> None:
    layer = MirrorConv2d(6, 10).double()
    x = torch.randn(2, 6, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mirrored = layer.weight.flip(3).roll(3, 1)
    expected = torch.nn.functional.conv2d(x, torch.cat([layer.weight, mirrored]), padding=1)
    assert torch.allclose(layer(x), expected, atol=1e-12)


@pytest.mark.parametrize("training", [False, True], ids=["evaluating", "training"])
def test_my_model_gives_mirrored_images_the_same_logits(training: bool) -> None:
    model = MyModel().double().train(training)
    x = torch.randn(3, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(model(x), model(x.flip(3)), atol=1e-9)
        assert not torch.allclose(model(x), model(x.flip(2)), atol=1e-3)  # upside down is another image


def test_the_ablation_with_ordinary_filters_averages_over_mirrored_images() -> None:
    model = MyModel(mirror=False).eval()
    x = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(model(x), model(x.flip(3)), atol=1e-6)
        model.train()
        assert model(x).shape == (3, 10) and not torch.allclose(model(x), model(x.flip(3)), atol=1e-6)


def test_the_first_steps_see_small_images(data: dict[str, np.ndarray]) -> None:
    solver = tiny(data, model="MyModel", validation=0, epochs=2, small=16, small_until=0.5)
    sides: list[int] = []
    solver.model.register_forward_pre_hook(lambda _, inputs: sides.append(inputs[0].shape[-1]))
    steps = 2 * solver.steps_per_epoch
    for step in range(steps):
        solver.update(step)
    assert sides == [16] * (steps // 2) + [32] * (steps - steps // 2)


def test_bad_values_are_refused(data: dict[str, np.ndarray]) -> None:
    for more in ({"model": "VGG"}, {"loss_type": "MSE"}, {"schedule": "cosine"}):
        with pytest.raises(ValueError, match=next(iter(more))):
            tiny(data, **more)


def test_the_published_networks_are_those_of_the_manifest() -> None:
    folder = PART2 / "checkpoints"
    networks = {"twolayernet.pth": TwoLayerNet(3072, 256, 10), "vanillacnn.pth": VanillaCNN(), "mymodel.pth": MyModel()}
    manifest = read_manifest(folder / "MANIFEST")
    assert set(manifest) == set(networks)
    for name, network in networks.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == manifest[name]
        network.load_state_dict(torch.load(folder / name, weights_only=True))


def test_configurations_are_the_recipes() -> None:
    assert {path.name for path in recipes.CONFIGS.glob("*.yaml")} == {f"config_{n}.yaml" for n in recipes.RECIPES}
    for name in recipes.RECIPES:
        text = (recipes.CONFIGS / f"config_{name}.yaml").read_text()
        assert text == recipes.as_yaml(name), "run: python -m dlcv.cs7643.recipes"
        flat = {key: value for section in yaml.safe_load(text).values() for key, value in section.items()}
        assert flat == recipes.Recipe(**recipes.RECIPES[name]).solver_arguments()  # type: ignore[arg-type]
    course = recipes.Recipe(**recipes.RECIPES["twolayer"]).solver_arguments()  # type: ignore[arg-type]
    wanted = {"batch_size": 128, "epochs": 10, "steps": [6, 8], "reg": 5e-4, "momentum": 0.9, "learning_rate": 1e-4}
    assert wanted.items() <= course.items()


def test_the_courses_files_are_read(
    data: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without arrays: torchvision's CIFAR10 below path_prefix, fetched when it is not there."""
    asked: list[dict[str, object]] = []

    class Stored:
        def __init__(self, **arguments: object) -> None:
            asked.append(arguments)
            self.data, self.targets = data["images"], data["labels"].tolist()

    monkeypatch.setattr("torchvision.datasets.CIFAR10", Stored)
    solver = Solver(path_prefix=str(tmp_path), validation=6, batch_size=9, save_best=False)
    (tmp_path / "data" / "cifar10" / "cifar-10-batches-py").mkdir(parents=True)
    Solver(path_prefix=str(tmp_path), validation=6, batch_size=9)
    root = tmp_path / "data" / "cifar10"
    assert asked == [{"root": root, "train": True, "download": fetch} for fetch in (True, False)]
    assert torch.equal(solver.train_images, tiny(data).train_images)


def test_as_it_is_handed_in_it_prints_nothing(arrays: Path, tmp_path: Path) -> None:
    """A copy of the folder, used as the course uses it: from inside, by the names of the skeleton."""
    shutil.copytree(PART2, tmp_path / "part2", ignore=shutil.ignore_patterns("__pycache__", "checkpoints"))
    code = f"""
import numpy as np, torch
from solver import Solver
from models import *
from losses import FocalLoss, reweight
file = np.load({str(arrays / "cifar10.npz")!r})
solver = Solver(images=file["train_images"], labels=file["train_labels"], model="TwoLayerNet", validation=6,
                batch_size=9, epochs=2, device="cpu", path_prefix=".")
solver.train()
model = TwoLayerNet(3072, 256, 10)
model.load_state_dict(torch.load("checkpoints/twolayernet.pth", weights_only=True))
assert 0 <= solver.best <= 1 and solver.best_cm.shape == (10, 10)
"""
    result = call(sys.executable, "-c", code, cwd=tmp_path / "part2", env={"PYTHONPATH": ""})
    assert (result.returncode, result.stdout, result.stderr) == (0, "", ""), result.stderr


def test_it_imports_what_the_skeleton_does() -> None:
    allowed = {"copy", "os", "pathlib", "time", "numpy", "torch", "torchvision", "yaml", "losses", "models"}
    for path in PART2.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            else:
                continue
            assert {name.split(".")[0] for name in names} <= allowed, path


def train(arrays: Path, out: Path, *flags: object) -> dict[str, object]:
    common = ["--data", arrays, "--out", out, "--epochs", 3, "--batch-size", 9, "--validation", 6]
    result = call("python3", SCRIPT, *flags, *common)
    assert result.returncode == 0, result.stderr
    return json.loads((out / "model.json").read_text())


def test_training_keeps_the_best_epoch(arrays: Path, tmp_path: Path) -> None:
    provenance = train(arrays, tmp_path, "mymodel", "--no-bf16")
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    scores = [line["validation_accuracy"] for line in lines if "validation_accuracy" in line]
    assert len(scores) == 3 and provenance["epoch"] == 1 + int(np.argmax(scores))
    assert provenance["metrics"]["validation_accuracy"] == max(scores) and sum(provenance["data"]["training"]) == 54  # type: ignore[index]
    kept = torch.load(tmp_path / "model.pth", weights_only=True)
    MyModel().load_state_dict(kept)
    epoch = torch.load(tmp_path / "snapshots" / f"step_{6 * provenance['epoch']:06d}.pth", weights_only=True)  # type: ignore[operator]
    assert all(torch.equal(kept[name], epoch[name]) for name in kept)


def test_a_killed_training_ends_with_the_same_bits(arrays: Path, tmp_path: Path) -> None:
    flags = ["--epochs", 4, "--batch-size", 9, "--validation", 0, "--data", arrays, "--save-seconds", 0.0001]
    assert run_script("python3", SCRIPT, "mymodel", *flags, "--out", tmp_path / "whole").returncode == 0
    kill_after_first_save(tmp_path / "parts", SCRIPT, "mymodel", *flags, "--out", tmp_path / "parts")
    assert read_save(tmp_path / "parts" / "last.pt")["step"] < 28
    assert run_script("python3", SCRIPT, "mymodel", *flags, "--out", tmp_path / "parts", "--resume").returncode == 0
    a, b = (torch.load(tmp_path / name / "model.pth", weights_only=True) for name in ("whole", "parts"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_bad_flags_are_told(arrays: Path, tmp_path: Path) -> None:
    for words, message in (
        (["lenet"], "lenet"),
        ([], "preset"),
        (["twolayer", "--epochs", 0], "--epochs 0"),
        (["twolayer", "--validation", 60], "--validation 60"),
        (["mymodel", "--momentum", 0], "--momentum 0"),
        (["mymodel", "--no-augment"], "--patch 0"),
        (["mymodel", "--patch", 32], "--patch 32"),
        (["resnet32_cb_focal", "--imbalance-factor", 0.5], "--imbalance-factor 0.5"),
        (["resnet32_ce", "--beta", 0.999], "--beta and --gamma"),
        (["resnet32_focal", "--label-smoothing", 0.1], "--label-smoothing"),
        (["resnet32_cb_focal", "--imbalance-factor", 500, "--validation", 6], "smaller --imbalance-factor"),
    ):
        assert_one_line(run_script("python3", SCRIPT, *words, "--data", arrays, "--out", tmp_path), 2, message)
