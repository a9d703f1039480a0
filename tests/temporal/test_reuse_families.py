"""A threshold of 0 is the full forward pass, to rounding: on every level, of every family of encoders."""

from __future__ import annotations

from functools import cache
from typing import Any, get_args

import numpy as np
import pytest
import torch
from encoders import families
from reuse_scenes import View, assert_equal, batch_of, painted, picture, quadtree, uniform

from texvlm import encoders
from texvlm.motion.field import MotionField
from texvlm.temporal.change import ChangeRule
from texvlm.temporal.gates import Threshold
from texvlm.temporal.reports import Level
from texvlm.temporal.reuse import ReuseEncoder

SIZE = (64, 48)
LEVELS = get_args(Level)


def naflex() -> torch.nn.Module:
    from transformers import Siglip2VisionConfig

    settings = {key: value for key, value in families.VISION.items() if key != "image_size"}
    return families.made("Siglip2VisionModel", Siglip2VisionConfig(**settings, num_patches=36))


def vit() -> torch.nn.Module:
    from transformers import ViTConfig

    return families.made("ViTForImageClassification", ViTConfig(**families.VISION, num_labels=5))


MODELS: dict[str, Any] = {
    "vit": vit,
    "dinov2-registers": lambda: families.dinov2_with_registers("ForImageClassification"),
    "dinov3": families.dinov3,
    "clip": lambda: families.clip_vision("CLIPVisionModelWithProjection"),
    "siglip": families.siglip_vision,
    "naflex": naflex,
}


@cache
def encoder_of(family: str) -> encoders.Encoder:
    return encoders.load(MODELS[family]())


def exact(encoder: encoders.Encoder, level: Level) -> ReuseEncoder:
    return ReuseEncoder(encoder, level=level, rule=ChangeRule(threshold=0), gates=Threshold(0))


@cache
def scene(dtype: Any) -> list[list[View]]:
    """Sources that join, leave, stall, change size and pan, under a gaze that moves; 40 rows a view, some of padding.

    Sources 0 and 1 keep a uniform layout with padding, 2 has a quadtree whose rows reorder, and 3 moves
    by whole sides.
    """
    still = picture(SIZE, 1, dtype=dtype)
    other = picture((48, 48), 2, dtype=dtype)
    wide = picture((200, 48), 3, dtype=dtype)
    grid, small = uniform(SIZE, patch=8, rows=52), uniform((48, 48), patch=8, rows=52)
    steps = []
    for step in range(6):
        now = still if step in (0, 3) else painted(still, (8 * step, 8), 12, step)
        pan = wide[:, 8 * step : 8 * step + SIZE[0]]
        gaze = (0.2 + 0.1 * step, 0.4)
        tree = quadtree(SIZE, gaze, tokens=20 + (step == 4) * 4, patch=8)
        tree = np.concatenate([tree, np.repeat(grid[-1:], 52 - len(tree))])
        views = [View(0, now, grid, step / 25)]
        if step in (1, 2, 4):  # joins, leaves, and comes back as it was
            views.append(View(1, painted(other, (4, 4), 8, step > 1), small, step / 25))
        elif step == 5:  # in another size
            views.append(View(1, still, grid, step / 25))
        views.append(View(2, still if step < 4 else now, tree, step / 25))
        views.insert(step % 2, View(3, pan, grid, step / 25 if step != 3 else 2 / 25))
        steps.append(views)
    return steps


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("family", "dtype"), [*((family, np.float32) for family in MODELS), ("vit", np.uint8)], ids=lambda part: str(part)
)
def test_with_a_threshold_of_zero_features_are_those_of_the_full_forward(family, level, dtype):
    encoder = encoder_of(family)
    reuse = exact(encoder, level)
    field = MotionField(np.full((6, 8, 2), (8, 0), np.float32), np.ones((6, 8), np.bool_), SIZE, (8, 8), "test")
    for step, views in enumerate(scene(dtype)):
        batch = batch_of(encoder, views, poison=float("nan") if dtype == np.float32 else None)
        motion = {3: field} if level == "L3" and step else None
        found = reuse(batch, motion=motion)
        with torch.no_grad():
            expected = encoder(batch)
        assert_equal(found, expected.check_finite())
        if encoder.classifier is not None:
            torch.testing.assert_close(encoder.classify(found.features), encoder.classify(expected), rtol=0, atol=1e-5)
