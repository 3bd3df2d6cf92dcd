"""EEE7331 assignment 1, question 1: layer tables, set-up, curves and the final comparison of both networks.

    python report/cifar_cnn_results.py --evaluate     # reads the test set through dlcv.evaluate (ledger!), once a run
    python report/cifar_cnn_results.py                # writes docs/models/cifar_cnn.md, report/figures/cifar_cnn_*.png

Runs: runs/cifar_cnn_{plain,separable}_seed*. The curves are seed 0's, every epoch; "training" is the first 10,000
training images drawn with a fixed seed, as they are and with dropout off, so that both curves mean the same.
"""

import argparse
import csv
import io
import platform
import re
from pathlib import Path

try:
    import numpy as np
    import torch
    import torch.nn.functional as F
    from answers import kept_result, look
    from plotting import FIGURES, plt, save
    from tables import fill
    from torch import nn

    from dlcv import cli
    from dlcv.checkpoint import read_checkpoint
    from dlcv.files import write_text
    from dlcv.models.cifar_cnn import CifarCNN, CifarCNNConfig
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Run `make setup` once, then use .venv/bin/python (or: . .venv/bin/activate)") from None

DOCS = Path(__file__).resolve().parents[1] / "docs"
NAMES = {"plain": "CNN of Part A", "separable": "CNN with depth-wise separable convolutions (Part B)"}
TRAIN_IMAGES = 10_000


def evaluate(runs: list[Path], kept: Path, data: Path | None) -> None:
    """Every epoch of seed 0, the last one of the others; what was read before is not read again."""
    for run in runs:
        snapshots = sorted(run.glob("snapshots/epoch_*.pth"))
        snapshots = snapshots if run.name.endswith("_seed0") else snapshots[-1:]
        for split in ("test", "train"):
            limit = ["--limit", str(TRAIN_IMAGES)] if split == "train" else []
            flags = ["--domain", "cifar10", "--split", split, "--purpose", "EEE7331: curves and final accuracy", *limit]
            look(snapshots, kept / f"{run.name}_{split}.npz", data, *flags)


def layer_table(model: CifarCNN) -> str:
    """The question's table, from the model: filters, feature map, weights with bias, neurons."""
    rows = [
        "| layer | filters / window / stride / padding | feature map | weights with bias | neurons |",
        "|---|---|---|---|---|",
        "| input | | 32 x 32 x 3 | | – |",
    ]
    x, stage, total, neurons = torch.zeros(1, 3, 32, 32), 1, 0, 0
    for layer in model.net:
        x = layer(x)
        count = sum(p.numel() for p in layer.parameters())
        total += count
        size = " x ".join(str(n) for n in (*x.shape[2:], x.shape[1]))
        if isinstance(layer, nn.Conv2d):
            kind = "depth-wise" if layer.groups > 1 else "point-wise" if layer.kernel_size == (1, 1) else "Conv"
            k = layer.kernel_size[0]
            shape = f"{layer.out_channels} / {k} x {k} / {layer.stride[0]} / {layer.padding[0]}"  # type: ignore[index]
            name = f"{kind} {stage}-1 + ReLU" if kind != "depth-wise" else f"{kind} {stage}-1"
        elif isinstance(layer, nn.MaxPool2d):
            name, shape, stage = f"Pool-{stage}", "max / 2 x 2 / 2 / 0", stage + 1
        elif isinstance(layer, nn.Linear):
            name, shape, size = ("FC + ReLU" if layer.out_features == 500 else "Output, softmax"), "", str(x.shape[1])
        else:
            continue  # ReLU, dropout and flattening have no row of their own
        neurons += x.numel()
        rows.append(f"| {name} | {shape} | {size} | {count:,} | {x.numel():,} |")
    return "\n".join([*rows, f"| **in all** | | | **{total:,}** | **{neurons:,}** |"])


def setup_table(run: Path) -> str:
    provenance = read_checkpoint(run / "model.pth")["provenance"]
    r = provenance["recipe"]
    values = {
        "library": f"PyTorch {provenance['torch']}, Python {platform.python_version()}",
        "training images": f"{provenance['data']['training']:,}; no validation images in the final runs",
        "augmentation": f"mirrored (half of them), moved by up to {r['shift']} pixels; channels standardised",
        "optimizer": f"SGD, Nesterov momentum {r['momentum']}, weight decay {r['weight_decay']}",
        "learning rate": f"{r['lr']} after one epoch of warm-up, cosine to 0",
        "batch size": str(r["batch_size"]),
        "epochs": f"{r['epochs']}; the last one is kept",
        "dropout": f"{r['dropout']}, before and behind the layer of 500",
        "batch normalisation": "none: the question's networks have none",
        "initialisation": "PyTorch's default",
        "precision": "bfloat16 autocast in training, float32 in evaluation" if r["bf16"] else "float32",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in values.items())])


