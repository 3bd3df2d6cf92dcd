"""Runs the whole study of a method, or what is left of it: six pairs, three seeds, and DANN's bounds.

    python experiments/study_digits.py dann --jobs 2   # each run on one core; the next call goes on
    python experiments/study_digits.py uda --list      # says what is done, begun and left

DANN's study has three modes: source (lower bound), dann, target (upper bound: it needs no source, so it is trained once
for each target). The improved method's has one, uda. Flags behind -- go to train_dann.py or train_uda.py.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    from dlcv.data.digits import PAIRS
    from dlcv.study import Job, arguments, work

TRAIN = Path(__file__).resolve().parents[1] / "train"
UPPER_BOUNDS = [("usps", "mnistm"), ("mnistm", "svhn"), ("svhn", "usps")]
# 1,500 steps are not two epochs of MNIST-M. The bound may take longer: the best step is chosen with target labels.
UPPER_BOUND_FLAGS = ["--steps", "5000"]


def plan(method: str, seeds: list[int]) -> list[tuple[str, str, str, int]]:
    """(source, target, mode, seed) of every run, in the order in which a table fills up."""
    runs = []
    for seed in seeds:
        if method == "uda":
            runs += [(source, target, "uda", seed) for source, target in PAIRS]
            continue
        runs += [(source, target, mode, seed) for source, target in PAIRS for mode in ("dann", "source")]
        runs += [(source, target, "target", seed) for source, target in UPPER_BOUNDS]
    return runs


def main() -> int:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument(
        "method", choices=("dann", "uda"), help="dann: with its bounds and ablations; uda: the improved method"
    )
    parser.add_argument("--out", type=Path, help="folder of the runs (default runs/study_METHOD)")
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[0, 1, 2], help="seeds, each a training of its own (default: 0 1 2)"
    )
    parser.add_argument("--pairs", nargs="+", metavar="SOURCE_TARGET", help="only these pairs, as usps_mnistm")
    parser.add_argument("--modes", nargs="+", choices=("dann", "source", "target"), help="only these modes of DANN's")
    args, flags = arguments(parser)
    if args.modes and args.method == "uda":
        raise cli.UsageError("--modes: only DANN's study has modes")
    study = args.out or Path("runs") / f"study_{args.method}"
    unknown = set(args.pairs or ()) - {f"{source}_{target}" for source, target in PAIRS}
    if unknown:
        raise cli.UsageError(f"unknown pairs: {', '.join(sorted(unknown))}")
    runs = [
        run
        for run in plan(args.method, args.seeds)
        if (not args.modes or run[2] in args.modes) and (not args.pairs or f"{run[0]}_{run[1]}" in args.pairs)
    ]

    script = TRAIN / f"train_{args.method}.py"
    todo = []
    for source, target, mode, seed in runs:
        own = ["--source", source, "--target", target, *(["--mode", mode] if args.method == "dann" else [])]
        own += ["--seed", str(seed), *(UPPER_BOUND_FLAGS if mode == "target" else []), *flags]
        todo.append(Job(study / f"{source}_{target}_{mode}_seed{seed}", script, tuple(own)))
    return work(todo, args.jobs, args.list)


if __name__ == "__main__":
    cli.run(main, "study_digits.py")
