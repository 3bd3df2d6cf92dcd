"""Scores generated faces against real ones and appends a line for each draw to docs/results/face_scores.csv.

    python experiments/face_scores.py runs/gan_seed0/snapshots/*.pth --draws 1        # against held-out training faces
    python experiments/face_scores.py runs/gan_seed0/model.pth --against test --purpose "final"   # the test faces, once
    python experiments/face_scores.py --floor                      # real training faces against the held-out ones
    python experiments/face_scores.py --pca 64                     # linear PCA: its squared error, its Normal's samples
    python experiments/face_scores.py runs/vae_seed0/model.pth --reconstruct      # reconstructions instead of samples

The csv is the faces' ledger: every score against test faces stands in it. --features inception is FID; it needs the
official weights. Draw k of n generated images has the latents of seed k, from 1 (0 is that of the pictures that are
shown). recon_mse is the squared error of a VAE's reconstructions (of the posterior's mean) of the real faces, pixels in
[0, 1].
"""

import hashlib
import sys
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    from sklearn.decomposition import PCA

    from dlcv import metrics, repro
    from dlcv.checkpoint import read_checkpoint
    from dlcv.data.faces import hold_out, read_faces
    from dlcv.evaluate import append_to_ledger, check_ledger
    from dlcv.images import to_float, to_uint8
    from dlcv.models.gan import Generator
    from dlcv.models.sagan import SAGANGenerator
    from dlcv.models.stylegan2 import StyleGAN2Generator
    from dlcv.models.table import load_any
    from dlcv.models.vae import VAE

SCORES = Path(__file__).resolve().parents[1] / "docs" / "results" / "face_scores.csv"
COLUMNS = (
    "date", "commit", "what", "sha256", "step", "features", "n", "draw", "against", "n_real",
    "frechet", "kernel", "kernel_std", "precision", "recall", "recon_mse", "purpose",
)  # fmt: skip
Model = VAE | Generator | SAGANGenerator | StyleGAN2Generator
NEAREST = 3  # neighbours in precision and recall


def load(path: Path) -> tuple[Model, int]:
    """The VAE, GAN, SAGAN or StyleGAN2 in a checkpoint, and its step."""
    model = load_any(path, VAE, Generator, SAGANGenerator, StyleGAN2Generator)
    return cast(Model, model), read_checkpoint(path)["provenance"]["step"]


@torch.inference_mode()
def generate(model: Model, n: int, draw: int, standard: bool = False) -> torch.Tensor:
    """uint8 (n, 3, 64, 64) of the latents of seed `draw`; `standard`: a VAE decodes N(0, I) itself."""
    noise = repro.noise(draw, n, model.config.latent_dim).float()
    if isinstance(model, VAE):
        paint = model.decode if standard else model.sample
        return torch.cat([to_uint8(paint(z) * 2 - 1) for z in noise.split(50)])
    return torch.cat([to_uint8(model(z)) for z in noise.split(50)])


@torch.inference_mode()
def reconstruction_error(model: VAE, images: torch.Tensor) -> float:
    """Mean squared error on uint8 (N, 3, 64, 64), in [0, 1]²."""
    parts = [to_float(batch) for batch in images.split(50)]
    return sum(float((model.decode(model.encode(x)[0]) - x).square().sum()) for x in parts) / images.numel()


@torch.inference_mode()
def reconstruct(model: VAE, images: torch.Tensor) -> torch.Tensor:
    """uint8 (N, 3, 64, 64) -> the same faces decoded from the posterior's mean, uint8."""
    return torch.cat([to_uint8(model.decode(model.encode(to_float(x))[0]) * 2 - 1) for x in images.split(50)])


