"""The SAGAN's figures: architecture, training, the first 32 faces, where its attention looks.

    python report/sagan_figures.py        # from checkpoints/sagan.pth and runs/sagan_seed0/log.jsonl
    python report/sagan_figures.py --state runs/sagan_seed0/last.pt   # first measures the discriminator's outputs

The outputs are those of the discriminator at the last step, which no checkpoint holds, for real faces and for the
trained (not the averaged) generator's; they go into docs/results/sagan_outputs.csv. The training without attention is
drawn from docs/results/sagan_without_log.jsonl, the distances from docs/results/face_scores.csv.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    import torch.nn.functional as F
    from plotting import PRINT, TEXT_WIDTH, LogNorm, MaxNLocator, draw_text, plot_log, plt, save, training_arguments

    from dlcv.checkpoint import load_model, read_checkpoint
    from dlcv.data.faces import hold_out, read_faces
    from dlcv.files import read_rows, write_rows
    from dlcv.images import make_grid, save_image, to_float
    from dlcv.models.sagan import (
        SAGANDiscriminator,
        SAGANDiscriminatorConfig,
        SAGANGenerator,
        SAGANGeneratorConfig,
        SelfAttention,
    )
    from dlcv.repro import noise
    from dlcv.sampling import SEED, sample_images
    from dlcv.trainer import read_log, read_save

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results"
OUTPUTS = RESULTS / "sagan_outputs.csv"
WITHOUT = RESULTS / "sagan_without_log.jsonl"
BIN = 0.1  # width of the histogram's bins of outputs

FACES = 4  # whose attention is shown
# Row and column (of 16) of an eye, the mouth, the hair and the background, read off each of the first faces by eye.
POINTS = (
    ((6, 9), (11, 8), (1, 8), (5, 15)),
    ((6, 6), (11, 8), (1, 9), (4, 2)),
    ((5, 10), (11, 8), (1, 11), (4, 1)),
    ((7, 6), (11, 8), (2, 9), (5, 1)),
)
TITLES = ("generated", "from an eye", "from the mouth", "from the hair", "from background")


@torch.inference_mode()
def draw_attention(model: SAGANGenerator, path: Path) -> None:
    """How much each place of the 16x16 maps gives to four others, one row for each face."""
    layer = next(module for module in model.modules() if isinstance(module, SelfAttention))
    seen: list[torch.Tensor] = []
    handle = layer.register_forward_hook(lambda _, inputs, __: seen.append(layer.weights(inputs[0])))
    z = noise(SEED, FACES, model.config.latent_dim)
    images = sample_images(model, z, FACES)
    handle.remove()
    side = int(seen[0].shape[1] ** 0.5)
    columns = len(TITLES)
    figure, grid = plt.subplots(FACES, columns, figsize=(6.6, 1.26 * FACES), layout="constrained")
    scale = 64 / side
    for row, image, weights, points in zip(grid, images, seen[0], POINTS, strict=True):
        row[0].imshow(image)
        for axes, (i, j) in zip(row[1:], points, strict=True):
            looked = weights[i * side + j].reshape(1, 1, side // 2, side // 2)  # keys are pooled
            times = F.interpolate(looked, (64, 64))[0, 0] * looked.numel()  # of what an even look would give
            axes.imshow(np.asarray(image).mean(-1), cmap="gray")
            shown = axes.imshow(times, cmap="inferno", norm=LogNorm(0.1, 10), alpha=0.6)
            axes.plot((j + 0.5) * scale, (i + 0.5) * scale, "o", color="cyan", markeredgecolor="black", markersize=6)
    for axes, title in zip(grid[0], TITLES, strict=True):
        axes.set_title(title, fontsize=9)
    for axes in grid.flat:
        axes.axis("off")
    bar = figure.colorbar(shown, ax=grid, shrink=0.6, label="attention, times an even share", ticks=(0.1, 1, 10))
    bar.ax.set_yticklabels(("≤ 0.1", "1", "≥ 10"))
    save(figure, path, dpi=220)


@torch.inference_mode()
def measure_outputs(state: Path, data: Path | None, count: int = 2_048) -> None:
    """Writes what the discriminator of a run's last.pt says of real and of generated faces to OUTPUTS."""
    content = read_save(state)
    recipe, weights = content["recipe"], content["state"]
    d = SAGANDiscriminator(SAGANDiscriminatorConfig(recipe["width_d"], recipe["attention"], recipe["gain"]))
    g = SAGANGenerator(SAGANGeneratorConfig(recipe["latent_dim"], recipe["width"], recipe["attention"]))
    d.load_state_dict(weights["d"])
    g.load_state_dict(weights["g"])
    d.eval()
    g.train()  # batch norm as in the training's steps
    _, images = read_faces(data, "train")
    rng = torch.Generator().manual_seed(0)  # the files' order is not random
    training, held_out = (
        images[rows[torch.randperm(len(rows), generator=rng)[:count]]] for rows in hold_out(len(images))
    )
    z = noise(3, count, recipe["latent_dim"]).float()
    faces = {
        "training": [to_float(batch) * 2 - 1 for batch in training.split(64)],
        "held-out": [to_float(batch) * 2 - 1 for batch in held_out.split(64)],
        "generated": [g(batch) for batch in z.split(64)],
    }
    rows = []
    for name, batches in faces.items():
        outputs = torch.cat([d(batch) for batch in batches]).double().numpy()
        right = outputs < 0 if name == "generated" else outputs > 0
        values = {"mean": outputs.mean(), "std": outputs.std(), "min": outputs.min(), "max": outputs.max()}
        values |= {"right": right.mean(), "beyond_margin": (np.abs(outputs) > 1).mean()}
        low = int(np.floor(outputs.min() / BIN))
        counts = np.bincount(np.floor(outputs / BIN).astype(int) - low)
        row = {"faces": name, "n": len(outputs)} | {key: f"{value:.4f}" for key, value in values.items()}
        rows.append(row | {"first_bin": f"{low * BIN:.1f}", "counts": " ".join(map(str, counts))})
    write_rows(OUTPUTS, rows, rows[0])
    print(OUTPUTS)


