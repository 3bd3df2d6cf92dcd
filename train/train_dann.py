"""Trains DANN, its lower bound or its upper bound on one pair of digit domains.

    python train/train_dann.py --source usps --target mnistm                # domain adaptation
    python train/train_dann.py --source usps --target mnistm --mode source  # the same with reversal strength 0
    python train/train_dann.py --source usps --target mnistm --mode target  # upper bound: target labels

Modes source and dann read source images with labels and target *train* images without; no test data, no target labels.
Writes model.pth (for inference), snapshots/, log.jsonl, TensorBoard and last.pt (for --resume) under --out.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

try:
    import torch
    import torch.nn.functional as F
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    from dlcv import cli, recipe, repro
    from dlcv.checkpoint import current_commit, load_model, save_checkpoint
    from dlcv.data.augment import augment_digits
    from dlcv.data.digits import read_folder, read_labels, split_folder
    from dlcv.data.splits import hold_out_tenth
    from dlcv.images import to_float
    from dlcv.models.dann import DANN, SOURCE, TARGET, DANNConfig, reversal_strength
    from dlcv.predict import predict_labels
    from dlcv.schedule import warmup_cosine
    from dlcv.selection import reverse_accuracy, unlabelled_scores
    from dlcv.trainer import read_log, run_steps
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Run `make setup` once, then use .venv/bin/python (or: . .venv/bin/activate)") from None


@dataclass(frozen=True)
class Recipe:
    source: Literal["usps", "mnistm", "svhn"] = "mnistm"  # domain whose labels are used
    target: Literal["usps", "mnistm", "svhn"] = "svhn"  # domain whose labels are not (but in mode target)
    mode: Literal["source", "dann", "target"] = "dann"  # lower bound, domain adaptation, upper bound
    seed: int = 0  # of the initial weights, the batches and the augmentation
    steps: int = 1_500  # about two minutes on one core; chosen for the study's time: docs/LOG.md
    batch_size: int = 64  # source images a step, and as many target images
    lr: float = 1e-3  # peak of a cosine schedule with 50 steps of warm-up, AdamW
    weight_decay: float = 1e-3  # AdamW's
    strength: float = 0.1  # final strength of the gradient reversal: docs/LOG.md
    reverse_source: bool = False  # whether the adversary moves the source features, too: docs/LOG.md
    ramp: float = 10.0  # steepness of the strength's schedule, the paper's; 1000 is full strength from the start
    label_smoothing: float = 0.1  # keeps the label loss alive, or the adversary pulls alone in the end: docs/LOG.md
    ema: float = 0.995  # decay of the averaged weights that are kept: takes the adversary's wobble out
    reverse_steps: int = 400  # of the network that judges the result without target labels (reverse validation)
    instance_norm: bool = True  # standardise each image inside the network
    domain_norm: bool = True  # batch-norm statistics for each domain; without, source and target share them
    width: int = 32  # channels of the first convolution
    evaluate_every: int = 500  # steps between snapshots
    bf16: bool = True  # autocast in training, where the processor has it: dlcv.repro.bf16

    def __post_init__(self) -> None:
        if self.source == self.target:
            raise cli.UsageError(f"source and target are both {self.source}: give two domains")
        recipe.require_positive(self, "steps", "lr", "width", "evaluate_every", "reverse_steps")
        recipe.require_between(self, 2, math.inf, "batch_size")  # batch norm needs two
        recipe.require_between(self, 0, 1, "label_smoothing", "ema")
        recipe.require_between(self, 0, math.inf, "seed", "weight_decay", "strength", "ramp")


# Each source is learnt almost completely, whatever becomes of the target; ranges around one run each, docs/LOG.md.
QUICK = {"steps": 400, "evaluate_every": 200, "ema": 0.97}  # a short run needs a short memory
QUICK_RANGE = {"usps": (0.96, 1.0), "mnistm": (0.90, 0.97), "svhn": (0.86, 0.95)}


def main() -> None:
    r, args = recipe.parse(Recipe, "Trains DANN on a pair of digit domains.", QUICK)
    quick = "_quick" if args.quick else ""
    out = args.out or Path("runs") / f"dann_{r.source}_{r.target}_{r.mode}_seed{r.seed}{quick}"
    device = repro.choose_device()
    current_commit()  # of the code that runs now, whatever is committed meanwhile

    # Data. In mode target the labelled domain is the target itself.
    labelled = r.target if r.mode == "target" else r.source
    names, images = read_folder(split_folder(args.data, labelled, "train"))
    labels = read_labels(args.data, labelled, "train", names)
    training, validation = hold_out_tenth(len(images))
    if r.mode == "target":
        target_images = images[training]  # not even the batch-norm statistics see the validation part
    else:
        _, target_images = read_folder(split_folder(args.data, r.target, "train"))
    labelled_domain = SOURCE if r.domain_norm and r.mode != "target" else TARGET

    # Model.
    repro.seed_everything(r.seed)
    config = DANNConfig(width=r.width, instance_norm=r.instance_norm)
    model = DANN(config).to(device).to(memory_format=torch.channels_last)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(r.ema), use_buffers=True)
    averaged = cast(DANN, average.module).eval()
    optimizer = torch.optim.AdamW(model.parameters(), lr=r.lr, weight_decay=r.weight_decay)

    def augment(digits: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return augment_digits(to_float(digits.to(device)), generator).to(memory_format=torch.channels_last)

    def batches(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        generator = repro.seed_step(r.seed, step)
        rows = training[torch.randint(len(training), (r.batch_size,), generator=generator)]
        others = torch.randint(len(target_images), (r.batch_size,), generator=generator)
        return (
            augment(images[rows], generator),
            labels[rows].to(device),
            augment(target_images[others], generator),
        )

    def train_step(step: int, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
        x_source, y, x_target = batch
        progress = step / r.steps
        for group in optimizer.param_groups:
            group["lr"] = r.lr * warmup_cosine(step, r.steps, warmup=50, floor=0.01)
        strength = reversal_strength(progress, r.strength, r.ramp) if r.mode == "dann" else 0.0
        with repro.bf16(device, r.bf16):
            if r.domain_norm:
                f_source, f_target = model.extract(x_source, labelled_domain), model.extract(x_target, TARGET)
            else:
                f_source, f_target = model.extract(torch.cat([x_source, x_target]), TARGET).split(len(y))
            logits = model.classifier(f_source)
            pulled = f_source if r.reverse_source else f_source.detach()
            domain_logits = model.tell_domain(torch.cat([pulled, f_target]), strength).float()
        # 1. Labels: source features classified.
        loss_label = F.cross_entropy(logits.float(), y, label_smoothing=r.label_smoothing)
        # 2. Domains: source or target? The domain classifier learns it, the features learn the opposite.
        is_source = torch.cat([torch.ones(len(y)), torch.zeros(len(x_target))]).to(device)
        loss_domain = F.binary_cross_entropy_with_logits(domain_logits, is_source)
        optimizer.zero_grad(set_to_none=True)
        (loss_label + loss_domain).backward()
        optimizer.step()
        average.update_parameters(model)
        return {
            "loss_label": loss_label,
            "loss_domain": loss_domain,
            "accuracy_label": (logits.argmax(1) == y).float().mean(),
            "accuracy_domain": ((domain_logits > 0) == (is_source > 0)).float().mean(),
        }

    snapshots = out / "snapshots"
    unlabelled = target_images[torch.randperm(len(target_images), generator=torch.Generator().manual_seed(1))[:6_000]]

    def accuracy(network: DANN) -> float:
        """On held-out images of the labelled domain."""
        network.domain = labelled_domain
        predicted = predict_labels(network, images[validation])
        network.domain = TARGET
        return float((torch.from_numpy(predicted) == labels[validation]).float().mean())

    def evaluate(done: int) -> dict[str, float]:
        scores = {
            "validation_accuracy": accuracy(averaged),
            **unlabelled_scores(averaged, unlabelled[:2_000]),
        }
        save_checkpoint(snapshots / f"step_{done:06d}.pth", averaged, {"step": done, **scores})
        return scores

    run_steps(
        train_step, batches, steps=r.steps, recipe=asdict(r), out=out, resume=args.resume,
        save_seconds=args.save_seconds, evaluate=evaluate, evaluate_every=r.evaluate_every,
        state={"model": model, "average": average, "optimizer": optimizer},
    )  # fmt: skip

    # Which step is kept: the last, or in mode target, which may look at target labels, the best on the validation part.
    scored = [line for line in read_log(out / "log.jsonl") if "validation_accuracy" in line]
    kept = (
        max(scored, key=lambda line: (line["validation_accuracy"], line["step"])) if r.mode == "target" else scored[-1]
    )
    chosen = load_model(DANN, snapshots / f"step_{kept['step']:06d}.pth")
    scores = {name: value for name, value in kept.items() if name not in ("step", "seconds")}
    if r.mode != "target":
        pseudo_labels = torch.from_numpy(predict_labels(chosen, unlabelled))
        scores["reverse_accuracy"] = reverse_accuracy(
            unlabelled, pseudo_labels, images[validation], labels[validation], steps=r.reverse_steps
        )
    save_checkpoint(
        out / "model.pth",
        chosen,
        {
            "recipe": asdict(r),
            "step": kept["step"],
            "selection": "best validation accuracy" if r.mode == "target" else "last step",
            "metrics": scores,
            "data": {"labelled": len(training), "validation": len(validation), "unlabelled": len(target_images)},
            "seconds": scored[-1]["seconds"],
        },
    )
    print(f"{out / 'model.pth'}: " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    if args.quick:
        low, high = QUICK_RANGE[labelled]
        print(f"validation accuracy should lie between {low} and {high} after a --quick run on {labelled}")


if __name__ == "__main__":
    cli.run(main, "train_dann.py")
