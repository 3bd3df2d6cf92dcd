"""Directions in StyleGAN2's w along which a face smiles more, looks more male or has fairer hair.

    python experiments/fit_directions.py            # checkpoints/stylegan2.pth, face data in the usual places

InterFaceGAN (Shen et al. 2020, arXiv:1907.10786): label generated faces by a classifier of real ones, fit a linear
classifier in w, and go along its normal. Here:

1. On features of real training faces and their attributes: logistic regression for each attribute.
2. On generated faces: the tenth that it finds most, and the tenth that it finds least like the attribute; logistic
   regression on their w, four fifths to fit and one fifth to measure.
3. Each normal without its part along the other normals (the paper's conditional edit), of length 1 in w divided by its
   standard deviations.
4. What a step along each direction changes, on new generated faces: the mean probability of every attribute.

Writes docs/results/face_directions.csv (the measurements) and RUNS/directions.npz (the directions, for
report/inversion_figures.py). No inversion target takes part.
"""

import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import StandardScaler

    from dlcv import metrics, repro
    from dlcv.checkpoint import CHECKPOINTS, digest_of
    from dlcv.data.faces import hold_out, read_attributes, read_faces
    from dlcv.files import write_bytes, write_rows
    from dlcv.images import to_uint8
    from dlcv.models.stylegan2 import StyleGAN2Generator
    from dlcv.stylegan2_public import load_generator

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "face_directions.csv"
ATTRIBUTES = ("Smiling", "Male", "Blond_Hair")
STEP = 3.0  # length of the edits that are measured and drawn, in w divided by its standard deviations


def classifier(strength: float) -> Pipeline:
    """Logistic regression on standardised columns; `strength`: inverse weight of its squared coefficients."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2_000))


@torch.no_grad()
def paint(g: StyleGAN2Generator, w: torch.Tensor) -> torch.Tensor:
    """uint8 (N, 3, H, W) of w (N, D) or (N, layers, D), with the generator's fixed noise."""
    return torch.cat([to_uint8(g.synthesise(part)) for part in w.split(50)])


def conditional(normals: np.ndarray) -> np.ndarray:
    """Each row of (K, D) without its part in the span of the others, of length 1. K must be at least 2."""
    rows = []
    for index, normal in enumerate(normals):
        others = np.delete(normals, index, axis=0).T
        rest = normal - others @ np.linalg.lstsq(others, normal, rcond=None)[0]
        rows.append(rest / np.linalg.norm(rest))
    return np.stack(rows)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", type=Path, default=CHECKPOINTS / "stylegan2.pth", help="checkpoint of StyleGAN2")
    parser.add_argument("--data", type=Path, help="folder of the face data; if not given, the usual places: see README")
    parser.add_argument("--runs", type=Path, default=Path("runs/inversion"), help="folder for directions.npz")
    parser.add_argument("--results", type=Path, default=RESULTS, help="csv to write")
    parser.add_argument("--real", type=int, default=4_000, help="real training faces for the classifiers")
    parser.add_argument("--n", type=int, default=4_000, help="generated faces to fit the directions on")
    parser.add_argument("--measured", type=int, default=400, help="new generated faces to measure the edits on")
    args = parser.parse_args()
    if min(args.real, args.n, args.measured) < 100:
        raise cli.UsageError("--real, --n and --measured must be at least 100")
    g = load_generator(args.generator)
    names, images = read_faces(args.data, "train")
    training, held_out = (part.numpy() for part in hold_out(len(images)))
    training = training[: args.real]
    known = read_attributes(args.data, "train", names, list(ATTRIBUTES)).numpy()
    features, cache = metrics.efficientnet_lite0(), Path("runs/face_features")
    real, unseen = (
        metrics.kept_features("efficientnet", features, images[rows], cache) for rows in (training, held_out)
    )

    with torch.no_grad():
        w = g.style(repro.noise(1, args.n, g.config.latent_dim).float())
        new = g.style(repro.noise(2, args.measured, g.config.latent_dim).float())
    mean, std = w.mean(0), w.std(0)
    made = metrics.extract(features, paint(g, w), progress=True)
    standard = ((w - mean) / std).numpy()

    labellers, normals, lines = [], [], []
    for index, attribute in enumerate(ATTRIBUTES):
        labeller = classifier(0.01).fit(real, known[training, index])
        order = labeller.predict_proba(made)[:, 1].argsort()
        tenth = len(order) // 10
        rows = np.concatenate([order[:tenth], order[-tenth:]])
        labels = np.arange(2 * tenth) >= tenth
        last = np.arange(2 * tenth) % 5 == 4  # every fifth in order of probability: as many of both classes
        normal = LogisticRegression(C=0.1, max_iter=2_000).fit(standard[rows[~last]], labels[~last])
        labellers.append(labeller)
        normals.append(normal.coef_[0] / np.linalg.norm(normal.coef_[0]))
        lines.append(
            {
                "attribute": attribute,
                "share_of_real": f"{known[training, index].mean():.4f}",
                "real_accuracy": f"{labeller.score(unseen, known[held_out, index]):.4f}",
                "real_faces": len(training),
                "held_out_faces": len(held_out),
                "share_of_generated": f"{labeller.predict(made).mean():.4f}",
                "w_accuracy": f"{normal.score(standard[rows[last]], labels[last]):.4f}",
                "w_fitted": int((~last).sum()),
                "w_measured": int(last.sum()),
            }
        )

    directions, digest = conditional(np.stack(normals)), digest_of(args.generator)
    for line, direction in zip(lines, directions, strict=True):
        for sign, word in ((-1, "less"), (1, "more")):
            edit = torch.from_numpy(sign * STEP * direction).float() * std
            changed = metrics.extract(features, paint(g, new + edit), progress=True)
            for attribute, labeller in zip(ATTRIBUTES, labellers, strict=True):
                line[f"{word}_{attribute}"] = f"{labeller.predict_proba(changed)[:, 1].mean():.4f}"
        line |= {"step": STEP, "edited_faces": len(new), "generator": digest}
    write_rows(args.results, lines)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, attributes=np.array(ATTRIBUTES), directions=directions * std.numpy(), step=STEP)
    write_bytes(args.runs / "directions.npz", buffer.getvalue())
    for line in lines:
        print(", ".join(f"{name} {value}" for name, value in line.items()))


if __name__ == "__main__":
    cli.run(main, "fit_directions.py")
