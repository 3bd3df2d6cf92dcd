"""Trains the VAE on the face data set.

    python train/train_vae.py                 # data in hw3_data/ or data/hw3_data/, everything else by default

Writes model.pth (for inference), snapshots/, samples_*.png, log.jsonl, TensorBoard and last.pt (for --resume) to --out.
"""

import dataclasses
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, cast

try:
    import numpy as np
    import torch
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    from dlcv import cli, recipe, repro
    from dlcv.checkpoint import current_commit, load_model, save_checkpoint
    from dlcv.data import augment
    from dlcv.data.faces import detail_rows, hold_out, principal_axes, read_faces
    from dlcv.images import save_grid, to_float
    from dlcv.losses import spectrum_loss
    from dlcv.models.vae import VAE, LatentMoments, VAEConfig, kl_divergence, reconstruction_loss
    from dlcv.schedule import warmup_cosine
    from dlcv.trainer import read_log, run_steps
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Run `make setup` once, then use .venv/bin/python (or: . .venv/bin/activate)") from None


@dataclass(frozen=True)
class Recipe:
    latent_dim: int = 64  # components of the latent vector
    width: int = 32  # channels of the network: see VAEConfig
    layers: Literal["residual", "plain"] = "residual"  # plain: five convolutions each way, the baseline
    pca: bool = False  # start from principal component analysis: see VAEConfig
    rows: int = 0  # of detail in the kept model's pictures, 0: as many as the training faces have
    kl_weight: float = 1e-5  # of the KL divergence in nats, beside the pixel-mean squared error
    spectrum_weight: float = 2.0  # of the local spectra's difference, against blur: docs/LOG.md; 0: none
    spectrum_from: float = 0.5  # share of the steps after which it counts: first the face, then its detail
    kl_warmup: float = 0.1  # share of the steps during which that weight grows from 0
    steps: int = 18_000  # of the whole training
    batch_size: int = 32  # faces a step
    lr: float = 1e-3  # peak of a cosine schedule with 200 steps of warm-up, AdamW
    weight_decay: float = 1e-4  # AdamW's
    ema: float = 0.999  # decay of the averaged weights that are kept
    seed: int = 0  # of the initial weights, the batches and the noise
    evaluate_every: int = 2_000  # steps between snapshots and grids of samples
    bf16: bool = True  # autocast in training, where the processor has it: dlcv.repro.bf16

    def __post_init__(self) -> None:
        recipe.require_positive(self, "latent_dim", "steps", "lr", "evaluate_every")
        recipe.require_between(self, 2, math.inf, "batch_size", "width")  # batch norm needs two, the last layers half
        recipe.require_between(self, 0, 1, "kl_warmup", "spectrum_from", "ema")
        recipe.require_between(self, 0, math.inf, "seed", "weight_decay", "kl_weight", "spectrum_weight")
        recipe.require_between(self, 0, 64, "rows")


QUICK = {"steps": 300, "evaluate_every": 150, "ema": 0.97}  # a short run needs a short memory
STUCK_STEPS, STUCK_MSE = 20_000, 0.05  # the course's check: what is not below by then never will be


def stuck_warning(done: int, mse: float) -> str | None:
    """What to say when the course's check fails."""
    if done < STUCK_STEPS or mse < STUCK_MSE:
        return None
    return (
        f"mean squared error {mse:.3f} after {done} steps: it should be below {STUCK_MSE} by now and will hardly get "
        "there; start anew with a smaller --kl-weight or --lr, or a larger --latent-dim"
    )


