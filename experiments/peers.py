"""Times our code beside the peers' on the same work: seconds, peak memory, and whether the results agree.

    bash experiments/peers.sh --data data/hw3_data               # all parts, then the tables; on a quiet machine
    python experiments/peers.py vae_epoch predict --rounds 1     # some parts, a quick look

Each way is a process of its own, the ways of a part take turns. Rows go to docs/results/peers.csv, those of cost
against size to docs/results/size.csv. A part that these hold already, of the same commits, is not measured again
(--again).
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli
from dlcv.files import read_rows, write_rows

# Neither torch nor NumPy is imported here: a process begins with the peak memory of the one that started it.

REPO = Path(__file__).resolve().parents[1]
RESULTS = REPO / "docs" / "results"
CLONES = {  # of each peer: where it is from, and the commit that was measured
    "tllib": ("thuml/Transfer-Learning-Library", "c4aa59eb565650a552b809411601d0589efbbfe4"),
    "pytorch/examples": ("pytorch/examples", "77f55b912142e11fcfdf5b530231fb9c52f181e8"),
    "torch-fidelity": ("toshas/torch-fidelity", "5e211a950a7b45206bd4976813ffd6aed6cf4ccc"),
    "pytorch-fid": ("mseitzer/pytorch-fid", "b9c18118d082cbd263c1b8963fc4221dc1cbb659"),
}
USUAL = "DataLoader and PIL"


@dataclass(frozen=True)
class Part:
    title: str  # how the table names the work
    work: str  # the name in peers_ways.py
    ways: tuple[str, ...]
    batch: int = 0
    steps: int = 1
    size: int = 0


EXAMPLES = ("ours", "pytorch/examples")
DISTANCES = ("ours", "torch-fidelity", "pytorch-fid")
PARTS = {
    "dann_step": Part("DANN: 10 steps of 64 + 64, the same tensors", "dann_step", ("ours", "tllib"), 64, 10),
    "dann_epoch": Part("DANN: 1,280 + 1,280 files, 20 steps", "dann_epoch", ("ours", "tllib"), 64, 20),
    "dcgan_step": Part("DCGAN: 3 steps of 16, the same tensors", "dcgan_step", EXAMPLES, 16, 4),
    "dcgan_epoch": Part("DCGAN: 64 files, 4 steps", "dcgan_epoch", EXAMPLES, 16, 4),
    "vae_epoch": Part("VAE: 7,291 digits, 57 steps of 128", "vae_epoch", EXAMPLES, 128),
    "distance_1280": Part("Fréchet distance, 1,280 features", "distance", DISTANCES, size=1280),
    "distance_2048": Part("Fréchet distance, 2,048 features", "distance", DISTANCES, size=2048),
    "reading": Part("Digits: reading 9,001 files", "reading", ("ours", USUAL), 100),
    "predict": Part("Digits: 9,001 files to csv, whole process", "predict", ("ours", USUAL), 100),
}
SIZES = {"images": (1_000, 3_000, 10_000, 30_000, 100_000), "repositories": (1, 3, 10, 30, 100)}
REPEATS = {"images": 3_000, "repositories": 10}  # largest size of which all rounds are measured; larger ones once


def timed(command: list[object], threads: int) -> tuple[float, float, str]:
    """Seconds and peak memory (MiB, of the largest process) of a command, and what it printed last."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": str(threads)}
    words = [str(word) for word in command]
    with tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout is not None
        printed = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            last = (errors.read().strip().splitlines() or ["no message"])[-1]
            raise cli.UserError(f"{' '.join(words[1:4])} failed with exit code {process.returncode}: {last}")
    return seconds, usage.ru_maxrss / 1024, (printed.strip().splitlines() or [""])[-1]


def commit_of(way: str, peers: Path) -> str:
    """The commit of a peer's clone; "" for ours and the usual way."""
    if way not in CLONES:
        return ""
    git = ["git", "-C", str(clone_of(way, peers)), "rev-parse", "--short=10", "HEAD"]
    result = subprocess.run(git, capture_output=True, text=True)
    return result.stdout.strip() or "unknown"


def clone_of(way: str, peers: Path) -> Path:
    return peers / CLONES[way][0].split("/")[1]


def check_clones(names: list[str], peers: Path) -> None:
    """Raises UserError where a clone is missing, after it has printed how to get all of them."""
    missing = [way for name in names for way in PARTS[name].ways if way in CLONES and not clone_of(way, peers).is_dir()]
    if missing:
        for way, (repository, commit) in CLONES.items():
            folder = clone_of(way, peers)
            print(f"git clone https://github.com/{repository} {folder} && git -C {folder} checkout {commit}")
        raise cli.UserError(f"{clone_of(missing[0], peers)} is not there: run the commands above, or give --peers DIR")


