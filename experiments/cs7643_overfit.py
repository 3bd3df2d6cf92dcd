"""CS7643 assignment 2, part 1: the NumPy network on 50 images of CIFAR-10.

    python experiments/cs7643_overfit.py          # data/cifar10.npz -> docs/results/cs7643_overfit.csv
    python report/cs7643_overfit.py        # that file -> plot and table

The first 50 training images, 0 to 255 less their mean image; lr 1e-4, reg 1e-3, momentum 0.9, ten epochs of five
batches of 10, each drawn at random with replacement, so that an epoch misses about a third of the images. (The
assignment does not say how batches are drawn: with every image once an epoch all fifty are learned.) Eight seeds of the
drawing; the weights start as the assignment has them, alike. Accuracy and loss are those of all fifty after an epoch.
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
LAYERS = [
    {"type": "Conv2D", "in_channels": 3, "out_channels": 32, "kernel_size": 5, "stride": 1, "padding": 2},
    {"type": "ReLU"},
    {"type": "MaxPooling", "kernel_size": 2, "stride": 2},
    {"type": "Linear", "in_dim": 8192, "out_dim": 10},
]  # fmt: skip


def train(x: np.ndarray, y: np.ndarray, seed: int) -> list[dict[str, float]]:
    """Loss and accuracy on all images after each epoch."""
    model = ConvNet(LAYERS, {"type": "SoftmaxCrossEntropy"})
    optimizer = SGD(model, learning_rate=1e-4, reg=1e-3, momentum=0.9)
    rng = np.random.RandomState(seed)
    lines = []
    for epoch in range(1, EPOCHS + 1):
        for _ in range(len(x) // BATCH):
            rows = rng.choice(len(x), BATCH)
            model.forward(x[rows], y[rows])
            model.backward()
            optimizer.update(model)
        probabilities, loss = model.forward(x, y)
        accuracy = float(np.mean(probabilities.argmax(1) == y))
        lines.append({"seed": seed, "epoch": epoch, "loss": round(float(loss), 4), "accuracy": round(accuracy, 2)})
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
    runs = [train(x, y, seed) for seed in range(SEEDS)]

    write_rows(args.results, [line for lines in runs for line in lines])
    last = [lines[-1]["accuracy"] for lines in runs]
    print(f"{args.results}: accuracy {np.mean(last):.2f} (n = {len(runs)})")


if __name__ == "__main__":
    cli.run(main, "cs7643_overfit.py")
