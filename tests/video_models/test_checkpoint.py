"""Checkpoints: the same bits back, and nothing for another encoder, kind or version."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors import safe_open

import texvlm
from texvlm.encoders.untrained import untrained_vit
from texvlm.errors import ModelError
from texvlm.video_models import (
    DeltaEncoder,
    FrameAggregation,
    FrameImportance,
    RecurrentHead,
    ShiftHead,
    load_checkpoint,
    save_checkpoint,
)

MODELS = {
    "importance": lambda: FrameImportance(hidden=5),
    "delta": lambda: DeltaEncoder(16, 768, hidden=6),
    "aggregation": lambda: FrameAggregation(16, frames=3, heads=2, keys=4),
    "recurrent": lambda: RecurrentHead(16, hidden=7),
    "shift": lambda: ShiftHead(16, blocks=1, hidden=9, part=4),
}


@pytest.fixture(scope="module")
def encoder():
    return untrained_vit(16, 1, 2, image=32)


def write(path, tensors=None, **facts):
    """A checkpoint with other facts in its metadata; those that are None are left out."""
    with safe_open(path, framework="pt") as file:
        known = json.loads(file.metadata()["texvlm"])
        kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    changed = {name: value for name, value in (known | facts).items() if value is not None}
    safetensors.torch.save_file(kept if tensors is None else tensors, path, metadata={"texvlm": json.dumps(changed)})


@pytest.mark.parametrize("kind", MODELS)
def test_a_checkpoint_gives_the_same_model(kind, encoder, tmp_path):
    model = MODELS[kind]()
    for value in model.state_dict().values():
        value.copy_(torch.randn_like(value))
    save_checkpoint(model, tmp_path / "m.safetensors", encoder=encoder, notes={"seed": "3"})
    found = load_checkpoint(tmp_path / "m.safetensors", kind=kind, encoder=encoder)
    assert type(found) is type(model)
    assert not found.training
    assert found.options == model.options
    assert found.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(found.state_dict()[name], value) for name, value in model.state_dict().items())
    with safe_open(tmp_path / "m.safetensors", framework="pt") as file:
        facts = json.loads(file.metadata()["texvlm"])
    assert facts["kind"] == kind
    assert facts["encoder"] == encoder.name
    assert (facts["width"], facts["patch"], facts["version"], facts["seed"]) == (16, 16, 1, "3")


@pytest.fixture
def path(encoder, tmp_path):
    save_checkpoint(DeltaEncoder(16, 768, hidden=6), tmp_path / "delta.safetensors", encoder=encoder)
    return tmp_path / "delta.safetensors"


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (lambda: untrained_vit(24, 1, 2, image=32), r"made for another encoder \(width: 16; of .*: 24\)"),
        (lambda: untrained_vit(16, 1, 2, image=16, patch=8), r"another encoder \(patch: 16"),
        (lambda: untrained_vit(16, 1, 2, image=32, seed=1), r"another encoder \(weights of the encoder"),
        (lambda: untrained_vit(16, 1, 2, image=32, labels=3), r"another encoder \(encoder: ViTModel"),
    ],
)
def test_another_encoder_is_refused_in_one_line(path, other, says):
    with pytest.raises(ModelError, match=says) as refused:
        load_checkpoint(path, kind="delta", encoder=other())
    assert "\n" not in str(refused.value)


def test_the_same_weights_in_another_element_type_are_the_same_encoder(path):
    assert load_checkpoint(path, kind="delta", encoder=untrained_vit(16, 1, 2, image=32).to(torch.bfloat16))


@pytest.mark.parametrize(
    ("spoil", "kind", "says"),
    [
        (lambda p: p.unlink(), "delta", "no such file; texvlm train delta"),
        (lambda p: p.write_bytes(b"no"), "delta", "cannot be read as safetensors"),
        (lambda p: p.write_bytes(p.read_bytes()[:-9]), "delta", "cannot be read as safetensors"),
        (lambda p: write(p, format=None), "delta", "no checkpoint of texvlm's"),
        (lambda p: write(p, version=2), "delta", "its version is 2, 1 is wanted"),
        (lambda p: None, "importance", "its kind is 'delta', 'importance' is wanted"),
        (lambda p: write(p, options="{"), "delta", "do not fit what it says of itself"),
        (lambda p: write(p, options={"width": 16}), "delta", "do not fit what it says of itself"),
        (
            lambda p: write(p, options={"width": 16, "pixels": 768, "hidden": 10**9}),
            "delta",
            "do not fit what it says of itself",  # and no memory is taken for it
        ),
        (lambda p: write(p, {"share": torch.zeros(16)}), "delta", "do not fit what it says of itself"),
    ],
)
def test_what_is_no_such_checkpoint_is_refused_in_one_line(path, encoder, spoil, kind, says):
    spoil(path)
    with pytest.raises(ModelError, match=says) as refused:
        load_checkpoint(path, kind=kind, encoder=encoder)
    assert "\n" not in str(refused.value)


def test_kinds_that_are_none(path, encoder, tmp_path):
    with pytest.raises(ValueError, match="kind is 'deltas'; accepted: importance, delta"):
        load_checkpoint(path, kind="deltas", encoder=encoder)
    with pytest.raises(TypeError, match="a Linear has no checkpoints"):
        save_checkpoint(torch.nn.Linear(1, 1), tmp_path / "x", encoder=encoder)


def test_one_module_of_this_part_knows_safetensors():
    folder = Path(texvlm.__file__).parent / "video_models"
    assert [p.name for p in sorted(folder.glob("*.py")) if "import safetensors" in p.read_text()] == ["checkpoint.py"]
