"""Trains the VAE on the face data set.

    python train/train_vae.py                 # data in hw3_data/ or data/hw3_data/, everything else by default

Writes model.pth (for inference), snapshots/, samples_*.png, log.jsonl, TensorBoard and last.pt (for --resume) to --out.
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli, recipe


@dataclass(frozen=True)
class Recipe:
    latent_dim: int = 64  # components of the latent vector
    width: int = 32  # channels of the network: see VAEConfig
    layers: Literal["residual", "plain"] = "residual"  # plain: five convolutions each way, the baseline
    kl_weight: float = 1e-5  # weight of the KL divergence in nats, beside the squared error averaged over pixels
    kl_warmup: float = 0.1  # share of the steps over which the weight of the KL divergence grows from 0
    spectrum_weight: float = 2.0  # weight of the local spectrum loss, 0: none; docs/LOG.md, "The VAE's blur, continued"
    spectrum_from: float = 0.5  # share of the steps after which the local spectrum loss is added
    steps: int = 12_000  # steps of the whole training
    batch_size: int = 32  # faces a step
    lr: float = 1e-3  # peak learning rate of AdamW; cosine schedule with 200 steps of warm-up
    weight_decay: float = 1e-4  # weight decay of AdamW
    ema: float = 0.999  # decay of the moving average of the weights, which is what is saved
    seed: int = 0  # random seed of the initial weights, the batches and the noise
    evaluate_every: int = 2_000  # steps between snapshots and grids of samples
    bf16: bool = True  # bfloat16 autocast in training, on hardware that computes in it: dlcv.repro.bf16

    def __post_init__(self) -> None:
        recipe.require_positive(self, "latent_dim")
        recipe.require_between(self, 2, math.inf, "batch_size", "width")  # batch norm needs two, the last layers half
        recipe.require_between(self, 0, 1, "kl_warmup", "spectrum_from")
        recipe.require_between(self, 0, math.inf, "kl_weight", "spectrum_weight")


QUICK = {"steps": 300, "evaluate_every": 150, "ema": 0.97}  # a short run needs a faster moving average
STUCK_STEPS, STUCK_MSE = 20_000, 0.05  # the course's check: a higher error by then will hardly fall below it


def stuck_warning(done: int, mse: float) -> str | None:
    """A warning for mean squared error `mse` after `done` steps, or None where the course's check passes."""
    if done < STUCK_STEPS or mse < STUCK_MSE:
        return None
    return (
        f"mean squared error {mse:.3f} after {done} steps: it should be below {STUCK_MSE} by now and will hardly get "
        "there; start anew with a smaller --kl-weight or --lr, or a larger --latent-dim"
    )


def main() -> None:
    r, args = recipe.parse(Recipe, "Trains the VAE on the face data set.", QUICK)
    out = recipe.run_folder(args, f"vae_seed{r.seed}")

    import torch

    from dlcv import repro
    from dlcv.averaging import ema
    from dlcv.data import augment
    from dlcv.data.faces import hold_out, read_faces
    from dlcv.data.folders import fingerprint
    from dlcv.distributed import parallel, part, start
    from dlcv.images import save_grid, to_float
    from dlcv.losses import spectrum_loss
    from dlcv.models.vae import VAE, LatentMoments, VAEConfig, kl_divergence, reconstruction_loss
    from dlcv.schedule import set_lr, warmup_cosine
    from dlcv.trainer import Run, scores_of

    device = start(r.batch_size)

    # Data: whole in memory. Faces for model selection are held out of training; test faces are not read here.
    _, images = read_faces(args.data, "train")
    training, held_out = hold_out(len(images))

    # Model.
    repro.seed_everything(r.seed)
    model = VAE(VAEConfig(latent_dim=r.latent_dim, width=r.width, layers=r.layers))
    model = model.to(device).to(memory_format=torch.channels_last)
    average = ema(model, r.ema)
    averaged = cast(VAE, average.module)
    optimizer = torch.optim.AdamW(model.parameters(), lr=r.lr, weight_decay=r.weight_decay)
    parallel_model = parallel(model)  # averages gradients over torchrun's processes, if several

    def faces(rows: torch.Tensor) -> torch.Tensor:
        return to_float(images[rows].to(device)).to(memory_format=torch.channels_last)

    @torch.no_grad()
    def fit_prior(some: torch.Tensor) -> None:
        """The Normal that fits the aggregate posterior of those training faces (and of their mirror images)."""
        moments = LatentMoments(r.latent_dim)
        for rows in some.split(50):
            for x in (faces(rows), faces(rows).flip(3)):
                moments.add(*averaged.encode(x))
        averaged.set_prior(*moments.mean_and_covariance())

    @torch.no_grad()
    def held_out_scores() -> dict[str, float]:
        """Squared error (of the posterior's mean) and KL divergence on faces that training does not see."""
        mse = kl = 0.0
        for rows in held_out.split(50):
            x = faces(rows)
            mu, logvar = averaged.encode(x)
            mse += float(reconstruction_loss(averaged.decode(mu), x)) * len(rows)
            kl += float(kl_divergence(mu, logvar).sum())
        return {"held_out_mse": mse / len(held_out), "held_out_kl": kl / len(held_out)}

    fixed = repro.noise(0, 32, r.latent_dim).float().to(device)
    state = {"model": model, "average": average, "optimizer": optimizer}
    data = {"training": len(training), "held_out": len(held_out), "images": fingerprint(images)}
    run = Run(out, r, steps=r.steps, state=state, data=data, **args.run)
    for step in run:
        progress = step / r.steps
        set_lr(optimizer, r.lr * warmup_cosine(step, r.steps, warmup=200, floor=0.01))
        rng = repro.seed_step(r.seed, step)
        x = faces(training[torch.randint(len(training), (r.batch_size,), generator=rng)])
        x = part(augment.random_flips(x, rng)).contiguous(memory_format=torch.channels_last)
        noise = part(torch.randn((r.batch_size, r.latent_dim), generator=rng)).to(device)

        with repro.bf16(device, r.bf16):
            recon, mu, logvar = parallel_model(x, noise)
        mse = reconstruction_loss(recon.float(), x)
        kl = kl_divergence(mu, logvar).mean()
        kl_weight = r.kl_weight * (min(1.0, progress / r.kl_warmup) if r.kl_warmup else 1.0)
        loss = mse + kl_weight * kl
        if r.spectrum_weight and progress >= r.spectrum_from:
            spectrum = spectrum_loss(recon.float(), x)
            loss = loss + r.spectrum_weight * spectrum
            run.log(spectrum=spectrum)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(model)

        run.log(mse=mse, kl=kl)
        if run.due(r.evaluate_every):
            scores = held_out_scores()
            fit_prior(training if run.done == r.steps else training[:: max(1, len(training) // 4_000)])
            with torch.no_grad():
                samples = save_grid(out / f"samples_{run.done:06d}.png", averaged.sample(fixed) * 2 - 1)
            run.log(samples=samples, **scores)
            run.snapshot(averaged, **scores)
            if warning := stuck_warning(run.done, scores["held_out_mse"]):
                print(warning)
    run.finish(VAE, metrics=scores_of(run.lines("held_out_mse")[-1]))


if __name__ == "__main__":
    cli.run(main, "train_vae.py")
