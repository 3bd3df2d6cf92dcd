"""dlcv.averaging.ema: the decay's warm-up, without waiting for the device at every step. (settle: test_sagan.py.)"""

import io

import pytest
import torch

from dlcv.averaging import ema


def test_warm_up_is_tensorflows_and_goes_on_after_a_resume() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    average, expected, decay = ema(model, 0.3, warmup=True), 0.0, 0.3
    for t in range(12):
        torch.nn.init.constant_(model.weight, float(t))
        average.update_parameters(model)
        now = min(decay, (1 + t) / (10 + t))
        expected = expected * now + t * (1 - now) if t else 0.0
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-5)
        if t == 1:  # as a training that is resumed
            saved = io.BytesIO()
            torch.save(average.state_dict(), saved)
            saved.seek(0)
            average = ema(torch.nn.Linear(1, 1, bias=False), 0.3, warmup=True)
            average.load_state_dict(torch.load(saved, weights_only=True))
    assert set(average.state_dict()) == {"n_averaged", "module.weight"}


def test_warm_up_does_not_read_what_lies_on_the_device() -> None:
    """The number of updates is read on the CPU: reading its copy on a GPU would wait for what the GPU has to do."""
    average = ema(torch.nn.Linear(2, 2), 0.9, warmup=True)
    assert average.n_averaged.device.type == "cpu"
    elsewhere = torch.zeros((), device="meta")  # cannot be read
    average.multi_avg_fn([torch.ones(2)], [torch.ones(2)], elsewhere)
