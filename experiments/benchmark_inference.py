"""Times hw3_p3.sh against the usual way: a DataLoader of PIL images with torchvision transforms, the same network.

    python experiments/benchmark_inference.py data/hw3_data/digits/mnistm/test

Prints, both ways in turn, the seconds for loading and decoding and for the whole process, the peak memory, and whether
the predictions agree. The usual way stands in usual_predict.py. Run it on a quiet machine.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    from dlcv.data.digits import read_images
    from dlcv.data.folders import list_images

REPO = Path(__file__).resolve().parents[1]
USUAL = Path(__file__).with_name("usual_predict.py")


def timed(command: list[str]) -> tuple[float, float, str]:
    """Seconds and peak memory (MiB) of the whole process, and what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    started = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | {"PATH": path}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise cli.UserError(f"{command[1]} failed with exit code {process.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024, printed


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of digit images (*.png)")
    parser.add_argument(
        "--target", default="mnistm", help="domain of the images: mnistm, svhn or usps (default: mnistm)"
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="calls of each way, in turn; the fastest counts (default: 3)"
    )
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
            seconds, peak, _ = timed(["bash", str(REPO / "hw3_p3.sh"), str(args.folder), args.target, str(ours)])
            whole["ours"].append(seconds)
            command = ["python3", str(USUAL), str(args.folder), args.target, str(usual), str(args.workers)]
            seconds, usual_peak, printed = timed(command)
            whole["usual"].append(seconds)
            loading["usual"].append(json.loads(printed)["loading_seconds"])
        agree = sum(a == b for a, b in zip(ours.read_text().split(), usual.read_text().split(), strict=True)) - 1
    print(f"{len(names)} images, {args.rounds} rounds, best times; the usual DataLoader has {args.workers} workers")
    for what, seconds_of in (("loading and decoding", loading), ("whole process", whole)):
        a, b = min(seconds_of["ours"]), min(seconds_of["usual"])
        print(f"{what}: ours {a:.2f} s, usual {b:.2f} s, ratio {b / a:.1f}")
    print(f"predictions: {agree} of {len(names)} agree")
    print(f"peak memory: ours {peak:.0f} MiB, usual {usual_peak:.0f} MiB")


if __name__ == "__main__":
    cli.run(main, "benchmark_inference.py")
