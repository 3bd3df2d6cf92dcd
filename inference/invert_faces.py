"""Inverts all face images of a folder into a StyleGAN2 generator: problem 2 of EEE7331's first assignment.

    python inference/invert_faces.py FOLDER --out OUT
    python inference/invert_faces.py FOLDER --out OUT --space z --loss own --method coarse noise
    python inference/invert_faces.py FOLDER --out OUT --generator stylegan2-ffhq-config-f.pt --crop 0 0 1024 1024

Writes to OUT: reconstructions/ (PNG, named as the images), latents.npz, metrics.csv (a row an image), summary.json
(mean and standard deviation), log.jsonl (the curves); with --frames the intermediate images. The same command
continues a search that was stopped.
"""

import argparse
import csv
import dataclasses
import io
import json
import sys
import typing
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    from PIL import Image

    from dlcv import repro
    from dlcv.checkpoint import CHECKPOINTS, digest_of, load_model, save_checkpoint
    from dlcv.data.folders import fingerprint, list_images
    from dlcv.files import write_bytes, write_text
    from dlcv.images import read_rgb, to_float, to_uint8
    from dlcv.inversion import METHODS, METRICS, Inversion, Objective, Search, find_start
    from dlcv.recipe import field_comments
    from dlcv.sampling import save_folder
    from dlcv.similarity import CELEBA, FFHQ, Distance, FaceDescriptor, Frame, describe, l2_distance, lpips_alex
    from dlcv.stylegan2_public import load_generator
    from dlcv.trainer import Run

FRAMES = {"celeba": CELEBA, "ffhq": FFHQ}


def read_targets(folder: Path, size: int, crop: list[int] | None) -> tuple[list[str], torch.Tensor]:
    """Names without suffix and images (N, 3, size, size) in [-1, 1]: cut to `crop`, resized (bicubic, antialiased).

    Raises UserError for images that are not square after the cut, or smaller than the crop.
    """
    names = list_images(folder)
    stems = [Path(name).stem for name in names]
    if len(set(stems)) < len(stems):
        twice = next(name for name in names if stems.count(Path(name).stem) > 1)
        raise cli.UserError(f"{folder} holds {twice} and another image of that name; the outputs would be the same")
    arrays = []
    for name in names:
        image = read_rgb(folder / name)
        if crop:
            left, top, right, bottom = crop
            if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
                raise cli.UserError(f"--crop {left} {top} {right} {bottom} is not within {name} ({image.size})")
            image = image.crop((left, top, right, bottom))
        if image.width != image.height:
            raise cli.UserError(
                f"{folder / name} would be {image.width} x {image.height}; give a square --crop LEFT TOP RIGHT BOTTOM"
            )
        arrays.append(np.asarray(image.resize((size, size), Image.Resampling.BICUBIC)).transpose(2, 0, 1))
    return stems, to_float(torch.from_numpy(np.stack(arrays))) * 2 - 1


def distances(targets: torch.Tensor, alexnet: Path | None, descriptor: Path, frame: Frame) -> dict[str, Distance]:
    """The metrics; the targets' descriptors are computed once. Raises UserError for missing or foreign weights."""
    device = targets.device
    network, lpips = load_model(FaceDescriptor, descriptor).to(device), lpips_alex(alexnet, device)
    with torch.no_grad():
        wanted = describe(network, targets, frame)
    return {
        "l2": l2_distance,
        "lpips": lpips,
        "cosine": lambda x, _: 1 - (describe(network, x, frame) * wanted).sum(1),
    }


