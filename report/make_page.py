"""Builds report/index.html: pictures, key numbers, sliders, figures and tables, in one file that needs no network.

python report/make_page.py              # from docs/models and report/figures; what is not there yet is left out
"""

import base64
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import jinja2
    from digit_figures import NAMES
    from facts import Facts
    from overview import Box
    from overview import part as cut
    from PIL import Image

    from dlcv.checkpoint import current_commit
    from dlcv.files import write_text

REPORT = Path(__file__).resolve().parent
FIGURES = REPORT / "figures"
WIDEST = 1600  # pixels of a figure on the page; the files in report/figures are larger
QUALITY = 80  # of WebP, which takes a sixth of PNG's bytes here
PAIRS = ("usps_mnistm", "mnistm_svhn", "svhn_usps", "mnistm_usps", "svhn_mnistm", "usps_svhn")
DIRECTIONS = tuple(f"{name}, face {face}" for name in ("gender", "smile", "blond hair") for face in (1, 2))
ITERATIONS = "inversion_iterations_strips.png"
Figure = tuple[str, str]  # file in report/figures, caption


@dataclass(frozen=True)
class Strip:
    """A picture with a row of square frames for each slider."""

    name: str
    caption: str
    titles: tuple[str, ...] = ()  # one a row; by default `each` with its number
    each: str = "pair"
    fixed: int = 0  # frames at the left that stay in view beside the moving one: an inversion's target
    last: bool = False  # whether the slider begins at the last frame instead of the middle one
    side: int = 64  # pixels of a frame in the file
    play: bool = False  # whether a button shows the frames one after the other


DISTANCE = "FD-EffNetLite0 to the test faces (0 is best)"
Numbers = list[tuple[str, str, str]]  # what is measured, the number, what to compare it with


def real_faces(facts: Facts) -> str:
    return f"{facts.face('real training faces')['frechet']} for real faces"


def vae_numbers(facts: Facts) -> Numbers:
    face = facts.face("VAE, 64 latents")
    pca = facts.face("linear PCA, 64 components")["recon_mse"]
    error = ("mean squared error of test faces' reconstructions", face["recon_mse"], f"{pca} by PCA")
    return [(DISTANCE, face["frechet_spread"], real_faces(facts)), error]


def gan_numbers(facts: Facts, name: str, other: str) -> Numbers:
    words = f"{real_faces(facts)}, {facts.face(other)['frechet']} for the {other}"
    return [(DISTANCE, facts.face(name)["frechet_spread"], words)]


def inversion_numbers(facts: Facts) -> Numbers:
    runs = facts.inversion()
    first, best = runs["z_mse"]["lpips_mean"], runs["proposed"]["lpips_mean"]
    lpips = ("LPIPS of the reconstructions, proposed method", best, f"{first} in Z with squared error")
    return [(DISTANCE, facts.face("StyleGAN2")["frechet_spread"], real_faces(facts)), lpips]


def acgan_numbers(facts: Facts) -> Numbers:
    digits = facts.generated_digits("ACGAN")
    words = f"{digits['recognised_test']} % of real test digits"
    return [("generated digits that the classifier recognises", f"{digits['recognised']} %", words)]


def adaptation_numbers(facts: Facts, card: str, row: str) -> Numbers:
    measured, low, high = (
        facts.cells(card, "digits table", name)
        for name in (row, "source only (lower bound)", "trained on target (upper bound)")
    )
    return [
        (
            f"{pair}, target test accuracy, %", measured[pair],
            f"{low[pair]} without the target's images, {high[pair]} with its labels",
        )
        for pair in ("U→M", "M→S", "S→U")
    ]  # fmt: skip


def photo_numbers(facts: Facts) -> Numbers:
    own = facts.cell("cs7643", "cs7643 networks", "submitted own model (mymodel.pth)", "test accuracy, %")
    plain = facts.cell("cs7643", "cs7643 networks", "submitted vanilla CNN (vanillacnn.pth)", "test accuracy, %")
    return [("test accuracy of CS7643's own network, %", own, f"{plain} by the assignment's vanilla CNN")]


def autoencoder_numbers(facts: Facts) -> Numbers:
    error = facts.cell("autoencoder", "autoencoder submitted", "autoencoder.pth", "test loss")
    return [("mean squared error of test images", error, "0.03 is asked for, in training")]


