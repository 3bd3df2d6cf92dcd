"""Builds exactly what a course collects, or says what is missing.

    python -m grader.submit cs7643-part2 --out submissions/
    python -m grader.submit dlcv2020 --id r01234567 --out submissions/   # the repository's tree; hw3_<id>.pdf and all
    python -m grader.submit tud --name "Ada Lovelace" --out submissions/   # ada-lovelace-homework-03.zip

The reports come from `make report`. Nothing is written unless everything is there.
"""

import argparse
import ast
import csv
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dlcv import cli
from dlcv.files import write_bytes, zip_bytes

ROOT = Path(__file__).resolve().parents[2]
LARGEST = 100 * 2**20  # bytes, of a zip or of a file in a repository
PART1, PART2 = Path("src/dlcv/cs7643/part1"), Path("src/dlcv/cs7643/part2")
PAIRS = {
    "dlcv2020": ("usps_mnistm", "mnistm_svhn", "svhn_usps"),
    "dlcv2021": ("mnistm_usps", "svhn_mnistm", "usps_svhn"),
}
TUD_README = """calculations.pdf  sizes, parameters, results
figures/          all figures; autoencoder_latents.html turns in a browser; flowers_latents.npz holds latents
model/            autoencoder_below.pth: the first weights whose loss over the training set was below 0.03
                  autoencoder.pth: those at the end of the training
                  flowers.pth: the generator of problem 5
code/             training and figures; Python 3.11, pip install -r requirements.txt, then in code/:

  bash get_dataset.sh --only fashion_mnist flowers
  PYTHONPATH=src python train/train_autoencoder.py
  PYTHONPATH=src python report/autoencoder_figures.py --checkpoint ../model/autoencoder.pth
  PYTHONPATH=src python train/train_flowers.py
  PYTHONPATH=src python report/flowers_figures.py --checkpoint ../model/flowers.pth
"""
DLCV_README = """\
hw?_p?.sh      what graders call; python3 needs torch, torchvision, numpy, pandas, scikit-learn, pillow
checkpoints/   the weights that they load; download_models.sh fetches those that are missing
train/         the trainings: pip install -r requirements.txt, then for instance

  PYTHONPATH=src python3 train/{training} --data hw3_data
"""
TUD_FIGURES = {
    "autoencoder": ("latents", "grid", "reconstructions"),
    "flowers": ("photographs", "progress", "samples", "curves", "batch", "favourites", "mixed"),
}
# What the course's tests and its configuration files name (CS7643), whatever else lies beside it.
REQUIRED = {
    "modules": ("__init__", "conv_classifier", "convolution", "linear", "max_pool", "relu", "softmax_ce"),
    "optimizer": ("__init__", "_base_optimizer", "sgd"),
    "losses": ("__init__", "focal_loss"),
    "models": ("__init__", "cnn", "my_model", "resnet", "twolayer"),
    "configs": tuple(
        f"config_{name}"
        for name in (
            "twolayer",
            "vanilla_cnn",
            "mymodel",
            *(f"resnet32_{x}" for x in ("ce", "cb_ce", "focal", "cb_focal")),
        )
    ),
}
# Courses that collect a text on everything → the assignment whose sub-problems must all be there.
WHOLE = {"eee7331": "eee7331", "cs7643-writeup": "cs7643", "dlcv2020": "dlcv2020", "dlcv2021": "dlcv2021"}


@dataclass
class Collection:
    """A submission in the making: name in it → file, and what is not there."""

    files: dict[str, Path] = field(default_factory=dict)
    made: dict[str, bytes] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def add(self, name: str, source: str | Path, remedy: str = "") -> None:
        path = ROOT / source
        if path.is_file():
            self.files[name] = path
        else:
            self.missing.append(f"{name}" + (f" ({remedy})" if remedy else f" ({source} is not there)"))

    def add_all(self, sources: Iterable[str | Path]) -> None:
        for source in sources:
            self.add(str(source), source)


