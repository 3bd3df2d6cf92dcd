"""Writes the predictions for a folder of digit images: what hw3_p3.sh, hw3_p4.sh, hw2_p3.sh and hw2_bonus.sh run.

    predict_digits.py --prog NAME --model TARGET=CHECKPOINT … -- IMAGE_DIR TARGET OUT_CSV

OUT_CSV gets the header image_name,label and one row per image, sorted by name; it is written whole or not at all.
"""

import argparse
import csv
import io
from pathlib import Path

try:
    from dlcv import cli, repro
    from dlcv.checkpoint import CHECKPOINTS
    from dlcv.data.digits import read_images
    from dlcv.data.folders import list_images
    from dlcv.digit_models import load_digit_model
    from dlcv.files import check_writable, write_bytes
    from dlcv.predict import predict_labels
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}: python3 needs the packages in requirements.txt (torch, numpy, pillow)") from None


def main() -> None:
    parser = cli.ArgumentParser(add_help=False)
    parser.add_argument("--prog", default="predict_digits.py")
    parser.add_argument("--model", action="append", default=[], metavar="TARGET=CHECKPOINT")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    models = dict(pair.split("=", 1) for pair in args.model)
    given = args.arguments[1:] if args.arguments[:1] == ["--"] else args.arguments
    if len(given) != 3:
        raise cli.UsageError(
            f"expected 3 arguments, got {len(given)}; "
            f"usage: bash {args.prog} IMAGE_DIR {'|'.join(sorted(models))} OUT_CSV"
        )
    folder, target, out = Path(given[0]), given[1], Path(given[2])
    if target not in models:
        raise cli.UsageError(f"unknown target {target!r}; known are {', '.join(sorted(models))}")

    names = list_images(folder)
    check_writable(out)  # before the work, not after it
    repro.exact_float32()
    model = load_digit_model(CHECKPOINTS / models[target]).to(repro.choose_device())
    labels = predict_labels(model, read_images(folder, names))

    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["image_name", "label"])
    writer.writerows(zip(names, labels.tolist(), strict=True))
    write_bytes(out, table.getvalue().encode("utf-8", "surrogateescape"))  # names need not be valid UTF-8


if __name__ == "__main__":
    cli.run(main, "predict_digits.py")