@torch.no_grad()
def measure(measures: Mapping[str, Distance], images: torch.Tensor, targets: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every metric of every image, (N,) each, on pixels rounded to 256 levels, as in the files that are written."""
    rounded = to_float(to_uint8(images)) * 2 - 1
    return {name: measures[name](rounded, targets).cpu() for name in METRICS}


def parse() -> tuple[argparse.Namespace, Inversion]:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of aligned faces, *.png or *.jpg")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; what it holds is continued")
    parser.add_argument(
        "--generator",
        type=Path,
        default=CHECKPOINTS / "stylegan2.pth",
        help="StyleGAN2 checkpoint: one of this project (.pth) or of rosinality/stylegan2-pytorch (.pt)",
    )
    parser.add_argument(
        "--crop",
        type=int,
        nargs=4,
        metavar=("LEFT", "TOP", "RIGHT", "BOTTOM"),
        help="square that is cut out of every image first, in pixels (default: the whole image)",
    )
    parser.add_argument(
        "--frame", choices=FRAMES, help="how the faces are aligned (ffhq for a public generator, otherwise celeba)"
    )
    parser.add_argument(
        "--alexnet",
        type=Path,
        help="torchvision's alexnet-owt-7be5be79.pth for LPIPS (default: torch.hub's folder, downloaded once)",
    )
    parser.add_argument(
        "--descriptor",
        type=Path,
        default=CHECKPOINTS / "face_descriptor.pth",
        help="weights of the face descriptor (the ones in checkpoints/)",
    )
    parser.add_argument(
        "--method", nargs="*", choices=METHODS, default=[], help="improvements of the search, any number (none)"
    )
    parser.add_argument("--evaluate-every", type=int, default=50, help="iterations between two points of the curves")
    parser.add_argument(
        "--frames", action="store_true", help="also keep the images at every point of the curves, in OUT/frames"
    )
    defaults, kinds, comments = Inversion(), typing.get_type_hints(Inversion), field_comments(Inversion)
    for name in (field.name for field in dataclasses.fields(Inversion) if field.name not in METHODS):
        choices, default = typing.get_args(kinds[name]) or None, getattr(defaults, name)
        kind: type = type(default)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            choices=choices,
            default=default,
            help=f"{comments[name]} ({default})",
        )
    parser.add_argument("--pull", type=float, default=0.001, help="weight of the method pull (0.001)")
    args = parser.parse_args()
    if args.evaluate_every < 1:
        raise cli.UsageError(f"--evaluate-every {args.evaluate_every}: must be above 0")
    chosen = {name: getattr(args, name) for name in kinds if name not in METHODS}
    chosen |= {name: name in args.method for name in METHODS} | {"pull": args.pull if "pull" in args.method else 0.0}
    return args, Inversion(**chosen)


def main() -> None:
    args, settings = parse()
    device = repro.choose_device()
    g = load_generator(args.generator).to(device)
    frame = FRAMES[args.frame or ("celeba" if args.generator.suffix == ".pth" else "ffhq")]
    names, targets = read_targets(args.folder, g.size, args.crop)
    targets = targets.to(device)
    measures = distances(targets, args.alexnet, args.descriptor, frame)

    start = find_start(g)
    search = Search(deepcopy(g) if settings.tune else g, settings, start, len(names))
    objective = Objective(targets, settings, start, frame, measures)
    optimizers = search.optimizers()
    data = {"images": fingerprint(targets.cpu()), "names": names}
    data["generator"] = digest_of(args.generator)
    state: dict[str, typing.Any] = {"search": search, **optimizers}
    run = Run(args.out, settings, steps=settings.iterations, state=state, data=data, resume=True, save_seconds=60)
    for step in run:
        optimizer = optimizers["generator" if search.tunes(step) else "latents"]
        optimizer.zero_grad()
        loss = objective(search, step)
        loss.sum().backward()  # a sum: each image's gradient is the same as alone
        optimizer.step()
        run.log(loss=loss.mean())
        if run.due(args.evaluate_every):
            with torch.no_grad():
                images = search()
            run.log(**{name: float(values.mean()) for name, values in measure(measures, images, targets).items()})
            if args.frames:
                save_faces(args.out / "frames" / f"{run.done:06d}", names, images)

    with torch.no_grad():
        images, w = search(), search.styles()
    seconds = run.lines("loss")[-1]["seconds"]  # of the search: the same when the finished command is given again
    write_outputs(
        args.out, names, images, search, w.detach(), measure(measures, images, targets), seconds, settings, data
    )


def save_faces(folder: Path, names: list[str], images: torch.Tensor) -> None:
    """Images (N, 3, H, H) in about [-1, 1] as folder/<name>.png."""
    save_folder(folder, [f"{name}.png" for name in names], to_uint8(images).permute(0, 2, 3, 1).cpu().numpy())


def write_outputs(
    out: Path,
    names: list[str],
    images: torch.Tensor,
    search: Search,
    w: torch.Tensor,
    metrics: Mapping[str, torch.Tensor],
    seconds: float,
    settings: Inversion,
    data: Mapping[str, typing.Any],
) -> None:
    """Reconstructions, latents, csv and summary; the changed generator, where there is one. Prints the summary."""
    save_faces(out / "reconstructions", names, images)
    arrays: dict[str, typing.Any] = {
        "names": np.array(names),
        "latent": search.latent.detach().cpu().numpy(),
        "w": w.cpu().numpy(),
    }
    arrays |= {f"noise_{index}": noise.detach().cpu().numpy() for index, noise in enumerate(search.noise)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_bytes(out / "latents.npz", buffer.getvalue())
    if settings.tune:
        save_checkpoint(out / "generator.pth", search.g, {"inversion": dataclasses.asdict(settings)})
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    writer.writerow(["image_name", *METRICS, "seconds"])
    for index, name in enumerate(names):
        row = [f"{float(metrics[metric][index]):.6f}" for metric in METRICS]
        writer.writerow([name, *row, f"{seconds / len(names):.2f}"])
    write_text(out / "metrics.csv", rows.getvalue())
    summary: dict[str, typing.Any] = {"settings": dataclasses.asdict(settings), "data": dict(data)}
    summary |= {"images": len(names), "seconds": round(seconds, 1)}
    for metric, values in metrics.items():
        deviation = float(values.std()) if len(values) > 1 else 0.0
        summary[metric] = {"mean": float(values.mean()), "std": deviation}
    write_text(out / "summary.json", json.dumps(summary, indent=1) + "\n")
    shown = ", ".join(f"{m} {summary[m]['mean']:.4f} ± {summary[m]['std']:.4f}" for m in METRICS)
    print(f"{out}: {len(names)} images, {shown}")


if __name__ == "__main__":
    cli.run(main, "invert_faces.py")
