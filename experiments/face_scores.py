"""Scores generated faces against real ones and appends a line for each to docs/results/face_scores.csv.

    python experiments/face_scores.py runs/gan_seed0/snapshots/*.pth                  # against held-out training faces
    python experiments/face_scores.py runs/gan_seed0/model.pth --against test --purpose "final"   # the test faces, once
    python experiments/face_scores.py --floor                      # real training faces against the held-out ones
    python experiments/face_scores.py --pca 128                    # linear PCA: its squared error, its Normal's samples

The csv is the faces' ledger: every score against test faces stands in it. --features inception is FID; it needs the
official weights. n generated images, seed 1 (never the seed of the pictures that are shown). recon_mse is the squared
error of a VAE's reconstructions (of the posterior's mean) of the real faces, pixels in [0, 1].
"""

import argparse
import hashlib
import sys
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import torch

    from dlcv import metrics, repro
    from dlcv.checkpoint import read_checkpoint
    from dlcv.data.faces import hold_out, principal_axes, read_faces
    from dlcv.evaluate import append_to_ledger, check_ledger
    from dlcv.images import to_float, to_uint8
    from dlcv.models.gan import Generator
    from dlcv.models.sagan import SAGANGenerator
    from dlcv.models.stylegan2 import StyleGAN2Generator
    from dlcv.models.table import load_any
    from dlcv.models.vae import VAE, VAEConfig

SCORES = Path(__file__).resolve().parents[1] / "docs" / "results" / "face_scores.csv"
COLUMNS = (
    "date", "commit", "what", "sha256", "step", "features", "n", "against", "n_real",
    "frechet", "kernel", "kernel_std", "precision", "recall", "recon_mse", "purpose",
)  # fmt: skip
SEED = 1  # of the generated faces
Model = VAE | Generator | SAGANGenerator | StyleGAN2Generator
NEAREST = 3  # neighbours in precision and recall


def load(path: Path) -> tuple[Model, int]:
    """The VAE, GAN, SAGAN or StyleGAN2 in a checkpoint, and its step."""
    model = load_any(path, VAE, Generator, SAGANGenerator, StyleGAN2Generator)
    return cast(Model, model), read_checkpoint(path)["provenance"]["step"]


@torch.inference_mode()
def generate(model: Model, n: int) -> torch.Tensor:
    """uint8 (n, 3, 64, 64)."""
    noise = repro.noise(SEED, n, model.config.latent_dim).float()
    return torch.cat(
        [to_uint8(model.sample(z) * 2 - 1 if isinstance(model, VAE) else model(z)) for z in noise.split(50)]
    )


@torch.inference_mode()
def reconstruction_error(model: VAE, images: torch.Tensor) -> float:
    """Mean squared error on uint8 (N, 3, 64, 64), in [0, 1]²."""
    parts = [to_float(batch) for batch in images.split(50)]
    return sum(float((model.decode(model.encode(x)[0]) - x).square().sum()) for x in parts) / images.numel()


def linear(images: torch.Tensor, components: int) -> VAE:
    """PCA as the VAE that it is: the shortcut beside networks that add nothing yet."""
    model = VAE(VAEConfig(components, width=2, pca=True)).eval()
    model.set_pca(*principal_axes(images, components))
    return model


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", type=Path)
    parser.add_argument("--floor", action="store_true", help="score real training faces, too")
    parser.add_argument("--pca", type=int, metavar="COMPONENTS", help="score linear PCA, too")
    parser.add_argument("--n", type=int, default=3_000, help="generated images (default 3000)")
    parser.add_argument("--against", choices=("held-out", "test"), default="held-out")
    parser.add_argument("--features", choices=("efficientnet", "inception"), default="efficientnet")
    parser.add_argument("--purpose", default="")
    parser.add_argument("--scores", type=Path, default=SCORES)
    parser.add_argument("--cache", type=Path, default=Path("runs/face_features"), help="features of the real faces")
    parser.add_argument("--data", type=Path)
    args = parser.parse_args()
    if not args.checkpoints and not args.floor and args.pca is None:
        raise cli.UsageError("give checkpoints, --floor or --pca")
    if args.n < NEAREST + 1:
        raise cli.UsageError(f"--n {args.n}: precision and recall need at least {NEAREST + 1} images")
    if args.against == "test" and not args.purpose:
        raise cli.UsageError("--against test looks at the test faces: give a --purpose, it goes into the ledger")
    check_ledger(args.scores, COLUMNS)
    features = metrics.efficientnet_lite0() if args.features == "efficientnet" else metrics.inception()
    _, train_images = read_faces(args.data, "train")
    training, held_out = hold_out(len(train_images))
    real = train_images[held_out] if args.against == "held-out" else read_faces(args.data, "test")[1]
    if len(real) < NEAREST + 1:
        raise cli.UserError(f"only {len(real)} real faces: precision and recall need at least {NEAREST + 1}")
    reference = metrics.kept_features(args.features, features, real, args.cache)

    def score(images: torch.Tensor, **values: object) -> None:
        found = metrics.extract(features, images, progress=True)
        kernel, deviation = metrics.kernel_distance(found, reference)
        precision, recall = metrics.precision_recall(reference, found, NEAREST)
        numbers = {"frechet": metrics.frechet_distance(found, reference), "kernel": kernel, "kernel_std": deviation}
        numbers |= {"precision": precision, "recall": recall}
        values |= {"features": args.features, "n": len(images), "against": args.against, "n_real": len(real)}
        values |= {name: f"{value:.5f}" for name, value in numbers.items()} | {"purpose": args.purpose}
        append_to_ledger(args.scores, COLUMNS, **values)
        numbers |= {"recon_mse": float(str(values["recon_mse"]))} if "recon_mse" in values else {}
        print(f"{values['what']}: " + ", ".join(f"{name} {value:.4f}" for name, value in numbers.items()), flush=True)

    if args.floor:
        chosen = training[torch.randperm(len(training), generator=torch.Generator().manual_seed(SEED))[: args.n]]
        score(train_images[chosen], what="real training faces")
    models: list[tuple[Model, dict[str, object]]] = []
    if args.pca:
        models.append((linear(train_images[training], args.pca), {"what": f"linear PCA, {args.pca} components"}))
    for path in args.checkpoints:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        model, step = load(path)
        models.append((model, {"what": path.as_posix(), "sha256": digest, "step": step}))
    for model, values in models:
        if isinstance(model, VAE):
            values["recon_mse"] = f"{reconstruction_error(model, real):.6f}"
        score(generate(model, args.n), **values)


if __name__ == "__main__":
    cli.run(main, "face_scores.py")
