"""Trains the flow that carries N(0, I) to a trained VAE's latents, so that samples look more like reconstructions.

    python train/train_vae.py                 # first: writes runs/vae_seed0/model.pth
    python train/train_vae_prior.py           # then: runs/vae_prior_seed0/model.pth, the same VAE with its flow

Encoder and decoder stay as they are: reconstructions do not change, samples do. Writes model.pth (for inference),
samples_*.png, log.jsonl, TensorBoard and last.pt (for --resume) to --out.
"""

import dataclasses
import hashlib
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli, recipe


@dataclass(frozen=True)
class Recipe:
    vae: str = "runs/vae_seed0/model.pth"  # checkpoint of the VAE whose latents are learned
    width: int = 512  # units of the flow's layers
    steps: int = 6_000  # steps of the whole training
    batch_size: int = 512  # latents a step
    lr: float = 1e-3  # peak learning rate of AdamW; cosine schedule with 200 steps of warm-up
    weight_decay: float = 1e-2  # weight decay of AdamW
    ema: float = 0.998  # decay of the moving average of the weights, which is what is saved
    seed: int = 0  # random seed of the initial weights, the batches and the noise
    evaluate_every: int = 1_000  # steps between looks at held-out faces and grids of samples

    def __post_init__(self) -> None:
        recipe.require_positive(self, "width")


QUICK = {  # for the VAE of train_vae.py --quick; a short run needs a faster moving average
    "vae": "runs/vae_seed0_quick/model.pth", "steps": 200, "evaluate_every": 100, "ema": 0.97, "width": 128,
}  # fmt: skip


def main() -> None:
    r, args = recipe.parse(Recipe, "Trains the flow from N(0, I) to a trained VAE's latents.", QUICK)
    out = recipe.run_folder(args, f"vae_prior_seed{r.seed}")

    import torch

    from dlcv import repro
    from dlcv.averaging import ema
    from dlcv.checkpoint import current_commit, model_from, read_checkpoint, save_checkpoint
    from dlcv.data.faces import hold_out, read_faces
    from dlcv.data.folders import fingerprint
    from dlcv.distributed import parallel, part, start
    from dlcv.images import save_grid, to_float
    from dlcv.models.vae import VAE, LatentFlow
    from dlcv.schedule import set_lr, warmup_cosine
    from dlcv.trainer import Run, scores_of

    device = start(r.batch_size)
    trained = read_checkpoint(Path(r.vae))
    vae_sha256 = hashlib.sha256(Path(r.vae).read_bytes()).hexdigest()
    vae = model_from(VAE, trained, Path(r.vae)).to(device)

    # Data: the posteriors of the training faces and of their mirror images, standardised. No test face is read here.
    _, images = read_faces(args.data, "train")
    training, held_out = hold_out(len(images))

    @torch.no_grad()
    def posteriors(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Means and standard deviations (2 N, Z) of q(z|x)."""
        parts = []
        for some in rows.split(50):
            x = to_float(images[some].to(device))
            parts += [vae.encode(x), vae.encode(x.flip(3))]
        return torch.cat([mu for mu, _ in parts]), torch.cat([(0.5 * logvar).exp() for _, logvar in parts])

    seen, unseen = posteriors(training), posteriors(held_out)

    # Model: the VAE again, with a flow.
    repro.seed_everything(r.seed)
    whole = VAE(dataclasses.replace(vae.config, flow_width=r.width)).to(device).eval()
    flow = LatentFlow(vae.config.latent_dim, r.width).to(device)
    average = ema(flow, r.ema)
    averaged = whole.flow = cast(LatentFlow, average.module)
    networks = {name: value for name, value in vae.state_dict().items() if not name.startswith("flow.")}
    whole.load_state_dict(whole.state_dict() | networks)
    optimizer = torch.optim.AdamW(flow.parameters(), lr=r.lr, weight_decay=r.weight_decay)
    parallel_flow = parallel(flow)  # averages gradients over torchrun's processes, if several
    Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

    def draw(of: tuple[torch.Tensor, torch.Tensor], n: int, generator: torch.Generator) -> Batch:
        """Standardised latents (N, Z), noise (N, Z) and times (N,)."""
        rows = torch.randint(len(of[0]), (n,), generator=generator)
        own, noise = torch.randn((2, n, of[0].shape[1]), generator=generator).to(device)
        times = torch.rand(n, generator=generator).to(device)
        return vae.standardise(of[0][rows] + own * of[1][rows]), noise, times

    fixed = repro.noise(0, 32, vae.config.latent_dim).float().to(device)
    state = {"flow": flow, "average": average, "optimizer": optimizer}
    data = {"training": len(training), "held_out": len(held_out), "images": fingerprint(images), "vae": vae_sha256}
    run = Run(out, r, steps=r.steps, state=state, data=data, **args.run)
    for step in run:
        set_lr(optimizer, r.lr * warmup_cosine(step, r.steps, warmup=200, floor=0.01))
        loss = parallel_flow.loss(*map(part, draw(seen, r.batch_size, repro.seed_step(r.seed, step))))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(flow)

        run.log(loss=loss)
        if run.due(r.evaluate_every):
            with torch.no_grad():
                batch = draw(unseen, 16 * r.batch_size, torch.Generator().manual_seed(r.seed))  # the same at each look
                samples = save_grid(out / f"samples_{run.done:06d}.png", whole.sample(fixed) * 2 - 1)
                run.log(samples=samples, held_out_loss=float(averaged.loss(*batch)))

    scores = scores_of(run.lines("held_out_loss")[-1])
    prior = {
        "recipe": asdict(r), "step": r.steps, "selection": "last step", "seconds": round(run.seconds, 1),
        "metrics": scores, "commit": current_commit(),
        "torch": str(torch.__version__), "vae": {"sha256": vae_sha256, "commit": trained["provenance"]["commit"]},
    }  # fmt: skip
    save_checkpoint(out / "model.pth", whole, trained["provenance"] | {"prior": prior})
    print(f"{out / 'model.pth'}: held_out_loss {scores['held_out_loss']:.4f}")


if __name__ == "__main__":
    cli.run(main, "train_vae_prior.py")
