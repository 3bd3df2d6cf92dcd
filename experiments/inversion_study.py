"""The whole inversion experiment of EEE7331's question 2: skips finished runs and resumes interrupted ones.

    python experiments/inversion_study.py --targets data/inversion/aligned        # everything, some hours
    python experiments/inversion_study.py --targets data/inversion/aligned --list # what is done and what is left

1. Choosing, on 20 training faces that the generator never saw: the weights of the own loss and of the pull, in W+ with
   300 iterations; the methods that the proposed one combines. Never on the targets. Writes RUNS/choice.json.
2. Measuring, on the targets: {Z, W, W+} x {MSE, own loss}, every method alone and the proposed one in W+ with the own
   loss; 1,000 iterations of Adam at 0.01, one start, one noise.
3. Writing: docs/results/inversion.csv (a line for every run and image), inversion_terms.csv (the own loss without
   each of its terms), inversion_choice.csv (stage 1) and inversion_settings.csv (everything that a repetition needs),
   and the tables of docs/models/stylegan2.md.

Flags behind -- go to invert_faces.py, for instance: -- --alexnet alexnet-owt-7be5be79.pth
"""

import json
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "report"))  # tables

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    from tables import fill, inversion_rows, markdown

    from dlcv.checkpoint import current_commit
    from dlcv.data.faces import hold_out, read_faces
    from dlcv.data.folders import list_images
    from dlcv.files import read_rows, write_rows, write_text
    from dlcv.images import read_rgb
    from dlcv.inversion import METHODS, METRICS, face_weights
    from dlcv.sampling import save_folder
    from dlcv.similarity import CELEBA
    from dlcv.study import Job, arguments, work

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "inference" / "invert_faces.py"
RESULTS = ROOT / "docs" / "results" / "inversion.csv"
TEXT = ROOT / "docs" / "models" / "stylegan2.md"
FACES = 20  # held-out training faces for choosing
CHOICE_ITERATIONS = 300
START: Mapping[str, float] = {"lpips-weight": 0.1, "cosine-weight": 0.05, "face-weight": 1.0, "pull": 0.001}
TRIED: Mapping[str, tuple[float, ...]] = {  # below and above the start
    "lpips-weight": (0.03, 0.3), "cosine-weight": (0.015, 0.15), "face-weight": (0.0, 3.0), "pull": (0.0003, 0.003),
}  # fmt: skip
SPACES, LOSSES = ("z", "w", "w+"), ("mse", "own")
TERMS = ("lpips", "cosine", "face")  # of the own loss, beside the MSE


def flags(space: str, loss: str, methods: tuple[str, ...], weights: Mapping[str, float]) -> tuple[str, ...]:
    """Those of invert_faces.py."""
    words = ["--space", space, "--loss", loss, *(["--method", *methods] if methods else [])]
    return (*words, *(word for name, value in weights.items() for word in (f"--{name}", str(value))))


def choices(faces: Path, runs: Path, more: tuple[str, ...]) -> dict[str, Job]:
    """The runs of stage 1: plain MSE, the start, one weight changed at a time, every method alone."""
    plans = {"mse": flags("w+", "mse", (), {}), "start": flags("w+", "own", (), START)}
    for name, values in TRIED.items():
        methods = ("pull",) if name == "pull" else ()
        plans |= {f"{name}_{v}": flags("w+", "own", methods, {**START, name: v}) for v in values}
    plans |= {method: flags("w+", "own", (method,), START) for method in METHODS}
    return {
        name: run(faces, runs / "choice" / name, (*words, "--iterations", str(CHOICE_ITERATIONS), *more))
        for name, words in plans.items()
    }


def run(faces: Path, out: Path, words: tuple[str, ...]) -> Job:
    return Job(out, SCRIPT, (str(faces), *words), product="summary.json", resume=())


