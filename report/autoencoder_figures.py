"""TU Dresden, homework 3, problem 4: sizes, training, latent scatter, decoded grid, reconstructions, test error.

    python report/autoencoder_figures.py            # from runs/autoencoder_seed*/ and checkpoints/autoencoder.pth

Writes report/figures/autoencoder_*.png, the interactive report/figures/autoencoder_latents.html and the tables in
docs/models/autoencoder.md. The test error of every run's last weights stands in docs/results, also of runs that are not
below --runs any more; the figures show --checkpoint, the curve the first run that is there.
"""

import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    from plotting import PRINT, TEXT_WIDTH, add_checkpoint, add_out, draw_faces, plot_log, plt, save, tidy, to_hex
    from scipy.spatial import cKDTree
    from tables import fill, markdown, mean_std, record
    from torch import nn

    from dlcv.checkpoint import digest_of, load_model, read_checkpoint
    from dlcv.data.arrays import read_arrays
    from dlcv.files import write_text
    from dlcv.images import make_grid, to_float, to_uint8
    from dlcv.models.autoencoder import Autoencoder
    from dlcv.trainer import read_log

DOCS = Path(__file__).resolve().parents[1] / "docs"
CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
TURNED = 4_000  # training images in the page that turns, drawn at random: a browser draws no more of them fluently
GRID = 12
EMPTY = np.array([38, 70, 130])  # ground of decoded images near whose latent there is no training image
NEIGHBOURS = 15  # that vote on an image's class


@torch.inference_mode()
def mean_squared_error(model: Autoencoder, images: torch.Tensor) -> float:
    """Over all pixels of uint8 images (N, 1, 28, 28), in [0, 1]²."""
    parts = [to_float(batch) for batch in images.split(500)]
    return sum(float((model(x) - x).square().sum()) for x in parts) / images.numel()


@torch.inference_mode()
def encode(model: Autoencoder, images: torch.Tensor) -> np.ndarray:
    return torch.cat([model.encode(to_float(batch)) for batch in images.split(500)]).numpy()


def size_table(model: Autoencoder) -> str:
    """Every layer's output and parameters, and how both are calculated; checked against the model itself."""
    rows: list[list[object]] = [["input", "1 x 28 x 28", "", "", "", 0]]
    x, counts = torch.zeros(1, 1, 28, 28), []
    for network in (model.encoder, model.decoder):
        for layer in network:
            before, x = x, layer(x)
            count = sum(p.numel() for p in layer.parameters())
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                size = size_of(layer, before.shape[-1], x.shape[-1])
                area, inputs, outputs = layer.kernel_size[0] ** 2, layer.in_channels, layer.out_channels
                name = f"{type(layer).__name__} {inputs} → {outputs}, stride {layer.stride[0]}"
                weights = f"({area} · {inputs} + 1) · {outputs}"
            elif isinstance(layer, nn.Linear):
                name, size = f"Linear {layer.in_features} → {layer.out_features}", ""
                weights = f"({layer.in_features} + 1) · {layer.out_features}"
            elif isinstance(layer, nn.Flatten | nn.Unflatten):
                planes = before if isinstance(layer, nn.Flatten) else x
                name, weights = type(layer).__name__, ""
                size = f"{' · '.join(str(n) for n in planes.shape[1:])} = {planes[0].numel()}"
            else:  # ReLU and sigmoid change neither
                rows[-1][2] = type(layer).__name__
                continue
            counts.append(count)
            shape = " x ".join(str(n) for n in x.shape[1:])
            rows.append([name, shape, "", size, f"{weights} = {count:,}" if weights else "", f"{count:,}"])
    rows.append(["in all", "", "", "", " + ".join(f"{count:,}" for count in counts if count), f"{sum(counts):,}"])
    columns = ("layer", "output", "then", "calculation of the size", "calculation of the parameters", "parameters")
    return markdown(columns, rows)


def size_of(layer: nn.Conv2d | nn.ConvTranspose2d, before: int, after: int) -> str:
    """The formula for the height with the layer's numbers in it."""
    k, s, p = layer.kernel_size[0], int(layer.stride[0]), int(layer.padding[0])
    if isinstance(layer, nn.ConvTranspose2d):
        more = int(layer.output_padding[0])
        assert (before - 1) * s - 2 * p + k + more == after
        return f"({before} − 1) · {s} − 2 · {p} + {k} + {more} = {after}"
    assert (before + 2 * p - k) // s + 1 == after
    return f"⌊({before} + 2 · {p} − {k}) / {s}⌋ + 1 = {after}"