def facts_of_this_machine(threads: int) -> dict[str, str]:
    """Our commit, torch's version, the processor: columns of every row."""
    code = f"import sys; sys.path.insert(0, {str(REPO / 'src')!r}); import json, torch; "
    code += "from dlcv.checkpoint import current_commit; print(json.dumps({'commit': current_commit(), "
    code += "'torch': torch.__version__, 'cpu': torch.backends.cpu.get_cpu_capability()}))"
    facts = json.loads(timed([sys.executable, "-c", code], threads)[2])
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = names[0].split(":", 1)[1].strip() if names else "unknown"
    return facts | {"cpu": f"{model} ({len(names)} cores, {facts['cpu']})", "threads": str(threads)}


def once(part: Part, way: str, peers: Path, data: Path, threads: int, place: Path) -> tuple[float, float, str]:
    """Seconds, peak memory and result of one piece of work in one way."""
    if part.work == "predict":
        folder, out = data / "digits" / "mnistm" / "test", place / "labels.csv"
        ours: list[object] = ["bash", REPO / "hw3_p3.sh", folder, "mnistm", out]
        usual: list[object] = ["python3", REPO / "experiments" / "usual_predict.py", folder, "mnistm", out, 0]
        seconds, peak, _ = timed(ours if way == "ours" else usual, threads)
        return seconds, peak, json.dumps(out.read_text().split())
    command: list[object] = ["python3", REPO / "experiments" / "peers_ways.py", part.work, way, "--peers", peers]
    command += ["--data", data, "--steps", part.steps, "--batch", part.batch, "--size", part.size, "--threads", threads]
    _, peak, printed = timed(command, threads)
    result = json.loads(printed)
    return result["seconds"], peak, json.dumps(result["agreed"])


def agree(one: str, other: str) -> bool:
    """Whether two ways have the same result: texts are equal, numbers to 1e-5 of them, or 1e-5 where they are small."""
    a, b = json.loads(one), json.loads(other)
    return len(a) == len(b) and all(
        x == y if isinstance(x, str) else abs(x - y) <= 1e-5 * max(1.0, abs(x)) for x, y in zip(a, b, strict=True)
    )


def shown(agreed: str) -> str:
    """The result as the csv file shows it: numbers, or how many labels."""
    values = json.loads(agreed)
    if isinstance(values[0], str):
        return f"{len(values) - 1} equal labels"
    return " ".join(f"{value:.6g}" for value in values)


def measure(name: str, peers: Path, data: Path, rounds: int, facts: dict[str, str]) -> list[dict[str, object]]:
    part, rows, results = PARTS[name], [], {}
    with tempfile.TemporaryDirectory() as place:
        for index in range(rounds):
            for way in part.ways if index % 2 == 0 else part.ways[::-1]:
                seconds, peak, agreed = once(part, way, peers, data, int(facts["threads"]), Path(place))
                results[way] = agreed
                if not agree(results.get(part.ways[0], agreed), agreed):
                    raise cli.UserError(f"{name}: ours and {way} differ ({results[part.ways[0]][:80]}, {agreed[:80]})")
                print(f"{name}, round {index + 1}, {way}: {seconds:.2f} s, {peak:.0f} MiB", flush=True)
                rows.append(
                    {"what": name, "title": part.title, "way": way, "round": index + 1, "seconds": f"{seconds:.4f}"}
                    | {"peak_mib": f"{peak:.0f}", "result": shown(agreed), "batch": part.batch}
                    | {"peer_commit": commit_of(way, peers), **facts}
                )
    return rows


def link_images(folder: Path, source: Path, count: int) -> Path:
    """A folder of `count` links to the images of another, each as often as it takes."""
    folder.mkdir()
    names = sorted(path.name for path in source.iterdir() if path.suffix == ".png")
    for index in range(count):
        (folder / f"{index:06d}.png").symlink_to(source / names[index % len(names)])
    return folder


STUB = """root="$(dirname "${BASH_SOURCE[0]}")"
exec python3 "$root/copy_picture.py" "$root/picture.png" "$@"
"""


def write_repositories(folder: Path, count: int, picture: Path) -> Path:
    """Student repositories whose one wrapper copies a picture: what is measured is the grader's own time."""
    for index in range(count):
        repository = folder / f"r{index:08d}"
        repository.mkdir(parents=True)
        (repository / "hw3_p1.sh").write_text(STUB)
        (repository / "copy_picture.py").write_text("import shutil, sys\nshutil.copyfile(sys.argv[1], sys.argv[2])\n")
        shutil.copyfile(picture, repository / "picture.png")
    return folder