def main() -> None:
    r, args = recipe.parse(Recipe, "Trains the VAE on the face data set.", QUICK)
    out = args.out or Path("runs") / f"vae_seed{r.seed}{'_quick' if args.quick else ''}"
    device = repro.choose_device()
    current_commit()  # of the code that runs now, whatever is committed meanwhile

    # Data: whole in memory. What choosing needs is held out of training; test faces are not read here.
    _, images = read_faces(args.data, "train")
    training, held_out = hold_out(len(images))

    # Model.
    repro.seed_everything(r.seed)
    model = VAE(VAEConfig(latent_dim=r.latent_dim, width=r.width, layers=r.layers, pca=r.pca))
    if r.pca:
        model.set_pca(*principal_axes(images[training], r.latent_dim))
    model = model.to(device).to(memory_format=torch.channels_last)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(r.ema), use_buffers=True)
    averaged = cast(VAE, average.module).eval()
    # Training paints freely; what is kept has no finer rows than the faces (training behind that limit: docs/LOG.md).
    averaged.config = dataclasses.replace(averaged.config, rows=r.rows or detail_rows(images[training]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=r.lr, weight_decay=r.weight_decay)

    def faces(rows: torch.Tensor) -> torch.Tensor:
        return to_float(images[rows].to(device)).to(memory_format=torch.channels_last)

    def batches(step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Faces, half of them mirrored, and the noise of their latents."""
        generator = repro.seed_step(r.seed, step)
        x = faces(training[torch.randint(len(training), (r.batch_size,), generator=generator)])
        x = augment.random_flips(x, generator)
        noise = torch.randn((r.batch_size, r.latent_dim), generator=generator).to(device)
        return x.contiguous(memory_format=torch.channels_last), noise

    def train_step(step: int, batch: tuple[torch.Tensor, torch.Tensor]) -> dict[str, torch.Tensor]:
        x, noise = batch
        progress = step / r.steps
        for group in optimizer.param_groups:
            group["lr"] = r.lr * warmup_cosine(step, r.steps, warmup=200, floor=0.01)
        with repro.bf16(device, r.bf16):
            recon, mu, logvar = model(x, noise)
        mse = reconstruction_loss(recon.float(), x)
        kl = kl_divergence(mu, logvar).mean()
        spectrum_weight = r.spectrum_weight if progress >= r.spectrum_from else 0.0
        spectrum = spectrum_loss(recon.float(), x) if spectrum_weight else torch.zeros_like(mse)
        kl_weight = r.kl_weight * (min(1.0, progress / r.kl_warmup) if r.kl_warmup else 1.0)
        optimizer.zero_grad(set_to_none=True)
        (mse + kl_weight * kl + spectrum_weight * spectrum).backward()
        optimizer.step()
        average.update_parameters(model)
        return {"mse": mse, "kl": kl} | ({"spectrum": spectrum} if spectrum_weight else {})

    @torch.no_grad()
    def fit_prior(network: VAE, some: torch.Tensor) -> None:
        """The Normal that fits the aggregate posterior of those training faces (and of their mirror images)."""
        moments = LatentMoments(r.latent_dim)
        for rows in some.split(50):
            for x in (faces(rows), faces(rows).flip(3)):
                moments.add(*network.encode(x))
        network.set_prior(*moments.mean_and_covariance())

    @torch.no_grad()
    def held_out_scores(network: VAE) -> dict[str, float]:
        """Squared error (of the posterior's mean) and KL divergence on faces that training does not see."""
        mse = kl = 0.0
        for rows in held_out.split(50):
            x = faces(rows)
            mu, logvar = network.encode(x)
            mse += float(reconstruction_loss(network.decode(mu), x)) * len(rows)
            kl += float(kl_divergence(mu, logvar).sum())
        return {"held_out_mse": mse / len(held_out), "held_out_kl": kl / len(held_out)}

    fixed = repro.noise(0, 32, r.latent_dim).float().to(device)

    def evaluate(done: int) -> dict[str, float | np.ndarray]:
        scores = held_out_scores(averaged)
        fit_prior(averaged, training if done == r.steps else training[:: max(1, len(training) // 4_000)])
        with torch.no_grad():
            samples = save_grid(out / f"samples_{done:06d}.png", averaged.sample(fixed) * 2 - 1)
        save_checkpoint(out / "snapshots" / f"step_{done:06d}.pth", averaged, {"step": done, **scores})
        if warning := stuck_warning(done, scores["held_out_mse"]):
            print(warning)
        return {"samples": samples, **scores}

    run_steps(
        train_step, batches, steps=r.steps, recipe=asdict(r), out=out, resume=args.resume,
        save_seconds=args.save_seconds, evaluate=evaluate, evaluate_every=r.evaluate_every,
        state={"model": model, "average": average, "optimizer": optimizer},
    )  # fmt: skip

    last = [line for line in read_log(out / "log.jsonl") if "held_out_mse" in line][-1]
    kept = load_model(VAE, out / "snapshots" / f"step_{last['step']:06d}.pth")
    scores = {name: value for name, value in last.items() if name not in ("step", "seconds")}
    save_checkpoint(
        out / "model.pth",
        kept,
        {
            "recipe": asdict(r),
            "step": last["step"],
            "selection": "last step",
            "metrics": scores,
            "data": {"training": len(training), "held_out": len(held_out)},
            "seconds": last["seconds"],
        },
    )
    print(f"{out / 'model.pth'}: " + ", ".join(f"{name} {value:.5f}" for name, value in scores.items()))


if __name__ == "__main__":
    cli.run(main, "train_vae.py")
