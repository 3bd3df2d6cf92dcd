"""The usual way to predict a folder of digits, for peers.py to compare hw3_p3.sh with.

python experiments/usual_predict.py IMAGE_DIR TARGET OUT_CSV WORKERS
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import pandas as pd
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset
    from torchvision import transforms

    from dlcv.checkpoint import CHECKPOINTS, load_model
    from dlcv.models.digit_net import DigitNet

MODELS = {"mnistm": "dann_usps_mnistm.pth", "svhn": "dann_mnistm_svhn.pth", "usps": "dann_svhn_usps.pth"}


class Digits(Dataset[Any]):
    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*.png"))
        self.transform = transforms.Compose([transforms.Resize((28, 28)), transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Any:
        return self.transform(Image.open(self.paths[index]).convert("RGB")), self.paths[index].name


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="IMAGE_DIR", help="folder of digit images (*.png)")
    parser.add_argument("target", choices=MODELS, help="domain of the images, which chooses the network")
    parser.add_argument("out", type=Path, metavar="OUT_CSV", help="csv of the predicted labels, to be written")
    parser.add_argument("workers", type=int, metavar="WORKERS", help="worker processes of the DataLoader; 0: none")
    args = parser.parse_args()
    if args.workers < 0:
        raise cli.UsageError(f"WORKERS {args.workers}: must be at least 0")
    model = load_model(DigitNet, CHECKPOINTS / MODELS[args.target])
    loader = DataLoader(Digits(args.folder), batch_size=100, num_workers=args.workers)
    names, labels, loading = [], [], 0.0
    started = time.perf_counter()
    with torch.no_grad():
        for images, batch_names in loader:
            loading += time.perf_counter() - started
            labels += model(images).argmax(1).tolist()
            names += batch_names
            started = time.perf_counter()
    pd.DataFrame({"image_name": names, "label": labels}).to_csv(args.out, index=False)
    print(json.dumps({"loading_seconds": loading}))


if __name__ == "__main__":
    cli.run(main, "usual_predict.py")