def submitted_table(paths: list[Path], train: torch.Tensor, test: torch.Tensor) -> str:
    """The files that are handed in: the loss over all training images (task c) and over all test images (task f)."""
    measured = []
    for path in paths:
        provenance, model = read_checkpoint(path)["provenance"], load_model(Autoencoder, path)
        measured.append(
            {
                "run": path.name,
                "sha256": digest_of(path),
                "step": provenance["step"],
                "commit": provenance["commit"],
                "training_mse": f"{mean_squared_error(model, train):.5f}",
                "test_mse": f"{mean_squared_error(model, test):.5f}",
            }
        )
    lines = record(DOCS / "results" / "autoencoder_submitted.csv", measured)
    rows = [
        (line["run"], f"{int(line['step']):,}", line["training_mse"], line["test_mse"])
        for line in sorted(lines, key=lambda line: int(line["step"]))
    ]
    return markdown(("submitted file", "step", "loss over the whole training set", "test loss"), rows)


def run_table(runs: list[Path], test: torch.Tensor) -> str:
    """Training and test error of these runs and of those that docs/results/autoencoder_runs.csv has; also to it."""
    measured = []
    for run in runs:
        provenance = read_checkpoint(run / "model.pth")["provenance"]
        first = read_checkpoint(run / "below.pth")["provenance"] if (run / "below.pth").exists() else None
        measured.append(
            {
                "run": run.name,
                "seed": provenance["recipe"]["seed"],
                "steps": provenance["step"],
                "commit": provenance["commit"],
                "first_below": first["step"] if first else "",
                "training_mse": f"{provenance['metrics']['training_mse']:.5f}",
                "test_mse": f"{mean_squared_error(load_model(Autoencoder, run / 'model.pth'), test):.5f}",
            }
        )
    lines = record(DOCS / "results" / "autoencoder_runs.csv", measured)
    rows = [(r["seed"], r["first_below"] or "never", r["training_mse"], r["test_mse"]) for r in lines]
    rows.append((f"mean (n = {len(lines)})", "", "", mean_std([float(r["test_mse"]) for r in lines], 5)))
    return markdown(("seed", "first below 0.03 at step", "training MSE at the end", "test MSE"), rows)


def neighbour_table(z: np.ndarray, labels: np.ndarray) -> str:
    """How well the latents tell the classes apart: the vote of each image's 15 nearest others, in per cent."""
    nearest = cKDTree(z).query(z, NEIGHBOURS + 1)[1][:, 1:]  # the first is the image itself
    votes = np.stack([(labels[nearest] == kind).sum(1) for kind in range(10)], axis=1)
    named = votes.argmax(1)
    rows = []
    for kind in np.unique(labels):
        predicted = named[labels == kind]
        wrong = np.bincount(predicted[predicted != kind], minlength=10)
        other = f"{CLASSES[wrong.argmax()]} ({100 * wrong.max() / len(predicted):.0f})" if wrong.any() else ""
        rows.append((CLASSES[kind], f"{100 * (predicted == kind).mean():.0f}", other))
    rows.append((f"all (n = {len(z):,})", f"{100 * (named == labels).mean():.0f}", ""))
    return markdown(("class", "named correctly, %", "most often mistaken for (%)"), rows)


def grid_ends(z: np.ndarray) -> np.ndarray:
    """The grid's ends in each coordinate, (3, 2), without the extremes: those belong to a few images far outside."""
    return np.percentile(z, (1, 99), axis=0).T


def grid_counts(z: np.ndarray) -> np.ndarray:
    """How many latents (N, 3) lie within half a step of each point of the grid in every coordinate: (12, 12, 12)."""
    low, high = grid_ends(z).T
    cells = np.rint((z - low) / (high - low) * (GRID - 1)).astype(int)
    counts = np.zeros((GRID,) * 3, dtype=int)
    np.add.at(counts, tuple(cells[((cells >= 0) & (cells < GRID)).all(1)].T), 1)
    return counts


def grid_table(z: np.ndarray) -> str:
    """The grid's ends in each coordinate, the share of images inside all three, the share of points without images."""
    low, high = grid_ends(z).T
    inside = ((z >= low) & (z <= high)).all(1).mean()
    empty = (grid_counts(z) == 0).mean()
    ends = [f"{a:.1f} to {b:.1f}" for a, b in zip(low, high, strict=True)]
    row = ("from, to", *ends, f"{100 * inside:.1f}", f"{100 * empty:.0f}")
    return markdown(("grid", "z1", "z2", "z3", "images inside, %", "points without an image, %"), [row])


