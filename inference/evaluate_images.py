"""Fréchet distance and inception score of a folder of generated images.

    python inference/evaluate_images.py DIR --reference REAL_DIR

FID (pytorch-fid's Inception) and IS (torchvision's inception_v3, 299x299, ten parts) where the official weights lie in
torch.hub's folder or can be fetched and verified; otherwise the same arithmetic on EfficientNet-Lite0, under its name:
FD-EffNetLite0 and IS-EffNetLite0 compare with each other only. Statistics of the reference are kept in --cache.
"""

import argparse
from pathlib import Path

try:
    import torch

    from dlcv import cli, metrics
    from dlcv.data.folders import cache_folder, list_images, read_images
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Run `make setup` once, then use .venv/bin/python (or: . .venv/bin/activate)") from None

SPLITS = 10


def read(folder: Path) -> torch.Tensor:
    """uint8 (N, 3, 64, 64), in the order of the names; N at least 2."""
    names = list_images(folder)
    if len(names) < 2:
        raise cli.UserError(f"{folder} holds {len(names)} images: statistics need at least two")
    return read_images(folder, names, 64)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--reference", type=Path, required=True, metavar="REAL_DIR", help="folder of real images")
    parser.add_argument("--features", choices=("auto", "inception", "efficientnet"), default="auto")
    parser.add_argument("--cache", type=Path, default=cache_folder(), help="features of the reference (~/.cache/dlcv)")
    args = parser.parse_args()
    images, real = read(args.folder), read(args.reference)
    if len(images) < SPLITS:
        raise cli.UserError(f"{args.folder} holds {len(images)} images: the score needs at least {SPLITS}")
    kind = args.features
    if kind != "efficientnet":
        try:
            fid, classifier = metrics.inception(), metrics.inception_classifier()
            kind = "inception"
        except cli.UserError as error:
            if kind == "inception":
                raise
            print(f"official Inception weights are not here: {error}")
            kind = "efficientnet"
    if kind == "inception":
        found, probabilities = (metrics.extract(f, images, progress=True) for f in (fid, classifier))
        reference = metrics.kept_features(kind, fid, real, args.cache)
        names = ("FID", "IS")
        told = "pytorch-fid's Inception, its own resize; IS: torchvision's inception_v3, bilinear to 299"
    else:
        network = metrics.efficientnet_lite0(probabilities=True)
        both = metrics.extract(network, images, progress=True)
        found, probabilities = both[:, :1280], both[:, 1280:]
        reference = metrics.kept_features(kind, lambda batch: network(batch)[:, :1280], real, args.cache)
        names = ("FD-EffNetLite0", "IS-EffNetLite0")
        told = "EfficientNet-Lite0, antialiased bicubic to 224; not FID, not IS"
    score, deviation = metrics.inception_score(probabilities, SPLITS)
    print(f"{names[0]}: {metrics.frechet_distance(found, reference):.2f}")
    print(f"{names[1]}: {score:.3f} ± {deviation:.3f} ({SPLITS} parts)")
    print(f"{len(images)} images against {len(real)}, read as 64x64; {told}")


if __name__ == "__main__":
    cli.run(main, "evaluate_images.py")
