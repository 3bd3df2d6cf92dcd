"""Does one piece of work in one way and prints its seconds as JSON. peers.py calls it, in a process for each way.

    python experiments/peers_ways.py dann_step tllib --peers ../peers --steps 20 --batch 64

Preparation and imports are not timed. The numbers under "agreed" are those that all ways must have in common.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch
    from peers_code import Result, Settings

    from dlcv.checkpoint import current_commit
    from dlcv.data.digits import read_images, split_folder
    from dlcv.data.folders import list_images
    from dlcv.metrics import frechet_distance

Way = Callable[[Settings], Result]


def features(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of features that are correlated and not negative, as a network's are: (2,621, D) and (3,000, D)."""
    rng = np.random.RandomState(0)
    mixture = rng.standard_normal((size, size)) / size**0.5
    return (
        np.maximum(rng.standard_normal((2_621, size)) @ mixture, 0),
        np.maximum(rng.standard_normal((3_000, size)) @ mixture + 0.05, 0),
    )


def our_distance(s: Settings) -> Result:
    a, b = features(s.size)
    started = time.perf_counter()
    distance = frechet_distance(a, b)
    return time.perf_counter() - started, [distance]


def pytorch_fids_distance(s: Settings) -> Result:
    """Mean and covariance as in its calculate_activation_statistics, then its distance."""
    sys.path.insert(0, str(s.peers / "pytorch-fid" / "src"))
    from pytorch_fid.fid_score import calculate_frechet_distance

    a, b = features(s.size)
    started = time.perf_counter()
    statistics = [value for x in (a, b) for value in (np.mean(x, axis=0), np.cov(x, rowvar=False))]
    distance = calculate_frechet_distance(*statistics)
    return time.perf_counter() - started, [float(distance)]


def torch_fidelitys_distance(s: Settings) -> Result:
    sys.path.insert(0, str(s.peers / "torch-fidelity"))
    from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

    a, b = map(torch.from_numpy, features(s.size))
    started = time.perf_counter()
    statistics = fid_features_to_statistics(a), fid_features_to_statistics(b)
    distance = fid_statistics_to_metric(*statistics, verbose=False)[KEY_METRIC_FID]
    return time.perf_counter() - started, [float(distance)]


def our_reading(s: Settings) -> Result:
    folder = split_folder(s.data, "mnistm", "test")
    started = time.perf_counter()
    images = read_images(folder, list_images(folder))
    seconds = time.perf_counter() - started
    return seconds, [images.numpy().mean(dtype=np.float64) / 255, len(images)]


def usual_reading(s: Settings) -> Result:
    """Batch by batch, none of them kept."""
    from torch.utils.data import DataLoader
    from usual_predict import Digits

    total, count = 0.0, 0
    started = time.perf_counter()
    for images, _ in DataLoader(Digits(split_folder(s.data, "mnistm", "test")), batch_size=s.batch):
        total, count = total + float(images.mean()) * len(images), count + len(images)
    return time.perf_counter() - started, [total / count, count]


def training(name: str) -> Way:
    """A function of peers_training.py, which is imported only now: torchvision would cost the other ways seconds."""

    def way(s: Settings) -> Result:
        import peers_training

        result: Result = getattr(peers_training, name)(s)
        return result

    return way


WAYS: dict[str, dict[str, Way]] = {
    "dann_step": {"ours": training("our_dann_step"), "tllib": training("their_dann_step")},
    "dann_epoch": {"ours": training("our_dann_epoch"), "tllib": training("their_dann_epoch")},
    "dcgan_step": {"ours": training("our_dcgan_step"), "pytorch/examples": training("their_dcgan_step")},
    "dcgan_epoch": {"ours": training("our_dcgan_epoch"), "pytorch/examples": training("their_dcgan_epoch")},
    "vae_epoch": {"ours": training("our_vae_epoch"), "pytorch/examples": training("their_vae_epoch")},
    "distance": {
        "ours": our_distance,
        "torch-fidelity": torch_fidelitys_distance,
        "pytorch-fid": pytorch_fids_distance,
    },
    "reading": {"ours": our_reading, "DataLoader and PIL": usual_reading},
}


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=WAYS, help="what is done")
    parser.add_argument("way", help='"ours", or the name of a peer')
    parser.add_argument("--peers", type=Path, default=Path("../peers"), help="folder of the clones (default: ../peers)")
    parser.add_argument("--data", type=Path, help="hw3_data (default: hw3_data or data/hw3_data)")
    parser.add_argument("--steps", type=int, default=2, help="steps of a training (default: 2)")
    parser.add_argument("--batch", type=int, default=4, help="images of a batch (default: 4)")
    parser.add_argument("--size", type=int, default=16, help="features of a distance (default: 16)")
    parser.add_argument("--threads", type=int, default=2, help="torch's threads (default: 2)")
    args = parser.parse_args()
    if args.way not in WAYS[args.work]:
        raise cli.UsageError(f"{args.work} has no way {args.way!r}; it has {', '.join(WAYS[args.work])}")
    torch.set_num_threads(args.threads)
    commit = current_commit()
    seconds, agreed = WAYS[args.work][args.way](
        Settings(args.peers.resolve(), args.data and args.data.resolve(), args.steps, args.batch, args.size)
    )
    facts = {"commit": commit, "torch": torch.__version__, "instructions": torch.backends.cpu.get_cpu_capability()}
    print(json.dumps({"seconds": seconds, "agreed": agreed, **facts}))


if __name__ == "__main__":
    cli.run(main, "peers_ways.py")
