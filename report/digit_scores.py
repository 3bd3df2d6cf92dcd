"""Scores a folder of generated digits against MNIST-M and appends a line to docs/results/generated_digit_scores.csv.

    bash hw2_p2.sh runs/acgan_digits
    python report/digit_scores.py runs/acgan_digits --purpose "table: ACGAN"

Recognised: percent by the course's classifier; beside it that of the test digits, as many of each kind. Fréchet: in
that classifier's 64 features, between the folder and those test digits; beside it that of real training digits, as many
as the folder holds, drawn ten times. Spread: for each kind, the mean pixel distance between two of the folder's images
over that between two real ones. The csv is the ledger: these are looks at test answers. Lines whose purpose begins with
"table: " go into the texts' tables.
"""

import argparse
import csv
import hashlib
from pathlib import Path

try:
    import numpy as np
    import torch
    from tables import fill

    from dlcv import cli, metrics, repro
    from dlcv.checkpoint import CHECKPOINTS, load_model
    from dlcv.data.digits import read_folder, read_images, read_labels, split_folder
    from dlcv.data.folders import list_images
    from dlcv.digit_classifier import DigitClassifier
    from dlcv.evaluate import append_to_ledger, check_ledger
    from dlcv.images import to_float
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Run `make setup` once, then use .venv/bin/python (or: . .venv/bin/activate)") from None

ROOT = Path(__file__).resolve().parents[1]
SCORES = ROOT / "docs" / "results" / "generated_digit_scores.csv"
TEXTS = [ROOT / "README.md", ROOT / "docs" / "models" / "acgan.md"]
COLUMNS = (
    "date", "commit", "what", "sha256", "n", "recognised", "least_recognised", "recognised_test", "n_test",
    "frechet", "frechet_real", "frechet_ratio", "spread", "least_spread", "purpose",
)  # fmt: skip
DRAWS = 10  # of real training digits


def balanced(labels: np.ndarray, each: int, seed: int) -> np.ndarray:
    """Rows of `each` images of every digit, drawn; sorted by digit."""
    rng = np.random.RandomState(seed)
    return np.concatenate([rng.choice(np.flatnonzero(labels == d), each, replace=False) for d in range(10)])


def pixel_spread(images: torch.Tensor) -> float:
    """Mean Euclidean distance between two different images of (N, 3, H, W) uint8, pixels in [0, 1]."""
    return float(torch.pdist(to_float(images).flatten(1)).mean())


@torch.inference_mode()
def features(model: DigitClassifier, images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """float64 (N, 64) and labels (N,) of uint8 (N, 3, 28, 28)."""
    found = torch.cat([model.features(to_float(batch)) for batch in images.split(500)])
    return found.double().numpy(), model.fc3(found).argmax(1).numpy()


def score_table(scores: Path) -> str:
    """Markdown, one row for each purpose "table: …", its newest line."""
    with scores.open(newline="", encoding="utf-8") as file:
        lines = [line for line in csv.DictReader(file) if line["purpose"].startswith("table: ")]
    rows = [
        "| 1,000 digits | recognised, % | least of a digit, % | Fréchet distance, times that of real digits "
        "| spread | least of a digit |",
        "|" + "---|" * 6,
    ]
    for purpose, line in {line["purpose"]: line for line in lines}.items():
        numbers = [f"{float(line[name]):.1f}" for name in ("recognised", "least_recognised")]
        numbers += [f"{float(line[name]):.2f}" for name in ("frechet_ratio", "spread", "least_spread")]
        rows.append(f"| {purpose.removeprefix('table: ')} | {' | '.join(numbers)} |")
    if lines and lines[-1]["recognised_test"]:
        real = f"{float(lines[-1]['recognised_test']):.1f}"
        rows.append(f"| {int(lines[-1]['n_test']):,} real test digits | {real} | | | | |")
    return "\n".join(rows)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--purpose", required=True, help="why the test digits are looked at; goes into the ledger")
    parser.add_argument("--data", type=Path, help="folder of the data; hw3_data or data/hw3_data if not given")
    parser.add_argument("--scores", type=Path, default=SCORES)
    args = parser.parse_args()
    check_ledger(args.scores, COLUMNS)
    repro.exact_float32()
    model = load_model(DigitClassifier, CHECKPOINTS / "digit_classifier.pth")
    names = list_images(args.folder)
    if strange := [name for name in names if name[0] not in "0123456789"]:
        raise cli.UserError(f"{args.folder / strange[0]}: the name must begin with the digit, as in 3_057.png")
    images = read_images(args.folder, names)
    digits = np.array([int(name[0]) for name in names])
    each = len(names) // 10
    if each < 2 or (np.bincount(digits, minlength=10) != each).any():
        raise cli.UserError(f"{args.folder}: expected the same number of every digit, at least 2, as hw2_p2.sh writes")

    def read(split: str) -> tuple[torch.Tensor, np.ndarray]:
        folder = split_folder(args.data, "mnistm", split)
        found, pictures = read_folder(folder)
        return pictures, read_labels(args.data, "mnistm", split, found).numpy()

    test_images, test_labels = read("test")
    train_images, train_labels = read("train")
    if (most := np.bincount(train_labels, minlength=10).min()) < each:
        raise cli.UserError(f"{args.folder} holds {each} images of a digit, the training digits only {most} of one")
    chosen = balanced(test_labels, int(np.bincount(test_labels, minlength=10).min()), 0)
    reference, told = features(model, test_images[chosen])
    found, predicted = features(model, images)
    draws = [train_images[balanced(train_labels, each, seed)] for seed in range(DRAWS)]
    distance = metrics.frechet_distance(found, reference)
    real = np.mean([metrics.frechet_distance(features(model, draw)[0], reference) for draw in draws])
    spreads = []
    for digit in range(10):
        own = pixel_spread(images[digits == digit])
        spreads.append(own / np.mean([pixel_spread(draw[digit * each : (digit + 1) * each]) for draw in draws]))
    right = [100 * float((predicted[digits == digit] == digit).mean()) for digit in range(10)]
    digest = hashlib.sha256(images.numpy().tobytes()).hexdigest()[:12]
    values = {"recognised": np.mean(right), "least_recognised": min(right)}
    values |= {"recognised_test": 100 * (told == test_labels[chosen]).mean()}
    values |= {"frechet": distance, "frechet_real": real, "frechet_ratio": distance / real}
    values |= {"spread": np.mean(spreads), "least_spread": min(spreads)}
    append_to_ledger(
        args.scores, COLUMNS, what=args.folder.name, sha256=digest, n=len(names), n_test=len(chosen),
        purpose=args.purpose, **{name: f"{value:.4f}" for name, value in values.items()},
    )  # fmt: skip
    if args.scores == SCORES:
        fill(TEXTS, {"generated digit scores": score_table(SCORES)})
    print("digit      " + "".join(f"{digit:>7}" for digit in range(10)) + "    all")
    print("recognised " + "".join(f"{x:7.1f}" for x in [*right, np.mean(right)]))
    print("spread     " + "".join(f"{x:7.2f}" for x in [*spreads, np.mean(spreads)]))
    print(f"Fréchet distance {distance:.3f}, of real training digits {real:.3f}: {distance / real:.2f} times")


if __name__ == "__main__":
    cli.run(main, "digit_scores.py")
