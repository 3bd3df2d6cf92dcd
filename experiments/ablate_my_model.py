"""What each part of CS7643's own network gives: short trainings, each with one thing changed, on validation images.

    python experiments/ablate_my_model.py            # what is left of docs/results/my_model_ablations.csv; 30 minutes

Every training has the recipe `mymodel` without its `patch`, which costs accuracy in a training of this length, and with
5,000 held-out training images instead of 2,000. All see as many images, 280 batches of 128, with the learning rate's
whole rise and fall. Accuracies are those of the held-out images; no test image is read. They are measured twice: in
eval mode, and in training mode, where batch norm takes the statistics of the batch (of 100), which is how a test runs
the network that forgets to call eval(). Seconds are those of one processor core.
"""

import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import torch

    from dlcv.checkpoint import current_commit
    from dlcv.cs7643.part2 import solver as part2
    from dlcv.cs7643.recipes import RECIPES, Recipe
    from dlcv.data.arrays import read_arrays
    from dlcv.files import read_rows, write_rows

OUT = Path(__file__).resolve().parents[1] / "docs" / "results" / "my_model_ablations.csv"
WHOLE, ORDINARY = "whole network", "ordinary filters, both mirror images evaluated"
# Title → switches of the network, and values of the recipe.
VARIANTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    WHOLE: ({}, {}),
    ORDINARY: ({"mirror": False}, {}),
    "no residual sums": ({"residual": False}, {}),
    "mean over the last map instead of its maximum": ({"largest": False}, {}),
    "moved images with a black border": ({}, {"border": "black"}),
    "images of 32 pixels from the beginning": ({}, {"small_until": 0.0}),
    "no label smoothing": ({}, {"label_smoothing": 0.0}),
    "training images neither moved nor mirrored": ({}, {"augment": False}),
    "half the channels": ({"widths": (16, 32, 80, 160)}, {}),
    "a square of another image in each": ({}, {"patch": 10}),
}
SHORT = {"patch": 0, "validation": 5_000}  # what these trainings have in place of the recipe's
SEEDS = {WHOLE: 3, ORDINARY: 3}  # number of seeds; one for every other variant


def accuracy(solver: Any, training: bool) -> float:
    """Share of the validation images that is classified correctly, in training mode or in eval mode."""
    solver.model.train(training)
    right = 0
    with torch.no_grad():
        for images, labels in zip(solver.val_images.split(100), solver.val_labels.split(100), strict=True):
            right += int((solver.model(solver._normalise(images)).argmax(1) == labels).sum())
    return right / len(solver.val_labels)


def measure(title: str, seed: int, steps: int, images: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
    switches, values = VARIANTS[title]
    recipe = replace(Recipe(**RECIPES["mymodel"]), seed=seed, **SHORT | values)  # type: ignore[arg-type]
    part2.MODELS["MyModel"] = partial(part2.MyModel, **switches)
    arguments = recipe.solver_arguments()
    solver = part2.Solver(images=images.permute(0, 2, 3, 1), labels=labels.numpy(), **arguments)
    solver.epochs = steps / solver.steps_per_epoch  # a part of an epoch: the schedule ends with it
    started = time.process_time()
    for step in range(steps):
        solver.update(step)
    seconds = time.process_time() - started
    return {
        "variant": title, "seed": seed, "images": steps * recipe.batch_size,
        "parameters": sum(p.numel() for p in solver.model.parameters()),
        "validation_accuracy": f"{accuracy(solver, False):.4f}",
        "in_training_mode": f"{accuracy(solver, True):.4f}",
        "seconds": f"{seconds:.0f}", "commit": current_commit(), "torch": str(torch.__version__),
    }  # fmt: skip


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of cifar10.npz (default: data)")
    parser.add_argument("--steps", type=int, default=280, help="batches of each training (default: 280)")
    parser.add_argument("--out", type=Path, default=OUT, help=f"csv of the results (default: {OUT.name})")
    args = parser.parse_args()
    if args.steps < 1:
        raise cli.UsageError(f"--steps {args.steps}: must be at least 1")
    torch.set_num_threads(1)
    images, labels = read_arrays(args.data, "cifar10", "train")
    rows: list[dict[str, Any]] = [*read_rows(args.out)] if args.out.exists() else []
    done = {(row["variant"], int(row["seed"])) for row in rows}
    jobs = [(title, seed) for seed in range(3) for title in VARIANTS if seed < SEEDS.get(title, 1)]
    for title, seed in jobs:
        if (title, seed) not in done:
            rows.append(measure(title, seed, args.steps, images, labels))
            write_rows(args.out, rows)
            last = rows[-1]
            print(f"{title}, seed {seed}: {last['validation_accuracy']} in {last['seconds']} s", flush=True)


if __name__ == "__main__":
    cli.run(main, "ablate_my_model.py")
