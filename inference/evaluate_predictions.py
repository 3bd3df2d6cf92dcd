"""Accuracy of a prediction csv, as the course's script prints it, but strict about the file.

    python inference/evaluate_predictions.py PREDICTIONS.csv TRUTH.csv

Refuses (exit code 1, saying which) rows that are missing, doubled, unknown or malformed: the course's script compares
text, does not notice missing rows and crashes on a blank line.
"""

from pathlib import Path

try:
    from dlcv import cli
    from dlcv.data.digits import read_label_csv
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Run `make setup` once, then use .venv/bin/python (or: . .venv/bin/activate)") from None


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", type=Path)
    parser.add_argument("truth", type=Path)
    args = parser.parse_args()
    predictions, truth = read_label_csv(args.predictions), read_label_csv(args.truth)
    missing = [name for name in truth if name not in predictions]
    unknown = [name for name in predictions if name not in truth]
    for names, problem in ((missing, "has no row for"), (unknown, "has a row that is not in the truth:")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise cli.UserError(f"{args.predictions} {problem} {names[0]}{more}")
    correct = sum(predictions[name] == label for name, label in truth.items())
    if not truth:
        raise cli.UserError(f"{args.truth} holds no labels")
    print(f"Accuracy: {correct}/{len(truth)} ({100 * correct / len(truth):.2f}%)")


if __name__ == "__main__":
    cli.run(main, "evaluate_predictions.py")
