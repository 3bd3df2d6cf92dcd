"""Writes the predicted digit of every image of a folder: DLCV 2020, homework 3, problems 3 and 4, and DLCV 2021,
homework 2, problem 3 and its bonus.

OUT_CSV gets the header image_name,label and one row for each image, sorted by name; it is written whole or not at all,
and its folders are made. 10,000 images take some seconds.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli


def main() -> None:
    parser = cli.script_parser("predict_digits.py", "IMAGE_DIR mnistm|svhn|usps OUT_CSV", __doc__)
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="TARGET=FILE",
        help="the network for images of TARGET: a file of checkpoints/, or any path (the wrappers give one for each)",
    )
    args, (folder_word, target, out_word) = parser.parse_words(
        IMAGE_DIR="folder with the images (*.png, *.jpg), of any size, grey or in colour",
        TARGET="where the images are from: mnistm, svhn or usps",
        OUT_CSV="the file to write",
    )
    folder, out = cli.path(folder_word), cli.path(out_word)
    for word in args.model:
        if "=" not in word:
            raise cli.UsageError(f"--model {word}: must be TARGET=FILE, as in svhn=dann_mnistm_svhn.pth")
    models = dict(pair.split("=", 1) for pair in args.model)
    if target not in models:
        known = ", ".join(sorted(models)) or "none: give --model TARGET=FILE, or call bash hw3_p3.sh"
        raise cli.UsageError(f"unknown target {target!r}; known are {known}")

    import csv
    import io
    import os

    from dlcv import repro
    from dlcv.checkpoint import CHECKPOINTS, load_model
    from dlcv.data.digits import read_images
    from dlcv.data.folders import list_images
    from dlcv.files import check_writable, write_bytes
    from dlcv.models.digit_net import DigitNet
    from dlcv.predict import predict_labels

    names = list_images(folder)
    check_writable(out)  # before the work, not after it
    repro.exact_float32()
    file = cli.path(models[target])
    if file.name == models[target] and (not file.exists() or (CHECKPOINTS / file).exists()):
        file = CHECKPOINTS / file  # a name alone is one of checkpoints/, wherever this is called
    model = load_model(DigitNet, file).to(repro.choose_device())
    images = read_images(folder, names, progress="reading, in five hundreds")
    labels = predict_labels(model, images, progress="recognising, in hundreds")

    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["image_name", "label"])
    writer.writerows(zip(names, labels.tolist(), strict=True))
    write_bytes(out, os.fsencode(table.getvalue()))  # the names' own bytes, which need not be UTF-8


if __name__ == "__main__":
    cli.run(main, "predict_digits.py")
