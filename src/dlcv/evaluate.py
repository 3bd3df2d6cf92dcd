"""The one command by which tables and figures compare our classifiers with test answers (or target-train labels).

    python -m dlcv.evaluate runs/x/model.pth --domain svhn --purpose "final table, seed 0"

Prints the accuracy and appends a line to a ledger, so that every look at the answers is written down: yours is
runs/test_reads.csv. The project's own tables rest on docs/test_reads.csv, which is committed and which only
--ledger docs/test_reads.csv adds to.
"""

import copy
import csv
import io
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    from torch import nn

    from dlcv import repro
    from dlcv.checkpoint import current_commit, digest_of
    from dlcv.data.arrays import read_arrays
    from dlcv.data.digits import DOMAINS, read_split
    from dlcv.files import atomic_path, check_writable
    from dlcv.images import to_float
    from dlcv.models.cifar_cnn import CifarCNN
    from dlcv.models.digit_net import SOURCE, DigitNet
    from dlcv.models.table import Standardised, load_any
    from dlcv.predict import predict_labels

LEDGER = Path(__file__).resolve().parents[2] / "docs" / "test_reads.csv"  # the project's
OWN_LEDGER = Path("runs/test_reads.csv")  # a user's, in the folder where the command is called
COLUMNS = ("date", "commit", "checkpoint", "sha256", "domain", "split", "statistics", "images", "purpose", "accuracy")


def main() -> None:
    parser = cli.ArgumentParser(prog="python -m dlcv.evaluate", description=__doc__)
    parser.add_argument(
        "checkpoints", nargs="+", type=Path, metavar="CHECKPOINT", help="models to evaluate, one after the other"
    )
    parser.add_argument(
        "--data", type=Path, help="folder of the data (default: hw3_data or data/hw3_data; for cifar10 data)"
    )
    parser.add_argument(
        "--domain", choices=(*DOMAINS, "cifar10"), required=True, help="data set whose answers are read"
    )
    parser.add_argument(
        "--split",
        choices=("test", "train"),
        default="test",
        help="its test answers, or those of its training images (default: test)",
    )
    parser.add_argument("--limit", type=int, help="only so many images, drawn with a fixed seed")
    parser.add_argument(
        "--statistics",
        choices=("target", "source", "batch"),
        help="of batch norm; digits: those of the target (default) or the source domain; cifar10: batch for those of "
        "each batch of 100, as a test reads a network without calling eval()",
    )
    parser.add_argument("--purpose", required=True, help="why the answers are looked at; goes into the ledger")
    parser.add_argument(
        "--save", type=Path, help="one npz with names, labels, predictions, logits; for digits features, too (.npz)"
    )
    parser.add_argument(
        "--ledger", type=Path, default=OWN_LEDGER, help=f"csv that the reading is added to (default: {OWN_LEDGER})"
    )
    args = parser.parse_args()
    digits = args.domain != "cifar10"
    if args.statistics and (args.statistics == "batch") == digits:
        raise cli.UsageError(f"--statistics {args.statistics}: not for {args.domain}")
    if args.limit is not None and (args.limit < 1 or args.split == "test"):
        raise cli.UsageError(f"--limit {args.limit}: at least 1, and for --split train only: a test set is read whole")
    if args.save is not None and len(args.checkpoints) > 1 and digits:
        raise cli.UsageError("--save takes one checkpoint of digits at a time")
    if args.save is not None:
        if args.save.suffix != ".npz":
            raise cli.UsageError(f"--save {args.save}: the name must end in .npz")
        check_writable(args.save)
    check_ledger(args.ledger)  # before any answer is read
    repro.exact_float32()
    device = repro.choose_device()
    names, images, labels = read_answers(args.data, args.domain, args.split)
    if args.limit is not None:
        rows = torch.randperm(len(names), generator=torch.Generator().manual_seed(0))[: args.limit].sort().values
        names, images, labels = [names[row] for row in rows.tolist()], images[rows], labels[rows]
    kept: dict[str, list[np.ndarray]] = {}
    for path in args.checkpoints:
        model = (load_any(path, DigitNet) if digits else load_any(path, CifarCNN, Standardised)).to(device)
        if isinstance(model, DigitNet) and args.statistics == "source":
            model.domain = SOURCE
        in_batches = args.statistics == "batch"
        predictions = predict_in_training_mode(model, images) if in_batches else predict_labels(model, images)
        accuracy = float(np.mean(predictions == labels))
        append_to_ledger(
            args.ledger,
            checkpoint=path.as_posix(),
            sha256=digest_of(path),
            domain=args.domain,
            split=args.split,
            statistics=args.statistics or ("target" if digits else ""),
            images=len(names),
            purpose=args.purpose,
            accuracy=f"{accuracy:.4f}",
        )
        print(f"{path}: {100 * accuracy:.2f} % of {len(names)} {args.domain}/{args.split} images", flush=True)
        if args.save is not None:
            parts = {"predictions": predictions} | outputs(model, images)
            for name, part in parts.items():
                kept.setdefault(name, []).append(part)
    if args.save is not None:
        # One checkpoint of digits: its arrays. CIFAR-10: one row of each array a checkpoint.
        arrays = {name: parts[0] if digits else np.stack(parts) for name, parts in kept.items()}
        checkpoints = {} if digits else {"checkpoints": np.array([path.as_posix() for path in args.checkpoints])}
        with atomic_path(args.save) as temporary:
            np.savez_compressed(temporary, names=np.array(names), labels=labels, **arrays, **checkpoints)  # type: ignore[arg-type]