def reached(scripts: Iterable[str]) -> list[Path]:
    """The scripts and every module of ours that they import, however deep; relative to the repository."""
    modules: list[Path] = []
    todo = [ROOT / script for script in scripts]
    while todo:
        path = todo.pop()
        if path in modules or not path.is_file():
            continue
        modules.append(path)
        package = path.relative_to(ROOT / "src").parts[:-1] if path.is_relative_to(ROOT / "src") else ()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = [*package[: len(package) - node.level + 1]] if node.level else []
                module = ".".join([*base, *filter(None, [node.module])])
                names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
            for name in names:
                parts = name.split(".")
                for place in (ROOT / "src", path.parent):
                    todo += [place.joinpath(*parts).with_suffix(".py"), place.joinpath(*parts, "__init__.py")]
                for depth in range(1, len(parts)):
                    todo.append(ROOT.joinpath("src", *parts[:depth], "__init__.py"))
    return sorted(path.relative_to(ROOT) for path in modules)


def _repository(wrappers: dict[str, str], trainings: tuple[str, ...], models: list[str], report: str) -> Collection:
    """The tree of a submission repository: wrappers, what they call, trainings, weights, the report."""
    from dlcv.checkpoint import read_manifest  # here: torch takes seconds, and other courses need none

    collection = Collection()
    collection.add(report, report, f"make report STUDENT_ID={report.split('_', 1)[1].removesuffix('.pdf')}")
    collection.add_all([*wrappers, "requirements.txt", "download_models.sh"])
    scripts = [f"inference/{name}" for name in dict.fromkeys(wrappers.values())] + [
        f"train/{name}" for name in trainings
    ]
    collection.add_all([*scripts, *(path for path in reached(scripts) if path.as_posix() not in scripts)])
    for model in models:
        collection.add(f"checkpoints/{model}", f"checkpoints/{model}", "its training has to be published")
    manifest = read_manifest(ROOT / "checkpoints" / "MANIFEST")
    lines = "".join(f"{manifest[model]}  {model}\n" for model in sorted(models) if model in manifest)
    collection.made["checkpoints/MANIFEST"] = lines.encode()
    collection.made["README.txt"] = DLCV_README.format(training=trainings[0]).encode()
    return collection


def collect_dlcv(course: str, student: str) -> Collection:
    pairs = [f"{kind}_{pair}.pth" for kind in ("dann", "uda") for pair in PAIRS[course]]
    digits = dict.fromkeys(
        ("hw3_p3.sh", "hw3_p4.sh") if course == "dlcv2020" else ("hw2_p3.sh", "hw2_bonus.sh"), "predict_digits.py"
    )
    trainings: tuple[str, ...] = ("train_dann.py", "train_uda.py")
    if course == "dlcv2020":
        wrappers = {"hw3_p1.sh": "sample_vae.py", "hw3_p2.sh": "sample_gan.py", **digits}
        return _repository(
            wrappers,
            ("train_vae.py", "train_vae_prior.py", "train_gan.py", *trainings),
            ["vae.pth", "gan.pth", *pairs],
            f"hw3_{student}.pdf",
        )
    wrappers = {"hw2_p1.sh": "sample_sagan.py", "hw2_p2.sh": "sample_acgan.py", **digits}
    return _repository(
        wrappers, ("train_sagan.py", "train_acgan.py", *trainings), ["sagan.pth", "acgan.pth", *pairs],
        f"hw2_{student}.pdf",
    )  # fmt: skip


def _folder(collection: Collection, base: Path, folder: str, suffix: str = ".py") -> None:
    names = {path.name for path in (ROOT / base / folder).glob(f"*{suffix}")}
    for name in sorted(names | {f"{stem}{suffix}" for stem in REQUIRED[folder]}):
        collection.add(f"{folder}/{name}", base / folder / name)


