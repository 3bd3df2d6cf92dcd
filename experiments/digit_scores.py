"""Scores a folder of generated digits against MNIST-M and appends a line to docs/results/generated_digit_scores.csv.

    bash hw2_p2.sh runs/acgan_digits
    python experiments/digit_scores.py runs/acgan_digits --purpose "table: ACGAN"
    python experiments/digit_scores.py --draws 8                # eight times 1,000 digits, latents of seeds 0 to 7
    python experiments/digit_scores.py --draws 1 --each 807     # how the distance depends on the number of images

Recognised: percent by the course's classifier; beside it that of the test digits, as many of each kind. Fréchet: in
that classifier's 64 features, between the folder and those test digits; beside it that of real training digits, as many
as the folder holds, drawn ten times. Spread: for each kind, the mean pixel distance between two of the folder's images
over that between two real ones. The csv is the ledger of every use of test labels. Lines whose purpose begins with
"table: " go into the texts' tables (report/score_tables.py).
"""

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch

    from dlcv import metrics, repro
    from dlcv.checkpoint import CHECKPOINTS, digest_of, load_model
    from dlcv.data.digits import read_images, read_split
    from dlcv.data.folders import list_images
    from dlcv.evaluate import append_to_ledger, check_ledger
    from dlcv.images import to_float
    from dlcv.models.acgan import ACGANGenerator
    from dlcv.models.digit_classifier import DigitClassifier
    from dlcv.sampling import sample_digits

SCORES = Path(__file__).resolve().parents[1] / "docs" / "results" / "generated_digit_scores.csv"
COLUMNS = (
    "date", "commit", "what", "sha256", "n", "recognised", "least_recognised", "recognised_test", "n_test",
    "frechet", "frechet_real", "frechet_ratio", "spread", "least_spread", "purpose",
)  # fmt: skip
DRAWS = 10  # of real training digits
DRAWN = "draws of latents"  # purpose of the lines of --draws


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
    values = torch.cat([model.features(to_float(batch)) for batch in images.split(500)])
    return values.double().numpy(), model.fc3(values).argmax(1).numpy()


class Digits:
    """MNIST-M's test digits, and draws of as many training digits as a set of generated ones holds."""

    def __init__(self, data: Path | None, each: int) -> None:
        """`each`: generated images of every digit. Raises UserError where there are fewer real ones."""
        self.model = load_model(DigitClassifier, CHECKPOINTS / "digit_classifier.pth")
        (test_images, test_labels), (train_images, train_labels) = (
            (images, labels.numpy()) for _, images, labels in (read_split(data, "mnistm", s) for s in ("test", "train"))
        )
        if (most := np.bincount(train_labels, minlength=10).min()) < each:
            raise cli.UserError(f"{each} generated images of a digit, but only {most} training digits of one")
        chosen = balanced(test_labels, int(np.bincount(test_labels, minlength=10).min()), 0)
        self.features, predicted = features(self.model, test_images[chosen])
        self.recognised, self.count = 100 * (predicted == test_labels[chosen]).mean(), len(chosen)
        draws = [train_images[balanced(train_labels, each, seed)] for seed in range(DRAWS)]
        self.frechet = np.mean([metrics.frechet_distance(features(self.model, x)[0], self.features) for x in draws])
        parts = [slice(digit * each, (digit + 1) * each) for digit in range(10)]
        self.spreads = [float(np.mean([pixel_spread(draw[part]) for draw in draws])) for part in parts]

    def score(self, images: torch.Tensor, digits: np.ndarray) -> tuple[dict[str, float], list[float], list[float]]:
        """The ledger's columns for uint8 (N, 3, 28, 28); of each digit percent recognised, and spread."""
        generated, predicted = features(self.model, images)
        distance = metrics.frechet_distance(generated, self.features)
        right = [100 * float((predicted[digits == digit] == digit).mean()) for digit in range(10)]
        spreads = [pixel_spread(images[digits == digit]) / real for digit, real in enumerate(self.spreads)]
        values = {"recognised": np.mean(right), "least_recognised": min(right), "recognised_test": self.recognised}
        values |= {"frechet": distance, "frechet_real": self.frechet, "frechet_ratio": distance / self.frechet}
        values |= {"spread": np.mean(spreads), "least_spread": min(spreads)}
        return values, right, spreads