def decide(scores: Mapping[str, float]) -> dict[str, Any]:
    """The best of each weight, and the methods that help, by the scores of stage 1 (lower is better)."""
    chosen: dict[str, Any] = {}
    for name, values in TRIED.items():
        start = "pull" if name == "pull" else "start"
        by_value = {START[name]: scores[start]} | {value: scores[f"{name}_{value}"] for value in values}
        chosen[name] = min(by_value, key=by_value.__getitem__)
    alone = {method: scores[method] for method in METHODS}
    alone["pull"] = min(scores["pull"], *(scores[f"pull_{value}"] for value in TRIED["pull"]))
    helpful = [method for method in METHODS if alone[method] < scores["start"]]
    return chosen | {"methods": helpful or [min(alone, key=alone.__getitem__)]}


def score(summary: Mapping[str, Any], plain: Mapping[str, Any]) -> float:
    """The mean of the three metrics, each as a share of what plain MSE reaches."""
    return statistics.mean(summary[metric]["mean"] / plain[metric]["mean"] for metric in METRICS)


def measurements(targets: Path, runs: Path, chosen: Mapping[str, Any], more: tuple[str, ...]) -> dict[str, Job]:
    """The runs of stage 2, in the order of the assignment's table."""
    weights = {name: chosen[name] for name in START}
    plans = {f"{space}_{loss}": flags(space, loss, (), weights) for space in SPACES for loss in LOSSES}
    plans |= {f"w+_own_{method}": flags("w+", "own", (method,), weights) for method in METHODS}
    plans["proposed"] = flags("w+", "own", tuple(chosen["methods"]), weights)
    plans |= {name: flags("w+", "own", (), changed) for name, changed in term_changes(weights).items()}
    return {name: run(targets, runs / "targets" / name, (*words, *more)) for name, words in plans.items()}


def term_changes(weights: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Run → weights of the own loss without one of its terms, and with more MSE in place of the face term.

    The face term is a squared error with weights of mean 1, so without it squared errors count less beside the two
    others. In the last run they count as much as before: the two others are divided by 1 + the face term's weight,
    which is the same as so much more MSE, because Adam's steps do not depend on the scale of the loss.
    """
    changes = {f"w+_own_without-{term}": {**weights, f"{term}-weight": 0.0} for term in TERMS}
    share = 1 / (1 + weights["face-weight"])
    others = {f"{term}-weight": weights[f"{term}-weight"] * share for term in ("lpips", "cosine")}
    return changes | {"w+_own_mse-for-face": {**weights, **others, "face-weight": 0.0}}


def face_errors(targets: Path, reconstructions: Path) -> dict[str, float]:
    """Image name → squared error of the written image, pixels in [0, 1], weighted as in the own loss's face term."""
    paths = {path.stem: path for path in (targets / name for name in list_images(targets))}
    errors = {}
    for name in list_images(reconstructions):
        image = read_rgb(reconstructions / name)
        target = read_rgb(paths[Path(name).stem], image.width)
        difference = (np.asarray(image, dtype=float) - np.asarray(target, dtype=float)) / 255
        weights = face_weights(image.width, CELEBA).numpy()
        errors[Path(name).stem] = float((weights * np.square(difference).mean(2)).mean())
    return errors


def read_summary(run: Job) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run.out / "summary.json").read_text(encoding="utf-8"))
    return summary


