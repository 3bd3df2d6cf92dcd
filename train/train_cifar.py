"""Trains the networks of CS7643 assignment 2, part 2, on CIFAR-10, with the solver that is handed in.

    python train/train_cifar.py twolayer      # or vanilla_cnn, mymodel, resnet32_ce, resnet32_cb_focal, …
    python train/train_cifar.py resnet32_cb_focal --beta 0.999 --seed 1

Data: data/cifar10.npz (bash get_dataset.sh --only cifar10). No test image is read. Writes model.pth (a plain state
dict, as the course loads it), model.json (its provenance), log.jsonl, TensorBoard and last.pt (for --resume) to --out.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli, recipe
from dlcv.cs7643.recipes import RECIPES, Recipe


def main() -> None:
    r, args = recipe.parse(Recipe, "Trains a network of CS7643 assignment 2.", {"epochs": 2}, RECIPES)
    out = recipe.run_folder(args, f"cifar_{args.preset}_seed{r.seed}")

    import torch

    from dlcv.checkpoint import current_commit
    from dlcv.cs7643.part2.solver import Solver
    from dlcv.data.arrays import read_arrays
    from dlcv.data.folders import fingerprint
    from dlcv.distributed import parallel, part, share, start
    from dlcv.files import atomic_path, write_text
    from dlcv.trainer import Run

    device = start(r.batch_size)
    images, labels = read_arrays(args.data, "cifar10", "train")
    if r.validation >= len(images):
        raise cli.UsageError(f"--validation {r.validation}: only {len(images)} images, nothing is left to train on")
    try:
        solver = Solver(
            images=images.permute(0, 2, 3, 1),
            labels=labels.numpy(),
            device=device,
            **r.solver_arguments(),
        )
    except ValueError as error:  # a class without an image
        raise cli.UsageError(f"{error}; try a smaller --imbalance-factor") from None

    # Several processes (torchrun) share each batch.
    solver.network, solver.part, solver.share = parallel(solver.model), part, share

    # Forward, loss, backward and step are in the solver that is submitted: cs7643/part2/solver.py, `update`.
    state = {"model": solver.model, "optimizer": solver.optimizer}
    steps, data = r.epochs * solver.steps_per_epoch, {"images": fingerprint(images, labels)}
    run = Run(out, r, steps=steps, state=state, data=data, **args.run)
    for step in run:
        loss, accuracy = solver.update(step)
        run.log(loss=loss, accuracy=accuracy)
        if run.due(solver.steps_per_epoch):
            with atomic_path(run.snapshot_path(run.done)) as temporary:
                weights = solver.model.state_dict()
                torch.save({name: tensor.cpu().contiguous() for name, tensor in weights.items()}, temporary)
            if r.validation:
                score, matrix = solver._evaluate(run.done // solver.steps_per_epoch - 1)
                by_class = {f"validation_class_{c}": float(matrix[c, c]) for c in range(10)}
                run.log(validation_accuracy=float(score), **by_class)

    last = {"step": steps}
    kept = max(run.lines("validation_accuracy"), key=lambda line: line["validation_accuracy"], default=last)
    provenance = {
        "commit": current_commit(),
        "torch": str(torch.__version__),
        "recipe": asdict(r),
        "epoch": kept["step"] // solver.steps_per_epoch,
        "selection": "best epoch on validation images" if r.validation else "last epoch",
        "metrics": {name: value for name, value in kept.items() if name.startswith("validation")},
        "data": {"training": solver.cls_num_list, "validation": r.validation},
        "parameters": sum(p.numel() for p in solver.model.parameters()),
    }
    with atomic_path(out / "model.pth") as temporary:
        temporary.write_bytes(run.snapshot_path(int(kept["step"])).read_bytes())
    write_text(out / "model.json", json.dumps(provenance, indent=1) + "\n")
    print(f"{out / 'model.pth'}: epoch {provenance['epoch']}, {provenance['metrics'].get('validation_accuracy', '')}")


if __name__ == "__main__":
    cli.run(main, "train_cifar.py")
