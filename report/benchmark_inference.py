"""Times hw3_p3.sh against the usual way: a DataLoader of PIL images with torchvision transforms, the same network.

    python report/benchmark_inference.py data/hw3_data/digits/mnistm/test

Prints, both ways in turn, the seconds for loading and decoding and for the whole process, the peak memory, and whether
the predictions agree. The usual way stands in usual_predict.py. Run it on a quiet machine.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

try:
    from dlcv import cli
    from dlcv.data.digits import list_images, read_images
except ModuleNotFoundError as error:
    raise SystemExit(f"{error}. Run `make setup` once, then use .venv/bin/python (or: . .venv/bin/activate)") from None

REPO = Path(__file__).resolve().parents[1]
USUAL = Path(__file__).with_name("usual_predict.py")


def timed(command: list[str]) -> tuple[float, str]:
    """Seconds of the whole process, and what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    started = time.perf_counter()
    done = subprocess.run(command, check=True, env=os.environ | {"PATH": path}, stdout=subprocess.PIPE, text=True)
    return time.perf_counter() - started, done.stdout


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", default="mnistm")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="worker processes of the usual DataLoader")
    args = parser.parse_args()
    names = list_images(args.folder)
    loading: dict[str, list[float]] = {"ours": [], "usual": []}
    whole: dict[str, list[float]] = {"ours": [], "usual": []}
    with tempfile.TemporaryDirectory() as temporary:
        ours, usual = Path(temporary) / "ours.csv", Path(temporary) / "usual.csv"
        for _ in range(args.rounds):
            started = time.perf_counter()
            read_images(args.folder, names)
            loading["ours"].append(time.perf_counter() - started)
            seconds, _ = timed(["bash", str(REPO / "hw3_p3.sh"), str(args.folder), args.target, str(ours)])
            whole["ours"].append(seconds)
            command = ["python3", str(USUAL), str(args.folder), args.target, str(usual), str(args.workers)]
            seconds, printed = timed(command)
            whole["usual"].append(seconds)
            loading["usual"].append(json.loads(printed)["loading_seconds"])
        agree = sum(a == b for a, b in zip(ours.read_text().split(), usual.read_text().split(), strict=True)) - 1
    print(f"{len(names)} images, {args.rounds} rounds, best times; the usual DataLoader has {args.workers} workers")
    for what, seconds_of in (("loading and decoding", loading), ("whole process", whole)):
        a, b = min(seconds_of["ours"]), min(seconds_of["usual"])
        print(f"{what}: ours {a:.2f} s, usual {b:.2f} s, ratio {b / a:.1f}")
    print(f"predictions: {agree} of {len(names)} agree")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(f"peak memory of the largest child: {peak / 1024:.0f} MiB")


if __name__ == "__main__":
    cli.run(main, "benchmark_inference.py")