def flowers_numbers(facts: Facts) -> Numbers:
    scores = facts.cells("flowers", "flowers scores", "flowers")
    words = f"{scores['floor: halves of']} between halves of the photographs"
    return [("FD-EffNetLite0 to the photographs (0 is best)", scores["FD-EffNetLite0"], words)]


@dataclass(frozen=True)
class Part:
    title: str
    what: str  # what it does, in one or two sentences
    picture: Figure
    numbers: Callable[[Facts], Numbers]  # the key numbers
    box: Box = (0, 0, 1, 1)  # the part of `picture` that the head of the page shows
    more: tuple[Figure, ...] = ()  # folded
    groups: tuple[tuple[str, tuple[Figure, ...]], ...] = ()  # folded, each under its own title
    strips: tuple[Strip, ...] = ()
    tables: tuple[tuple[str, str, str], ...] = ()  # card in docs/models, table, what it is; folded

    @property
    def anchor(self) -> str:
        return self.title.lower().replace(" ", "-")


def pairs(method: str) -> tuple[tuple[str, tuple[Figure, ...]], ...]:
    """The figures of a method's six pairs of domains."""
    kinds = (
        ("tsne_{}", "t-SNE of test features: by digit and by domain"),
        ("curves_{}", "the training"),
        ("confusion_{}", "confusion matrix of the target's test digits"),
        ("worst_{}", "the most confident mistakes"),
    )
    groups = []
    for pair in PAIRS:
        figures = tuple((f"{method}_{kind.format(pair)}.png", caption) for kind, caption in kinds)
        groups.append((" → ".join(NAMES[name] for name in pair.split("_")), figures))
    return tuple(groups)


