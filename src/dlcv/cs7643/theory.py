"""The computed answers of the theory problem set.

    python -m dlcv.cs7643.theory

Question 1: the convolution (stride 4, zero padding 2, 3x3 kernel on 3x3 pixels) as a matrix. Question 2: the slope and
intercept of the two-layer ReLU network at x = 2, -1 and 1, and where it is not differentiable; in exact fractions.
"""

from fractions import Fraction
from itertools import pairwise
from typing import TypeVar

from dlcv import cli

Entry = TypeVar("Entry")

W1, B1 = (Fraction(3, 2), Fraction(1, 2)), (Fraction(0), Fraction(1))
W2, B2 = ((Fraction(1), Fraction(2)), (Fraction(2), Fraction(1))), (Fraction(0), Fraction(1))
W3, B3 = (Fraction(1), Fraction(1)), Fraction(-1)

Line = tuple[Fraction, Fraction]  # slope, intercept


def convolution_matrix(
    kernel: list[list[Entry]], size: tuple[int, int], stride: int, padding: int, zero: Entry
) -> list[list[Entry]]:
    """A with y = A x, for x the flattened image (row by row, without padding) and y the flattened output.

    `kernel` may hold anything, numbers or names. Not flipped: what deep learning calls a convolution.
    """
    height, width = size
    rows, columns = len(kernel), len(kernel[0])
    matrix = []
    for top in range(-padding, height + padding - rows + 1, stride):
        for left in range(-padding, width + padding - columns + 1, stride):
            row = [zero] * (height * width)
            for i in range(rows):
                for j in range(columns):
                    if 0 <= top + i < height and 0 <= left + j < width:
                        row[(top + i) * width + left + j] = kernel[i][j]
            matrix.append(row)
    return matrix


def value(line: Line, x: Fraction) -> Fraction:
    return line[0] * x + line[1]


def active(line: Line, x: Fraction) -> bool:
    """Whether a ReLU passes the line on around x (at a kink: to its right)."""
    return value(line, x) > 0 or (value(line, x) == 0 and line[0] > 0)


def layers(x: Fraction) -> tuple[list[Line], list[Line]]:
    """What goes into the ReLUs of both layers, as the lines that hold around x (at a kink: to its right)."""

    def relu(line: Line) -> Line:
        return line if active(line, x) else (Fraction(0), Fraction(0))

    first = list(zip(W1, B1, strict=True))
    hidden = [relu(line) for line in first]
    second = [
        (sum((w * h[0] for w, h in zip(row, hidden, strict=True)), Fraction(0)),
         sum((w * h[1] for w, h in zip(row, hidden, strict=True)), b))
        for row, b in zip(W2, B2, strict=True)
    ]  # fmt: skip
    return first, second


def local_line(x: Fraction) -> Line:
    """Slope W and intercept b of h around x (at a kink: to its right): h(t) = W t + b."""
    passed = [line for line in layers(x)[1] if active(line, x)]
    return sum((line[0] for line in passed), Fraction(0)), sum((line[1] for line in passed), B3)


def kinks() -> list[Fraction]:
    """Where h is not differentiable: slopes to the left and to the right differ."""
    edges = sorted({-b / w for w, b in zip(W1, B1, strict=True)})  # where the first layer changes
    inner = [edges[0] - 1, *((a + b) / 2 for a, b in pairwise(edges)), edges[-1] + 1]
    candidates = set(edges)
    for x, low, high in zip(inner, [None, *edges], [*edges, None], strict=True):
        for slope, intercept in layers(x)[1]:  # between the edges the second layer's inputs are lines
            zero = -intercept / slope if slope else None
            if zero is not None and (low is None or zero > low) and (high is None or zero < high):
                candidates.add(zero)
    step = min((b - a for a in candidates for b in candidates if b > a), default=Fraction(1)) / 2
    return sorted(x for x in candidates if local_line(x - step)[0] != local_line(x)[0])


def main() -> None:
    cli.ArgumentParser(prog="python -m dlcv.cs7643.theory", description=__doc__).parse_args()
    names = [[f"w({i},{j})" for j in range(3)] for i in range(3)]
    matrix = convolution_matrix(names, (3, 3), stride=4, padding=2, zero="0")
    print(f"Question 1: A has {len(matrix)} rows and {len(matrix[0])} columns")
    for row in matrix:
        print("  " + " ".join(f"{entry:>6}" for entry in row))
    print("Question 2: h(x) = W x + b around x")
    for x in (2, -1, 1):
        slope, intercept = local_line(Fraction(x))
        print(f"  x = {x:>2}: W = {slope}, b = {intercept}, h(x) = {slope * x + intercept}")
    print("  not differentiable at x = " + ", ".join(str(x) for x in kinks()))


if __name__ == "__main__":
    cli.run(main, "dlcv.cs7643.theory")
