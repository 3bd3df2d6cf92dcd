"""Trains DANN, its lower bound or its upper bound on one pair of digit domains.

    python train/train_dann.py --source usps --target mnistm                # domain adaptation
    python train/train_dann.py --source usps --target mnistm --mode source  # the same with reversal strength 0
    python train/train_dann.py --source usps --target mnistm --mode target  # upper bound: target labels

Modes source and dann read source images with labels and target *train* images without; no test data, no target labels.
Writes model.pth (for inference), snapshots/, log.jsonl, TensorBoard and last.pt (for --resume) under --out.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli, recipe


@dataclass(frozen=True)
class Recipe:
    source: Literal["usps", "mnistm", "svhn"] = "mnistm"  # domain whose labels are used
    target: Literal["usps", "mnistm", "svhn"] = "svhn"  # domain whose labels are not used, except in mode target
    mode: Literal["source", "dann", "target"] = "dann"  # lower bound, domain adaptation, upper bound
    seed: int = 0  # random seed of the initial weights, the batches and the augmentation
    steps: int = 1_500  # steps of the whole training, two minutes on a core: docs/LOG.md, "DANN's recipe, second round"
    batch_size: int = 64  # source images a step, and as many target images
    lr: float = 1e-3  # peak learning rate of AdamW; cosine schedule with 50 steps of warm-up
    weight_decay: float = 1e-3  # weight decay of AdamW
    strength: float = 0.1  # final strength of the gradient reversal: docs/LOG.md, "DANN's recipe, pilots"
    reverse_source: bool = False  # the adversary moves source features, too: docs/LOG.md, "DANN's recipe, second round"
    ramp: float = 10.0  # gamma, the steepness of the paper's strength schedule; 1000: full strength from the start
    label_smoothing: float = 0.1  # label smoothing; the label loss stays above 0: docs/LOG.md, "DANN's recipe, pilots"
    ema: float = 0.995  # decay of the moving average of the weights, which is what is saved; damps oscillations
    reverse_steps: int = 400  # training steps of the network for reverse validation, a score without target labels
    instance_norm: bool = True  # standardise each image inside the network
    domain_norm: bool = True  # separate batch-norm statistics for each domain; otherwise source and target share them
    width: int = 32  # channels of the first convolution
    evaluate_every: int = 500  # steps between snapshots
    bf16: bool = True  # bfloat16 autocast in training, on hardware that computes in it: dlcv.repro.bf16

    def __post_init__(self) -> None:
        if self.source == self.target:
            raise cli.UsageError(f"source and target are both {self.source}: give two domains")
        recipe.require_positive(self, "width", "reverse_steps")
        recipe.require_between(self, 2, math.inf, "batch_size")  # batch norm needs two
        recipe.require_between(self, 0, 1, "label_smoothing")
        recipe.require_between(self, 0, math.inf, "strength", "ramp")


QUICK = {"steps": 400, "evaluate_every": 200, "ema": 0.97}  # a short run needs a faster moving average
# Validation accuracy to expect after --quick, by labelled domain (one run each: docs/LOG.md, "The training step, trick
# by trick"); it says nothing about the target.
QUICK_RANGE = {"usps": (0.96, 1.0), "mnistm": (0.90, 0.97), "svhn": (0.86, 0.95)}


def main() -> None:
    r, args = recipe.parse(Recipe, "Trains DANN on a pair of digit domains.", QUICK)
    out = recipe.run_folder(args, f"dann_{r.source}_{r.target}_{r.mode}_seed{r.seed}")

    import torch
    import torch.nn.functional as F

    from dlcv import repro
    from dlcv.averaging import ema
    from dlcv.checkpoint import load_model
    from dlcv.data.augment import augment_digits
    from dlcv.data.digits import read_folder, read_split, split_folder
    from dlcv.data.folders import fingerprint
    from dlcv.data.splits import hold_out_tenth
    from dlcv.distributed import parallel, part, start
    from dlcv.images import to_float
    from dlcv.models.dann import DomainClassifier, reversal_strength
    from dlcv.models.digit_net import SOURCE, TARGET, DigitNet, DigitNetConfig
    from dlcv.schedule import set_lr, warmup_cosine
    from dlcv.selection import accuracy_in, reverse_validation, to_judge_by, unlabelled_scores
    from dlcv.trainer import Run, scores_of

    device = start(r.batch_size)

    # Data. In mode target the labelled domain is the target itself.
    labelled = r.target if r.mode == "target" else r.source
    _, images, labels = read_split(args.data, labelled, "train")
    training, validation = hold_out_tenth(len(images))
    if r.mode == "target":
        target_images = images[training]  # not even the batch-norm statistics see the validation part
    else:
        _, target_images = read_folder(split_folder(args.data, r.target, "train"))
    labelled_domain = SOURCE if r.domain_norm and r.mode != "target" else TARGET
    unlabelled = to_judge_by(target_images)

    # Models: what is kept, and the domain classifier, which only training needs.
    repro.seed_everything(r.seed)
    model = DigitNet(DigitNetConfig(width=r.width, instance_norm=r.instance_norm))
    tell_domain = DomainClassifier(model.config.hidden).to(device)
    model = model.to(device).to(memory_format=torch.channels_last)
    average = ema(model, r.ema)
    averaged = cast(DigitNet, average.module)
    optimizer = torch.optim.AdamW([*model.parameters(), *tell_domain.parameters()], r.lr, weight_decay=r.weight_decay)
    # These average the gradients where torchrun started several processes.
    parallel_model, parallel_tell_domain = parallel(model), parallel(tell_domain)

    def augment(digits: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        return augment_digits(to_float(digits.to(device)), rng).to(memory_format=torch.channels_last)

    state = {"model": model, "tell_domain": tell_domain, "average": average, "optimizer": optimizer}
    counts = {"labelled": len(training), "validation": len(validation), "unlabelled": len(target_images)}
    data = {**counts, "images": fingerprint(images, labels, target_images)}
    run = Run(out, r, steps=r.steps, state=state, data=data, **args.run)
    for step in run:
        rng = repro.seed_step(r.seed, step)
        rows = training[torch.randint(len(training), (r.batch_size,), generator=rng)]
        others = torch.randint(len(target_images), (r.batch_size,), generator=rng)
        x_source, y = part(augment(images[rows], rng)), part(labels[rows]).to(device)
        x_target = part(augment(target_images[others], rng))
        set_lr(optimizer, r.lr * warmup_cosine(step, r.steps, warmup=50, floor=0.01))
        strength = reversal_strength(step / r.steps, r.strength, r.ramp) if r.mode == "dann" else 0.0

        with repro.bf16(device, r.bf16):
            if r.domain_norm:
                f_source = parallel_model.extract(x_source, labelled_domain)
                f_target = parallel_model.extract(x_target, TARGET)
            else:
                f_source, f_target = parallel_model.extract(torch.cat([x_source, x_target]), TARGET).split(len(y))
            logits = parallel_model.classifier(f_source)
            pulled = f_source if r.reverse_source else f_source.detach()
            domain_logits = parallel_tell_domain(torch.cat([pulled, f_target]), strength).float()
        # 1. Labels: source features classified.
        loss_label = F.cross_entropy(logits.float(), y, label_smoothing=r.label_smoothing)
        # 2. Domains: source or target? The domain classifier learns it, the features learn the opposite.
        is_source = torch.cat([torch.ones(len(y)), torch.zeros(len(x_target))]).to(device)
        loss_domain = F.binary_cross_entropy_with_logits(domain_logits, is_source)
        optimizer.zero_grad()
        (loss_label + loss_domain).backward()
        optimizer.step()
        average.update_parameters(model)

        run.log(loss_label=loss_label, accuracy_label=(logits.argmax(1) == y).float().mean())
        run.log(loss_domain=loss_domain, accuracy_domain=((domain_logits > 0) == (is_source > 0)).float().mean())
        if run.due(r.evaluate_every):
            accuracy = accuracy_in(labelled_domain, averaged, images[validation], labels[validation])
            scores = {"validation_accuracy": accuracy, **unlabelled_scores(averaged, unlabelled[:2_000])}
            run.log(**scores)
            run.snapshot(averaged, **scores)

    # Which step is kept: the last, or in mode target, which may look at target labels, the best on the validation part.
    if r.mode == "target":
        best = max(run.lines("validation_accuracy"), key=lambda line: (line["validation_accuracy"], line["step"]))
        run.finish(DigitNet, step=int(best["step"]), selection="best validation accuracy", metrics=scores_of(best))
    else:
        kept = load_model(DigitNet, run.snapshot_path(r.steps))
        judged = reverse_validation(kept, unlabelled, images[validation], labels[validation], r.reverse_steps)
        run.finish(DigitNet, metrics=scores_of(run.lines("validation_accuracy")[-1]) | {"reverse_accuracy": judged})
    if args.quick:
        low, high = QUICK_RANGE[labelled]
        print(f"validation accuracy should lie between {low} and {high} after a --quick run on {labelled}")


if __name__ == "__main__":
    cli.run(main, "train_dann.py")
