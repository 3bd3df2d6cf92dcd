"""The tables of docs/performance.md and its plot, from the measurements of experiments/peers.sh.

python report/performance.py       # writes docs/performance.md, report/figures/performance_size.png
"""

import sys
import textwrap
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import pandas as pd
    from plotting import FIGURES, plt, save
    from tables import fill, markdown

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("work", "peer", "s, peer", "s, ours", "ratio", "MiB, peer", "MiB, ours", "ratio")
PANELS = (("images", "predicted images", "seconds"), ("images", "predicted images", "peak_mib"),
          ("repositories", "repositories graded", "seconds"))  # fmt: skip


def number(value: float) -> str:
    """Seconds with three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def peer_table(path: Path) -> str:
    """Markdown: medians over the rounds, and peer / ours; a ratio below 1 is one that we lose, and is bold."""
    lines, rows = pd.read_csv(path), []

    def ratio(peer: float, ours: float) -> str:
        text = f"{peer / ours:.2f}"
        return text if float(text) >= 1 else f"**{text}**"

    for (_, title), group in lines.groupby(["what", "title"], sort=False):
        medians = group.groupby("way", sort=False)[["seconds", "peak_mib"]].median()
        ours = medians.loc["ours"]
        for way, peer in medians.drop("ours").iterrows():
            seconds = number(peer.seconds), number(ours.seconds), ratio(peer.seconds, ours.seconds)
            memory = f"{peer.peak_mib:.0f}", f"{ours.peak_mib:.0f}", ratio(peer.peak_mib, ours.peak_mib)
            rows.append((title, way, *seconds, *memory))
    return markdown(COLUMNS, rows)


def size_table(path: Path) -> str:
    """Markdown: medians over the rounds, and seconds for a thousand images or a repository."""
    medians, rows = size_medians(path), []
    for what, unit in (("images", 1_000), ("repositories", 1)):
        for line in medians[medians["what"] == what].itertuples():
            each = f"{line.seconds * unit / line.size_:.2f}"
            rows.append((f"{line.size_:,} {what}", line.rounds, number(line.seconds), each, f"{line.peak_mib:.0f}"))
    return markdown(("size", "rounds", "s", "s for 1,000 images, or a repository", "MiB"), rows)


def size_medians(path: Path) -> pd.DataFrame:
    """One line for each (what, size_): seconds, peak_mib, rounds."""
    lines = pd.read_csv(path).rename(columns={"size": "size_"})
    groups = lines.groupby(["what", "size_"])
    return groups[["seconds", "peak_mib"]].median().assign(rounds=groups.size()).reset_index()


def conditions(*paths: Path) -> str:
    """A sentence on processor, threads, versions and rounds; each value that occurs is named."""
    lines = pd.concat([pd.read_csv(path, dtype=str) for path in paths if path.exists()])
    of = {name: ", ".join(sorted(lines[name].dropna().unique())) for name in ("cpu", "threads", "torch", "commit")}
    peers = lines.dropna(subset=["peer_commit"]).drop_duplicates(["way", "peer_commit"])
    commits = ", ".join(f"{line.way} {line.peer_commit}" for line in peers.itertuples())
    machine = f"Processor: {of['cpu']}. Threads: {of['threads']}. torch {of['torch']}."
    return textwrap.fill(f"{machine} Commits: ours {of['commit']}; {commits}.", 120)


def draw_sizes(path: Path, figure_path: Path) -> None:
    medians = size_medians(path)
    figure, plots = plt.subplots(1, 3, figsize=(11, 3.2))
    for axes, (what, title, column) in zip(plots, PANELS, strict=True):
        line = medians[medians["what"] == what]
        axes.plot(line["size_"], line[column], marker="o")
        axes.set(xscale="log", xlabel=title, ylabel="seconds" if column == "seconds" else "peak memory, MiB")
        if column == "seconds":
            axes.set_yscale("log")
        else:
            axes.set_ylim(0, 1.15 * line[column].max())
    figure.tight_layout()
    save(figure, figure_path)


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "docs" / "results", help="folder of the csv files")
    parser.add_argument("--text", type=Path, default=ROOT / "docs" / "performance.md", help="whose tables are written")
    parser.add_argument("--out", type=Path, default=FIGURES, help="folder of the plot (default: report/figures)")
    args = parser.parse_args()
    peers, size = args.results / "peers.csv", args.results / "size.csv"
    tables = {}
    if peers.exists():
        tables["peers"] = peer_table(peers)
        tables["conditions"] = conditions(peers, size)
    if size.exists():
        tables["sizes"] = size_table(size)
        draw_sizes(size, args.out / "performance_size.png")
    if not tables:
        raise cli.UserError(f"{args.results} has neither peers.csv nor size.csv: run bash experiments/peers.sh")
    fill([args.text], tables)
    print("\n\n".join(tables.values()))


if __name__ == "__main__":
    cli.run(main, "performance.py")
