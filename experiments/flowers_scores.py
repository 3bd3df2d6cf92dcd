"""How far generated flowers are from the photographs: FD-EffNetLite0, its floor, and the nearest photographs.

    python experiments/flowers_scores.py flowers=checkpoints/flowers.pth plain=runs/flowers_plain/model.pth

As many images are generated as there are photographs, in several draws of latents. The floor is the distance of one
random half of the photographs to the other. (Fewer images make it larger: it is no lower limit of the other numbers.)
Adds a line for every NAME=FILE to docs/results/flowers_scores.csv and to the table in docs/models/flowers.md. Draws the
nearest photographs of eight samples of the first one, by the cosine of the same features, to
report/figures/flowers_nearest.png.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "report"))  # plotting and tables

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    from plotting import FIGURES, draw_faces
    from tables import fill, markdown, plus_minus, record

    from dlcv import repro
    from dlcv.checkpoint import load_model, read_checkpoint
    from dlcv.data.flowers import read_flowers
    from dlcv.images import to_uint8
    from dlcv.metrics import efficientnet_lite0, extract, frechet_distance, kept_features
    from dlcv.models.dcgan import DCGANGenerator

ROOT = Path(__file__).resolve().parents[1]


@torch.inference_mode()
def generate(g: DCGANGenerator, count: int, seed: int) -> torch.Tensor:
    """uint8 (count, 3, size, size) in evaluation mode."""
    z = repro.noise(seed, count, g.config.latent_dim).float()
    return torch.cat([to_uint8(g(part)) for part in z.split(16)])


def floor(features: np.ndarray, splits: int = 5) -> tuple[float, float]:
    """Distance of one random half of the features to the other: mean and standard deviation over `splits`."""
    values = []
    for seed in range(splits):
        order = np.random.RandomState(seed).permutation(len(features))
        half = len(features) // 2
        values.append(frechet_distance(features[order[:half]], features[order[half:]]))
    return float(np.mean(values)), float(np.std(values, ddof=1))


def nearest(a: np.ndarray, b: np.ndarray, count: int) -> np.ndarray:
    """For each row of `a` the indices of the `count` rows of `b` with the largest cosine: (len(a), count)."""
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return np.argsort(-(a @ b.T), axis=1, kind="stable")[:, :count]


def table(lines: Sequence[Mapping[str, str]]) -> str:
    rows = []
    for line in lines:
        score = plus_minus(float(line["fd_effnetlite0"]), float(line["std"]) if line["std"] else None, 2)
        low = f"{plus_minus(float(line['floor']), float(line['floor_std']), 2)} ({int(line['floor_images']):,})"
        rows.append((line["run"], f"{int(line['step']):,}", score, line["draws"], f"{int(line['images']):,}", low))
    columns = ("generator", "step", "FD-EffNetLite0", "draws", "generated, photographs", "floor: halves of")
    return markdown(columns, rows)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("named", nargs="+", metavar="NAME=FILE", help="a generator and its name in the table")
    parser.add_argument("--data", type=Path, help="folder of the photographs (data)")
    parser.add_argument("--draws", type=int, default=3, help="draws of latents (3)")
    parser.add_argument("--cache", type=Path, help="folder that keeps the photographs' features")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="folder of models/flowers.md and results/")
    parser.add_argument("--out", type=Path, default=FIGURES, help="folder of the figure (report/figures)")
    args = parser.parse_args()
    if wrong := [words for words in args.named if not all(words.partition("="))]:
        raise cli.UsageError(f"give NAME=FILE, not {wrong[0]}")
    if args.draws < 1:
        raise cli.UsageError(f"--draws {args.draws}: must be at least 1")
    models = {name: Path(path) for name, _, path in (words.partition("=") for words in args.named)}
    generators = {name: load_model(DCGANGenerator, path) for name, path in models.items()}
    sizes = {g.config.size for g in generators.values()}
    if len(sizes) > 1:
        raise cli.UserError(f"the models make images of different sizes: {', '.join(map(str, sorted(sizes)))}")

    photos, _, categories = read_flowers(args.data, size=sizes.pop())
    if len(photos) < 4:
        raise cli.UserError(f"{len(photos)} photographs are too few: at least 4 are needed")
    network = efficientnet_lite0()
    real = kept_features("efficientnet", network, photos, args.cache)
    low, low_spread = floor(real)
    lines: list[dict[str, object]] = []
    for index, (name, g) in enumerate(generators.items()):
        values = []
        for seed in range(args.draws):
            images = generate(g, len(photos), seed)
            fake = extract(network, images)
            values.append(frechet_distance(fake, real))
            if index == 0 and seed == 0:
                rows = [np.concatenate([images[i : i + 1].numpy(), photos[near].numpy()]).transpose(0, 2, 3, 1)
                        for i, near in enumerate(nearest(fake[:8], real, 5))]  # fmt: skip
                draw_faces(rows, args.out / "flowers_nearest.png", titles=["sample", *"12345"])
        provenance = read_checkpoint(models[name])["provenance"]
        lines.append(
            {
                "run": name,
                "step": provenance["step"],
                "commit": provenance["commit"],
                "fd_effnetlite0": f"{np.mean(values):.2f}",
                "std": f"{np.std(values, ddof=1):.2f}" if len(values) > 1 else "",
                "draws": args.draws,
                "images": len(photos),
                "categories": len(categories),
                "floor": f"{low:.2f}",
                "floor_std": f"{low_spread:.2f}",
                "floor_images": len(photos) // 2,
            }
        )
        print(f"{name}: FD-EffNetLite0 {lines[-1]['fd_effnetlite0']} (draws {args.draws}), floor {low:.2f}")
    known = record(args.docs / "results" / "flowers_scores.csv", lines)
    fill([args.docs / "models" / "flowers.md"], {"flowers scores": table(known)})


if __name__ == "__main__":
    cli.run(main, "flowers_scores.py")