class LinearPCA:
    """Principal component analysis of uint8 images (N, 3, H, W) as an autoencoder, with the Normal of its latents."""

    def __init__(self, images: torch.Tensor, components: int) -> None:
        if components > min(len(images), images[0].numel()):
            raise cli.UserError(f"{components} components need at least as many images, there are {len(images)}")
        self.shape = images.shape[1:]
        self.pca = PCA(components, svd_solver="randomized", random_state=0).fit(to_float(images).flatten(1))

    def decode(self, latents: np.ndarray) -> torch.Tensor:
        """(N, components) -> images (N, 3, H, W), cut to [0, 1]."""
        return torch.from_numpy(self.pca.inverse_transform(latents)).float().clamp(0, 1).unflatten(1, self.shape)

    def sample(self, n: int, draw: int) -> torch.Tensor:
        """uint8 (n, 3, H, W) of the latents of seed `draw`."""
        noise = repro.noise(draw, n, self.pca.n_components_).numpy()
        return to_uint8(self.decode(noise * self.pca.explained_variance_**0.5) * 2 - 1)

    def reconstruction_error(self, images: torch.Tensor) -> float:
        """Mean squared error on uint8 (N, 3, H, W), in [0, 1]²."""
        parts = [to_float(batch) for batch in images.split(500)]
        errors = (self.decode(self.pca.transform(x.flatten(1))) - x for x in parts)
        return sum(float(error.square().sum()) for error in errors) / images.numel()


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="*", type=Path, help="generators (*.pth) to score, one after the other")
    parser.add_argument("--floor", action="store_true", help="score real training faces, too")
    parser.add_argument("--pca", type=int, metavar="COMPONENTS", help="score linear PCA, too")
    parser.add_argument("--standard", action="store_true", help="a VAE decodes N(0, I), not its fitted Normal or flow")
    parser.add_argument("--reconstruct", action="store_true", help="a VAE's reconstructions of real training faces")
    parser.add_argument("--n", type=int, default=3_000, help="generated images of a draw (default 3000)")
    parser.add_argument("--draws", type=int, default=3, help="draws of latents, a line for each (default 3)")
    parser.add_argument(
        "--against",
        choices=("held-out", "test"),
        default="held-out",
        help="real faces to compare with: held out of the training set, or test faces (default: held-out)",
    )
    parser.add_argument(
        "--features",
        choices=("efficientnet", "inception"),
        default="efficientnet",
        help="network whose features are compared (default: efficientnet)",
    )
    parser.add_argument("--purpose", default="", help="why the test faces are looked at; goes into the csv")
    parser.add_argument(
        "--scores",
        type=Path,
        default=SCORES,
        help="csv that the scores are added to (default: docs/results/face_scores.csv)",
    )
    parser.add_argument("--cache", type=Path, default=Path("runs/face_features"), help="features of the real faces")
    parser.add_argument("--data", type=Path, help="folder of the faces (default: hw3_data or data/hw3_data)")
    args = parser.parse_args()
    if not args.checkpoints and not args.floor and args.pca is None:
        raise cli.UsageError("give checkpoints, --floor or --pca")
    if args.n < NEAREST + 1:
        raise cli.UsageError(f"--n {args.n}: precision and recall need at least {NEAREST + 1} images")
    if args.draws < 1:
        raise cli.UsageError(f"--draws {args.draws}: must be at least 1")
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
        generated = metrics.extract(features, images, progress=True)
        kernel, deviation = metrics.kernel_distance(generated, reference)
        precision, recall = metrics.precision_recall(reference, generated, NEAREST)
        numbers = {"frechet": metrics.frechet_distance(generated, reference), "kernel": kernel, "kernel_std": deviation}
        numbers |= {"precision": precision, "recall": recall}
        values |= {"features": args.features, "n": len(images), "against": args.against, "n_real": len(real)}
        values |= {name: f"{value:.5f}" for name, value in numbers.items()} | {"purpose": args.purpose}
        append_to_ledger(args.scores, COLUMNS, **values)
        numbers |= {"recon_mse": float(str(values["recon_mse"]))} if "recon_mse" in values else {}
        print(f"{values['what']}: " + ", ".join(f"{name} {value:.4f}" for name, value in numbers.items()), flush=True)

    def training_faces(draw: int) -> torch.Tensor:
        chosen = torch.randperm(len(training), generator=torch.Generator().manual_seed(draw))[: args.n]
        return train_images[training[chosen]]

    draws = range(1, args.draws + 1)
    if args.floor:
        for draw in draws:
            score(training_faces(draw), what="real training faces", draw=draw)
    if args.pca:
        linear = LinearPCA(train_images[training], args.pca)
        error = f"{linear.reconstruction_error(real):.6f}"
        for draw in draws:
            score(linear.sample(args.n, draw), what=f"linear PCA, {args.pca} components", draw=draw, recon_mse=error)
    for path in args.checkpoints:
        model, step = load(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        values: dict[str, object] = {"what": path.as_posix(), "sha256": digest, "step": step}
        if (args.standard or args.reconstruct) and not isinstance(model, VAE):
            raise cli.UsageError(f"--{'standard' if args.standard else 'reconstruct'}: {path} is no VAE")
        if isinstance(model, VAE):
            values["recon_mse"] = f"{reconstruction_error(model, real):.6f}"
        for draw in draws:
            if isinstance(model, VAE) and args.reconstruct:
                images = reconstruct(model, training_faces(draw))
            else:
                images = generate(model, args.n, draw, args.standard)
            score(images, **values, draw=draw)


if __name__ == "__main__":
    cli.run(main, "face_scores.py")
