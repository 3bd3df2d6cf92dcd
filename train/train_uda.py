"""Trains the improved domain adaptation on one pair of digit domains: self-training with a mean teacher.

    python train/train_uda.py --source usps --target mnistm

Reads source images with labels and target *train* images without; no test data, no target labels.
Writes model.pth (for inference), snapshots/, log.jsonl, TensorBoard and last.pt (for --resume) under --out.
"""

import copy
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli, recipe


@dataclass(frozen=True)
class Recipe:
    source: Literal["usps", "mnistm", "svhn"] = "mnistm"  # domain whose labels are used
    target: Literal["usps", "mnistm", "svhn"] = "svhn"  # domain whose labels are not used
    seed: int = 0  # random seed of the initial weights, the batches and the augmentation
    steps: int = 8_000  # steps of the whole training, about 20 minutes on one core
    batch_size: int = 64  # source images a step
    target_batch_size: int = 128  # target images a step
    lr: float = 1e-3  # peak learning rate of AdamW; cosine schedule with 50 steps of warm-up
    weight_decay: float = 1e-3  # weight decay of AdamW
    blend: float = 0.5  # share of the source digits that are pasted onto crops of target images
    neighbours: float = 0.7  # probability of a neighbouring digit on each side of a pasted one, if the target is svhn
    consistency: float = 1.0  # weight of the loss on target images; 0 trains on the source alone
    warmup: float = 0.1  # share of the steps over which the weight of the target loss grows from 0
    threshold: float = 0.9  # lowest probability at which the teacher's class becomes a pseudo-label
    alignment: bool = True  # distribution alignment of the teacher's predictions, fading out towards the end
    colour: bool = True  # random tint and polarity in the augmentations of the student's images
    teacher_decay: float = 0.999  # decay of the teacher's averaged weights, which are saved; at most (1 + t) / (10 + t)
    source_end: float = 0.2  # weight of the source loss at the end (1 at the start, changing linearly)
    reverse_steps: int = 400  # training steps of the network for reverse validation, a score without target labels
    instance_norm: bool = True  # standardise each image inside the network
    domain_norm: bool = True  # the student normalises each domain on its own; otherwise both in one batch
    width: int = 32  # channels of the first convolution
    evaluate_every: int = 1_000  # steps between snapshots
    bf16: bool = True  # bfloat16 autocast in training, on hardware that computes in it: dlcv.repro.bf16

    def __post_init__(self) -> None:
        if self.source == self.target:
            raise cli.UsageError(f"source and target are both {self.source}: give two domains")
        recipe.require_positive(self, "width", "reverse_steps")
        recipe.require_between(self, 2, math.inf, "batch_size", "target_batch_size")  # batch norm needs two
        recipe.require_between(self, 0, 1, "blend", "neighbours", "threshold", "teacher_decay", "warmup")
        recipe.require_between(self, 0, math.inf, "consistency", "source_end")


QUICK = {"steps": 300, "evaluate_every": 150, "teacher_decay": 0.97}  # a short run needs a faster moving average
QUICK_RANGE = {"usps": (0.90, 1.0), "mnistm": (0.70, 0.97), "svhn": (0.60, 0.95)}