def scores(result: Path) -> tuple[np.ndarray, np.ndarray]:
    """Loss and accuracy of every checkpoint in what dlcv.evaluate saved."""
    content = kept_result(result)
    labels = torch.from_numpy(content["labels"])
    losses = [float(F.cross_entropy(torch.from_numpy(logits), labels)) for logits in content["logits"]]
    return np.array(losses), (content["predictions"] == content["labels"]).mean(1)


def final_table(runs: list[Path], kept: Path) -> str:
    """Mean ± std over the seeds; every run also goes to docs/results/cifar_cnn_runs.csv."""
    lines: list[dict[str, object]] = []
    header = (
        f"| | weights with bias | accuracy on {TRAIN_IMAGES:,} training images, % | test accuracy, % | gap, points |"
    )
    rows = [header, "|---|---|---|---|---|"]
    for kind, name in NAMES.items():
        found = []
        for run in (run for run in runs if f"_{kind}_" in run.name):
            provenance = read_checkpoint(run / "model.pth")["provenance"]
            train, test = (scores(kept / f"{run.name}_{split}.npz")[1][-1] for split in ("train", "test"))
            found.append((train, test))
            lines.append(
                {
                    "run": run.name,
                    "seed": provenance["recipe"]["seed"],
                    "commit": provenance["commit"],
                    "epochs": provenance["epoch"],
                    "training_accuracy": f"{train:.4f}",
                    "test_accuracy": f"{test:.4f}",
                }
            )
        if found:
            weights = sum(p.numel() for p in CifarCNN(CifarCNNConfig(separable=kind == "separable")).parameters())
            cells = []
            columns = 100 * np.array(found).T
            for values in (*columns, columns[0] - columns[1]):
                spread = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
                cells.append(f"{values.mean():.1f}{spread} (n = {len(values)})")
            rows.append(f"| {name} | {weights:,} | {' | '.join(cells)} |")
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    write_text(DOCS / "results" / "cifar_cnn_runs.csv", text.getvalue())
    return "\n".join(rows)


def draw_curves(kind: str, kept: Path, path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
    for split, colour in (("train", "tab:blue"), ("test", "tab:red")):
        losses, accuracies = scores(kept / f"cifar_cnn_{kind}_seed0_{split}.npz")
        epochs = range(1, len(losses) + 1)
        left.plot(epochs, losses, color=colour, label=split)
        right.plot(epochs, 100 * accuracies, color=colour, label=split)
    left.set(xlabel="epoch", ylabel="cross entropy, nats")
    right.set(xlabel="epoch", ylabel="accuracy, %")
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{NAMES[kind]}, seed 0")
    save(figure, path)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluate", action="store_true", help="read the test set first (adds to the ledger)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="holds cifar_cnn_*_seed*")
    parser.add_argument("--kept", type=Path, default=Path("runs/figures_cifar_cnn"), help="what was read, for drawing")
    parser.add_argument("--out", type=Path, default=FIGURES)
    parser.add_argument("--data", type=Path)
    args = parser.parse_args()
    names = r"cifar_cnn_(plain|separable)_seed\d+"  # not what --quick or --hold-out leave behind
    runs = sorted(p.parent for p in args.runs.glob("cifar_cnn_*/model.pth") if re.fullmatch(names, p.parent.name))
    if not runs:
        raise cli.UserError(f"no cifar_cnn_*_seed*/model.pth below {args.runs}: python train/train_cifar_cnn.py")
    if args.evaluate:
        evaluate(runs, args.kept, args.data)
    written = {
        "part a layers": layer_table(CifarCNN(CifarCNNConfig()).eval()),
        "part b layers": layer_table(CifarCNN(CifarCNNConfig(separable=True)).eval()),
        "cifar cnn setup": setup_table(runs[0]),
        "cifar cnn results": final_table(runs, args.kept),
    }
    fill([DOCS.parent / "README.md", DOCS / "models" / "cifar_cnn.md"], written)
    for kind in NAMES:
        if any(run.name == f"cifar_cnn_{kind}_seed0" for run in runs):
            draw_curves(kind, args.kept, args.out / f"cifar_cnn_{kind}.png")
    print("\n\n".join(written.values()))


if __name__ == "__main__":
    cli.run(main, "cifar_cnn_results.py")