def read_answers(data: Path | None, domain: str, split: str) -> tuple[list[str], torch.Tensor, np.ndarray]:
    """Names, images uint8 (N, 3, H, W) and labels (N,) of a split."""
    if domain == "cifar10":
        images, labels = read_arrays(data, "cifar10", "train" if split == "train" else "test")
        return [str(row) for row in range(len(images))], images, labels.numpy()
    names, images, labels = read_split(data, domain, split)
    return names, images, labels.numpy()


@torch.inference_mode()
def predict_in_training_mode(model: nn.Module, images: torch.Tensor, batch_size: int = 100) -> np.ndarray:
    """Classes (N,) of images (N, 3, H, W) uint8 in their order, batch norm with the statistics of each batch."""
    model = copy.deepcopy(model).train()  # its running statistics change
    device = next(model.parameters()).device
    batches = (to_float(batch.to(device)) for batch in images.split(batch_size))
    return torch.cat([model(batch).argmax(1).cpu() for batch in batches]).numpy()


@torch.inference_mode()
def outputs(model: nn.Module, images: torch.Tensor) -> dict[str, np.ndarray]:
    """Logits (N, 10) float32, and for digits the features (N, D) of the last hidden layer."""
    device = next(model.parameters()).device
    batches = (to_float(batch.to(device)) for batch in images.split(250))
    if not isinstance(model, DigitNet):
        return {"logits": torch.cat([model(batch).float() for batch in batches]).cpu().numpy()}
    features = [model.extract(batch, model.domain) for batch in batches]
    logits = [model.classifier(batch) for batch in features]
    return {"features": torch.cat(features).cpu().numpy(), "logits": torch.cat(logits).cpu().numpy()}


def check_ledger(ledger: Path, columns: Sequence[str] = COLUMNS) -> None:
    """Raises UserError where `ledger` could not be written, or holds something else than these columns."""
    check_writable(ledger)
    if ledger.is_file() and ledger.stat().st_size:
        with ledger.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            header = next(csv.reader(file), [])
        if header != list(columns):
            raise cli.UserError(f"{ledger} holds other columns than the ones to be written: give another file")


def append_to_ledger(ledger: Path, columns: Sequence[str] = COLUMNS, **values: object) -> None:
    """Appends one line, date and commit added, in a single write; a new or empty file gets its header first."""
    check_ledger(ledger, columns)
    row = {"date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "commit": current_commit(), **values}
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if not ledger.exists() or not ledger.stat().st_size:
        writer.writeheader()
    writer.writerow(row)
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with ledger.open("a+b") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # an editor may have left out the last line's end
                text = io.StringIO("\n" + text.getvalue())
        file.write(text.getvalue().encode())


if __name__ == "__main__":
    cli.run(main, "dlcv.evaluate")
