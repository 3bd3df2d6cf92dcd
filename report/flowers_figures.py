"""TU Dresden, homework 3, problem 5: photographs, networks, progression, curves, batches, favourites.

    python report/flowers_figures.py               # from checkpoints/flowers.pth and runs/flowers_seed0/
    python report/flowers_figures.py --favourites 17 203        # any two numbers of the sheet

Writes report/figures/flowers_*.png, the latents to report/figures/flowers_latents.npz, numbers to
docs/results/flowers_study.csv and the tables in docs/models/flowers.md.
"""

import argparse
import copy
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    from PIL import Image
    from plotting import (
        PRINT,
        TEXT_WIDTH,
        add_checkpoint,
        add_out,
        draw_faces,
        draw_strips,
        first_of_grid,
        plot_log,
        plt,
        save,
        tidy,
    )
    from tables import fill, markdown, record
    from torch import nn

    from dlcv import repro
    from dlcv.checkpoint import load_model, read_checkpoint
    from dlcv.data.flowers import Flowers, read_flowers
    from dlcv.files import atomic_path, write_rows
    from dlcv.images import make_grid, save_image
    from dlcv.models.dcgan import DCGANDiscriminator, DCGANDiscriminatorConfig, DCGANGenerator
    from dlcv.sampling import SEED, sample_images
    from dlcv.trainer import read_log

DOCS = Path(__file__).resolve().parents[1] / "docs"
SHEET = 256  # images on the sheet of favourites
SHOWN = 16  # images of the batch in the figure, at most
ALPHAS = [n / 10 for n in range(11)]


def layer_table(network: nn.Sequential, x: torch.Tensor) -> str:
    """Every layer's output and trainable parameters for the input x, (1, Z, 1, 1) or (1, 3, size, size)."""
    rows, total = [], 0
    with torch.no_grad():
        for layer in copy.deepcopy(network).eval():
            x = layer(x)
            count = sum(p.numel() for p in layer.parameters())
            total += count
            name = type(layer).__name__.removeprefix("Parametrized")
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                spectral = ", spectral norm" if hasattr(layer, "parametrizations") else ""
                name += f" {layer.in_channels} → {layer.out_channels}, stride {layer.stride[0]}, padding "
                name += f"{layer.padding[0]}{spectral}"
            if count:
                rows.append((name, " x ".join(str(n) for n in x.shape[1:]) or "1", f"{count:,}"))
    return markdown(("layer", "output", "parameters"), [*rows, ("in all", "", f"{total:,}")])


def spherical(a: torch.Tensor, b: torch.Tensor, alpha: float) -> torch.Tensor:
    """From b (alpha 0) to a (alpha 1) at constant angular speed (Shoemake 1985): the norm does not shrink between."""
    angle = torch.acos((a @ b / (a.norm() * b.norm())).clamp(-1, 1))
    if angle.sin() < 1e-6:  # the same or opposite directions: there is no single arc
        return alpha * a + (1 - alpha) * b
    return (torch.sin(alpha * angle) * a + torch.sin((1 - alpha) * angle) * b) / torch.sin(angle)


def batch_and_single(g: DCGANGenerator, z: torch.Tensor) -> dict[str, torch.Tensor]:
    """Images (B, 3, size, size) of the latents z (B, Z) in both modes, all at once and one by one, in float64.

    Each pass uses a generator of its own: in training mode a pass changes the running statistics.
    """
    images = {}
    with torch.inference_mode():
        for mode in ("training", "evaluation"):
            for name, parts in (("at once", [z]), ("one by one", z.split(1))):
                network = copy.deepcopy(g).train(mode == "training")
                images[f"{mode} mode, {name}"] = torch.cat([network(part) for part in parts])
    return images


