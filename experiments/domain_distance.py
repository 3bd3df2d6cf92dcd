"""How far apart the two domains lie in the features of the published DANN and improved models.

    python experiments/domain_distance.py            # writes docs/results/domain_distance.csv; five minutes
    python experiments/study_digits.py dann --modes source --seeds 0 --out runs/strength0
    python experiments/domain_distance.py --strength0 runs/strength0    # and networks trained without an adversary
    python report/digit_figures.py dann --evaluate      # likewise uda: features and labels of the test images
    python experiments/domain_distance.py --balanced runs               # as many images of each digit in both domains

A linear classifier (logistic regression) learns to tell source from target test images by their features, the 128 of
the last hidden layer, and is tested on others. Its error e gives the proxy A-distance 2 (1 - 2 e): 0 where the domains
cannot be told apart, 2 where they always can (Ben-David et al. 2007; Ganin et al., JMLR 2016, section 5.2.3). No label
of a digit is read, but for --balanced, which draws the images by class: without it a domain can also be told by how
frequent its digits are. Means and standard deviations are over five random halves.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "report"))  # answers, tables

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    from answers import kept_result
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler
    from tables import record

    from dlcv import repro
    from dlcv.checkpoint import CHECKPOINTS, digest_of, load_model
    from dlcv.data.digits import PAIRS, read_folder, split_folder
    from dlcv.images import to_float
    from dlcv.models.digit_net import SOURCE, TARGET, DigitNet

OUT = Path(__file__).resolve().parents[1] / "docs" / "results" / "domain_distance.csv"
METHODS = ("dann", "uda")  # of checkpoints/
SPLITS = 5


def domain_errors(source: np.ndarray, target: np.ndarray) -> list[float]:
    """Errors of the linear domain classifier on held-out halves: features (N, D) of each domain, as many of both."""
    features = np.concatenate([source, target])
    domains = np.repeat([0, 1], [len(source), len(target)])
    errors = []
    for seed in range(SPLITS):
        order = np.random.RandomState(seed).permutation(len(features))
        train, test = order[: len(order) // 2], order[len(order) // 2 :]
        scaler = StandardScaler().fit(features[train])
        model = LogisticRegression(max_iter=1000).fit(scaler.transform(features[train]), domains[train])
        errors.append(float(np.mean(model.predict(scaler.transform(features[test])) != domains[test])))
    return errors


def row_of(
    method: str, pair: Sequence[str], path: Path, source: np.ndarray, target: np.ndarray
) -> dict[str, str | int]:
    """The csv file's line of a network, from features (N, D) of each domain; prints the distance."""
    errors = np.array(domain_errors(source, target))
    distances = 2 * (1 - 2 * errors)
    values = {"error": errors.mean(), "a_distance": distances.mean(), "a_distance_std": distances.std(ddof=1)}
    print(f"{method} {'→'.join(pair)}: A-distance {distances.mean():.2f}", flush=True)
    row: dict[str, str | int] = {"method": method, "source": pair[0], "target": pair[1], "sha256": digest_of(path)}
    row |= {"images": len(source), "splits": SPLITS}
    return row | {name: f"{value:.4f}" for name, value in values.items()}


def balanced(kept: Path, source: str, target: str) -> tuple[np.ndarray, np.ndarray]:
    """Features of both domains as report/digit_figures.py keeps them, with the same number of every digit in both."""
    parts = [kept_result(kept / f"{source}_{target}_{side}.npz") for side in ("source", "target")]
    each = min(int(np.bincount(part["labels"], minlength=10).min()) for part in parts)
    rng = np.random.RandomState(0)
    rows = [
        np.concatenate([rng.choice(np.flatnonzero(part["labels"] == d), each, replace=False) for d in range(10)])
        for part in parts
    ]
    one, other = (part["features"][row].astype(np.float64) for part, row in zip(parts, rows, strict=True))
    return one, other


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS, help="folder of dann_*.pth and uda_*.pth")
    parser.add_argument("--data", type=Path, help="folder of the data; hw3_data or data/hw3_data if not given")
    parser.add_argument("--images", type=int, default=2_000, help="test images of each domain, drawn with a fixed seed")
    parser.add_argument(
        "--strength0",
        type=Path,
        metavar="RUNS",
        help="measure these networks, too: the runs of `study_digits.py dann --modes source`, those of seed 0",
    )
    parser.add_argument(
        "--balanced",
        type=Path,
        metavar="RUNS",
        help="only this: as many of each digit in both domains, from what is kept in RUNS/figures_dann and figures_uda",
    )
    parser.add_argument("--out", type=Path, default=OUT, help="the csv file; lines of other networks in it are kept")
    args = parser.parse_args()
    if args.images < 10:
        raise cli.UsageError(f"--images {args.images}: at least 10")
    paths = {
        (method, *pair): args.checkpoints / f"{method}_{'_'.join(pair)}.pth" for method in METHODS for pair in PAIRS
    }
    if args.strength0:
        models = {("source", s, t): args.strength0 / f"{s}_{t}_source_seed0" / "model.pth" for s, t in PAIRS}
        trained = {key: path for key, path in models.items() if path.exists()}
        if not trained:
            raise cli.UserError(f"{args.strength0} has no run of mode source with seed 0")
        paths |= trained
    repro.exact_float32()
    if args.balanced:
        rows = [
            row_of(f"{method}_balanced", pair, path, *balanced(args.balanced / f"figures_{method}", *pair))
            for (method, *pair), path in paths.items()
        ]
        record(args.out, rows, ("method", "source", "target"))
        return
    images = {}
    for domain in {name for pair in PAIRS for name in pair}:
        every = read_folder(split_folder(args.data, domain, "test"))[1]
        if len(every) < args.images:
            raise cli.UserError(f"{domain} has {len(every)} test images: give --images {len(every)} or fewer")
        images[domain] = every[np.random.RandomState(0).permutation(len(every))[: args.images]]
    rows = []
    for (method, source, target), path in paths.items():
        model = load_model(DigitNet, path)
        features = []
        for name, side in ((source, SOURCE), (target, TARGET)):
            with torch.inference_mode():
                parts = [model.extract(to_float(part), side) for part in images[name].split(250)]
            features.append(torch.cat(parts).double().numpy())
        rows.append(row_of(method, (source, target), path, *features))
    record(args.out, rows, ("method", "source", "target"))


if __name__ == "__main__":
    cli.run(main, "domain_distance.py")