PARTS = (
    Part(
        "VAE on faces",
        "A variational autoencoder maps 64x64 faces to 64 latents and back. New faces come from Normal noise that a "
        "small flow turns into latents.",
        ("fig1_4.png", "32 samples, none left out"),
        vae_numbers,
        (0, 0, 1, 0.5),
        more=(
            ("table1_3.png", "ten test faces and their reconstructions"),
            ("fig1_2.png", "learning curves of the VAE"),
            ("fig1_2_then.png", "learning curve of the flow"),
            ("fig1_5.png", "t-SNE of the test latents, by attribute"),
            ("fig1_1.png", "architecture"),
        ),
        strips=(
            Strip("vae_directions_strips.png", "Test faces moved along an attribute", DIRECTIONS),
            Strip("vae_interpolations_strips.png", "From one test face to another"),
        ),
        tables=(("faces", "test face scores", "all face models"),),
    ),
    Part(
        "GAN on faces",
        "A generator and a discriminator, trained against each other with the hinge loss.",
        ("fig2_2.png", "32 samples, none left out"),
        partial(gan_numbers, name="GAN", other="SAGAN"),
        (0, 0, 1, 0.5),
        more=(
            ("gan_nearest.png", "samples and their nearest training faces: none is a copy"),
            ("fig2_4.png", "the first 16 samples of the VAE and of the GAN"),
            ("gan_curves.png", "losses and the discriminator's accuracy"),
            ("fig2_1.png", "architecture"),
        ),
        strips=(
            Strip(
                "gan_training_strips.png",
                "Five latents' faces during the training",
                each="sample",
                last=True,
                play=True,
            ),
            Strip("gan_interpolations_strips.png", "From one latent to another, along great circles"),
        ),
    ),
    Part(
        "SAGAN on faces",
        "The same game with self-attention: a place in the picture can look at every other place.",
        ("sagan_faces.png", "the first 32 of the 1,000 faces that the wrapper writes"),
        partial(gan_numbers, name="SAGAN", other="GAN"),
        more=(
            ("sagan_attention.png", "what an eye, the mouth, hair and the background attend to"),
            ("sagan_curves.png", "losses and the discriminator's accuracy"),
            ("sagan_architecture.png", "architecture"),
        ),
    ),
    Part(
        "StyleGAN2 and inversion",
        "A small StyleGAN2, and portraits brought into its latent spaces by optimisation: which latent, in Z, W or W+, "
        "gives this face?",
        ("inversion_summary.png", "portraits (top) and what three searches make of them"),
        inversion_numbers,
        (0.105, 0, 1, 1),
        more=(
            ("stylegan2_faces.png", "32 samples of the generator"),
            ("inversion_faces.png", "ten targets and every reconstruction"),
            ("inversion_faces_2.png", "the other ten"),
            ("inversion_edits.png", "inverted portraits edited along attributes"),
            ("inversion_interpolations.png", "between two portraits, in three spaces"),
            ("inversion_curves.png", "the metrics over the iterations"),
            ("inversion_metrics.png", "metric against metric"),
            ("inversion_disagreements.png", "images on which two metrics disagree"),
            ("stylegan2_mixing.png", "style mixing"),
            ("stylegan2_truncation.png", "truncation"),
            ("stylegan2_curves.png", "the training"),
        ),
        strips=(
            Strip(
                ITERATIONS,
                "A search in W+ with the own loss, from the mean face on",
                each="portrait",
                fixed=1,
                last=True,
            ),
        ),
        tables=(("stylegan2", "inversion results", "mean ± standard deviation over 20 portraits"),),
    ),
    Part(
        "ACGAN on digits",
        "The generator is told which digit to draw; a classifier that knows only real digits checks it.",
        ("acgan_digits.png", "a column for each digit, a row for each noise"),
        acgan_numbers,
        (0, 0, 1, 0.402),
        more=(
            ("acgan_curves.png", "losses and the discriminator's accuracy"),
            ("acgan_architecture.png", "architecture"),
        ),
        tables=(("acgan", "generated digit scores", "what the classifier recognises"),),
    ),
    Part(
        "DANN on digits",
        "A network that learns digits from one data set's labels and must read another's, of which it has pictures "
        "only: an adversary hides from the features which data set they come from.",
        (
            "adaptation.png",
            "ten target digits as three networks read them; in orange, what the improved one reads otherwise",
        ),
        partial(adaptation_numbers, card="dann", row="DANN"),
        groups=pairs("dann"),
        tables=(
            ("dann", "digits table", "accuracies, with lower and upper bound"),
            ("dann", "dann gains", "differences, paired by seed"),
            ("dann", "dann ablation", "what each part does"),
        ),
    ),
    Part(
        "Improved adaptation",
        "The same network taught by a slowly moving average of itself, with target backgrounds pasted behind source "
        "digits.",
        ("uda_tsne_usps_mnistm.png", "USPS → MNIST-M: features of test digits, by digit and by domain"),
        partial(adaptation_numbers, card="uda", row="improved"),
        groups=pairs("uda"),
        tables=(
            ("uda", "digits table", "accuracies, with lower and upper bound"),
            ("uda", "uda gains", "differences, paired by seed"),
            ("uda", "uda ablation", "what each part does"),
        ),
    ),
    Part(
        "CNNs on CIFAR-10",
        "A plain network, one with depth-wise separable convolutions, a NumPy network, ResNets and a long tail.",
        ("cs7643_longtail.png", "CS7643: accuracy by class in the long tail"),
        photo_numbers,
        more=(
            ("cifar_cnn_plain.png", "EEE7331, Part A: loss and accuracy over the epochs"),
            ("cifar_cnn_separable.png", "EEE7331, Part B: the same with separable convolutions"),
            ("cs7643_overfit.png", "CS7643: the NumPy network learns fifty images by heart"),
            ("cs7643_curves_twolayer.png", "CS7643: training of the two-layer network"),
            ("cs7643_curves_vanilla_cnn.png", "CS7643: training of the vanilla CNN"),
            ("cs7643_curves_mymodel.png", "CS7643: training of the own network"),
        ),
        tables=(
            ("cifar_cnn", "cifar cnn results", "EEE7331"),
            ("cs7643", "cs7643 networks", "CS7643"),
            ("cs7643", "cs7643 long tail", "CS7643, long tail"),
        ),
    ),
    Part(
        "Autoencoder on Fashion-MNIST",
        "Garments squeezed into three numbers and painted again from them.",
        ("autoencoder_reconstructions.png", "test images and their reconstructions"),
        autoencoder_numbers,
        (0.095, 0.235, 1, 1),
        more=(
            ("autoencoder_latents.png", "the three latents of the training set"),
            ("autoencoder_grid.png", "what the decoder paints between them, first half"),
            ("autoencoder_grid_2.png", "the second half"),
            ("autoencoder_curve.png", "learning curve"),
        ),
        tables=(("autoencoder", "autoencoder runs", "five seeds"),),
    ),
    Part(
        "DCGAN on flowers",
        "Flowers at 256x256 from 1,608 photographs, with the network that the assignment prescribes.",
        ("flowers_samples.png", "32 samples, none left out"),
        flowers_numbers,
        (0, 0, 1, 0.5),
        more=(
            ("flowers_photographs.png", "one photograph of each category"),
            ("flowers_progress.png", "the same latents during the training"),
            ("flowers_nearest.png", "samples and their nearest photographs: none is a copy"),
            ("flowers_pair.png", "two favourites"),
            ("flowers_mixed.png", "mixtures of their latents"),
            ("flowers_batch.png", "a batch at once and one by one, in both modes"),
            ("flowers_curves.png", "losses and the discriminator's output"),
        ),
        strips=(
            Strip(
                "flowers_epochs_strips.png",
                "Four latents' flowers during the training",
                each="sample",
                last=True,
                side=96,
                play=True,
            ),
        ),
        tables=(("flowers", "flowers scores", "distance to the photographs"),),
    ),
)


