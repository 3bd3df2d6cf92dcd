"""The NumPy network on 50 images: the plot and the card's table, from docs/results/cs7643_overfit.csv.

python experiments/cs7643_overfit.py && python report/cs7643_overfit.py
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import pandas as pd
    from plotting import FIGURES, PRINT, TEXT_WIDTH, plt, save
    from tables import fill, markdown, mean_std

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "cs7643_overfit.csv"
CARD = RESULTS.parents[1] / "models" / "cs7643.md"


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    picture = FIGURES / "cs7643_overfit.png"
    parser.add_argument("--figure", type=Path, default=picture, help="the picture (report/figures/cs7643_overfit.png)")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="csv of the curves (docs/results/cs7643_overfit.csv)"
    )
    args = parser.parse_args()
    every = pd.read_csv(args.results)
    epochs = every["epoch"].max()
    table = every[every["drawing"] == every["drawing"][0]]  # with replacement
    figure, grid = plt.subplots(1, 2, figsize=(TEXT_WIDTH, 2.7), layout="constrained")
    for axes, key in zip(grid, ("loss", "accuracy"), strict=True):
        runs = table.pivot(index="epoch", columns="seed", values=key)
        axes.plot(runs[runs.columns[1:]], color="tab:blue", alpha=0.25)
        axes.plot(runs[0], "o-", color="tab:blue", markersize=4, label="seed 0")
        axes.plot([], color="tab:blue", alpha=0.25, label=f"seeds 1 to {runs.columns[-1]}")
        axes.set(xlabel="epoch", ylabel=f"training {key}", xticks=range(1, epochs + 1))
    grid[1].legend(loc="lower right")
    save(figure, args.figure, PRINT)
    rows = []
    for drawing, runs in every[every["epoch"] == epochs].groupby("drawing", sort=False):
        cells = [
            f"{mean_std(last, 2)} (n = {len(last)}; {last.min():.2f} to {last.max():.2f})"
            for last in (runs["accuracy"], runs["batch_accuracy"])
        ]
        rows.append(
            (f"batches drawn {drawing}" if drawing == "with replacement" else "all images once an epoch", *cells)
        )
    titles = (f"accuracy on all 50 images after {epochs} epochs", "mean over the batches of the last epoch")
    fill([CARD], {"cs7643 overfit": markdown(("", *titles), rows)})
    print(f"{args.figure}: {rows}")


if __name__ == "__main__":
    cli.run(main, "cs7643_overfit.py")
