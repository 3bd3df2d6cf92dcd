"""What README.md shows first: report/figures/overview.png and the table of the assignments with a number for each.

    python report/overview.py

The picture is put together from figures that are there already, the numbers come from docs/models and docs/results.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    from facts import Facts
    from PIL import Image
    from plotting import FIGURES, plt, save
    from tables import fill, markdown

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
COLUMNS = ("assignment", "problem", "command", "result", "card", "report")
Box = tuple[float, float, float, float]  # left, top, right, bottom, as shares of the whole figure
# Title, figure, the part of it that is shown. Every part is the first of its figure: nothing was picked.
LEFT: tuple[tuple[str, str, Box], ...] = (
    ("GAN: faces from random latents", "fig2_2.png", (0, 0, 1, 0.5)),
    ("ACGAN: the digit is given, the style is random", "acgan_digits.png", (0, 0, 1, 0.402)),
    ("Portraits (top) inverted into StyleGAN2: Z, W+, proposed", "inversion_summary.png", (0.105, 0, 1, 1)),
)
RIGHT: tuple[tuple[str, str, Box], ...] = (
    ("VAE: faces from random latents", "fig1_4.png", (0, 0, 1, 0.5)),
    ("DCGAN: flowers, 256 x 256", "flowers_samples.png", (0, 0, 1, 0.5)),
    ("Autoencoder, three latents: garments, reconstructions", "autoencoder_reconstructions.png", (0.095, 0.235, 1, 1)),
)
PAIR: tuple[tuple[str, str, Box], ...] = (
    ("DANN", "dann_tsne_usps_mnistm.png", (0.028, 0.07, 0.489, 0.851)),
    ("improved", "uda_tsne_usps_mnistm.png", (0.028, 0.07, 0.489, 0.851)),
)
PAIR_TITLE = "Features of USPS and MNIST-M test digits, one colour a digit"
WIDTH, TITLE, FONT = 5.2, 0.29, 12.5  # inches: of a column, of a line of text; points


def part(name: str, box: Box) -> np.ndarray:
    """A part of a figure. Raises UserError for a figure that is not there."""
    path = FIGURES / name
    if not path.is_file():
        raise cli.UserError(f"{path} is not there: the other programs in report/ draw it")
    with Image.open(path) as image:
        width, height = image.size
        left, top, right, bottom = (round(share * size) for share, size in zip(box, (width, height) * 2, strict=True))
        return np.asarray(image.convert("RGB").crop((left, top, right, bottom)))


def draw() -> None:
    """Two columns of pictures, each as wide as its column, with a line of text above it."""
    columns = [[(title, part(name, box)) for title, name, box in column] for column in (LEFT, RIGHT)]
    pair = [(title, part(name, box)) for title, name, box in PAIR]

    def height(picture: np.ndarray, width: float) -> float:
        return width * picture.shape[0] / picture.shape[1]

    half = (WIDTH - 0.2) / 2
    below = 2 * TITLE + max(height(picture, half) for _, picture in pair)
    heights = [sum(TITLE + height(picture, WIDTH) for _, picture in column) for column in columns]
    size = (2 * WIDTH + 0.3, max(heights[0], heights[1] + below))
    figure = plt.figure(figsize=size)

    def show(title: str, picture: np.ndarray, left: float, top: float, width: float) -> float:
        """Draws a picture below its title, `top` inches below the upper edge; gives where the next one begins."""
        figure.text(left / size[0], 1 - (top + 0.8 * TITLE) / size[1], title, fontsize=FONT)
        top += TITLE
        tall = height(picture, width)
        place = (left / size[0], 1 - (top + tall) / size[1], width / size[0], tall / size[1])
        axes = figure.add_axes(place)
        axes.imshow(picture, aspect="auto", interpolation="lanczos")
        axes.axis("off")
        return top + tall

    for left, column in zip((0.0, WIDTH + 0.3), columns, strict=True):
        top = 0.0
        for title, picture in column:
            top = show(title, picture, left, top, WIDTH)
    figure.text((WIDTH + 0.3) / size[0], 1 - (top + 0.8 * TITLE) / size[1], PAIR_TITLE, fontsize=FONT)
    for index, (title, picture) in enumerate(pair):
        show(title, picture, WIDTH + 0.3 + index * (half + 0.2), top + TITLE, half)
    save(figure, FIGURES / "overview.png")


def accuracies(cells: dict[str, str], pairs: tuple[str, ...]) -> str:
    """Those of three pairs, "U→M 68.3, M→S 72.3, S→U 79.4 %"."""
    return ", ".join(f"{pair} {cells[pair]}" for pair in pairs) + " %"


def table() -> str:
    """Markdown, one row for each problem; faces have their scores in a table of their own."""
    facts = Facts()
    pairs_2020, pairs_2021 = ("U→M", "M→S", "S→U"), ("M→U", "S→M", "U→S")
    dann = facts.cells("dann", "digits table", "DANN, submitted model")
    improved = facts.cells("uda", "digits table", "improved, submitted model")
    digits = facts.generated_digits("ACGAN")
    own = facts.cell("cs7643", "cs7643 networks", "submitted own model (mymodel.pth)", "test accuracy, %")
    tail = [
        facts.cell("cs7643", "cs7643 long tail", row, "test accuracy, %").split(" (")[0]
        for row in ("cross entropy", "class-balanced focal loss")
    ]
    cnn = [
        facts.cell("cifar_cnn", "cifar cnn results", f"submitted model: {row}", "test accuracy, %")
        for row in ("CNN of Part A", "CNN with depth-wise separable convolutions (Part B)")
    ]
    error = facts.cell("autoencoder", "autoencoder submitted", "autoencoder.pth", "test loss")
    flowers = facts.cell("flowers", "flowers scores", "flowers", "FD-EffNetLite0")
    inverted = facts.inversion()
    lpips = [inverted[run]["lpips_mean"] for run in ("w+_mse", "proposed")]
    overfit = facts.cell(
        "cs7643", "cs7643 overfit", "batches drawn with replacement", "accuracy on all 50 images after 10 epochs"
    ).split(" (")[0]
    images = "`bash {} IMAGE_DIR TARGET OUT.csv`"
    scores = "[scores](#results)"
    rows = [
        ("dlcv2020", "1 VAE", "`bash hw3_p1.sh OUT.png`", f"32 faces, {scores}", "vae", "hw3"),
        ("dlcv2020", "2 GAN", "`bash hw3_p2.sh OUT.png`", f"32 faces, {scores}", "gan", "hw3"),
        ("dlcv2020", "3 DANN", images.format("hw3_p3.sh"), accuracies(dann, pairs_2020), "dann", "hw3"),
        ("dlcv2020", "4 improved", images.format("hw3_p4.sh"), accuracies(improved, pairs_2020), "uda", "hw3"),
        ("dlcv2021", "1 SAGAN", "`bash hw2_p1.sh DIR`", f"1,000 faces, {scores}", "sagan", "hw2"),
        ("dlcv2021", "2 ACGAN", "`bash hw2_p2.sh DIR`", f"1,000 digits, {digits['recognised']} % recognised", "acgan",
         "hw2"),
        ("dlcv2021", "3 DANN", images.format("hw2_p3.sh"), accuracies(dann, pairs_2021), "dann", "hw2"),
        ("dlcv2021", "bonus", images.format("hw2_bonus.sh"), accuracies(improved, pairs_2021), "uda", "hw2"),
        ("cs7643", "1 NumPy network", "`python experiments/cs7643_overfit.py`",
         f"training accuracy {overfit} (50 images)", "cs7643", "cs7643"),
        ("cs7643", "2 networks", "`python train/train_cifar.py mymodel`",
         f"own network: {own} %", "cs7643", "cs7643"),
        ("cs7643", "3 long tail", "`python train/train_cifar.py resnet32_cb_focal`",
         f"cross entropy {tail[0]}, class-balanced focal loss {tail[1]} %", "cs7643", "cs7643"),
        ("eee7331", "1 CNN", "`python train/train_cifar_cnn.py`",
         f"{cnn[0]} %; separable {cnn[1]} %", "cifar_cnn", "eee7331"),
        ("eee7331", "2 StyleGAN2", "`python inference/invert_faces.py FOLDER --out OUT`",
         f"20 portraits rebuilt, LPIPS {lpips[0]} (W+, MSE), {lpips[1]} (ours); lower is better", "stylegan2",
         "eee7331"),
        ("tud", "4 autoencoder", "`python train/train_autoencoder.py`", f"test error {error}", "autoencoder", "tud"),
        ("tud", "5 DCGAN", "`python inference/sample_flowers.py OUT.png`",
         f"weak: distance to the training photographs {flowers} (FD-EffNetLite0, see [results](#results))", "flowers",
         "tud"),
    ]  # fmt: skip
    names = {"dlcv2020": "DLCV 2020 homework 3", "dlcv2021": "DLCV 2021 homework 2",
             "cs7643": "CS7643 assignment 2", "eee7331": "EEE7331 assignment 1",
             "tud": "TU Dresden homework 3"}  # fmt: skip
    return markdown(
        COLUMNS,
        [
            (f"[{names[course]}](docs/assignments/{course}.md)", problem, command, result,
             f"[{card}](docs/models/{card}.md)", f"[{report}](report/templates/{report}.typ)")
            for course, problem, command, result, card, report in rows
        ],
    )  # fmt: skip


def main() -> None:
    cli.ArgumentParser(description=__doc__).parse_args()
    draw()
    fill([README], {"assignments": table()})


if __name__ == "__main__":
    cli.run(main, "overview.py")
