"""Builds report/index.html: tables, zoomable figures, sliders over interpolations, in one file that needs no network.

python report/make_page.py              # from docs/models and report/figures; what is not there yet is left out
"""

import base64
import sys
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import jinja2
    from facts import Facts
    from PIL import Image

    from dlcv.checkpoint import current_commit
    from dlcv.files import write_text

REPORT = Path(__file__).resolve().parent
FIGURES = REPORT / "figures"
FACE = 64  # pixels of a frame's side
NAMES = {"usps": "USPS", "mnistm": "MNIST-M", "svhn": "SVHN (part)"}
PAIRS = ("usps_mnistm", "mnistm_svhn", "svhn_usps", "mnistm_usps", "svhn_mnistm", "usps_svhn")
DIRECTIONS = [f"{name}, face {face}" for name in ("gender", "smile", "blond hair") for face in (1, 2)]


@dataclass(frozen=True)
class Strip:
    name: str  # of the picture: a row of frames for each slider
    caption: str
    titles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    title: str
    tables: tuple[tuple[str, str], ...] = ()  # text in docs/models, table
    figures: tuple[tuple[str, str], ...] = ()  # file, caption
    strips: tuple[Strip, ...] = field(default=())


def digits(kind: str) -> tuple[tuple[str, str], ...]:
    found = []
    for pair in PAIRS:
        source, target = (NAMES[name] for name in pair.split("_"))
        for what, caption in (
            ("tsne_{}_class", "test features by class"),
            ("tsne_{}_domain", "by domain"),
            ("curves_{}", "curves"),
            ("confusion_{}", "confusion matrix"),
            ("worst_{}", "most confident mistakes"),
        ):
            found.append((f"{kind}_{what.format(pair)}.png", f"{source} → {target}: {caption}"))
    return tuple(found)


PARTS = (
    Part(
        "VAE on faces",
        (("faces", "test face scores"),),
        (
            ("fig1_2.png", "learning curves"),
            ("table1_3.png", "ten test faces and their reconstructions"),
            ("fig1_4.png", "32 samples"),
            ("fig1_5.png", "t-SNE of the test latents"),
            ("fig1_1.png", "architecture"),
        ),
        (
            Strip("vae_directions_strips.png", "Test faces moved along attributes", tuple(DIRECTIONS)),
            Strip("vae_interpolations_strips.png", "From one test face to another"),
        ),
    ),
    Part(
        "GAN on faces",
        (),
        (
            ("fig2_2.png", "32 samples"),
            ("gan_curves.png", "losses and the discriminator's accuracy"),
            ("gan_nearest.png", "nearest training faces"),
            ("fig2_1.png", "architecture"),
        ),
        (Strip("gan_interpolations_strips.png", "From one latent to another, along great circles"),),
    ),
    Part(
        "SAGAN on faces",
        (("faces", "test face scores"),),
        (
            ("sagan_faces.png", "the first 32 of 1,000"),
            ("sagan_curves.png", "losses and the discriminator's accuracy"),
            ("sagan_attention.png", "what four places attend to"),
            ("sagan_architecture.png", "architecture"),
        ),
    ),
    Part(
        "ACGAN on digits",
        (("acgan", "generated digit scores"),),
        (
            ("acgan_digits.png", "a column for each digit, a row for each noise"),
            ("acgan_curves.png", "losses and the discriminator's accuracy"),
            ("acgan_architecture.png", "architecture"),
        ),
    ),
    Part(
        "DANN on digits", (("dann", "digits table"), ("dann", "dann gains"), ("dann", "dann ablation")), digits("dann")
    ),
    Part(
        "Improved adaptation", (("uda", "digits table"), ("uda", "uda gains"), ("uda", "uda ablation")), digits("uda")
    ),
    Part(
        "CIFAR-10",
        (("cifar_cnn", "cifar cnn results"), ("cs7643", "cs7643 networks"), ("cs7643", "cs7643 long tail")),
        (
            ("cifar_cnn_plain.png", "EEE7331, Part A"),
            ("cifar_cnn_separable.png", "EEE7331, Part B"),
            ("cs7643_overfit.png", "CS7643: fifty images"),
            ("cs7643_longtail.png", "CS7643: the long tail"),
        ),
    ),
    Part(
        "Autoencoder on Fashion-MNIST",
        (("autoencoder", "autoencoder runs"),),
        (
            ("autoencoder_latents.png", "latents of the training set"),
            ("autoencoder_grid.png", "the decoded grid"),
            ("autoencoder_reconstructions.png", "test images and their reconstructions"),
        ),
    ),
)


def data_url(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def strip_of(strip: Strip) -> dict[str, object]:
    path = FIGURES / strip.name
    with Image.open(path) as image:
        columns, rows = image.width // FACE, image.height // FACE
    titles = strip.titles or tuple(f"pair {row + 1}" for row in range(rows))
    return {
        "data": data_url(path), "rows": rows, "columns": columns, "titles": titles, "caption": strip.caption,
        "start": columns // 2,
    }  # fmt: skip


def contents() -> list[dict[str, object]]:
    """What of PARTS is there."""
    facts = Facts()
    found: list[dict[str, object]] = []
    for part in PARTS:
        tables = [facts.rows(text, name) for text, name in part.tables if facts.has(text, name)]
        figures = [
            {"data": data_url(FIGURES / name), "caption": caption}
            for name, caption in part.figures
            if (FIGURES / name).is_file()
        ]
        strips = [strip_of(strip) for strip in part.strips if (FIGURES / strip.name).is_file()]
        if tables or figures:
            anchor = part.title.lower().replace(" ", "-")
            found.append(
                {"title": part.title, "anchor": anchor, "tables": tables, "figures": figures, "strips": strips}
            )
    return found


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