def write_results(path: Path, targets: Path, measured: Mapping[str, Job], chosen: Mapping[str, Any]) -> None:
    """The csv of all images, and beside it those of the own loss's terms, of the choice and of the settings."""
    lines: list[dict[str, str]] = []
    terms: list[dict[str, str]] = []
    for name, done in measured.items():
        rows = read_rows(done.out / "metrics.csv")
        images = [{"run": name, **{key: row[key] for key in ("image_name", *METRICS, "seconds")}} for row in rows]
        changed = name in term_changes(chosen)
        if changed or name == "w+_own":
            errors = face_errors(targets, done.out / "reconstructions")
            terms += [line | {"face": f"{errors[line['image_name']]:.6f}"} for line in images]
        if not changed:
            lines += images
    write_rows(path, lines)
    write_rows(path.with_name(f"{path.stem}_terms.csv"), terms)
    scores: list[dict[str, object]] = [
        {"run": name, "score": f"{value:.4f}"} for name, value in chosen["scores"].items()
    ]
    write_rows(path.with_name(f"{path.stem}_choice.csv"), scores)
    last = read_summary(measured["proposed"])
    settings = {name: last["settings"][name] for name in ("iterations", "lr")}
    settings |= {name: chosen[name] for name in START} | {"methods": " ".join(chosen["methods"])}
    settings |= {"choice_faces": FACES, "choice_iterations": CHOICE_ITERATIONS, "targets": last["images"]}
    settings |= {"choice_generator": chosen["generator"], "generator": last["data"]["generator"]}
    settings |= {"targets_digest": last["data"]["images"]}
    settings |= {"commit": current_commit()}
    pairs = [{"setting": name.replace("-", "_"), "value": value} for name, value in settings.items()]
    write_rows(path.with_name(f"{path.stem}_settings.csv"), pairs)


def tables(path: Path) -> dict[str, str]:
    """The Markdown tables of the results, by name."""
    rows = [(row["title"], row["images"], *(row[m] for m in METRICS), row["seconds"]) for row in inversion_rows(path)]
    terms = [
        (row["title"], *(row[m] for m in METRICS), row["face"])
        for row in inversion_rows(path.with_name(f"{path.stem}_terms.csv"))
    ]
    columns = ("space, loss, method", "targets", "L2 distance", "LPIPS", "cosine distance", "seconds")
    choice = read_rows(path.with_name(f"{path.stem}_choice.csv"))
    settings = read_rows(path.with_name(f"{path.stem}_settings.csv"))
    return {
        "inversion results": markdown(columns, rows),
        "inversion terms": markdown((columns[0], *columns[2:5], "squared error at eyes and mouth"), terms),
        "inversion choice": markdown(("run", "score"), [(row["run"], row["score"]) for row in choice]),
        "inversion settings": markdown(("setting", "value"), [(row["setting"], row["value"]) for row in settings]),
    }


def main() -> int:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=Path, required=True, help="folder of the aligned portraits")
    parser.add_argument("--data", type=Path, help="folder of the face data; if not given, the usual places: see README")
    parser.add_argument("--runs", type=Path, default=Path("runs/inversion"), help="folder of the runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="csv to write")
    args, more = arguments(parser)
    faces, kept = args.runs / "choice_faces", args.runs / "choice.json"
    first = choices(faces, args.runs, more)
    if not kept.exists():
        if not args.list:
            _, images = read_faces(args.data, "train")
            rows = hold_out(len(images))[1][:FACES]
            save_folder(faces, [f"{i:02d}.png" for i in range(len(rows))], images[rows].permute(0, 2, 3, 1).numpy())
        code = work(list(first.values()), args.jobs, args.list)
        if code or args.list:
            return code
        summaries = {name: read_summary(done) for name, done in first.items()}
        scores = {name: score(summary, summaries["mse"]) for name, summary in summaries.items()}
        decided = decide(scores) | {"scores": scores, "generator": summaries["mse"]["data"]["generator"]}
        write_text(kept, json.dumps(decided, indent=1) + "\n")
    chosen = json.loads(kept.read_text(encoding="utf-8"))
    print(f"chosen on held-out training faces: { {name: chosen[name] for name in (*START, 'methods')} }")
    measured = measurements(args.targets, args.runs, chosen, more)
    code = work(list(measured.values()), args.jobs, args.list)
    if not (code or args.list):
        write_results(args.results, args.targets, measured, chosen)
        written = tables(args.results)
        if args.results == RESULTS:
            fill([TEXT], written)
        print(written["inversion results"])
    return code


if __name__ == "__main__":
    cli.run(main, "inversion_study.py")