def record(scores: Path, real: Digits, images: torch.Tensor, digits: np.ndarray, what: str, purpose: str) -> None:
    """Scores one set of generated digits, appends the line and prints it."""
    values, right, spreads = real.score(images, digits)
    append_to_ledger(
        scores, COLUMNS, what=what, sha256=hashlib.sha256(images.numpy().tobytes()).hexdigest()[:12], n=len(images),
        n_test=real.count, purpose=purpose, **{name: f"{value:.4f}" for name, value in values.items()},
    )  # fmt: skip
    print(what)
    print("digit      " + "".join(f"{digit:>7}" for digit in range(10)) + "    all")
    print("recognised " + "".join(f"{x:7.1f}" for x in [*right, np.mean(right)]))
    print("spread     " + "".join(f"{x:7.2f}" for x in [*spreads, np.mean(spreads)]))
    distance, of_real = values["frechet"], values["frechet_real"]
    print(f"Fréchet distance {distance:.3f}, of real training digits {of_real:.3f}: {distance / of_real:.2f} times")


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", type=Path, nargs="?", metavar="DIR", help="generated digits, as hw2_p2.sh writes them"
    )
    parser.add_argument("--purpose", help="why the test digits are looked at, with DIR; goes into the ledger")
    parser.add_argument(
        "--draws", type=int, help="instead of DIR: so many sets from --checkpoint, latents of seeds 0, 1, …"
    )
    parser.add_argument("--each", type=int, default=100, help="with --draws: images of every digit in a set (100)")
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINTS / "acgan.pth", help="with --draws: the weights")
    parser.add_argument("--data", type=Path, help="folder of the data; hw3_data or data/hw3_data if not given")
    parser.add_argument("--scores", type=Path, default=SCORES, help="the ledger")
    args = parser.parse_args()
    if (args.folder is None) == (args.draws is None):
        raise cli.UsageError("give either DIR or --draws N")
    if args.folder is not None and not args.purpose:
        raise cli.UsageError("DIR needs --purpose: why the test digits are looked at")
    if args.draws is not None and min(args.draws, args.each - 1) < 1:
        raise cli.UsageError("--draws must be at least 1 and --each at least 2")
    check_ledger(args.scores, COLUMNS)
    repro.exact_float32()
    if args.folder is not None:
        names = list_images(args.folder)
        if strange := [name for name in names if name[0] not in "0123456789"]:
            raise cli.UserError(f"{args.folder / strange[0]}: the name must begin with the digit, as in 3_057.png")
        images = read_images(args.folder, names)
        digits = np.array([int(name[0]) for name in names])
        each = len(names) // 10
        if each < 2 or (np.bincount(digits, minlength=10) != each).any():
            raise cli.UserError(
                f"{args.folder}: expected the same number of every digit, at least 2, as hw2_p2.sh writes"
            )
        record(args.scores, Digits(args.data, each), images, digits, args.folder.name, args.purpose)
    else:
        model = load_model(ACGANGenerator, args.checkpoint).double()
        digest = digest_of(args.checkpoint)
        labels = torch.arange(10).repeat_interleave(args.each)
        real = Digits(args.data, args.each)
        for seed in range(args.draws):
            drawn = sample_digits(model, repro.noise(seed, 10 * args.each, model.config.latent_dim), labels)
            images = torch.from_numpy(drawn).permute(0, 3, 1, 2).contiguous()
            what = f"{args.checkpoint.name} {digest}, {len(images)} digits, latents of seed {seed}"
            record(args.scores, real, images, labels.numpy(), what, DRAWN)


if __name__ == "__main__":
    cli.run(main, "digit_scores.py")