def unbuilt(course: str) -> list[str]:
    """The sub-problems that report/assignments.csv (report/assignments.py writes it) says are not built yet."""
    if course not in WHOLE:
        return []
    with (ROOT / "report" / "assignments.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["assignment"] == WHOLE[course]]
    return [f"{row['problem']} {row['asked']}" for row in rows if row["built"] != "yes"]


def collect_part1() -> Collection:
    collection = Collection()
    for folder in ("modules", "optimizer"):
        _folder(collection, PART1, folder)
    return collection


def collect_part2() -> Collection:
    collection = Collection()
    _folder(collection, PART2, "configs", ".yaml")
    for folder in ("losses", "models"):
        _folder(collection, PART2, folder)
    for name in ("twolayernet", "vanillacnn", "mymodel"):
        collection.add(
            f"checkpoints/{name}.pth", PART2 / "checkpoints" / f"{name}.pth", "its training has to be published"
        )
    collection.add("solver.py", PART2 / "solver.py")
    return collection


def collect_tud() -> Collection:
    collection = Collection()
    collection.add("calculations.pdf", "tud.pdf", "make report")
    scripts = [f"{part}.py" for name in TUD_FIGURES for part in (f"train/train_{name}", f"report/{name}_figures")]
    for path in reached([*scripts, "src/dlcv/data/get.py", "inference/sample_flowers.py"]):
        collection.add(f"code/{path.as_posix()}", path)
    for name in ("requirements.txt", "get_dataset.sh", "report/latents.html", "report/style.mplstyle"):
        collection.add(f"code/{name}", name)
    for name in ("autoencoder.pth", "autoencoder_below.pth", "flowers.pth"):
        collection.add(f"model/{name}", f"checkpoints/{name}", "its training has to be published")
    collection.made["README.txt"] = TUD_README.encode()
    for name, kinds in TUD_FIGURES.items():
        figures = sorted((ROOT / "report" / "figures").glob(f"{name}_*.*"))
        for path in figures:
            collection.add(f"figures/{path.name}", path.relative_to(ROOT))
        for kind in kinds:
            if not any(kind in path.name for path in figures):
                collection.missing.append(f"figures/{name}_{kind}*.png (python report/{name}_figures.py)")
    return collection


def collect_report(name: str) -> Collection:
    collection = Collection()
    collection.add(name, name, "make report")
    return collection


def archive(collection: Collection, top: str = "") -> bytes:
    """The zip: the same bytes for the same files; shell scripts can be executed."""
    contents = {name: path.read_bytes() for name, path in collection.files.items()} | collection.made
    named = {f"{top}{name}": content for name, content in sorted(contents.items())}
    return zip_bytes(named, [name for name in named if name.endswith(".sh")])


def build(course: str, name: str, student: str) -> tuple[str, bytes]:
    """File name and bytes of a submission. Raises UserError naming all that is missing, or what is too large."""
    if course in PAIRS:
        number = "3" if course == "dlcv2020" else "2"
        collection, file, top = collect_dlcv(course, student), f"hw{number}_{student}.zip", f"hw{number}-{student}/"
    elif course == "tud":
        composed = unicodedata.normalize("NFC", name)  # macOS writes ü as u and two dots, which are no letter
        parts = re.sub(r"[^\w]+", "-", composed.strip().lower()).strip("-")
        collection, file, top = collect_tud(), f"{parts}-homework-03.zip", ""
    elif course in ("cs7643-part1", "cs7643-part2"):
        collection, file, top = (collect_part1() if course.endswith("1") else collect_part2()), f"{course}.zip", ""
    else:
        collection, file, top = collect_report(f"{course}.pdf"), f"{course}.pdf", ""
    collection.missing += [f"sub-problem {text} (not built yet)" for text in unbuilt(course)]
    if collection.missing:
        raise cli.UserError(f"{course} is incomplete: {'; '.join(collection.missing)}")
    content = next(iter(collection.files.values())).read_bytes() if file.endswith(".pdf") else archive(collection, top)
    largest = max((path.stat().st_size for path in collection.files.values()), default=0)
    if (len(content) if course not in PAIRS else largest) > LARGEST:
        raise cli.UserError(f"{course} is too large: {max(len(content), largest) >> 20} MiB; at most 100")
    return file, content


COURSES = ("dlcv2020", "dlcv2021", "cs7643-part1", "cs7643-part2", "cs7643-writeup", "eee7331", "tud")


def main() -> None:
    parser = cli.ArgumentParser(
        prog="python -m grader.submit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("course", choices=COURSES, help="the course, or the part of it, that collects")
    parser.add_argument("--name", default="", help="your name, as tud's file name wants it: first and last")
    parser.add_argument("--id", default="studentID", help="your student ID, as in the report's file name (studentID)")
    parser.add_argument("--out", type=Path, default=Path("results/submissions"), help="folder of what is built")
    args = parser.parse_args()
    if not re.fullmatch(r"\w+", args.id):
        raise cli.UsageError(f"--id {args.id!r}: letters and digits only")
    if args.course == "tud" and len(args.name.split()) < 2:
        raise cli.UsageError('tud wants --name "First Last": the zip is named after it')
    file, content = build(args.course, args.name, args.id)
    write_bytes(args.out / file, content)
    print(f"{args.out / file}: {len(content) / 2**20:.1f} MiB")


if __name__ == "__main__":
    cli.run(main, "grader.submit")
