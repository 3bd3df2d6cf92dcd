"""The networks that read digits, by the name that stands in their checkpoints."""

from pathlib import Path

from dlcv.checkpoint import model_from, read_checkpoint
from dlcv.cli import UserError
from dlcv.models.dann import DANN
from dlcv.models.uda import UDA

DIGIT_MODELS: dict[str, type[DANN] | type[UDA]] = {"DANN": DANN, "UDA": UDA}


def load_digit_model(path: Path) -> DANN | UDA:
    """The network in `path`, on the CPU, in eval mode. Raises UserError like dlcv.checkpoint.load_model."""
    content = read_checkpoint(path)
    if content["arch"] not in DIGIT_MODELS:
        raise UserError(f"{path.name} holds a {content['arch']}, not one of {', '.join(DIGIT_MODELS)}")
    return model_from(DIGIT_MODELS[content["arch"]], content, path)
