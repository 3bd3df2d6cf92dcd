"""The one command that reads the answers of a test set (or a target's training labels), and its ledger.

    python -m dlcv.evaluate runs/x/model.pth --domain svhn --purpose "final table, seed 0"

Prints the accuracy and appends a line to docs/test_reads.csv, which is committed: every look at the
answers stands there.
"""

import csv
import hashlib
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from dlcv import cli, repro
from dlcv.checkpoint import current_commit
from dlcv.data.digits import DOMAINS, read_folder, read_labels, split_folder
from dlcv.digit_models import load_digit_model
from dlcv.files import atomic_path, check_writable
from dlcv.images import to_float
from dlcv.models.dann import DANN, SOURCE
from dlcv.models.uda import UDA
from dlcv.predict import predict_labels

LEDGER = Path(__file__).resolve().parents[2] / "docs" / "test_reads.csv"
COLUMNS = ("date", "commit", "checkpoint", "sha256", "domain", "split", "statistics", "images", "purpose", "accuracy")


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="+", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--data", type=Path, help="folder of the data (default: hw3_data or data/hw3_data)")
    parser.add_argument("--domain", choices=DOMAINS, required=True)
    parser.add_argument("--split", choices=("test", "train"), default="test")
    parser.add_argument("--limit", type=int, help="only so many images, drawn with a fixed seed")
    parser.add_argument("--statistics", choices=("target", "source"), default="target", help="batch-norm statistics")
    parser.add_argument("--purpose", required=True, help="why the answers are looked at; goes into the ledger")
    parser.add_argument("--save", type=Path, help="one npz with names, labels, predictions, features, logits (.npz)")
    parser.add_argument("--ledger", type=Path, default=LEDGER)
    args = parser.parse_args()
    if args.limit is not None and (args.limit < 1 or args.split == "test"):
        raise cli.UsageError(f"--limit {args.limit}: at least 1, and for --split train only: a test set is read whole")
    if args.save is not None and len(args.checkpoints) > 1:
        raise cli.UsageError("--save takes one checkpoint at a time")
    if args.save is not None:
        if args.save.suffix != ".npz":
            raise cli.UsageError(f"--save {args.save}: the name must end in .npz")
        check_writable(args.save)
    check_writable(args.ledger)  # before any answer is read
    repro.exact_float32()
    device = repro.choose_device()
    names, images = read_folder(split_folder(args.data, args.domain, args.split))
    if args.limit is not None:
        rows = torch.randperm(len(names), generator=torch.Generator().manual_seed(0))[: args.limit].sort().values
        names, images = [names[row] for row in rows.tolist()], images[rows]
    labels = read_labels(args.data, args.domain, args.split, names).numpy()
    for path in args.checkpoints:
        model = load_digit_model(path).to(device)
        if args.statistics == "source":
            model.domain = SOURCE
        predictions = predict_labels(model, images)
        accuracy = float(np.mean(predictions == labels))
        append_to_ledger(
            args.ledger,
            checkpoint=path.as_posix(),
            sha256=hashlib.sha256(path.read_bytes()).hexdigest()[:12],
            domain=args.domain,
            split=args.split,
            statistics=args.statistics,
            images=len(names),
            purpose=args.purpose,
            accuracy=f"{accuracy:.4f}",
        )
        print(f"{path}: {100 * accuracy:.2f} % of {len(names)} {args.domain}/{args.split} images")
        if args.save is not None:
            features, logits = features_and_logits(model, images)
            with atomic_path(args.save) as temporary:
                np.savez_compressed(
                    temporary,
                    names=np.array(names),
                    labels=labels,
                    predictions=predictions,
                    features=features,
                    logits=logits,
                )


@torch.inference_mode()
def features_and_logits(model: DANN | UDA, images: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) float32 of the last hidden layer, and class logits (N, 10)."""
    device = next(model.parameters()).device
    features = [model.extract(to_float(batch.to(device)), model.domain) for batch in images.split(500)]
    logits = [model.classifier(batch) for batch in features]
    return torch.cat(features).cpu().numpy(), torch.cat(logits).cpu().numpy()


def append_to_ledger(ledger: Path, columns: Sequence[str] = COLUMNS, **values: object) -> None:
    """Appends one line, date and commit added, in a single write; creates the file with its header."""
    row = {"date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "commit": current_commit(), **values}
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if not ledger.exists():
        writer.writeheader()
    writer.writerow(row)
    with ledger.open("a", encoding="utf-8", newline="") as file:
        file.write(text.getvalue())


if __name__ == "__main__":
    cli.run(main, "dlcv.evaluate")
