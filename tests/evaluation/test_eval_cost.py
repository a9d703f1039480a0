"""Counts of operations are torch's own, and what would take too long is left out and said."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from texvlm.encoders.untrained import untrained_vit
from texvlm.evaluation.cost import MODELS, Shape, _encoder_time, multiply_adds, timed
from texvlm.evaluation.settings import EvalSettings


def test_multiply_adds_are_those_that_torch_counts():
    encoder = untrained_vit(64, 3, 4, image=64)
    encoder.model.set_attn_implementation("eager")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        encoder.model(pixel_values=torch.zeros(1, 3, 64, 64))
    assert counter.get_total_flops() == 2 * multiply_adds(Shape(64, 3, 4), 16)


@pytest.mark.parametrize(
    ("model", "tokens", "gmacs"), [("ViT-Ti", 4096, 99.05), ("ViT-B", 4096, 657.1), ("ViT-L", 1024, 361.0)]
)
def test_published_shapes_cost_what_they_are_said_to(model, tokens, gmacs):
    """Without patch embedding and class token, which the table of the literature leaves out."""
    assert multiply_adds(MODELS[model], tokens) / 1e9 == pytest.approx(gmacs, rel=0.01)


def test_a_call_over_the_limit_is_left_out():
    settings = EvalSettings(quick=True).sized()
    encoder, shape = untrained_vit(32, 2, 2, image=64), Shape(32, 2, 2)
    measured = _encoder_time(encoder, "tiny", shape, 16, 1, settings, None)
    assert measured.ms.calls == settings.rounds
    assert measured.gmacs_per_s > 0
    left_out = _encoder_time(encoder, "tiny", shape, 16, 1, settings, 1e-9)
    assert left_out.ms is None
    assert left_out.note.startswith("left out: about")


def test_calls_take_turns():
    order = []
    timings = timed({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert order == ["a", "b"] * 4
    assert {name: timing.calls for name, timing in timings.items()} == {"a": 3, "b": 3}