def draw_curve(log: Path, path: Path) -> None:
    lines = read_log(log)
    figure, axes = plt.subplots(figsize=(6, 3.8))
    plot_log(axes, lines, "loss", label="batches, while learning")
    plot_log(axes, lines, "training_mse", label="whole training set, fixed weights")
    axes.axhline(0.03, color="grey", linestyle=":", label="0.03")
    axes.set(xlabel="step", ylabel="mean squared error", yscale="log")
    tidy(axes)
    save(figure, path)


def draw_latents(z: np.ndarray, labels: np.ndarray, path: Path) -> None:
    """The latents (N, 3) in space, seen along each axis, and once more for each class; points as ordered in z."""
    colours = plt.get_cmap("tab10")(labels)
    figure = plt.figure(figsize=(TEXT_WIDTH, 9.0))
    space = figure.add_axes((0.0, 0.53, 1.0, 0.47), projection="3d", computed_zorder=False)
    space.scatter(*z.T, s=1, c=colours, alpha=0.3, linewidths=0, depthshade=False)  # type: ignore[misc]
    space.set_box_aspect(np.ptp(z, axis=0), zoom=0.95)  # type: ignore[arg-type]
    for axis, name in zip((space.xaxis, space.yaxis, space.zaxis), ("z1", "z2", "z3"), strict=True):  # type: ignore[attr-defined]
        axis.set_label_text(name)
    space.tick_params(labelsize=8)
    for number, (across, up) in enumerate(((0, 1), (0, 2), (1, 2))):
        axes = figure.add_axes((0.08 + 0.33 * number, 0.345, 0.25, 0.19))
        axes.scatter(z[:, across], z[:, up], s=0.4, c=colours, alpha=0.3, linewidths=0)
        axes.set_xlabel(f"z{across + 1}", labelpad=1)
        axes.set_ylabel(f"z{up + 1}", labelpad=1)
        axes.tick_params(labelsize=8)
    for kind, name in enumerate(CLASSES):  # classes cover one another in one plot
        axes = figure.add_axes((0.03 + 0.196 * (kind % 5), 0.15 - 0.15 * (kind // 5), 0.17, 0.12))
        axes.scatter(z[:, 0], z[:, 1], s=0.2, color="0.85", linewidths=0)
        mine = labels == kind
        axes.scatter(z[mine, 0], z[mine, 1], s=0.4, color=plt.get_cmap("tab10")(kind), alpha=0.5, linewidths=0)
        axes.set_title(name, fontsize=9, pad=2, color=plt.get_cmap("tab10")(kind))
        axes.set_xticks([])
        axes.set_yticks([])
    save(figure, path, PRINT)


def write_html(z: np.ndarray, labels: np.ndarray, path: Path) -> None:
    """A page that turns under the mouse; it needs no network and no library."""
    centre, scale = z.mean(0), np.abs(z - z.mean(0)).max()
    points = np.column_stack([np.round((z - centre) / scale, 3), labels]).tolist()
    colours = [to_hex(plt.get_cmap("tab10")(digit)) for digit in range(10)]
    page = (Path(__file__).resolve().parent / "latents.html").read_text(encoding="utf-8")
    for name, value in (("POINTS", points), ("COLOURS", colours), ("CLASSES", CLASSES)):
        page = page.replace(f"/*{name}*/", json.dumps(value, separators=(",", ":")))
    write_text(path, page)
    print(path)


def draw_grid(model: Autoencoder, z: np.ndarray, path: Path) -> None:
    """12 x 12 x 12 latents that cover the training set's: twelve pictures, z1 from one to the next.

    Images near whose latent no training image lies have a blue ground. Six pictures go to `path`, the others to the
    same name with "_2".
    """
    axes_values = [np.linspace(low, high, GRID) for low, high in grid_ends(z)]
    latents = np.stack(np.meshgrid(*axes_values, indexing="ij"), axis=-1).reshape(-1, 3)
    with torch.inference_mode():
        images = to_uint8(model.decode(torch.from_numpy(latents).float()) * 2 - 1).permute(0, 2, 3, 1).numpy()
    empty = (grid_counts(z) == 0).reshape(-1, 1, 1, 1)
    images = np.where(empty, EMPTY + (255 - EMPTY) * (images / 255), images).round().astype(np.uint8)
    side = images.shape[1] + 1  # pixels of a row or column
    ends = [4, GRID * side - 4]
    down, right = ([f"{values[0]:.1f}", f"{values[-1]:.1f}"] for values in axes_values[1:])
    panels = list(zip(axes_values[0], np.split(images, GRID), strict=True))
    for name, half in ((path.name, panels[: GRID // 2]), (f"{path.stem}_2{path.suffix}", panels[GRID // 2 :])):
        figure, grid = plt.subplots(3, 2, figsize=(TEXT_WIDTH, 9.6))
        for index, (axes, (value, plane)) in enumerate(zip(grid.flat, half, strict=True)):
            axes.imshow(make_grid(plane, GRID, padding=1))
            axes.set_title(f"z1 = {value:.1f}", fontsize=9, pad=3)
            axes.tick_params(length=0, labelsize=8, pad=2)
            axes.set_yticks(ends, down if index % 2 == 0 else [])
            axes.set_xticks(ends, right if index >= 4 else [])
            for label, side_of in zip(axes.get_xticklabels(), ("left", "right"), strict=False):
                label.set_horizontalalignment(side_of)
            axes.spines[:].set_visible(False)
            if index % 2 == 0:
                axes.set_ylabel("z2", fontsize=9, labelpad=-12)
            if index >= 4:
                axes.set_xlabel("z3", fontsize=9, labelpad=-8)
        figure.subplots_adjust(wspace=0.03, hspace=0.08)
        save(figure, path.with_name(name), PRINT)


def draw_reconstructions(model: Autoencoder, images: torch.Tensor, labels: torch.Tensor, path: Path) -> None:
    """The first test image of each class."""
    there = [kind for kind in range(10) if (labels == kind).any()]
    rows = torch.tensor([int((labels == kind).nonzero()[0]) for kind in there])
    x = to_float(images[rows])
    with torch.inference_mode():
        recon = model(x)
    errors = (recon - x).square().mean((1, 2, 3))
    shown = [to_uint8(part * 2 - 1).permute(0, 2, 3, 1).repeat(1, 1, 1, 3).numpy() for part in (x, recon)]
    titles = [f"{name}\n{error:.4f}" for name, error in zip([CLASSES[kind] for kind in there], errors, strict=True)]
    draw_faces(shown, path, row_titles=["test\nimage", "recon-\nstruction"], titles=titles, fontsize=12)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    add_checkpoint(parser, "autoencoder")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="holds autoencoder_seed*")
    add_out(parser)
    parser.add_argument("--data", type=Path, help="folder of fashion_mnist.npz (default: data)")
    args = parser.parse_args()
    checkpoints = args.runs.glob("autoencoder_seed*/model.pth")
    runs = sorted(path.parent for path in checkpoints if re.fullmatch(r"autoencoder_seed\d+", path.parent.name))
    if not runs and not (DOCS / "results" / "autoencoder_runs.csv").exists():
        raise cli.UserError(f"no autoencoder_seed*/model.pth below {args.runs}: python train/train_autoencoder.py")
    model = load_model(Autoencoder, args.checkpoint)
    if model.config.latent_dim != 3:
        raise cli.UserError(f"{args.checkpoint} has {model.config.latent_dim} latents: scatter and grid show three")
    images, labels = read_arrays(args.data, "fashion_mnist", "train")
    test_images, test_labels = read_arrays(args.data, "fashion_mnist", "test")
    beside = args.checkpoint.with_name("autoencoder_below.pth")
    files = [path for path in (beside, args.checkpoint) if path.exists()]
    z = encode(model, images)
    written = {
        "autoencoder sizes": size_table(model),
        "autoencoder submitted": submitted_table(files, images, test_images),
        "autoencoder runs": run_table(runs, test_images),
        "autoencoder neighbours": neighbour_table(z, labels.numpy()),
        "autoencoder grid": grid_table(z),
    }
    if runs:
        draw_curve(runs[0] / "log.jsonl", args.out / "autoencoder_curve.png")
        seed = read_checkpoint(runs[0] / "model.pth")["provenance"]["recipe"]["seed"]
        written["autoencoder curve"] = markdown(("figure of the loss", "seed"), [("autoencoder_curve.png", seed)])
    card = DOCS / "models" / "autoencoder.md"
    fill([card] if card.exists() else [], written)  # it is not in what is handed in
    order = np.random.RandomState(0).permutation(len(z))
    draw_latents(z[order], labels.numpy()[order], args.out / "autoencoder_latents.png")
    write_html(z[order[:TURNED]], labels.numpy()[order[:TURNED]], args.out / "autoencoder_latents.html")
    draw_grid(model, z, args.out / "autoencoder_grid.png")
    draw_reconstructions(model, test_images, test_labels, args.out / "autoencoder_reconstructions.png")
    print("\n\n".join(written.values()))


if __name__ == "__main__":
    cli.run(main, "autoencoder_figures.py")
