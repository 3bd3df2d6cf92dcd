"""CS7643 assignment 2, part 1: the NumPy network on 50 images of CIFAR-10.

    python experiments/cs7643_overfit.py          # data/cifar10.npz -> docs/results/cs7643_overfit.csv
    python report/cs7643_overfit.py        # that file -> plot and table

The first 50 training images, 0 to 255 less their mean image; lr 1e-4, reg 1e-3, momentum 0.9, ten epochs of five
batches of 10. The assignment does not say how batches are drawn, so there are two ways: each batch at random with
replacement, so that an epoch misses about a third of the images, or all images once an epoch in random order. Eight
seeds of the drawing; the weights start as the assignment has them, alike. `accuracy` and `loss` are those of all fifty
after an epoch, `batch_accuracy` and `batch_loss` the means over its batches, each before its own step.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np

    from dlcv.cs7643.part1.modules import ConvNet
    from dlcv.cs7643.part1.optimizer import SGD
    from dlcv.data.arrays import read_arrays
    from dlcv.files import write_rows

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "cs7643_overfit.csv"
IMAGES, EPOCHS, BATCH, SEEDS = 50, 10, 10, 8
DRAWINGS = ("with replacement", "shuffled")  # of the batches; the first is the plot's
LAYERS = [
    {"type": "Conv2D", "in_channels": 3, "out_channels": 32, "kernel_size": 5, "stride": 1, "padding": 2},
    {"type": "ReLU"},
    {"type": "MaxPooling", "kernel_size": 2, "stride": 2},
    {"type": "Linear", "in_dim": 8192, "out_dim": 10},
]  # fmt: skip


def train(x: np.ndarray, y: np.ndarray, seed: int, drawing: str = DRAWINGS[0]) -> list[dict[str, float | str]]:
    """Loss and accuracy of each epoch: on all images after it, and the means over its batches."""
    model = ConvNet(LAYERS, {"type": "SoftmaxCrossEntropy"})
    optimizer = SGD(model, learning_rate=1e-4, reg=1e-3, momentum=0.9)
    rng = np.random.RandomState(seed)
    lines: list[dict[str, float | str]] = []
    for epoch in range(1, EPOCHS + 1):
        if drawing == "shuffled":
            batches = rng.permutation(len(x)).reshape(-1, BATCH)
        else:
            batches = np.stack([rng.choice(len(x), BATCH) for _ in range(len(x) // BATCH)])
        scores = []
        for rows in batches:
            probabilities, loss = model.forward(x[rows], y[rows])
            scores.append((loss, np.mean(probabilities.argmax(1) == y[rows])))
            model.backward()
            optimizer.update(model)
        probabilities, loss = model.forward(x, y)
        accuracy = float(np.mean(probabilities.argmax(1) == y))
        batch_loss, batch_accuracy = np.mean(scores, axis=0)
        lines.append(
            {
                "drawing": drawing, "seed": seed, "epoch": epoch, "loss": round(float(loss), 4),
                "accuracy": round(accuracy, 2), "batch_loss": round(float(batch_loss), 4),
                "batch_accuracy": round(float(batch_accuracy), 2),
            }
        )  # fmt: skip
    return lines


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of cifar10.npz (default: data)")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="csv to write (default: docs/results/cs7643_overfit.csv)"
    )
    args = parser.parse_args()
    images, labels = read_arrays(args.data, "cifar10", "train")
    x, y = images[:IMAGES].numpy().astype(np.float64), labels[:IMAGES].numpy()
    x -= x.mean(0)
    runs = [train(x, y, seed, drawing) for drawing in DRAWINGS for seed in range(SEEDS)]

    write_rows(args.results, [line for lines in runs for line in lines])
    for drawing in DRAWINGS:
        last = [float(lines[-1]["accuracy"]) for lines in runs if lines[-1]["drawing"] == drawing]
        print(f"{args.results}, {drawing}: accuracy {np.mean(last):.2f} (n = {len(last)})")


if __name__ == "__main__":
    cli.run(main, "cs7643_overfit.py")
