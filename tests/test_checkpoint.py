"""Checkpoints that are damaged, edited or of another version: one line that says what is wrong, never a traceback."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from dlcv.checkpoint import load_model, read_checkpoint, read_manifest, save_checkpoint
from dlcv.cli import UserError
from dlcv.models.gan import Generator, GeneratorConfig


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "gan.pth"
    save_checkpoint(path, Generator(GeneratorConfig(latent_dim=4, width=4)), {"seed": 0})
    return path


def changed(good: Path, tmp_path: Path, key: str, name: str, value: Any) -> Path:
    content = torch.load(good, weights_only=True)
    content[key][name] = value
    torch.save(content, tmp_path / "gan.pth")
    return tmp_path / "gan.pth"


def refusal(path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a warning would be a second line
        with pytest.raises(UserError) as caught:
            load_model(Generator, path)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    return message


@pytest.mark.parametrize("width", [5, 0, -1, 10**6, 10**30, "4", 4.5, None, [4], True])
def test_bad_width(good: Path, tmp_path: Path, width: object) -> None:
    message = refusal(changed(good, tmp_path, "config", "width", width))
    assert message.startswith("gan.pth does not fit this version of Generator: ")


def test_a_config_with_another_name(good: Path, tmp_path: Path) -> None:
    assert "ngf" in refusal(changed(good, tmp_path, "config", "ngf", 64))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(good: Path, tmp_path: Path, value: float) -> None:
    name, weight = next(iter(torch.load(good, weights_only=True)["weights"].items()))
    weight = weight.clone()
    weight.view(-1)[-1] = value
    message = refusal(changed(good, tmp_path, "weights", name, weight))
    assert f"weights that are not finite numbers ({name})" in message and "earlier snapshot" in message


@pytest.mark.parametrize("value", ["text", 3, None])
def test_weights_that_are_no_tensors(good: Path, tmp_path: Path, value: object) -> None:
    assert "not all of its weights are tensors" in refusal(changed(good, tmp_path, "weights", "x", value))


@pytest.mark.parametrize("key", ["arch", "config", "weights", "provenance"])
def test_parts_of_another_kind(good: Path, tmp_path: Path, key: str) -> None:
    content = torch.load(good, weights_only=True)
    torch.save(content | {key: 3}, tmp_path / "gan.pth")
    assert "is not a checkpoint of this project" in refusal(tmp_path / "gan.pth")
    del content[key]
    torch.save(content, tmp_path / "gan.pth")
    assert "is not a checkpoint of this project" in refusal(tmp_path / "gan.pth")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_files_cut_short(good: Path, tmp_path: Path, share: float) -> None:
    content = good.read_bytes()
    (tmp_path / "gan.pth").write_bytes(content[: int(share * len(content))])
    assert "is not a checkpoint of this project" in refusal(tmp_path / "gan.pth")


DIGEST = "0" * 64


@pytest.mark.parametrize("line", ["gan.pth", DIGEST, "abc  gan.pth", f"{DIGEST} gan.pth", "<html>", "<<<<<<< HEAD"])
def test_a_manifest_with_a_line_of_another_format(good: Path, tmp_path: Path, line: str) -> None:
    (tmp_path / "gan.pth").write_bytes(good.read_bytes())
    (tmp_path / "MANIFEST").write_text(f"{DIGEST}  other.pth\n{line}\n")
    assert re.search(
        r"MANIFEST, line 2: .* restore it: git checkout checkpoints/MANIFEST", refusal(tmp_path / "gan.pth")
    )


def test_a_manifest_as_windows_writes_it(tmp_path: Path) -> None:
    """Carriage returns, a byte order mark, an empty line at the end, sha256sum's mark of binary files."""
    (tmp_path / "MANIFEST").write_bytes(
        f"\ufeff{DIGEST}  a b.pth\r\n{DIGEST.replace('0', 'A')} *c.pth\r\n\r\n".encode()
    )
    assert read_manifest(tmp_path / "MANIFEST") == {"a b.pth": DIGEST, "c.pth": "a" * 64}


def test_what_is_saved_is_read_back(good: Path) -> None:
    assert read_checkpoint(good)["provenance"]["seed"] == 0
    assert load_model(Generator, good).config == GeneratorConfig(latent_dim=4, width=4)