def main() -> None:
    r, args = recipe.parse(Recipe, "Trains the improved domain adaptation on a pair of digit domains.", QUICK)
    out = recipe.run_folder(args, f"uda_{r.source}_{r.target}_seed{r.seed}")

    import torch
    import torch.nn.functional as F

    from dlcv import repro
    from dlcv.checkpoint import load_model
    from dlcv.data import augment
    from dlcv.data.digits import read_folder, read_split, split_folder
    from dlcv.data.folders import fingerprint
    from dlcv.data.splits import hold_out_tenth
    from dlcv.distributed import gather, parallel, part, start
    from dlcv.images import to_float
    from dlcv.models.digit_net import SOURCE, TARGET, DigitNet, DigitNetConfig
    from dlcv.models.uda import Alignment, consistency_loss, follow
    from dlcv.schedule import set_lr, warmup_cosine
    from dlcv.selection import accuracy_in, reverse_validation, to_judge_by, unlabelled_scores
    from dlcv.trainer import Run, scores_of

    device = start(r.batch_size, r.target_batch_size)

    # Data.
    _, images, labels = read_split(args.data, r.source, "train")
    training, validation = hold_out_tenth(len(images))
    _, target_images = read_folder(split_folder(args.data, r.target, "train"))
    source_domain = SOURCE if r.domain_norm else TARGET
    unlabelled = to_judge_by(target_images)

    # Student and teacher.
    repro.seed_everything(r.seed)
    student = DigitNet(DigitNetConfig(width=r.width, instance_norm=r.instance_norm)).to(device)
    student = student.to(memory_format=torch.channels_last)
    teacher = copy.deepcopy(student).requires_grad_(False)
    alignment = Alignment().to(device)
    optimizer = torch.optim.AdamW(student.parameters(), lr=r.lr, weight_decay=r.weight_decay)
    parallel_student = parallel(student)  # averages gradients over torchrun's processes, if several

    def strong(digits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        digits = augment.random_affine(digits, generator, degrees=15.0, scale=0.25)
        if r.colour:
            digits = augment.random_polarity(augment.random_colour(digits, generator), generator)
        return augment.cutout(digits, generator)

    def labelled(digits: torch.Tensor, others: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Source digits moved and tinted, some of them on pieces of the target images `others`."""
        moved = augment.random_affine(digits, generator, degrees=15.0, scale=0.3)
        plain = augment.random_colour(moved, generator) if r.colour else moved
        masks = augment.digit_masks(moved, generator)
        if r.source != "svhn":
            masks = augment.random_thickness(masks, generator)
            if r.target == "svhn":
                masks = augment.add_neighbours(masks, generator, r.neighbours)
        crops = augment.random_crops(others[: len(digits)], generator)
        blended = augment.blend(masks, crops, generator)
        there = (torch.rand((len(digits), 1, 1, 1), generator=generator) < r.blend).to(digits)
        mixed = plain + there * (blended - plain)
        return augment.random_polarity(mixed, generator) if r.colour else mixed

    state = {"student": student, "teacher": teacher, "alignment": alignment, "optimizer": optimizer}
    counts = {"labelled": len(training), "validation": len(validation), "unlabelled": len(target_images)}
    data = {**counts, "images": fingerprint(images, labels, target_images)}
    run = Run(out, r, steps=r.steps, state=state, data=data, **args.run)
    for step in run:
        # Source images and labels; target images seen weakly and strongly augmented.
        rng, progress = repro.seed_step(r.seed, step), step / r.steps
        rows = training[torch.randint(len(training), (r.batch_size,), generator=rng)]
        others = torch.randint(len(target_images), (max(r.target_batch_size, r.batch_size),), generator=rng)
        digits, targets = to_float(images[rows].to(device)), to_float(target_images[others].to(device))
        x, y = labelled(digits, targets, rng), part(labels[rows]).to(device)
        targets = targets[: r.target_batch_size]
        weak = augment.random_affine(targets, rng, degrees=5.0, scale=0.1, shear=0.1, shift=0.07)
        x, weak, strong_view = (part(v).to(memory_format=torch.channels_last) for v in (x, weak, strong(targets, rng)))
        set_lr(optimizer, r.lr * warmup_cosine(step, r.steps, warmup=50, floor=0.01))
        student.train()
        teacher.train()  # normalises by the batch of weak target views; they update its running statistics

        with repro.bf16(device, r.bf16):
            with torch.no_grad():
                guess = teacher.classifier(teacher.extract(weak, TARGET)).float().softmax(1)
            if r.domain_norm:
                logits = parallel_student.classifier(parallel_student.extract(x, SOURCE)).float()
                target_logits = parallel_student.classifier(parallel_student.extract(strong_view, TARGET)).float()
            else:
                features = parallel_student.extract(torch.cat([x, strong_view]), TARGET)
                logits, target_logits = parallel_student.classifier(features).float().split([len(x), len(strong_view)])
        # 1. The source, with its labels.
        loss_label = F.cross_entropy(logits, y)
        # 2. The target: the teacher's confident classes on weak views are the student's labels on strong views.
        aligned = part(alignment(gather(guess), 1.0 - progress if r.alignment else 0.0))
        loss_target, sure = consistency_loss(target_logits, aligned, r.threshold)
        weight = r.consistency * min(1.0, progress / r.warmup if r.warmup else 1.0)
        loss = (1 + (r.source_end - 1) * progress) * loss_label + weight * loss_target
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        follow(teacher, student, min(r.teacher_decay, (1 + step) / (10 + step)))

        run.log(loss_label=loss_label, loss_target=loss_target, sure=sure)
        run.log(accuracy_label=(logits.argmax(1) == y).float().mean())
        if run.due(r.evaluate_every):
            teacher.eval()
            accuracy = accuracy_in(source_domain, teacher, images[validation], labels[validation])
            scores = {"validation_accuracy": accuracy, **unlabelled_scores(teacher, unlabelled[:2_000])}
            run.log(**scores)
            run.snapshot(teacher, **scores)

    # Which step is kept: the last.
    kept = load_model(DigitNet, run.snapshot_path(r.steps))
    judged = reverse_validation(kept, unlabelled, images[validation], labels[validation], r.reverse_steps)
    run.finish(DigitNet, metrics=scores_of(run.lines("validation_accuracy")[-1]) | {"reverse_accuracy": judged})
    if args.quick:
        low, high = QUICK_RANGE[r.source]
        print(f"validation accuracy should lie between {low} and {high} after a --quick run on {r.source}")


if __name__ == "__main__":
    cli.run(main, "train_uda.py")