def webp(image: Image.Image, widest: int = WIDEST) -> dict[str, object]:
    """An image at most `widest` pixels wide, as a data URL with its size."""
    image = image.convert("RGB")
    if image.width > widest:
        image = image.resize((widest, round(image.height * widest / image.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=6)
    data = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
    return {"data": data, "width": image.width, "height": image.height}


def read_figures(figures: tuple[Figure, ...]) -> list[dict[str, object]]:
    """Those of the figures that are there."""
    there = [(FIGURES / name, caption) for name, caption in figures if (FIGURES / name).is_file()]
    return [webp(Image.open(path)) | {"caption": caption} for path, caption in there]


def read_strip(strip: Strip) -> dict[str, object]:
    with Image.open(FIGURES / strip.name) as image:
        picture = webp(image, image.width)
        columns, rows = image.width // strip.side, image.height // strip.side
    titles = strip.titles or tuple(f"{strip.each} {row + 1}" for row in range(rows))
    moving = columns - strip.fixed
    start = moving - 1 if strip.last else moving // 2
    return {"data": picture["data"], "rows": rows, "columns": columns, "titles": titles, "caption": strip.caption,
            "fixed": strip.fixed, "moving": moving, "start": start, "play": strip.play,
            "name": Path(strip.name).stem}  # fmt: skip


def crop(part: Part) -> dict[str, object]:
    """The part's picture for the head of the page, small."""
    return webp(Image.fromarray(cut(part.picture[0], part.box)), 640)


def contents() -> list[dict[str, object]]:
    """What of PARTS is there."""
    facts = Facts()
    parts: list[dict[str, object]] = []
    for part in PARTS:
        if not (FIGURES / part.picture[0]).is_file():
            continue
        groups = [(title, read_figures(figures)) for title, figures in part.groups]
        tables = [(words, facts.rows(card, name)) for card, name, words in part.tables if facts.has(card, name)]
        parts.append(
            {
                "title": part.title,
                "anchor": part.anchor,
                "what": part.what,
                "small": crop(part),
                "picture": read_figures((part.picture,))[0],
                "keys": part.numbers(facts),
                "more": read_figures(part.more),
                "groups": [(title, figures) for title, figures in groups if figures],
                "strips": [read_strip(strip) for strip in part.strips if (FIGURES / strip.name).is_file()],
                "tables": tables,
            }
        )
    return parts


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=REPORT / "index.html", help="the page to write (default: report/index.html)"
    )
    args = parser.parse_args()
    loader = jinja2.FileSystemLoader(REPORT / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    parts = contents()
    write_text(args.out, environment.get_template("index.html").render(parts=parts, commit=current_commit()))
    print(f"{args.out}: {len(parts)} parts, {args.out.stat().st_size / 2**20:.1f} MiB")


if __name__ == "__main__":
    cli.run(main, "make_page.py")