def draw_photographs(flowers: Flowers, path: Path) -> None:
    """The first image of each category with its name."""
    first = [int((flowers.labels == label).nonzero()[0]) for label in range(len(flowers.categories))]
    columns = min(6, len(first))
    rows = -(-len(first) // columns)
    figure, grid = plt.subplots(rows, columns, figsize=(TEXT_WIDTH, rows * 1.22), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, index, name in zip(grid.flat, first, flowers.categories, strict=False):
        axes.imshow(flowers.images[index].permute(1, 2, 0).numpy())
        axes.set_title(name, fontsize=8.5, pad=3)
    figure.subplots_adjust(wspace=0.06, hspace=0.15)
    save(figure, path, PRINT)


def draw_progress(run: Path, size: int, path: Path, turn: int, rows: int = 6, columns: int = 8) -> None:
    """The first latents' images after some of the epochs: the first, the last, `turn` and the tenth after it."""
    grids = sorted(run.glob("samples_*.png"))
    if not grids:
        raise cli.UserError(f"{run} holds no samples_*.png")
    spaced = np.geomspace(1, len(grids), rows).round().astype(int)
    turns = [epoch for epoch in (turn, turn + 10) if 0 < epoch <= len(grids)]
    chosen = [grids[i] for i in np.unique([*spaced, *turns]) - 1]
    pictures = [first_of_grid(grid, columns, size) for grid in chosen]
    draw_faces(pictures, path, row_titles=[f"epoch {int(grid.stem.split('_')[1])}" for grid in chosen])


def draw_epochs(run: Path, size: int, path: Path, latents: int = 6, strips: int = 4) -> None:
    """The first latents' images in columns of evenly spaced epochs; strips for the page with more epochs."""
    grids = sorted(run.glob("samples_*.png"))
    side = min(size, 96)

    def pictures(count: int) -> tuple[list[int], np.ndarray]:
        """At most `count` epochs, and the images after them, (epochs, latents, side, side, 3)."""
        places = np.unique(np.linspace(0, len(grids) - 1, count).round().astype(int))
        images = [
            [np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BOX)) for pixels in some]
            for some in (first_of_grid(grids[place], latents, size) for place in places)
        ]
        return [int(grids[place].stem.split("_")[1]) for place in places], np.stack(images)

    draw_strips(list(pictures(30)[1][:, :strips].swapaxes(0, 1)), path)
    epochs, shown = pictures(16)
    draw_faces(list(shown.swapaxes(0, 1)), path, titles=[str(epoch) for epoch in epochs], fontsize=16)


def phase_rows(log: Path, parts: int = 5) -> list[dict[str, str]]:
    """Means of the losses and of the discriminator's outputs over equal parts of the training."""
    lines = [line for line in read_log(log) if "loss_d" in line]
    rows, first = [], 1
    for part in np.array_split(np.arange(len(lines)), min(parts, len(lines))):
        some = [lines[index] for index in part]
        means = {key: np.mean([line[key] for line in some]) for key in ("loss_d", "loss_g", "d_real", "d_fake")}
        last = some[-1]["step"]
        rows.append({"steps": f"{first:,} to {last:,}", **{key: f"{mean:.2f}" for key, mean in means.items()}})
        first = last + 1
    return rows


