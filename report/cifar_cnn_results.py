"""EEE7331 assignment 1, question 1: layer tables, set-up, curves and the final comparison of both networks.

    python report/cifar_cnn_results.py --evaluate     # reads the test set through dlcv.evaluate, once a run
    python report/cifar_cnn_results.py                # writes docs/models/cifar_cnn.md, report/figures/cifar_cnn_*.png
    python report/cifar_cnn_results.py --time         # also measures both networks' time an image

Runs: runs/cifar_cnn_{plain,separable}_seed*; of those that are not there any more, what docs/results/cifar_cnn_runs.csv
has. The rows of the submitted models are the ledger's for checkpoints/cifar_cnn_*.pth (dlcv.evaluate).
The curves are seed 0's, every epoch; "training" is the first 10,000 training images drawn with a fixed seed,
as they are and with dropout off, so that both curves mean the same.
"""

import platform
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    import torch.nn.functional as F
    from answers import add_arguments, kept_result, look
    from plotting import PRINT, TEXT_WIDTH, add_out, plt, save, tidy
    from tables import fill, markdown, mean_std, record
    from torch import nn

    from dlcv.checkpoint import CHECKPOINTS, digest_of, read_checkpoint
    from dlcv.evaluate import LEDGER
    from dlcv.files import read_rows
    from dlcv.models.cifar_cnn import CifarCNN, CifarCNNConfig

DOCS = Path(__file__).resolve().parents[1] / "docs"
NAMES = {"plain": "CNN of Part A", "separable": "CNN with depth-wise separable convolutions (Part B)"}
TRAIN_IMAGES = 10_000


def evaluate(runs: list[Path], kept: Path, data: Path | None, ledger: Path) -> None:
    """Every epoch of seed 0, the last one of the others; what was read before is not read again."""
    for run in runs:
        snapshots = sorted(run.glob("snapshots/step_*.pth"))
        snapshots = snapshots if run.name.endswith("_seed0") else snapshots[-1:]
        for split in ("test", "train"):
            limit = ["--limit", str(TRAIN_IMAGES)] if split == "train" else []
            flags = ["--domain", "cifar10", "--split", split, "--purpose", "EEE7331: curves and final accuracy", *limit]
            flags += ["--ledger", str(ledger)]
            look(snapshots, kept / f"{run.name}_{split}.npz", data, *flags)


def layer_table(model: CifarCNN) -> str:
    """The question's table, from the model: filters, feature map, weights with bias, neurons."""
    rows = [("input", "–", "32 x 32 x 3", "–", "–")]
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
            name, size = ("FC + ReLU" if layer.out_features == 500 else "Output, softmax"), str(x.shape[1])
            shape = f"{layer.in_features:,} → {layer.out_features}"
        else:
            continue  # ReLU, dropout and flattening have no row of their own
        neurons += x.numel()
        rows.append((name, shape, size, f"{count:,}", f"{x.numel():,}"))
    rows.append(("**in all**", "", "", f"**{total:,}**", f"**{neurons:,}**"))
    columns = ("layer", "filters / window / stride / padding", "feature map", "weights with bias", "neurons")
    return markdown(columns, rows)


def cost_table() -> str:
    """What separable convolutions save and what they cost, counted from both models for one image."""
    counts = []
    for separable in (False, True):
        model = CifarCNN(CifarCNNConfig(separable=separable)).eval()
        cost = {"weights": [0] * 4, "adds": [0] * 4, "neurons": [0] * 4}  # stages 1 to 3, fully connected layers
        x, stage = torch.zeros(1, 3, 32, 32), 0
        for layer in model.net:
            x = layer(x)
            if isinstance(layer, nn.Conv2d | nn.Linear):
                cost["weights"][stage] += sum(p.numel() for p in layer.parameters())
                cost["adds"][stage] += x.numel() * layer.weight[0].numel()  # each output sums so many products
            if isinstance(layer, nn.Conv2d | nn.Linear | nn.MaxPool2d):
                cost["neurons"][stage] += x.numel()
            stage += isinstance(layer, nn.MaxPool2d)
        counts.append(cost)
    lines: list[tuple[str, list[int]]] = [
        ("weights of stages 2 and 3", [sum(part["weights"][1:3]) for part in counts]),
        ("weights in all", [sum(part["weights"]) for part in counts]),
        ("multiply-adds of stage 1", [part["adds"][0] for part in counts]),
        ("multiply-adds of stage 2", [part["adds"][1] for part in counts]),
        ("multiply-adds of stage 3", [part["adds"][2] for part in counts]),
        ("multiply-adds in all", [sum(part["adds"]) for part in counts]),
        ("neurons (memory) in all", [sum(part["neurons"]) for part in counts]),
    ]
    rows = []
    for name, (first, second) in lines:
        shown = [f"{n / 1e6:.2f} M" if "adds" in name else f"{n:,}" for n in (first, second)]
        rows.append((name, *shown, f"{first / second:.1f}", f"{100 * (second / first - 1):+.0f} %"))
    return markdown(("one image", "Part A", "Part B", "A / B", "change"), rows)