def distances(run: str) -> tuple[list[int], list[float]]:
    """Steps of a training's snapshots, and their distances to held-out faces (one draw of 3,000 each)."""
    rows = [row for row in read_rows(RESULTS / "face_scores.csv") if row["what"].startswith(f"runs/{run}/snapshots/")]
    pairs = {int(row["step"]): float(row["frechet"]) for row in rows if row["against"] == "held-out"}
    return sorted(pairs), [pairs[step] for step in sorted(pairs)]


def draw_training(log: Path, path: Path) -> None:
    """Losses, accuracies and distances by step, with and without attention; the outputs at the last step."""
    figure, grid = plt.subplots(2, 2, figsize=(TEXT_WIDTH, 5.8), layout="constrained")
    (losses, accuracies), (frechet, histogram) = grid
    for file, name, style in ((log, "with", "-"), (WITHOUT, "without", "--")):
        lines = read_log(file)
        for axes, key, colour, label in (
            (losses, "loss_d", "tab:blue", "discriminator"),
            (losses, "loss_g", "tab:orange", "generator"),
            (accuracies, "accuracy_real", "tab:blue", "real"),
            (accuracies, "accuracy_fake", "tab:orange", "generated"),
        ):
            plot_log(
                axes, lines, key, smooth=True, color=colour, linestyle=style, label=f"{label}, {name}", linewidth=1.1
            )
    losses.set(title="(a) hinge losses", ylim=(0, 2.2))
    accuracies.set(title="(b) judged right by the discriminator", ylim=(0, 1.02))
    for run, label, style in (("sagan_seed0", "with attention", "o-"), ("sagan_without", "without attention", "s--")):
        frechet.plot(*distances(run), style, color="black", markersize=4, label=label)
    frechet.set(title="(c) Fréchet distance, held-out faces", yscale="log", xlim=accuracies.get_xlim())
    frechet.set_yticks([20, 50, 100, 200], labels=["20", "50", "100", "200"])
    frechet.set_ylim(20, 230)
    frechet.minorticks_off()
    for row, style in zip(read_rows(OUTPUTS), ("-", ":", "-"), strict=True):
        counts = np.array([int(count) for count in row["counts"].split()])
        edges = float(row["first_bin"]) + BIN * np.arange(len(counts) + 1)
        colour = "tab:orange" if row["faces"] == "generated" else "tab:blue"
        label = row["faces"] if row["faces"] == "generated" else f"real, {row['faces']}"
        histogram.stairs(counts / counts.sum(), edges, color=colour, linestyle=style, label=label)
    histogram.axvline(0, color="grey", linewidth=0.8, linestyle=":")
    histogram.set(title="(d) outputs at the last step, with attention", xlabel="output", ylabel="share of the faces")
    for axes in (losses, accuracies, frechet):
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(5))
    for axes in grid.flat:
        axes.title.set_fontsize(9)
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3 if axes is histogram else 2)
    save(figure, path, dpi=PRINT)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--state", type=Path, metavar="LAST_PT", help="measure the outputs of this run's discriminator")
    parser.add_argument("--data", type=Path, help="with --state: folder of the faces (hw3_data or data/hw3_data)")
    args = training_arguments(parser, "sagan")
    if args.state:
        measure_outputs(args.state, args.data)
    recipe = read_checkpoint(args.checkpoint)["provenance"]["recipe"]
    model = load_model(SAGANGenerator, args.checkpoint).double()
    discriminator = SAGANDiscriminator(SAGANDiscriminatorConfig(recipe["width_d"], recipe["attention"]))
    draw_text([str(model), str(discriminator)], args.out / "sagan_architecture.png")
    if args.curves:
        draw_training(args.log, args.out / "sagan_curves.png")
    first = sample_images(model, noise(SEED, 32, model.config.latent_dim))  # the same 32 as hw2_p1.sh's first
    save_image(args.out / "sagan_faces.png", make_grid(first, 8))
    if model.config.attention:
        draw_attention(model, args.out / "sagan_attention.png")


if __name__ == "__main__":
    cli.run(main, "sagan_figures.py")
