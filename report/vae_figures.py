"""Problem 1's figures: architecture, curves, reconstructions, samples, t-SNE, attribute directions, interpolations.

    python report/vae_figures.py          # from checkpoints/vae.pth and runs/vae_seed0/log.jsonl
    python report/vae_figures.py --no-curves --pilots with=runs/a/model.pth without=runs/b/model.pth      # only these

Test faces and their attributes are shown, never used for choosing. The ten faces of table 1_3 and those that are
edited (the second and third) are drawn with seed 0.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    from plotting import PRINT, TEXT_WIDTH, draw_faces, draw_strips, draw_text, plt, save, training_arguments
    from sklearn.linear_model import LinearRegression
    from sklearn.manifold import TSNE
    from sklearn.metrics import roc_auc_score
    from sklearn.neighbors import NearestNeighbors

    from dlcv.checkpoint import load_model
    from dlcv.data.faces import hold_out, read_attributes, read_faces
    from dlcv.images import make_grid, save_image, to_float, to_uint8
    from dlcv.models.vae import VAE
    from dlcv.repro import noise
    from dlcv.sampling import SEED, sample_images
    from dlcv.trainer import read_log

ATTRIBUTES = {"Male": "gender (+ male)", "Smiling": "smile", "Blond_Hair": "blond hair"}
NEIGHBOURS = 15  # points whose share with an attribute says how well it separates
SHOWN = 10  # test faces in table 1_3
FONT = 12  # points of text beside faces, which a report prints at about half this size
STRENGTHS = np.linspace(-1.5, 1.5, 7)  # multiples of the difference between having an attribute and not


@torch.inference_mode()
def encode(model: VAE, images: torch.Tensor) -> torch.Tensor:
    """uint8 (N, 3, 64, 64) -> posterior means (N, Z)."""
    return torch.cat([model.encode(to_float(batch))[0] for batch in images.split(100)])


@torch.inference_mode()
def decode(model: VAE, z: torch.Tensor) -> torch.Tensor:
    """Latents (N, Z) -> images (N, 3, 64, 64) in [0, 1]."""
    return torch.cat([model.decode(batch) for batch in z.split(100)])


def pictures(images: torch.Tensor) -> np.ndarray:
    """(N, 3, H, W), uint8 or in [0, 1], -> uint8 (N, H, W, 3)."""
    images = images if images.dtype == torch.uint8 else to_uint8(images * 2 - 1)
    return images.permute(0, 2, 3, 1).numpy()


def draw_curves(logs: list[Path], path: Path) -> None:
    """Of a training, or of several that followed each other: each quantity from the log that holds it."""
    lines = [line for log in logs for line in read_log(log)]
    panels = [
        ("mse", "reconstruction", "squared error, pixel mean"),
        ("kl", "KL divergence", "nats"),
        ("spectrum", "local spectrum", "mean difference of magnitudes"),
        ("loss", "flow to the latents", "flow matching, mean square"),
    ]
    panels = [panel for panel in panels if any(panel[0] in line for line in lines)]
    figure, grid = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.8), layout="constrained", squeeze=False)
    for axes, (name, title, label) in zip(grid[0], panels, strict=True):
        for key, colour, what in (
            (name, "tab:blue", "training"),
            (f"held_out_{name}", "tab:red", "held-out faces, averaged weights"),
        ):
            some = [line for line in lines if key in line]
            if some:
                axes.plot([line["step"] for line in some], [line[key] for line in some], color=colour, label=what)
        axes.set(xlabel="step", ylabel=label, title=title)
        axes.locator_params(axis="x", nbins=5)
        axes.legend()
        if name == "mse":
            axes.set_yscale("log")
    save(figure, path)


def draw_reconstructions(model: VAE, images: torch.Tensor, rows: np.ndarray, names: list[str], path: Path) -> None:
    shown = images[rows]
    recon = decode(model, encode(model, shown))
    errors = (recon - to_float(shown)).square().mean((1, 2, 3))
    draw_faces(
        [pictures(shown), pictures(recon)],
        path,
        row_titles=["test face", "reconstruction"],
        titles=[
            f"{names[row].removesuffix('.png')}\nMSE\n{error:.4f}" for row, error in zip(rows, errors, strict=True)
        ],
        fontsize=FONT,
    )


@torch.inference_mode()
def draw_latents(model: VAE, path: Path) -> None:
    """The first ten latents of fig1_4, decoded as they are, by way of the fitted Normal, and of the flow before it."""
    z = noise(SEED, 10, model.config.latent_dim)
    fitted = model.prior_mean + z @ model.prior_factor.T
    ways = {"N(0, I)": model.decode(z), "fitted Normal": model.decode(fitted), "flow": model.sample(z)}
    draw_faces([pictures(images) for images in ways.values()], path, row_titles=list(ways))


@torch.inference_mode()
def draw_pilots(pilots: dict[str, Path], path: Path) -> None:
    """Ten samples of each short training, from the same noise by way of its fitted Normal."""
    models = {name: load_model(VAE, file) for name, file in pilots.items()}
    rows = [pictures(m.sample(noise(SEED, SHOWN, m.config.latent_dim).float())) for m in models.values()]
    draw_faces(rows, path, row_titles=list(models), fontsize=FONT)


def separation(points: np.ndarray, has: np.ndarray) -> float:
    """How well an attribute separates: area under the ROC curve of its share among each point's nearest others."""
    nearest = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(points) - 1)).fit(points)
    return float(roc_auc_score(has, has[nearest.kneighbors(return_distance=False)].mean(1)))