def measure_size(
    what: str, sizes: list[int], data: Path, rounds: int, facts: dict[str, str]
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    threads = int(facts["threads"])
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            if what == "images":
                folder = link_images(place / "images", (data / "digits" / "mnistm" / "test").resolve(), size)
                command: list[object] = ["bash", REPO / "hw3_p3.sh", folder, "mnistm", place / "out.csv"]
            else:
                picture = place / "picture.png"
                timed(["bash", REPO / "hw3_p1.sh", picture], threads)
                folder = write_repositories(place / "class", size, picture)
                command = ["python3", "-m", "grader", "--class", folder, "--out", place / "out", "--jobs", 2]
            for index in range(rounds if size <= REPEATS[what] else 1):
                shutil.rmtree(place / "out", ignore_errors=True)  # else nothing is graded again
                seconds, peak, _ = timed(command, threads)
                print(f"{size:,} {what}, round {index + 1}: {seconds:.1f} s, {peak:.0f} MiB", flush=True)
                row = {"what": what, "size": size, "round": index + 1, "seconds": f"{seconds:.3f}"}
                rows.append({**row, "peak_mib": f"{peak:.0f}", **facts})
    return rows


def is_measured(
    rows: list[dict[str, str]], name: str, rounds: int, facts: dict[str, str], peers: Path, sizes: list[int]
) -> bool:
    """Whether the rows of a part are there, in so many rounds and of these commits."""
    mine = [row for row in rows if row["what"] == name and all(row[key] == facts[key] for key in facts)]
    if facts["commit"].endswith("+"):
        return False
    if name in SIZES:
        wanted = {(str(size), str(k + 1)) for size in sizes for k in range(rounds if size <= REPEATS[name] else 1)}
        return wanted == {(row["size"], row["round"]) for row in mine}
    keys = {(way, str(k + 1), commit_of(way, peers)) for way in PARTS[name].ways for k in range(rounds)}
    return keys == {(row["way"], row["round"], row["peer_commit"]) for row in mine}


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join([*PARTS, *SIZES])} (default: all)")
    parser.add_argument(
        "--peers",
        type=Path,
        default=REPO.parent / "peers",
        help="folder of the clones (default: peers, beside this one)",
    )
    parser.add_argument("--data", type=Path, default=REPO / "data" / "hw3_data", help="default: data/hw3_data")
    parser.add_argument("--rounds", type=int, default=5, help="how often each way is measured (default: 5)")
    parser.add_argument("--threads", type=int, default=2, help="torch's threads in every way (default: 2)")
    parser.add_argument("--images", type=int, nargs="+", default=[*SIZES["images"]], help="numbers of images")
    parser.add_argument("--repositories", type=int, nargs="+", default=[*SIZES["repositories"]], help="of repositories")
    parser.add_argument("--again", action="store_true", help="also what is measured already")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of peers.csv and size.csv")
    args = parser.parse_args()
    for name in args.parts:
        if name not in (*PARTS, *SIZES):
            raise cli.UsageError(f"no part {name!r}; there are {', '.join([*PARTS, *SIZES])}")
    if min(args.rounds, args.threads, *args.images, *args.repositories) < 1:
        raise cli.UsageError("--rounds, --threads, --images and --repositories must be at least 1")
    names = args.parts or [*PARTS, *SIZES]
    peers, data = args.peers.absolute(), args.data.absolute()
    check_clones([name for name in names if name in PARTS], peers)
    if not (data / "digits").is_dir():
        raise cli.UserError(f"{args.data} has no digits: give --data, the folder hw3_data of bash get_dataset.sh")
    facts = facts_of_this_machine(args.threads)
    for name in names:
        path = args.out / ("size.csv" if name in SIZES else "peers.csv")
        earlier = read_rows(path) if path.exists() else []
        sizes = getattr(args, name) if name in SIZES else []
        if not args.again and is_measured(earlier, name, args.rounds, facts, peers, sizes):
            print(f"{name}: measured before")
            continue
        if name in SIZES:
            rows = measure_size(name, sizes, data, args.rounds, facts)
        else:
            rows = measure(name, peers, data, args.rounds, facts)
        order = [*PARTS, *SIZES]
        kept = [row for row in earlier if row["what"] != name and row["what"] in order]
        write_rows(path, sorted([*kept, *rows], key=lambda row: order.index(str(row["what"]))), rows[0])


if __name__ == "__main__":
    cli.run(main, "peers.py")
