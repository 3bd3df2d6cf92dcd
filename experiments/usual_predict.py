"""The usual way to predict a folder of digits, for benchmark_inference.py to compare with.

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
    folder, target, out, workers = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    model = load_model(DigitNet, CHECKPOINTS / MODELS[target])
    loader = DataLoader(Digits(folder), batch_size=128, num_workers=workers)
    names, labels, loading = [], [], 0.0
    started = time.perf_counter()
    with torch.no_grad():
        for images, batch_names in loader:
            loading += time.perf_counter() - started
            labels += model(images).argmax(1).tolist()
            names += batch_names
            started = time.perf_counter()
    pd.DataFrame({"image_name": names, "label": labels}).to_csv(out, index=False)
    print(json.dumps({"loading_seconds": loading}))


if __name__ == "__main__":
    main()
