"""Scores generated faces against real ones and appends a line for each to docs/results/face_scores.csv.

    python report/face_scores.py runs/gan_seed0/snapshots/*.pth                  # against held-out training faces
    python report/face_scores.py runs/gan_seed0/model.pth --against test --purpose "final"   # the test faces, once
    python report/face_scores.py --floor                      # real training faces against the held-out ones
    python report/face_scores.py --pca 128                    # linear PCA: its squared error, its Normal's samples

The csv is the faces' ledger: every score against test faces stands in it. --features inception is FID; it needs the
official weights. n generated images, seed 1 (never the seed of the pictures that are shown). recon_mse is the squared
error of a VAE's reconstructions (of the posterior's mean) of the real faces, pixels in [0, 1].
"""

from pathlib import Path

try:
    import torch

    from dlcv import cli, metrics, repro
    from dlcv.checkpoint import read_checkpoint
    from dlcv.data.faces import hold_out, principal_axes, read_faces
    from dlcv.evaluate import append_to_ledger, check_ledger
    from dlcv.images import to_float, to_uint8
    from dlcv.models.gan import Generator
    from dlcv.models.sagan import SAGANGenerator
    from dlcv.models.stylegan2 import StyleGAN2Generator
    from dlcv.models.table import load_any
    from dlcv.models.vae import VAE, VAEConfig
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Run `make setup` once, then use .venv/bin/python (or: . .venv/bin/activate)") from None

SCORES = Path(__file__).resolve().parents[1] / "docs" / "results" / "face_scores.csv"
COLUMNS = (
    "date", "commit", "what", "sha256", "step", "features", "n", "against", "n_real",
    "frechet", "kernel", "kernel_std", "precision", "recall", "recon_mse", "purpose",
)  # fmt: skip
SEED = 1  # of the generated faces
Model = VAE | Generator | SAGANGenerator | StyleGAN2Generator
