"""dlcv.repro: bfloat16 only where it pays."""

import pytest
import torch

from dlcv import repro


@pytest.mark.parametrize(("capability", "pays"), [("AVX512", True), ("AVX2", False), ("DEFAULT", False)])
def test_bfloat16_only_where_the_processor_has_it(capability: str, pays: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with repro.bf16(torch.device("cpu")):
        assert layer(x).dtype == (torch.bfloat16 if pays else torch.float32)
    with repro.bf16(torch.device("cpu"), wanted=False):
        assert layer(x).dtype == torch.float32


@pytest.mark.parametrize("native", [True, False])
def test_gpus_that_emulate_it_compute_in_float32(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation: asked.append(including_emulation) or native
    )
    monkeypatch.setattr(torch, "autocast", lambda device, dtype, enabled: (device, dtype, enabled))
    assert repro.bf16(torch.device("cuda")) == ("cuda", torch.bfloat16, native)
    assert asked == [False]
