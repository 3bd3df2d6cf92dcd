"""The ACGAN's figures: architecture, curves, a hundred digits (columns: digits, rows: noise), those that are misread.

python report/acgan_figures.py        # from checkpoints/acgan.pth and runs/acgan_seed0/log.jsonl
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import torch
    from plotting import TEXT_WIDTH, draw_gan_curves, draw_text, plt, save, training_arguments

    from dlcv.checkpoint import CHECKPOINTS, load_model, read_checkpoint
    from dlcv.images import make_grid, save_image, to_float
    from dlcv.models.acgan import ACGANDiscriminator, ACGANDiscriminatorConfig, ACGANGenerator
    from dlcv.models.digit_classifier import DigitClassifier
    from dlcv.repro import noise
    from dlcv.sampling import SEED, sample_digits

ROWS = 10
MISREAD = 20  # pictures at most


@torch.inference_mode()
def draw_misread(model: ACGANGenerator, path: Path) -> None:
    """The first of the thousand graded digits (inference/sample_acgan.py) that the course's classifier misreads."""
    classifier = load_model(DigitClassifier, CHECKPOINTS / "digit_classifier.pth")
    labels = torch.arange(10).repeat_interleave(100)
    images = sample_digits(model, noise(SEED, len(labels), model.config.latent_dim), labels)
    read = classifier(to_float(torch.from_numpy(images).permute(0, 3, 1, 2))).argmax(1)
    figure, grid = plt.subplots(2, MISREAD // 2, figsize=(TEXT_WIDTH, 1.7), layout="constrained")
    for axes in grid.flat:
        axes.axis("off")
    for axes, index in zip(grid.flat, (read != labels).nonzero().flatten().tolist(), strict=False):
        axes.imshow(images[index])
        axes.set_title(f"{labels[index]} as {read[index]}", fontsize=8)
    save(figure, path, dpi=200)


def main() -> None:
    args = training_arguments(cli.ArgumentParser(description=__doc__), "acgan")
    recipe = read_checkpoint(args.checkpoint)["provenance"]["recipe"]
    model = load_model(ACGANGenerator, args.checkpoint).double()
    discriminator = ACGANDiscriminator(ACGANDiscriminatorConfig(recipe["width_d"]))
    draw_text([str(model), str(discriminator)], args.out / "acgan_architecture.png")
    if args.curves:
        draw_gan_curves(args.log, args.out / "acgan_curves.png")
    draw_misread(model, args.out / "acgan_misread.png")
    z = noise(SEED, ROWS, model.config.latent_dim).repeat_interleave(10, dim=0)
    images = sample_digits(model, z, torch.arange(10).repeat(ROWS))
    save_image(args.out / "acgan_digits.png", make_grid(images, 10).repeat(2, axis=0).repeat(2, axis=1))


if __name__ == "__main__":
    cli.run(main, "acgan_figures.py")
