"""docs/encoders.md: what it shows in Python runs, and its adapter is short and exact."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import texvlm
from texvlm import encoders
from texvlm.encoders import Readout

PAGE = Path(texvlm.__file__).parents[1] / "docs" / "encoders.md"


def blocks() -> tuple[str, str]:
    """The Python of the page: how encoders are used, and the adapter."""
    used, adapter = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return used, adapter


def test_what_the_page_shows_runs(vit_folder, make_pictures, monkeypatch):
    shown = {"frame": make_pictures(1, (320, 192))[0], "gaze": (0.4, 0.6)}
    code = blocks()[0].replace("models/vit-tiny-patch16-224", str(vit_folder))
    exec(code, shown)
    assert shown["features"].tokens.shape == (1, 268, 32)
    assert shown["features"].regions.shape == (1, 1, 32)


def test_the_adapter_is_complete_and_exact(monkeypatch, make_batch, make_pictures, pixel_values):
    from transformers import DeiTConfig, DeiTModel

    monkeypatch.setattr("texvlm.encoders.loading.ADAPTERS", dict(encoders.ADAPTERS))
    code = blocks()[1]
    assert len(code.strip().splitlines()) < 40
    exec(code, {"__name__": "adapter"})
    torch.manual_seed(5)
    model = DeiTModel(
        DeiTConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=48,
            image_size=48,
            patch_size=8,
        )
    )
    for parameter in model.parameters():  # positions and leading tokens start at zero
        parameter.data += 0.05 * torch.randn_like(parameter)
    encoder = encoders.load(model)
    frames = make_pictures(2, encoder.native_size)
    features = encoder(make_batch(encoder, frames), readout=Readout.inside([0, 0, 1, 1]))
    own = model(pixel_values(encoder, frames)).last_hidden_state
    torch.testing.assert_close(features.prefix, own[:, :2], rtol=0, atol=1e-5)
    torch.testing.assert_close(features.tokens, own[:, 2:], rtol=0, atol=1e-5)
    torch.testing.assert_close(features.regions[:, 0], own[:, 0], rtol=0, atol=1e-5)


def test_the_page_names_every_model_type():
    (rows,) = re.findall(r"^\|---.*\n((?:\|.*\n)+)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    named = {name for row in rows.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == set(encoders.ADAPTERS)


@pytest.mark.parametrize("name", encoders.__all__)
def test_every_public_name_is_there(name):
    assert getattr(encoders, name) is not None