def draw_tsne(z: torch.Tensor, attributes: np.ndarray, path: Path) -> None:
    points = TSNE(random_state=0, init="pca", perplexity=min(30, (len(z) - 1) / 3)).fit_transform(z.numpy())
    figure, grid = plt.subplots(1, 3, figsize=(TEXT_WIDTH, 2.9), layout="constrained")
    for axes, letter, name, has in zip(grid, "abc", ATTRIBUTES, attributes.T, strict=True):
        for mine, colour, label in ((~has, "tab:blue", "no"), (has, "tab:orange", "yes")):
            axes.scatter([], [], s=30, color=colour, label=f"{label} ({mine.sum()})")
        # In the order of the faces, so that neither colour covers the other.
        axes.scatter(*points.T, s=4, c=np.where(has, "tab:orange", "tab:blue"), alpha=0.7, linewidths=0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.01), ncols=2, handletextpad=0.1, columnspacing=1.2)
        plane, whole = separation(points, has), separation(z.numpy(), has)
        axes.set(title=f"({letter}) {name}\nAUC map {plane:.2f}, latents {whole:.2f}", xticks=[], yticks=[])
        axes.spines[:].set_visible(True)
    save(figure, path, dpi=PRINT)


def draw_directions(model: VAE, directions: np.ndarray, z: torch.Tensor, faces: torch.Tensor, path: Path) -> None:
    """Two faces as they are, then edited along each attribute's direction."""
    rows, strips, titles = [], [], []
    for name, direction in zip(ATTRIBUTES.values(), directions, strict=True):
        for index in range(2):
            steps = torch.from_numpy(STRENGTHS[:, None] * direction).float()
            edited = pictures(decode(model, z[index] + steps))
            strips.append(edited)
            rows.append(np.concatenate([pictures(faces[index : index + 1]), edited]))
            titles.append(name)
    heads = ["test face", *(f"{value:+.1f}" if value else "0: recon." for value in STRENGTHS)]
    draw_faces(rows, path, row_titles=titles, titles=heads, fontsize=FONT)
    draw_strips(strips, path)


def draw_interpolations(model: VAE, z: torch.Tensor, path: Path) -> None:
    """Straight lines between pairs of faces."""
    shares = torch.linspace(0, 1, 9)[:, None]
    pairs = zip(z[0::2], z[1::2], strict=True)
    rows = [pictures(decode(model, (1 - shares) * a + shares * b)) for a, b in pairs]
    draw_faces(rows, path)
    draw_strips(rows, path)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--then", nargs="*", type=Path, default=[], metavar="LOG",
        help="logs of what followed, drawn as fig1_2_then: its flow's",
    )  # fmt: skip
    parser.add_argument(
        "--pilots", nargs="+", default=[], metavar="NAME=FILE", help="draw only the samples of these short trainings"
    )
    parser.add_argument("--data", type=Path, help="folder of the faces (default: hw3_data or data/hw3_data)")
    args = training_arguments(parser, "vae")
    if args.pilots:
        if wrong := [words for words in args.pilots if not all(words.partition("="))]:
            raise cli.UsageError(f"--pilots {wrong[0]}: give NAME=FILE")
        named = (words.partition("=") for words in args.pilots)
        draw_pilots({name: Path(file) for name, _, file in named}, args.out / "vae_pilots.png")
        return
    for log in args.then:
        if not log.exists():
            raise cli.UserError(f"{log} is not there: give --then the log.jsonl of a training")
    model = load_model(VAE, args.checkpoint)
    lines = str(model).splitlines()
    middle = next(row for row, line in enumerate(lines) if line.startswith("  (decoder)"))
    draw_text(["\n".join(lines[:middle]), "\n".join(lines[middle:])], args.out / "fig1_1.png")
    if args.curves:
        draw_curves([args.log], args.out / "fig1_2.png")
    if args.then:
        draw_curves(args.then, args.out / "fig1_2_then.png")

    names, images = read_faces(args.data, "test")
    order = np.random.RandomState(0).permutation(len(images))
    draw_reconstructions(model, images, order[:SHOWN], names, args.out / "table1_3.png")
    in_float64 = load_model(VAE, args.checkpoint).double()
    samples = sample_images(lambda z: in_float64.sample(z) * 2 - 1, noise(SEED, 32, model.config.latent_dim))
    save_image(args.out / "fig1_4.png", make_grid(samples, 8))  # as hw3_p1.sh writes it

    draw_latents(in_float64, args.out / "fig1_4_latents.png")
    plain = sample_images(lambda z: in_float64.decode(z) * 2 - 1, noise(SEED, 32, model.config.latent_dim))
    save_image(args.out / "fig1_4_plain.png", make_grid(plain, 8))  # the same noise, decoded without the flow

    z = encode(model, images)
    draw_tsne(z, read_attributes(args.data, "test", names, list(ATTRIBUTES)).numpy(), args.out / "fig1_5.png")
    # One regression on all attributes: a direction then changes its attribute, and not what usually goes with it.
    train_names, train_images = read_faces(args.data, "train")
    training, _ = hold_out(len(train_images))
    has = read_attributes(args.data, "train", [train_names[row] for row in training], list(ATTRIBUTES)).numpy()
    directions = LinearRegression().fit(has, encode(model, train_images[training]).numpy()).coef_.T
    draw_directions(model, directions, z[order[1:3]], images[order[1:3]], args.out / "vae_directions.png")
    draw_interpolations(model, z[order[:8]], args.out / "vae_interpolations.png")


if __name__ == "__main__":
    cli.run(main, "vae_figures.py")
