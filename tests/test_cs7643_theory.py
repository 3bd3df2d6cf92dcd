"""The theory's answers against torch."""

import sys
from fractions import Fraction

import pytest
import torch
import torch.nn.functional as F
from conftest import call

from dlcv.cs7643 import theory


@pytest.mark.parametrize(
    ("size", "stride", "padding"), [((3, 3), 4, 2), ((5, 4), 1, 1), ((6, 7), 2, 0), ((3, 3), 1, 2)]
)
def test_the_matrix_is_the_convolution(size: tuple[int, int], stride: int, padding: int) -> None:
    kernel = torch.randn(3, 3, dtype=torch.float64)
    matrix = torch.tensor(theory.convolution_matrix(kernel.tolist(), size, stride, padding, 0.0), dtype=torch.float64)
    x = torch.randn(size, dtype=torch.float64)
    expected = F.conv2d(x[None, None], kernel[None, None], stride=stride, padding=padding).flatten()
    assert matrix.shape == (len(expected), x.numel())
    assert torch.allclose(matrix @ x.flatten(), expected, atol=1e-12)


def h(x: torch.Tensor) -> torch.Tensor:
    w1, b1 = torch.tensor([1.5, 0.5], dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    w2, b2 = torch.tensor([[1.0, 2.0], [2.0, 1.0]], dtype=torch.float64), torch.tensor([0.0, 1.0], dtype=torch.float64)
    return torch.relu(torch.relu(x[:, None] * w1 + b1) @ w2.T + b2).sum(1) - 1


@pytest.mark.parametrize("x", [2, -1, 1, -3, 5])
def test_slope_and_intercept_are_autograds(x: int) -> None:
    point = torch.tensor([float(x)], dtype=torch.float64, requires_grad=True)
    value = h(point)
    value.sum().backward()
    slope, intercept = theory.local_line(Fraction(x))
    assert point.grad is not None and float(slope) == point.grad.item()
    assert float(slope * x + intercept) == value.item()


def test_kinks_are_where_the_slope_changes() -> None:
    grid = torch.arange(-8000, 8001, dtype=torch.float64) / 1000
    values = h(grid)
    bend = (values[2:] - 2 * values[1:-1] + values[:-2]).abs() > 1e-9
    assert grid[1:-1][bend].tolist() == [float(x) for x in theory.kinks()]


def test_the_command_prints_both_answers() -> None:
    result = call(sys.executable, "-m", "dlcv.cs7643.theory")
    lines = result.stdout.splitlines()
    assert "4 rows and 9 columns" in lines[0]
    assert lines[1].split() == ["w(2,2)", *["0"] * 8]
    assert lines[4].split() == [*["0"] * 8, "w(0,0)"]
    assert sum(line.startswith("  x = ") for line in lines) == 3 and "not differentiable" in lines[-1]
