"""How far float32 logits differ between two ways of computing them: what dlcv.predict.TIE_MARGIN rests on.

python experiments/measure_near_ties.py FOLDER CHECKPOINT [CHECKPOINT …]     # no labels are read
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import torch

    from dlcv.checkpoint import load_model
    from dlcv.data.digits import read_images
    from dlcv.data.folders import list_images
    from dlcv.images import to_float
    from dlcv.models.digit_net import DigitNet
    from dlcv.predict import TIE_MARGIN


@torch.inference_mode()
def logits(
    model: torch.nn.Module, images: torch.Tensor, batch: int, threads: int, onednn: bool, dtype: torch.dtype
) -> torch.Tensor:
    """Logits (N, 10), float64, of uint8 images (N, 3, 28, 28), computed in `dtype` with these settings."""
    torch.set_num_threads(threads)
    with torch.backends.mkldnn.flags(enabled=onednn):
        parts = [model(to_float(part, dtype).to(memory_format=torch.channels_last)) for part in images.split(batch)]
    return torch.cat(parts).double()


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of digit images (*.png)")
    parser.add_argument(
        "checkpoints", type=Path, nargs="+", help="digit networks (*.pth) to measure, one after the other"
    )
    args = parser.parse_args()
    images = read_images(args.folder, list_images(args.folder))
    print(f"| checkpoint | images | largest difference to float64 | gaps below {TIE_MARGIN} |\n|---|---|---|---|")
    for path in args.checkpoints:
        model = load_model(DigitNet, path)
        exact = logits(model.double(), images, 500, 2, True, torch.float64)
        model = model.float()
        largest = 0.0
        for batch, threads, onednn in ((500, 2, True), (500, 1, True), (7, 2, True), (500, 2, False), (33, 1, False)):
            computed = logits(model, images, batch, threads, onednn, torch.float32)
            largest = max(largest, (computed - exact).abs().max().item())
        top = exact.topk(2, dim=1).values
        close = int((top[:, 0] - top[:, 1] < TIE_MARGIN).sum())
        print(f"| {path.name} | {len(images)} | {largest:.1e} | {close} |")


if __name__ == "__main__":
    cli.run(main, "measure_near_ties.py")
