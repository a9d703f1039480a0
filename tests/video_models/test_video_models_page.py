"""docs/video-models.md: what it shows runs, on a small model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from model_folders import save_vit

import texvlm
from texvlm.cli import run
from texvlm.encoders import load

PAGE = Path(texvlm.__file__).parents[1] / "docs" / "video-models.md"
TEXT = PAGE.read_text(encoding="utf-8")
NAME = "models/vit-tiny-patch16-224"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_vit(tmp_path_factory.mktemp("models") / "small")


def block(number: int) -> str:
    return re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)[number]


def test_heads_of_two_sources(folder):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 2, 64, 96, 3), dtype=np.uint8)
    shown: dict[str, object] = {"frames": [tuple(pair) for pair in pictures]}
    exec(block(0).replace(NAME, str(folder)).replace("196", "24"), shown)
    assert shown["features"].tokens.shape == (2, 24, 32)
    assert shown["features"].pooled.shape == (2, 32)
    assert shown["head"].sources == [0]


def test_training_a_head():
    wanted = torch.ones(2, 5, 3, 8)
    shown: dict[str, object] = {"given": wanted + torch.randn(wanted.shape), "wanted": wanted}
    exec(block(1), shown)
    assert shown["losses"][-1] < shown["losses"][0]


def test_merging(folder):
    encoder = load(folder)
    tokens = torch.randn(1, 90, 32)
    shown: dict[str, object] = {
        "encoder": encoder,
        "tokens": tokens,
        "times": torch.arange(2).repeat_interleave(45)[None],
        "hidden": torch.randn(1, 40, 32),
    }
    exec(block(2).replace("clip, 60", "clip, 20"), shown)
    assert shown["fewer"].shape == (1, 50, 32)
    assert shown["again"].shape == tokens.shape
    assert shown["bias"].shape == (1, 1, 1, 50)
    assert (shown["first"] <= shown["last"]).all()
    assert shown["hidden"].shape == (1, 40 - 2 * 8, 32)


def test_helpers(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = [line for line in TEXT.splitlines() if line.startswith("texvlm train")]
    assert len(commands) == 2
    for command in commands:
        words = command.replace("monday.mp4 tuesday.mp4", "scene:96x64").replace(NAME, str(folder)).split()[1:]
        assert run([*words, "--frames", "10", "--steps", "2"]) == 0
    encoder = load(folder)
    with texvlm.Engine(layout="uniform", tokens=24, mean=encoder.mean, std=encoder.std) as engine:
        parts = []
        for frame in texvlm.open_source("scene:96x64", frames=2):
            engine.submit(frame)
            parts.append((engine.tokens(), engine.read_level(2)))
    (seen_batch, level_then), (batch, level_now) = parts
    with torch.no_grad():
        shown: dict[str, object] = {
            "encoder": encoder,
            "seen_batch": seen_batch,
            "seen": encoder(seen_batch),
            "batch": batch,
            "level_now": level_now,
            "level_then": level_then,
        }
        exec(block(3), shown)
    assert shown["moved"] > 0
    assert shown["tokens"].shape == (1, 24, 32)
