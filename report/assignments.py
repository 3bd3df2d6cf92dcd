"""Writes docs/assignments/<course>.md: every sub-problem of an assignment, its points, its code, its result.

    python report/assignments.py            # writes them; says what is not built yet

What python -m grader.submit needs of it is in report/assignments.csv. A sub-problem whose files are not all there is
listed as "not built yet": nobody has to claim by hand that something is done.
"""

import csv
import io
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    from tables import markdown

    from dlcv.files import write_text

ROOT = Path(__file__).resolve().parents[1]
FIGURES, MODELS, RESULTS = "report/figures", "docs/models", "docs/results"
PART1, PART2 = "src/dlcv/cs7643/part1", "src/dlcv/cs7643/part2"


@dataclass(frozen=True)
class Row:
    problem: str
    points: str  # as the assignment gives them; "" where it gives none
    asked: str
    code: tuple[str, ...]
    result: tuple[str, ...]
    short: str = ""  # what of it is not there, though all files are

    def missing(self, root: Path) -> list[str]:
        return [name for name in (*self.code, *self.result) if not (root / name).exists()]


@dataclass(frozen=True)
class Assignment:
    title: str
    rows: tuple[Row, ...]


def tsne(kind: str, pairs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{FIGURES}/{kind}_tsne_{pair}.png" for pair in pairs)


PAIRS_2020, PAIRS_2021 = ("usps_mnistm", "mnistm_svhn", "svhn_usps"), ("mnistm_usps", "svhn_mnistm", "usps_svhn")
NET = "src/dlcv/models/digit_net.py"
DANN = (NET, "src/dlcv/models/dann.py", "train/train_dann.py")
UDA = (NET, "src/dlcv/models/uda.py", "train/train_uda.py")
VAE, GAN = ("src/dlcv/models/vae.py", "train/train_vae.py"), ("src/dlcv/models/gan.py", "train/train_gan.py")
PRIOR = "train/train_vae_prior.py"
SAGAN = ("src/dlcv/models/sagan.py", "train/train_sagan.py", "checkpoints/sagan.pth")
ACGAN = ("src/dlcv/models/acgan.py", "train/train_acgan.py", "checkpoints/acgan.pth")
CNN = ("src/dlcv/models/cifar_cnn.py", "train/train_cifar_cnn.py", f"{RESULTS}/cifar_cnn_runs.csv")
AE = ("src/dlcv/models/autoencoder.py", "train/train_autoencoder.py", "checkpoints/autoencoder.pth")
HW3, HW2 = "report/templates/hw3.typ", "report/templates/hw2.typ"
EEE, TUD, WRITEUP = "report/templates/eee7331.typ", "report/templates/tud.typ", "report/templates/cs7643.typ"
INVERSION = ("src/dlcv/models/stylegan2.py", "inference/invert_faces.py", "experiments/inversion_study.py")
INVERTED = f"{RESULTS}/inversion.csv"
FLOWERS = ("src/dlcv/models/dcgan.py", "train/train_flowers.py", "checkpoints/flowers.pth")

ASSIGNMENTS = {
    "dlcv2020": Assignment("DLCV fall 2020, homework 3", (
        Row("1-1", "5", "VAE: architecture, implementation", VAE, (f"{FIGURES}/fig1_1.png", HW3)),
        Row("1-2", "5", "learning curves", VAE, (f"{FIGURES}/fig1_2.png", f"{FIGURES}/fig1_2_then.png")),
        Row("1-3", "5", "ten reconstructions with MSE", VAE, (f"{FIGURES}/table1_3.png",)),
        Row("1-4", "5", "32 samples", (*VAE, PRIOR, "hw3_p1.sh", "checkpoints/vae.pth"), (f"{FIGURES}/fig1_4.png",)),
        Row("1-5", "5", "t-SNE of the latents by attribute", ("report/vae_figures.py",), (f"{FIGURES}/fig1_5.png",)),
        Row("1-6", "5", "discussion", (), (HW3,)),
        Row("2-1", "5", "GAN: architecture, implementation", GAN, (f"{FIGURES}/fig2_1.png", HW3)),
        Row("2-2", "5", "32 samples", (*GAN, "hw3_p2.sh", "checkpoints/gan.pth"), (f"{FIGURES}/fig2_2.png",)),
        Row("2-3", "5", "discussion", (), (HW3,)),
        Row("2-4", "5", "VAE and GAN compared", ("report/gan_figures.py",), (f"{FIGURES}/fig2_4.png", HW3)),
        Row("3-1", "3", "trained on source", DANN, (f"{MODELS}/dann.md",)),
        Row("3-2", "3 + 7", "DANN", (*DANN, "hw3_p3.sh"), (f"{MODELS}/dann.md",)),
        Row("3-3", "3", "trained on target", DANN, (f"{MODELS}/dann.md",)),
        Row("3-4", "6", "six t-SNE plots, two in each figure", ("report/digit_figures.py",), tsne("dann", PAIRS_2020)),
        Row("3-5", "6", "architecture, implementation", DANN, (HW3,)),
        Row("3-6", "7", "discussion", (), (HW3,)),
        Row("4-1", "6 + 10", "improved model", (*UDA, "hw3_p4.sh"), (f"{MODELS}/uda.md",)),
        Row("4-2", "6", "six t-SNE plots, two in each figure", ("report/digit_figures.py",), tsne("uda", PAIRS_2020)),
        Row("4-3", "6", "architecture, implementation", UDA, (HW3,)),
        Row("4-4", "7", "discussion", (), (HW3,)),
    )),
    "dlcv2021": Assignment("DLCV fall 2021, homework 2", (
        Row("1-1", "", "GAN: architecture, implementation", SAGAN, (f"{FIGURES}/sagan_architecture.png", HW2)),
        Row("1-2", "", "1,000 images, the first 32", (*SAGAN, "hw2_p1.sh"), (f"{FIGURES}/sagan_faces.png",)),
        Row("1-3, 1-4", "", "FID and IS", ("inference/evaluate_images.py",), (f"{MODELS}/sagan.md",),
            "in EfficientNet-Lite0's features only: the official Inception weights could not be fetched here"),
        Row("1-5", "", "discussion", (), (HW2,)),
        Row("2-1", "", "ACGAN: architecture, implementation", ACGAN, (f"{FIGURES}/acgan_architecture.png", HW2)),
        Row("2-2 to 2-4", "", "1,000 digits, graded", (*ACGAN, "hw2_p2.sh", "inference/evaluate_digits.py"),
            (f"{RESULTS}/generated_digit_scores.csv",)),
        Row("2-5", "", "a hundred digits", ("report/acgan_figures.py",), (f"{FIGURES}/acgan_digits.png",)),
        Row("3-1 to 3-3", "", "three rows of accuracies", (*DANN, "hw2_p3.sh"), (f"{MODELS}/dann.md",)),
        Row("3-4", "", "t-SNE plots, two in each figure", ("report/digit_figures.py",), tsne("dann", PAIRS_2021)),
        Row("3-5", "", "implementation, discussion", DANN, (HW2,)),
        Row("bonus", "", "improved model", (*UDA, "hw2_bonus.sh"), (f"{MODELS}/uda.md", *tsne("uda", PAIRS_2021))),
    )),
    "eee7331": Assignment("EEE7331, assignment 1", (
        Row("1, Part A: table", "50 for question 1", "layers, weights, neurons", CNN[:2], (f"{MODELS}/cifar_cnn.md",)),
        Row("1, Part A: 0, 1", "", "library; set-up in a table", CNN, (EEE,)),
        Row("1, Part A: 2", "", "loss and accuracy by epoch", CNN, (f"{FIGURES}/cifar_cnn_plain.png",)),
        Row("1, Part A: 3", "", "final accuracy above 70 %", CNN, (f"{MODELS}/cifar_cnn.md",)),
        Row("1, Part B: 1, 2", "", "separable: curves", CNN, (f"{FIGURES}/cifar_cnn_separable.png",)),
        Row("1, Part B: 3, 4", "", "table and comparison", CNN, (EEE,)),
        Row("2, 1.(a)", "50 for question 2", "inversion of 20 faces, Z, W, W+", INVERSION, (INVERTED,)),
        Row("2, 1.(b)", "", "analysis", INVERSION, (INVERTED, f"{FIGURES}/inversion_faces.png")),
        Row("2, 2.", "", "own loss", INVERSION, (INVERTED,)),
        Row("2, bonus", "", "improvement", INVERSION, (INVERTED,)),
    )),
    "cs7643": Assignment("CS7643, assignment 2", (
        Row("theory 1", "", "convolution as a matrix", ("src/dlcv/cs7643/theory.py",), (WRITEUP,)),
        Row("theory 2", "", "piece-wise linear network", ("src/dlcv/cs7643/theory.py",), (WRITEUP,)),
        Row("theory 3", "", "dead neurons", (), (WRITEUP,)),
        Row("paper review", "", "review and two answers", (), (WRITEUP,)),
        Row("1.1, 1.2", "", "modules and network in NumPy", (f"{PART1}/modules",), ("tests/test_cs7643_part1.py",)),
        Row("1.3", "", "SGD with momentum; 50 images", (f"{PART1}/optimizer", "experiments/cs7643_overfit.py"),
            (f"{FIGURES}/cs7643_overfit.png",)),
        Row("2.1", "", "the solver's step", (f"{PART2}/solver.py",), ("tests/test_cs7643_solver.py",)),
        Row("2.2", "", "three networks", (f"{PART2}/models",),
            tuple(f"{PART2}/checkpoints/{name}.pth" for name in ("twolayernet", "vanillacnn", "mymodel"))),
        Row("3.1: loss", "", "class-balanced focal loss", (f"{PART2}/losses/focal_loss.py",),
            ("tests/test_cs7643_part2.py",)),
        Row("3.1: experiments", "", "cross entropy, beta, focal loss on the long tail", (f"{PART2}/configs",),
            (f"{FIGURES}/cs7643_longtail.png",)),
        Row("4.1", "", "two zips", ("src/grader/submit.py",), ("tests/test_submit.py",)),
        Row("4.2", "", "write-up", (), (WRITEUP, f"{FIGURES}/cs7643_longtail.png")),
    )),
    "tud": Assignment("TU Dresden, homework 3 (problem 4 or problem 5)", (
        Row("4 a)", "1", "sizes, parameters", AE[:2], (f"{MODELS}/autoencoder.md", TUD)),
        Row("4 b)", "1.5", "implementation", AE[:2], ("tests/test_autoencoder.py",)),
        Row("4 c)", "2", "training below 0.03", AE, (f"{FIGURES}/autoencoder_curve.png",)),
        Row("4 d)", "1", "latent scatter", AE, (f"{FIGURES}/autoencoder_latents.png",)),
        Row("4 e)", "1.5", "decoded grid", AE, (f"{FIGURES}/autoencoder_grid.png",)),
        Row("4 f)", "1.5", "test loss, reconstructions", AE, (f"{FIGURES}/autoencoder_reconstructions.png",)),
        Row("5 a)", "1", "a subset of Flowers102", ("src/dlcv/data/flowers.py",),
            (f"{FIGURES}/flowers_photographs.png",)),
        Row("5 b)", "1", "networks for 256 x 256", FLOWERS[:1], (f"{MODELS}/flowers.md", "tests/test_flowers.py")),
        Row("5 c)", "1.5", "training, progression", FLOWERS[:2], (f"{FIGURES}/flowers_progress.png",)),
        Row("5 d)", "1.5", "trained model", FLOWERS, (f"{FIGURES}/flowers_samples.png", f"{MODELS}/flowers.md")),
        Row("5 e)", "0.5", "diagrams", FLOWERS[1:2], (f"{FIGURES}/flowers_curves.png", TUD)),
        Row("5 f)", "1.5", "batch and single latents", ("report/flowers_figures.py",),
            (f"{FIGURES}/flowers_batch.png", f"{FIGURES}/flowers_latents.npz", f"{RESULTS}/flowers_study.csv")),
        Row("5 g)", "1.5", "favourites with their latents", ("report/flowers_figures.py",),
            (f"{FIGURES}/flowers_favourites.png", f"{FIGURES}/flowers_mixed.png", f"{FIGURES}/flowers_latents.npz")),
    )),
}  # fmt: skip


def page(assignment: Assignment, root: Path = ROOT) -> str:
    """The Markdown of one assignment; links are relative to docs/assignments."""

    def links(names: tuple[str, ...]) -> str:
        return ", ".join(f"[{Path(name).name}](../../{name})" for name in names)

    rows: list[tuple[str, ...]] = []
    for row in assignment.rows:
        there = not row.missing(root)
        result = links(row.result) + (f" ({row.short})" if row.short else "") if there else "**not built yet**"
        if not there and row.code and all((root / name).exists() for name in row.code):
            result = f"**built, not measured yet**: no {', '.join(row.missing(root))}"
        code = links(tuple(name for name in row.code if (root / name).exists()))
        rows.append((row.problem, row.points, row.asked, code, result))
    incomplete = [row.problem for row in assignment.rows if row.missing(root)]
    note = f"Files are missing for {', '.join(incomplete)}." if incomplete else "No file is missing."
    columns: tuple[str, ...] = ("sub-problem", "points", "asked", "code", "result")
    if not any(row.points for row in assignment.rows):
        note += " The assignment's text gives no points for its sub-problems."
        columns, rows = columns[:1] + columns[2:], [row[:1] + row[2:] for row in rows]
    elif not all(row.points for row in assignment.rows):
        note += " Where the points are empty, the assignment's text gives none."
    return f"# {assignment.title}\n\nWritten by report/assignments.py. {note}\n\n{markdown(columns, rows)}\n"


def table(root: Path = ROOT) -> str:
    """Csv of every sub-problem and whether it is built."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["assignment", "problem", "asked", "built"])
    for name, assignment in ASSIGNMENTS.items():
        for row in assignment.rows:
            writer.writerow([name, row.problem, row.asked, "no" if row.missing(root) else "yes"])
    return file.getvalue()


def main() -> None:
    cli.ArgumentParser(description=__doc__).parse_args()
    write_text(ROOT / "report" / "assignments.csv", table())
    for name, assignment in ASSIGNMENTS.items():
        write_text(ROOT / "docs" / "assignments" / f"{name}.md", page(assignment))
        missing = [row.problem for row in assignment.rows if row.missing(ROOT)]
        print(
            f"{name}: {len(assignment.rows)} sub-problems, " + (f"not yet: {', '.join(missing)}" if missing else "all")
        )


if __name__ == "__main__":
    cli.run(main, "assignments.py")