def draw_curves(log: Path, path: Path) -> None:
    """Both losses, and the discriminator's mean probability for photographs and for generated images.

    Dotted: what they would be if all probabilities were one half.
    """
    lines = read_log(log)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.6))
    plot_log(left, lines, "loss_d", label="discriminator's loss")
    plot_log(left, lines, "loss_g", label="generator's loss")
    plot_log(right, lines, "d_real", label="D(x), photographs")
    plot_log(right, lines, "d_fake", label="D(G(z)), generated images")
    for axes, value, label in ((left, 2 * np.log(2), "2 ln 2"), (left, np.log(2), "ln 2"), (right, 0.5, "0.5")):
        axes.axhline(value, color="grey", linestyle=":", linewidth=1)
        axes.annotate(label, (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8)
    left.set(xlabel="step", ylabel="binary cross entropy")
    right.set(xlabel="step", ylabel="probability", ylim=(0, 1))
    tidy(left, right)
    save(figure, path)


def draw_sheet(images: np.ndarray, chosen: Sequence[int], path: Path, columns: int = 16, side: int = 64) -> None:
    """Small numbered images, a frame around those chosen: the number is what --favourites takes."""
    small = [np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX)) for image in images]
    rows = -(-len(small) // columns)
    canvas = np.full((rows * side, columns * side, 3), 255, np.uint8)
    figure, axes = plt.subplots(figsize=(columns * 0.62, rows * 0.62))
    for index, image in enumerate(small):
        top, left = index // columns * side, index % columns * side
        canvas[top : top + side, left : left + side] = image
        axes.text(left + 2, top + 3, str(index), fontsize=9, va="top", color="white",
                  bbox={"facecolor": "black", "pad": 0.6, "linewidth": 0})  # fmt: skip
        if index in chosen:
            frame = plt.Rectangle((left + 2, top + 2), side - 4, side - 4, fill=False, color="cyan", linewidth=3)
            axes.add_patch(frame)
    axes.imshow(canvas)
    axes.axis("off")
    save(figure, path)


def images_of(x: torch.Tensor) -> np.ndarray:
    """float64 images as sample_images returns them."""
    return sample_images(lambda part: part, x)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the photographs (data)")
    add_checkpoint(parser, "flowers")
    parser.add_argument("--run", type=Path, default=Path("runs/flowers_seed0"), help="folder of the training")
    parser.add_argument(
        "--curves", action=argparse.BooleanOptionalAction, default=True,
        help="without, the two pictures of the training stay as they are, and --run is not needed",
    )  # fmt: skip
    add_out(parser)
    parser.add_argument("--docs", type=Path, default=DOCS, help="folder of models/flowers.md and results/")
    parser.add_argument("--seed", type=int, default=1, help="of the sheet's latents (1)")
    parser.add_argument(
        "--favourites", type=int, nargs=2, default=(155, 218), metavar="N", help="two numbers of the sheet"
    )
    args = parser.parse_args()
    if not all(0 <= number < SHEET for number in args.favourites) or len(set(args.favourites)) < 2:
        raise cli.UsageError(f"--favourites: two different numbers from 0 to {SHEET - 1}")
    if not 0 <= args.seed < 2**32:
        raise cli.UsageError(f"--seed {args.seed}: must be between 0 and {2**32 - 1}")
    if args.curves and not (args.run / "log.jsonl").exists():
        raise cli.UserError(
            f"{args.run}/log.jsonl is not there: train first (python train/train_flowers.py), or give --no-curves"
        )
    provenance = read_checkpoint(args.checkpoint)["provenance"]
    r = provenance["recipe"]
    g = load_model(DCGANGenerator, args.checkpoint).double()
    size, width = g.config.size, g.config.latent_dim

    flowers = read_flowers(args.data, size=size)  # a
    draw_photographs(flowers, args.out / "flowers_photographs.png")
    counts = torch.bincount(flowers.labels).tolist()
    kinds = [
        {"label": label, "category": name, "images": counts[label]} for label, name in enumerate(flowers.categories)
    ]
    write_rows(args.docs / "results" / "flowers_categories.csv", kinds)
    d = DCGANDiscriminator(DCGANDiscriminatorConfig(g.config.channels, size)).double()
    tables = {
        "flowers generator": layer_table(g.net, torch.zeros(1, width, 1, 1).double()),
        "flowers discriminator": layer_table(d.net, torch.zeros(1, 3, size, size).double()),
        "flowers recipe": markdown(("hyper-parameter", "value"), r.items()),
    }
    save_image(args.out / "flowers_samples.png", make_grid(sample_images(g, repro.noise(SEED, 32, width)), 8))  # d
    if args.curves:
        draw_progress(args.run, size, args.out / "flowers_progress.png", r["augment_from"])  # c
        draw_epochs(args.run, size, args.out / "flowers_epochs.png")
        draw_curves(args.run / "log.jsonl", args.out / "flowers_curves.png")  # e
        write_rows(args.docs / "results" / "flowers_phases.csv", phase_rows(args.run / "log.jsonl"))

    z = repro.noise(0, r["batch_size"], width)  # f
    images = batch_and_single(g, z)
    shown = {name: images_of(x[:SHOWN]) for name, x in images.items()}
    rows = [(name, part) for name, x in shown.items() for part in np.split(x, range(8, len(x), 8))]
    draw_faces([part for _, part in rows], args.out / "flowers_batch.png",
               row_titles=[name.replace(", ", ",\n") for name, _ in rows], fontsize=12)  # fmt: skip
    numbers = {}
    for mode in ("training", "evaluation"):
        difference = (images[f"{mode} mode, at once"] - images[f"{mode} mode, one by one"]).abs()
        numbers[f"{mode} mode"] = (float(difference.max()), float(difference.mean()))
    tables["flowers batch"] = markdown(
        ("at once against one by one", "largest difference", "mean difference"),
        [(mode, *(f"{value:.2g}" for value in values)) for mode, values in numbers.items()],
    )

    sheet = repro.noise(args.seed, SHEET, width)  # g
    samples = sample_images(g, sheet, progress="favourites, in eights")
    draw_sheet(samples, args.favourites, args.out / "flowers_favourites.png")
    save_image(args.out / "flowers_pair.png", make_grid(samples[list(args.favourites)], 2))
    first, second = (sheet[number] for number in args.favourites)
    convex = torch.stack([alpha * first + (1 - alpha) * second for alpha in ALPHAS])
    arc = torch.stack([spherical(first, second, alpha) for alpha in ALPHAS])
    draw_faces([sample_images(g, convex), sample_images(g, arc)], args.out / "flowers_mixed.png",
               row_titles=["convex", "spherical"], fontsize=13,
               titles=[f"α = {alpha:.1f}" for alpha in ALPHAS])  # fmt: skip
    norms = (("convex", convex), ("spherical", arc))
    tables["flowers norms"] = markdown(
        ("α", *(f"{alpha:.1f}" for alpha in ALPHAS)),
        [(name, *(f"{x:.1f}" for x in line.norm(dim=1).tolist())) for name, line in norms],
    )
    with atomic_path(args.out / "flowers_latents.npz") as temporary, temporary.open("wb") as file:
        np.savez(file, batch=z.numpy(), sheet=sheet.numpy(), favourites=np.array(args.favourites),
                 alphas=np.array(ALPHAS), convex=convex.numpy(), spherical=arc.numpy())  # fmt: skip
    record(args.docs / "results" / "flowers_study.csv", [
        {"run": mode, "largest_difference": largest, "mean_difference": mean, "step": provenance["step"],
         "commit": provenance["commit"], "batch": len(z)} for mode, (largest, mean) in numbers.items()])  # fmt: skip
    fill([args.docs / "models" / "flowers.md"], tables)


if __name__ == "__main__":
    cli.run(main, "flowers_figures.py")
