"""CS7643 assignment 2, part 1: the NumPy network on 50 images of CIFAR-10, with its plot.

    python report/cs7643_overfit.py          # data/cifar10.npz -> report/figures/cs7643_overfit.png, docs/results

As the course's script does: the first 50 training images, 0 to 255 less their mean image; lr 1e-4, reg 1e-3, momentum
0.9, ten epochs of batches of 10 drawn at random. "On the way" is each batch just before the step that learns from it;
loss and accuracy are those of all fifty after the epoch.
"""

import argparse
import csv
import io
from pathlib import Path

try:
    import matplotlib.pyplot as plt
    import numpy as np
    from plotting import FIGURES, save

    from dlcv import cli
    from dlcv.cs7643.part1.modules import ConvNet
    from dlcv.cs7643.part1.optimizer import SGD
    from dlcv.data.arrays import read_arrays
    from dlcv.files import write_text
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Run `make setup` once, then use .venv/bin/python (or: . .venv/bin/activate)") from None

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "cs7643_overfit.csv"
IMAGES, EPOCHS, BATCH = 50, 10, 10
LAYERS = [
    {"type": "Conv2D", "in_channels": 3, "out_channels": 32, "kernel_size": 5, "stride": 1, "padding": 2},
    {"type": "ReLU"},
    {"type": "MaxPooling", "kernel_size": 2, "stride": 2},
    {"type": "Linear", "in_dim": 8192, "out_dim": 10},
]  # fmt: skip


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--figure", type=Path, default=FIGURES / "cs7643_overfit.png")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    images, labels = read_arrays(args.data, "cifar10", "train")
    x, y = images[:IMAGES].numpy().astype(np.float64), labels[:IMAGES].numpy()
    x -= x.mean(0)
    model = ConvNet(LAYERS, {"type": "SoftmaxCrossEntropy"})
    optimizer = SGD(model, learning_rate=1e-4, reg=1e-3, momentum=0.9)
    rng = np.random.RandomState(0)
    lines = []
    for epoch in range(1, EPOCHS + 1):
        order, hits = rng.permutation(len(x)), 0
        for rows in np.split(order, range(BATCH, len(x), BATCH)):
            probabilities, _ = model.forward(x[rows], y[rows])
            hits += int(np.sum(probabilities.argmax(1) == y[rows]))
            model.backward()
            optimizer.update(model)
        probabilities, loss = model.forward(x, y)
        accuracy = float(np.mean(probabilities.argmax(1) == y))
        values = {
            "loss": f"{float(loss):.4f}",
            "accuracy": f"{accuracy:.2f}",
            "accuracy_on_the_way": f"{hits / len(x):.2f}",
        }
        lines.append({"epoch": epoch} | values)

    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_text(args.results, text.getvalue())
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4))
    for axes, key in ((left, "loss"), (right, "accuracy"), (right, "accuracy_on_the_way")):
        axes.plot(
            range(1, EPOCHS + 1),
            [float(line[key]) for line in lines],
            "o-",
            label=key.replace("_", " ").replace("accuracy", "").strip(),
        )
    for axes, key in ((left, "loss"), (right, "accuracy")):
        axes.set(xlabel="epoch", ylabel=f"training {key}", xticks=range(1, EPOCHS + 1))
        axes.spines[["top", "right"]].set_visible(False)
    right.lines[0].set_label("after the epoch")
    right.legend(frameon=False)
    figure.suptitle(f"The NumPy network on {len(x)} images: accuracy {lines[-1]['accuracy']} after {EPOCHS} epochs")
    save(figure, args.figure)
    print(f"{args.results}: accuracy {lines[-1]['accuracy']}")


if __name__ == "__main__":
    cli.run(main, "cs7643_overfit.py")
