"""Trains the CNN of EEE7331 assignment 1 on CIFAR-10: Part A, or with --separable Part B.

    python train/train_cifar_cnn.py           # data in data/cifar10.npz: bash get_dataset.sh --only cifar10

Writes model.pth (the last epoch's), snapshots/ (one an epoch: the curves are drawn from them afterwards), log.jsonl,
TensorBoard and last.pt (for --resume) to --out. No test image is read; --hold-out trains without 5,000 of the
training images and logs the accuracy on them: choose on those, then train on all.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli, recipe


@dataclass(frozen=True)
class Recipe:
    separable: bool = False  # Part B: stages 2 and 3 depth-wise separable
    epochs: int = 40  # passes over the training images
    batch_size: int = 128  # images a step
    lr: float = 0.05  # peak learning rate of SGD; cosine schedule with one epoch of warm-up
    momentum: float = 0.9  # Nesterov momentum of SGD
    weight_decay: float = 5e-4  # weight decay of SGD
    dropout: float = 0.3  # dropout probability before and after the fully connected layer of 500 units
    shift: int = 4  # largest random shift of an image in pixels; half of the images are mirrored, too
    hold_out: bool = False  # keep 5,000 training images back, for choosing
    seed: int = 0  # random seed of the initial weights, the order and the augmentation
    bf16: bool = True  # bfloat16 autocast in training, on hardware that computes in it: dlcv.repro.bf16

    def __post_init__(self) -> None:
        recipe.require_between(self, 0, 0.999, "momentum", "dropout")
        recipe.require_between(self, 0, 31, "shift")


QUICK = {"epochs": 2}


def main() -> None:
    r, args = recipe.parse(Recipe, "Trains EEE7331's CNN on CIFAR-10.", QUICK)
    name = f"cifar_cnn_{'separable' if r.separable else 'plain'}_seed{r.seed}"
    out = recipe.run_folder(args, name + ("_held_out" if r.hold_out else ""))

    import torch
    import torch.nn.functional as F

    from dlcv import repro
    from dlcv.data import arrays, augment, splits
    from dlcv.data.folders import fingerprint
    from dlcv.distributed import parallel, part, rank, share, start
    from dlcv.images import to_float
    from dlcv.models.cifar_cnn import CifarCNN, CifarCNNConfig
    from dlcv.schedule import set_lr, warmup_cosine
    from dlcv.trainer import Run, scores_of

    device = start(r.batch_size)
    images, labels = arrays.read_arrays(args.data, "cifar10", "train")
    training, held_out = splits.hold_out(len(images), arrays.HELD_OUT)
    if not r.hold_out:
        training, held_out = torch.arange(len(images)), held_out[:0]
    steps_per_epoch = math.ceil(len(training) / r.batch_size)
    steps = r.epochs * steps_per_epoch

    repro.seed_everything(r.seed)
    model = CifarCNN(CifarCNNConfig(r.separable, r.dropout)).to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), r.lr, momentum=r.momentum, nesterov=r.momentum > 0, weight_decay=r.weight_decay
    )
    parallel_model = parallel(model)  # averages gradients over torchrun's processes, if several

    def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Every image once an epoch, moved and mirrored anew."""
        epoch, number = divmod(step, steps_per_epoch)
        order = training[torch.randperm(len(training), generator=repro.seed_step(r.seed, epoch))]
        rows = order[number * r.batch_size : (number + 1) * r.batch_size]
        rng = repro.seed_step(r.seed + 1_000_003, step)
        x = augment.random_shifts(augment.random_flips(images[rows], rng), rng, r.shift)
        return to_float(x.to(device)).contiguous(memory_format=torch.channels_last), labels[rows].to(device)

    def held_out_accuracy() -> float:
        model.eval()
        with torch.no_grad():
            parts = [model(to_float(images[rows].to(device))) for rows in held_out.split(250)]
        model.train()
        return float((torch.cat(parts).argmax(1).cpu() == labels[held_out]).float().mean())

    state = {"model": model, "optimizer": optimizer}
    data = {"training": len(training), "held_out": len(held_out), "images": fingerprint(images, labels)}
    run = Run(out, r, steps=steps, state=state, data=data, **args.run)
    for step in run:
        x, y = batch(step)
        torch.manual_seed(torch.initial_seed() + rank())  # dropout differs between processes
        weight, x, y = share(len(y)), part(x), part(y)  # an epoch's last batch may be shared out unequally
        set_lr(optimizer, r.lr * warmup_cosine(step, steps, warmup=steps_per_epoch))
        with repro.bf16(device, r.bf16):
            logits = parallel_model(x).float()
        loss = weight * F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        run.log(loss=loss, accuracy=weight * (logits.argmax(1) == y).float().mean())
        if run.due(steps_per_epoch):
            run.snapshot(model)
            if len(held_out):
                run.log(held_out_accuracy=held_out_accuracy())
    metrics = scores_of(run.lines("held_out_accuracy")[-1]) if len(held_out) else {}
    run.finish(CifarCNN, selection="last epoch", metrics=metrics, epoch=r.epochs)


if __name__ == "__main__":
    cli.run(main, "train_cifar_cnn.py")