@torch.no_grad()
def time_table(rounds: int = 21) -> str:
    """Milliseconds of processor time an image on one thread: the median of rounds in which both networks take turns.

    Processor time, for on a machine with other work the clock also counts the waiting.
    """
    torch.set_num_threads(1)
    models = [CifarCNN(CifarCNNConfig(separable=separable)).eval() for separable in (False, True)]
    rows = []
    for batch, repeats in ((1, 10), (128, 1)):
        x, seconds = torch.rand(batch, 3, 32, 32), np.empty((rounds, len(models)))
        for index in [*np.ndindex(2, len(models)), *np.ndindex(rounds, len(models))]:  # two rounds to warm up
            start = time.thread_time()
            for _ in range(repeats):
                models[index[1]](x)
            seconds[index] = (time.thread_time() - start) / repeats
        first, second = 1000 * np.median(seconds, axis=0) / batch
        rows.append((f"batches of {batch}", f"{first:.2f}", f"{second:.2f}", f"{first / second:.1f}"))
    return markdown(("processor time, ms an image", "Part A", "Part B", "A / B"), rows)


def setup_table(checkpoint: Path) -> str:
    provenance = read_checkpoint(checkpoint)["provenance"]
    r = provenance["recipe"]
    means, stds = (", ".join(f"{value:.4f}" for value in part) for part in (CifarCNNConfig.mean, CifarCNNConfig.std))
    values = {
        "library": f"PyTorch {provenance['torch']}, Python {platform.python_version()}; "
        f"NumPy {version('numpy')} (arrays), matplotlib {version('matplotlib')} (figures)",
        "loss": "cross entropy of the softmax output, mean over the batch",
        "training images": f"all {provenance['data']['training']:,}; no image is held out in the final runs",
        "hyper-parameters": "usual values, none was tuned; a pilot with 5,000 training images held out only "
        "checked the learning rate",
        "augmentation": f"mirrored with probability 0.5; moved by -{r['shift']} to {r['shift']} whole pixels in each "
        "direction, all equally likely; reflection padding",
        "standardisation": f"(x - mean) / deviation for x in [0, 1]; mean {means}; deviation {stds} (R, G, B)",
        "optimizer": f"SGD, Nesterov momentum {r['momentum']}, weight decay {r['weight_decay']}",
        "learning rate": f"half a cosine from {r['lr']} at the first step to 0 at the last, in the first epoch times "
        "a factor that rises linearly from 0 to 1; the same in Part B",
        "batch size": str(r["batch_size"]),
        "epochs": f"{r['epochs']}; the last one is kept",
        "dropout": f"{r['dropout']}, before and behind the layer of 500",
        "batch normalisation": "none: the question's networks have none",
        "initialisation": "PyTorch's default",
        "seeds": "0, 1, 2; weights handed in and curves are those of seed 0",
        "precision": "bfloat16 autocast in training, float32 in evaluation" if r["bf16"] else "float32",
        "hardware": "no GPU: one core of an AMD EPYC",
    }
    return markdown(("", ""), values.items())


def scores(result: Path) -> tuple[np.ndarray, np.ndarray]:
    """Loss and accuracy of every checkpoint in what dlcv.evaluate saved."""
    content = kept_result(result)
    labels = torch.from_numpy(content["labels"])
    losses = [float(F.cross_entropy(torch.from_numpy(logits), labels)) for logits in content["logits"]]
    return np.array(losses), (content["predictions"] == content["labels"]).mean(1)


def collect(runs: list[Path], kept: Path) -> list[dict[str, str]]:
    """Final accuracies of these runs; those of runs that are not on this machine stay in the csv as they are."""
    lines = []
    for run in runs:
        provenance = read_checkpoint(run / "model.pth")["provenance"]
        train, test = (scores(kept / f"{run.name}_{split}.npz")[1][-1] for split in ("train", "test"))
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
    return record(DOCS / "results" / "cifar_cnn_runs.csv", lines)


def submitted(kind: str) -> list[str]:
    """Accuracy in percent of checkpoints/cifar_cnn_<kind>.pth on all training and all test images, by the ledger."""
    digest = digest_of(CHECKPOINTS / f"cifar_cnn_{kind}.pth")
    reads = {
        read["split"]: 100 * float(read["accuracy"])
        for read in read_rows(LEDGER)
        if (read["sha256"], read["domain"]) == (digest, "cifar10") and read["images"] in ("50000", "10000")
    }
    values = [reads.get("train"), reads.get("test")]
    gap = values[0] - values[1] if None not in values else None  # type: ignore[operator]
    return [f"{value:.2f}" if value is not None else "–" for value in (*values, gap)]


