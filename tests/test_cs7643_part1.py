"""The NumPy network against torch in float64; what is submitted stands alone and prints nothing."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import REPO

from dlcv.cs7643.part1.modules import Conv2D, ConvNet, Linear, MaxPooling, ReLU, SoftmaxCrossEntropy
from dlcv.cs7643.part1.optimizer import SGD

PART1 = REPO / "src" / "dlcv" / "cs7643" / "part1"
CLOSE = {"rtol": 0, "atol": 1e-9}


def randn(*shape: int) -> np.ndarray:
    return np.random.RandomState(len(shape) + sum(shape)).randn(*shape)


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("size", [(7, 7), (8, 11)])
def test_convolution_is_torchs(kernel: int, stride: int, padding: int, size: tuple[int, int]) -> None:
    layer = Conv2D(3, 4, kernel, stride, padding)
    layer.weight, layer.bias = randn(4, 3, kernel, kernel), randn(4)
    x = randn(2, 3, *size)
    tx, w, b = (torch.tensor(a, requires_grad=True) for a in (x, layer.weight, layer.bias))
    expected = F.conv2d(tx, w, b, stride=stride, padding=padding)
    out = layer.forward(x)
    assert np.allclose(out, expected.detach().numpy(), **CLOSE)
    dout = randn(*out.shape)
    expected.backward(torch.tensor(dout))
    layer.backward(dout)
    for ours, theirs in ((layer.dx, tx.grad), (layer.dw, w.grad), (layer.db, b.grad)):
        assert theirs is not None and ours.shape == tuple(theirs.shape)
        assert np.allclose(ours, theirs.numpy(), **CLOSE)


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (3, 1), (2, 3), (1, 1)])
@pytest.mark.parametrize("size", [(6, 6), (7, 9)])
@pytest.mark.parametrize("ties", [False, True])
def test_pooling_is_torchs(kernel: int, stride: int, size: tuple[int, int], ties: bool) -> None:
    layer = MaxPooling(kernel, stride)
    x = randn(2, 3, *size)
    x = np.sign(x) if ties else x  # many equal maxima: the first gets the gradient
    tx = torch.tensor(x, requires_grad=True)
    expected = F.max_pool2d(tx, kernel, stride)
    out = layer.forward(x)
    assert np.allclose(out, expected.detach().numpy(), **CLOSE)
    dout = randn(*out.shape)
    expected.backward(torch.tensor(dout))
    layer.backward(dout)
    assert tx.grad is not None and np.allclose(layer.dx, tx.grad.numpy(), **CLOSE)


def test_pooling_gives_the_first_of_equals_the_gradient() -> None:
    layer = MaxPooling(2, 2)
    layer.forward(np.zeros((1, 1, 2, 2)))
    layer.backward(np.ones((1, 1, 1, 1)))
    assert layer.dx.tolist() == [[[[1, 0], [0, 0]]]]


def test_relu() -> None:
    layer = ReLU()
    assert layer.forward(np.array([-2.0, 0.0, 3.0])).tolist() == [0, 0, 3]
    layer.backward(np.array([5.0, 6.0, 7.0]))
    assert layer.dx.tolist() == [0, 0, 7]


def test_linear_is_torchs_and_flattens() -> None:
    layer = Linear(12, 5)
    layer.weight, layer.bias = randn(12, 5), randn(5)
    x = randn(4, 3, 2, 2)
    tx, w, b = (torch.tensor(a, requires_grad=True) for a in (x, layer.weight, layer.bias))
    expected = tx.flatten(1) @ w + b
    assert np.allclose(layer.forward(x), expected.detach().numpy(), **CLOSE)
    dout = randn(4, 5)
    expected.backward(torch.tensor(dout))
    layer.backward(dout)
    assert layer.dx.shape == x.shape
    for ours, theirs in ((layer.dx, tx.grad), (layer.dw, w.grad), (layer.db, b.grad)):
        assert theirs is not None and np.allclose(ours, theirs.numpy(), **CLOSE)


@pytest.mark.parametrize("scale", [1.0, 1e4])  # exp(1e4) overflows where it is taken as it stands
def test_softmax_cross_entropy_is_torchs(scale: float) -> None:
    layer, x, y = SoftmaxCrossEntropy(), scale * randn(6, 10), np.array([0, 3, 9, 9, 1, 5])
    tx = torch.tensor(x, requires_grad=True)
    expected = F.cross_entropy(tx, torch.tensor(y))
    probs, loss = layer.forward(x, y)
    assert loss == pytest.approx(expected.item(), abs=1e-9 * scale)
    assert np.allclose(probs, tx.softmax(1).detach().numpy(), **CLOSE)
    expected.backward()
    layer.backward()
    assert tx.grad is not None and np.allclose(layer.dx, tx.grad.numpy(), **CLOSE)


def test_first_weights_are_the_courses() -> None:
    np.random.seed(1024)
    expected = 1e-3 * np.random.randn(4, 3, 5, 5)
    layer = Conv2D(3, 4, 5, 1, 2)
    assert np.array_equal(layer.weight, expected) and not layer.bias.any()
    np.random.seed(1024)
    expected = 1e-3 * np.random.randn(7, 2)
    assert np.array_equal(Linear(7, 2).weight, expected)


NETWORK = [
    {"type": "Conv2D", "in_channels": 3, "out_channels": 4, "kernel_size": 5, "stride": 1, "padding": 2},
    {"type": "ReLU"},
    {"type": "MaxPooling", "kernel_size": 2, "stride": 2},
    {"type": "Linear", "in_dim": 64, "out_dim": 10},
]


def test_network_and_sgd_are_torchs_over_three_steps() -> None:
    """Momentum, and L2 on weights alone."""
    network = ConvNet(NETWORK, {"type": "SoftmaxCrossEntropy"})
    for module in network.modules:
        if hasattr(module, "weight"):
            module.weight = 100 * module.weight  # away from zero, so that three steps show
    convolution, linear = network.modules[0], network.modules[3]
    start = (convolution.weight, convolution.bias, linear.weight, linear.bias)
    w1, b1, w2, b2 = (torch.tensor(a, requires_grad=True) for a in start)
    torch_sgd = torch.optim.SGD(
        [{"params": [w1, w2], "weight_decay": 0.01}, {"params": [b1, b2]}], lr=0.1, momentum=0.9
    )
    sgd = SGD(network, learning_rate=0.1, reg=0.01, momentum=0.9)
    x, y = randn(5, 3, 8, 8), np.array([1, 2, 3, 4, 9])
    for _ in range(3):
        maps = F.max_pool2d(F.relu(F.conv2d(torch.tensor(x), w1, b1, padding=2)), 2)
        expected = F.cross_entropy(maps.flatten(1) @ w2 + b2, torch.tensor(y))
        _, loss = network.forward(x, y)
        assert loss == pytest.approx(expected.item(), abs=1e-9)
        torch_sgd.zero_grad()
        expected.backward()
        torch_sgd.step()
        network.backward()
        sgd.update(network)
    ours_all = convolution.weight, convolution.bias, linear.weight, linear.bias
    for ours, theirs in zip(ours_all, (w1, b1, w2, b2), strict=True):
        assert np.allclose(ours, theirs.detach().numpy(), **CLOSE)


def test_unknown_layers_are_told() -> None:
    with pytest.raises(ValueError, match="unknown type 'Conv3D'"):
        ConvNet([{"type": "Conv3D"}], {"type": "SoftmaxCrossEntropy"})


def test_the_folder_stands_alone_and_prints_nothing(tmp_path: Path) -> None:
    """As the course imports it: a copy of the two folders, nothing else on the path, numpy alone."""
    for name in ("modules", "optimizer"):
        shutil.copytree(PART1 / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "import sys, numpy.random; before = set(sys.modules); import modules, optimizer; "
        "net = modules.ConvNet([dict(type='Linear', in_dim=4, out_dim=2)], dict(type='SoftmaxCrossEntropy')); "
        "optimizer.SGD(net); new = {name.split('.')[0] for name in set(sys.modules) - before}; "
        "assert new == {'modules', 'optimizer'}, new"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == "" and result.stderr == ""


def test_only_numpy_is_imported() -> None:
    for path in [*PART1.rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert [alias.name for alias in node.names] == ["numpy"], path
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1, path
