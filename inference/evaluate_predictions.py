"""Accuracy of a prediction csv, as the course's script prints it, but strict about the file.

    python inference/evaluate_predictions.py PREDICTIONS.csv TRUTH.csv

Refuses (exit code 1, saying which) rows that are missing, doubled, unknown or malformed: the course's script compares
text, does not notice missing rows and crashes on a blank line.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", type=Path, help="the csv to check: image_name,label")
    parser.add_argument("truth", type=Path, help="the csv with the right labels, such as hw3_data/digits/svhn/test.csv")
    args = parser.parse_args()
    from dlcv.data.digits import read_label_csv
    from dlcv.data.layout import spellings

    predictions, truth = read_label_csv(args.predictions), read_label_csv(args.truth)
    if not truth:
        raise cli.UserError(f"{args.truth} holds no labels")
    keys = spellings(truth, predictions)
    missing = [name for name in truth if name not in keys]
    unknown = sorted(predictions.keys() - keys.values())
    for names, problem in ((missing, "has no row for"), (unknown, "has a row that is not in the truth:")):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise cli.UserError(f"{args.predictions} {problem} {names[0]}{more}")
    correct = sum(predictions[keys[name]] == label for name, label in truth.items())
    print(f"Accuracy: {correct}/{len(truth)} ({100 * correct / len(truth):.2f}%)")


if __name__ == "__main__":
    cli.run(main, "evaluate_predictions.py")
