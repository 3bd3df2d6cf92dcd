"""Writes checkpoints/face_descriptor.pth from face-api's face_recognition_model-weights_manifest.json and its .bin.

python experiments/convert_face_descriptor.py FOLDER [--out FILE]

The files are in the folder model/ of github.com/vladmandic/face-api (MIT); the weights are dlib's (CC0), with 256
levels a tensor. Here they keep their levels, so that the file is as small as theirs and as exact.
"""

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))  # this clone's code, whatever is installed

from dlcv import cli

with cli.packages_needed(__doc__):
    import numpy as np
    import torch

    from dlcv.checkpoint import CHECKPOINTS, save_checkpoint
    from dlcv.similarity import BLOCKS, FaceDescriptor, FaceDescriptorConfig, Levels

MANIFEST = "face_recognition_model-weights_manifest.json"
SOURCE = "face-api (MIT, Vincent Mühler and Vladimir Mandic), weights of dlib's face_recognition_resnet_model_v1 (CC0)"
Stored = dict[str, tuple[np.ndarray, float, float]]


def read_weights(folder: Path) -> Stored:
    """name → (values, step, low): the tensor is values * step + low. Raises UserError for missing or cut files."""
    stored: Stored = {}
    try:
        for group in json.loads((folder / MANIFEST).read_text(encoding="utf-8")):
            data = b"".join((folder / path).read_bytes() for path in group["paths"])
            start = 0
            for entry in group["weights"]:
                levels = entry.get("quantization") or {"dtype": entry["dtype"], "scale": 1.0, "min": 0.0}
                values = np.frombuffer(data, levels["dtype"], int(np.prod(entry["shape"])), start)
                start += values.nbytes
                stored[entry["name"]] = values.reshape(entry["shape"]), levels["scale"], levels["min"]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise cli.UserError(f"{folder} does not hold face-api's face_recognition_model: {error}") from None
    return stored


def convert(stored: Stored) -> FaceDescriptor:
    """The network with these weights, whose names it uses up. Raises UserError for a missing or misshapen one."""
    model = FaceDescriptor(FaceDescriptorConfig()).eval()

    def fill(target: Levels, name: str, axes: tuple[int, ...] = (0,)) -> None:
        values, step, low = stored.pop(name)
        target.levels.copy_(torch.from_numpy(values.transpose(axes).copy()))
        target.range.copy_(torch.tensor([step, low]))

    convs: list[tuple[str, Any]] = [("conv32_down", model.first)]
    for (name, *_), block in zip(BLOCKS, model.blocks, strict=True):
        convs += [(f"{name}/conv1", block.first), (f"{name}/conv2", block.second)]
    try:
        for name, conv in convs:
            fill(conv.filters, f"{name}/conv/filters", (3, 2, 0, 1))
            fill(conv.bias, f"{name}/conv/bias")
            fill(conv.factor, f"{name}/scale/weights")
            fill(conv.summand, f"{name}/scale/biases")
        values, step, low = stored.pop("fc")
        model.projection.copy_(torch.from_numpy(values.T * np.float32(step) + np.float32(low)))
    except (KeyError, RuntimeError, ValueError) as error:
        raise cli.UserError(f"this is another network than face-api's face_recognition_model: {error}") from None
    return model


def main() -> None:
    parser = cli.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder of the face_recognition_models package's data")
    out = CHECKPOINTS / "face_descriptor.pth"
    parser.add_argument("--out", type=Path, default=out, help="the checkpoint (checkpoints/face_descriptor.pth)")
    args = parser.parse_args()
    save_checkpoint(args.out, convert(read_weights(args.folder)), {"source": SOURCE})
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    cli.run(main, "convert_face_descriptor.py")