def final_table(lines: list[dict[str, str]]) -> str:
    """The weights that are handed in; mean ± std over the seeds."""
    rows, means = [], []
    for kind, name in NAMES.items():
        weights = sum(p.numel() for p in CifarCNN(CifarCNNConfig(separable=kind == "separable")).parameters())
        rows.append((f"submitted model: {name}", f"{weights:,}", *submitted(kind)))
        runs = [line for line in lines if line["run"].startswith(f"cifar_cnn_{kind}_")]
        if runs:
            train, test = (
                100 * np.array([float(line[f"{s}_accuracy"]) for line in runs]) for s in ("training", "test")
            )
            cells = [mean_std(values, 1, n=True) for values in (train, test, train - test)]
            means.append(
                (
                    f"{name}, mean of the seeds, training accuracy on {TRAIN_IMAGES:,} of the images",
                    f"{weights:,}",
                    *cells,
                )
            )
    columns = ("", "weights with bias", "training accuracy, %", "test accuracy, %", "gap, points")
    return markdown(columns, [*rows, *means])


def draw_curves(kind: str, kept: Path, path: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
    for split, colour in (("train", "tab:blue"), ("test", "tab:red")):
        losses, accuracies = scores(kept / f"cifar_cnn_{kind}_seed0_{split}.npz")
        epochs = range(1, len(losses) + 1)
        left.plot(epochs, losses, color=colour, label=split)
        right.plot(epochs, 100 * accuracies, color=colour, label=split)
    left.set(xlabel="epoch", ylabel="cross entropy, nats")
    right.set(xlabel="epoch", ylabel="accuracy, %")
    tidy(left, right)
    figure.suptitle(f"{NAMES[kind]}, seed 0")
    save(figure, path)


def draw_both(path: Path) -> None:
    """Test accuracy of both networks' seed 0 by epoch in one plot, from the ledger."""
    reads = [read for read in read_rows(LEDGER) if read["split"] == "test"]
    figure, axes = plt.subplots(figsize=(TEXT_WIDTH, 2.2))
    for kind, label in (("plain", "Part A"), ("separable", "Part B")):
        folder = f"runs/cifar_cnn_{kind}_seed0/snapshots/"
        values = {read["checkpoint"]: 100 * float(read["accuracy"]) for read in reads if folder in read["checkpoint"]}
        axes.plot(range(1, len(values) + 1), [values[snapshot] for snapshot in sorted(values)], label=label)
    axes.set(xlabel="epoch", ylabel="test accuracy, %")
    tidy(axes, loc="lower right")
    save(figure, path, dpi=PRINT)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    add_arguments(parser)
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="holds cifar_cnn_*_seed*")
    parser.add_argument("--kept", type=Path, default=Path("runs/figures_cifar_cnn"), help="what was read, for drawing")
    add_out(parser)
    parser.add_argument("--data", type=Path, help="folder of cifar10.npz (default: data)")
    parser.add_argument("--time", action="store_true", help="also measure the time an image; it stays as it is without")
    args = parser.parse_args()
    names = r"cifar_cnn_(plain|separable)_seed\d+"  # not what --quick or --hold-out leave behind
    runs = sorted(p.parent for p in args.runs.glob("cifar_cnn_*/model.pth") if re.fullmatch(names, p.parent.name))
    if not runs and not (DOCS / "results" / "cifar_cnn_runs.csv").exists():
        raise cli.UserError(f"no cifar_cnn_*_seed*/model.pth below {args.runs}: python train/train_cifar_cnn.py")
    if args.evaluate:
        evaluate(runs, args.kept, args.data, args.ledger)
    written = {
        "part a layers": layer_table(CifarCNN(CifarCNNConfig()).eval()),
        "part b layers": layer_table(CifarCNN(CifarCNNConfig(separable=True)).eval()),
        "cifar cnn cost": cost_table(),
        "cifar cnn setup": setup_table(runs[0] / "model.pth" if runs else CHECKPOINTS / "cifar_cnn_plain.pth"),
        "cifar cnn results": final_table(collect(runs, args.kept)),
    }
    if args.time:
        written["cifar cnn time"] = time_table()
    fill([DOCS / "models" / "cifar_cnn.md"], written)
    draw_both(args.out / "cifar_cnn_both.png")
    for kind in NAMES:
        if any(run.name == f"cifar_cnn_{kind}_seed0" for run in runs):
            draw_curves(kind, args.kept, args.out / f"cifar_cnn_{kind}.png")
    print("\n\n".join(written.values()))


if __name__ == "__main__":
    cli.run(main, "cifar_cnn_results.py")
