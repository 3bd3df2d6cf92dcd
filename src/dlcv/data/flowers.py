"""Photographs of flowers: torchvision's Flowers102 with categories chosen by name, or a folder for each category.

Images are cut to their middle square and resized; the result is one uint8 tensor (N, 3, size, size).
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from dlcv.cli import UserError
from dlcv.data.layout import is_image_name, list_images
from dlcv.images import read_rgb

# flower-categories.json of the assignment: names of the labels 1 to 102; torchvision's labels begin at 0.
CATEGORIES = (
    "pink primrose", "hard-leaved pocket orchid", "canterbury bells", "sweet pea", "english marigold", "tiger lily",
    "moon orchid", "bird of paradise", "monkshood", "globe thistle", "snapdragon", "colt's foot", "king protea",
    "spear thistle", "yellow iris", "globe-flower", "purple coneflower", "peruvian lily", "balloon flower",
    "giant white arum lily", "fire lily", "pincushion flower", "fritillary", "red ginger", "grape hyacinth",
    "corn poppy", "prince of wales feathers", "stemless gentian", "artichoke", "sweet william", "carnation",
    "garden phlox", "love in the mist", "mexican aster", "alpine sea holly", "ruby-lipped cattleya", "cape flower",
    "great masterwort", "siam tulip", "lenten rose", "barbeton daisy", "daffodil", "sword lily", "poinsettia",
    "bolero deep blue", "wallflower", "marigold", "buttercup", "oxeye daisy", "common dandelion", "petunia",
    "wild pansy", "primula", "sunflower", "pelargonium", "bishop of llandaff", "gaura", "geranium", "orange dahlia",
    "pink-yellow dahlia", "cautleya spicata", "japanese anemone", "black-eyed susan", "silverbush",
    "californian poppy", "osteospermum", "spring crocus", "bearded iris", "windflower", "tree poppy", "gazania",
    "azalea", "water lily", "rose", "thorn apple", "morning glory", "passion flower", "lotus", "toad lily",
    "anthurium", "frangipani", "clematis", "hibiscus", "columbine", "desert-rose", "tree mallow", "magnolia",
    "cyclamen", "watercress", "canna lily", "hippeastrum", "bee balm", "ball moss", "foxglove", "bougainvillea",
    "camellia", "mallow", "mexican petunia", "bromelia", "blanket flower", "trumpet creeper", "blackberry lily",
)  # fmt: skip

# Large single flowers of several colours and shapes: 1,609 images of Flowers102.
CHOSEN = (
    "passion flower", "lotus", "magnolia", "water lily", "sunflower", "rose", "hibiscus", "gazania", "clematis",
    "morning glory", "oxeye daisy", "frangipani", "osteospermum",
)  # fmt: skip


class Flowers(NamedTuple):
    images: torch.Tensor  # uint8 (N, 3, size, size)
    labels: torch.Tensor  # int64 (N,), into categories
    categories: list[str]


def label_of(category: str) -> int:
    """torchvision's label, 0 to 101, of a category's name. Raises UserError for a name that is none."""
    if category not in CATEGORIES:
        close = [name for name in CATEGORIES if category.lower() in name or name in category.lower()]
        hint = f"; did you mean {', '.join(close)}?" if close else ""
        raise UserError(f"Flowers102 has no category {category!r}{hint}")
    return CATEGORIES.index(category)


def find_flowers(data: Path | None) -> Path:
    """The folder `flowers-102` (torchvision's) or `flowers` (one folder a category) in `data`, or `data` itself.

    Without `data`, in data/. Raises UserError, saying where the data can be had, when there is none.
    """
    base = Path("data") if data is None else data
    for folder in (base / "flowers", base / "flowers-102", base):
        if (folder / "imagelabels.mat").is_file() or (
            (folder != base or data is not None) and _category_folders(folder)
        ):
            return folder
    raise UserError(
        f"no flowers in {base}: give --data FOLDER (that holds flowers-102/, as torchvision leaves it, or a folder of "
        "images for each category), or run: bash get_dataset.sh --only flowers"
    )


def read_flowers(data: Path | None, categories: list[str] | None = None, size: int = 256) -> Flowers:
    """All images of the chosen categories, in the order of categories, then of file names.

    Without `categories`: CHOSEN of Flowers102, or every folder of the other layout. Raises UserError for a category
    that is not there and for a file that cannot be decoded.
    """
    folder = find_flowers(data)
    if (folder / "imagelabels.mat").is_file():
        names = list(categories or CHOSEN)
        by_label = _flowers102_files(folder)
        files = {name: by_label[label_of(name)] for name in names}
    else:
        there = _category_folders(folder)
        names = list(categories or sorted(there))
        if missing := [name for name in names if name not in there]:
            raise UserError(f"{folder} has no folder {missing[0]!r}; it has {', '.join(sorted(there))}")
        files = {name: [there[name] / file for file in list_images(there[name])] for name in names}
    images = [_middle_square(path, size) for name in names for path in files[name]]
    labels = [label for label, name in enumerate(names) for _ in files[name]]
    return Flowers(torch.from_numpy(np.stack(images)), torch.tensor(labels), names)


def _category_folders(folder: Path) -> dict[str, Path]:
    """name -> folder of each category that holds at least one image."""
    if not folder.is_dir():
        return {}
    return {
        path.name: path
        for path in sorted(folder.iterdir())
        if path.is_dir() and any(is_image_name(file.name) for file in path.iterdir())
    }


def _flowers102_files(folder: Path) -> list[list[Path]]:
    """The files of each label 0 … 101, from imagelabels.mat (labels 1 … 102, in the order of the file numbers)."""
    from scipy.io import loadmat

    try:
        labels = loadmat(folder / "imagelabels.mat")["labels"].ravel()
    except Exception as error:  # scipy meets damage with errors of many kinds
        raise UserError(f"cannot read {folder / 'imagelabels.mat'}: {error}") from None
    files: list[list[Path]] = [[] for _ in CATEGORIES]
    for number, label in enumerate(labels, start=1):
        if not 1 <= label <= len(CATEGORIES):
            raise UserError(f"{folder / 'imagelabels.mat'}: label {label} of image {number} is not in 1 to 102")
        files[int(label) - 1].append(folder / "jpg" / f"image_{number:05d}.jpg")
    return files


def _middle_square(path: Path, size: int) -> np.ndarray:
    """The image's largest square in the middle, resized: uint8 (3, size, size)."""
    image = read_rgb(path)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    if side != size:
        square = square.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(square).transpose(2, 0, 1)
