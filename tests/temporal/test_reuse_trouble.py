"""ReuseEncoder: trouble stays where it arose, and is told in a line."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from encoders.vlms import qwen2_5_vl
from reuse_scenes import View, assert_equal, batch_of, look, painted, picture, small_vit, uniform
from torch import nn

from texvlm import ModelError, encoders
from texvlm.motion.field import MotionField
from texvlm.temporal import block_reuse
from texvlm.temporal.change import ChangeRule
from texvlm.temporal.gates import Threshold, TopK
from texvlm.temporal.reports import Level
from texvlm.temporal.reuse import ReuseEncoder
from texvlm.tokens import TokenBatch

SIZE, PATCH = (24, 24), 4
GRID = uniform(SIZE, patch=PATCH, rows=38)
LEVELS: tuple[Level, ...] = get_args(Level)


@pytest.fixture(scope="module")
def encoder():
    return small_vit()


def started(encoder, level, **options) -> tuple[ReuseEncoder, ReuseEncoder, list[np.ndarray]]:
    """Two alike, of three sources that have been seen twice."""
    frames = [picture(SIZE, seed) for seed in range(3)]
    pair = [ReuseEncoder(encoder, level=level, gates=Threshold(0.1), **options) for _ in range(2)]
    for reuse in pair:
        reuse(look(encoder, *frames, pts=1.0))
        reuse(look(encoder, *(painted(frame, (4, 4), 6, 1) for frame in frames), pts=2.0))
    return pair[0], pair[1], frames


def assert_go_on_alike(one, other, encoder, frames, *, pts=3.0):
    batch = look(encoder, *(painted(frame, (8, 4), 6, 2) for frame in frames), pts=pts)
    found, expected = one(batch), other(batch)
    assert_equal(found, expected.features, bound=0)
    for report, own in zip(found.reports, expected.reports, strict=True):
        assert repr(report) == repr(own)
        for name in ("encoded", "ages", "deviation", "moved"):
            assert torch.equal(getattr(report, name), getattr(own, name))


FIELD = MotionField.zero((64, 48), cell=(16, 16))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("error", "text", "pts", "sources", "options"),
    [
        (ValueError, r"source 0: a frame of 1.5 s after one of 2 s; .*reset\(0\)", 1.5, (0, 1, 2), {}),
        (ValueError, r"views of sources \[0, 1, 1\]; accepted: one view of each source", 3.0, (0, 1, 1), {}),
        (ValueError, "motion", 3.0, (0, 1, 2), {"motion": {2: FIELD}}),
        (TypeError, "motion of source 1 is a ndarray; give a MotionField", 3.0, (0, 1, 2), {"motion": {1: FIELD.flow}}),
    ],
)
def test_a_call_that_is_refused_changes_nothing(encoder, level, error, text, pts, sources, options):
    reuse, other, frames = started(encoder, level)
    views = [View(source, picture(SIZE, 50 + source), GRID, pts) for source in sources]
    with pytest.raises(error, match=text) as refusal:
        reuse(batch_of(encoder, views), **options)
    assert "\n" not in str(refusal.value)
    assert_go_on_alike(reuse, other, encoder, frames)


def test_batches_that_the_encoder_does_not_take_change_nothing(encoder):
    reuse, other, frames = started(encoder, "L2")
    batch = look(encoder, *frames, pts=3.0)
    larger = TokenBatch(
        batch.pixels.repeat(1, 1, 1, 2, 2), batch.rows, batch.dirty, batch.sizes, batch.sources, batch.pts
    )
    with pytest.raises(ValueError, match="tokens of 8 x 8 pixels; vit takes 4 x 4"):
        reuse(larger)
    with pytest.raises(TypeError, match="give a TokenBatch"):
        reuse(batch.pixels)
    assert_go_on_alike(reuse, other, encoder, frames)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("block", [0, 1])
def test_an_encoder_that_fails_in_the_midst_restarts_its_own_sources_alone(encoder, level, block, monkeypatch):
    """Sources 0 and 1 are in the call that fails; source 2 goes on as if nothing was."""
    reuse, other, frames = started(encoder, level)
    mlp = encoder.blocks[block].mlp
    whole = type(mlp).forward

    def failing(self, rows):
        if self is mlp:
            raise RuntimeError("made up")
        return whole(self, rows)

    monkeypatch.setattr(type(mlp), "forward", failing)
    moving = look(encoder, *(painted(frame, (0, 8), 10, 7) for frame in frames[:2]), pts=3.0)
    with pytest.raises(RuntimeError, match="made up"):
        reuse(moving)
    monkeypatch.undo()
    assert reuse.sources == {2}
    assert reuse.state_bytes(0) == reuse.state_bytes(1) == 0
    one, two = (each(look(encoder, painted(frames[2], (8, 4), 6, 2), first=2, pts=4.0)) for each in (reuse, other))
    assert_equal(one, two.features, bound=0)
    # time may start anew with them, and nothing of before is in what they give
    again = reuse(look(encoder, *frames[:2], pts=0.5))
    assert [report.level for report in again.reports] == ["L0", "L0"]
    assert_equal(again, encoder(look(encoder, *frames[:2])))


def test_an_encoder_that_fails_at_random_never_leaves_half_a_state(encoder, monkeypatch):
    """With gates and rule at 0, whatever came before, an answer is that of the full forward, or none."""
    reuse = ReuseEncoder(encoder, level="L2", rule=ChangeRule(threshold=0), gates=Threshold(0))
    random = np.random.default_rng(4)
    kind = type(encoder.blocks[0].mlp)
    whole = kind.forward

    def failing(self, rows):
        if random.random() < 0.15:
            raise RuntimeError("made up")
        return whole(self, rows)

    frames = [picture(SIZE, seed) for seed in range(4)]
    failed = answered = 0
    for step in range(40):
        frames = [painted(frame, tuple(random.integers(0, 20, 2)), 6, step) for frame in frames]
        views = [View(source, frames[source], GRID, step) for source in range(4) if random.random() < 0.6]
        if not views:
            continue
        batch = batch_of(encoder, views)
        try:
            with monkeypatch.context() as patch:
                patch.setattr(kind, "forward", failing)
                found = reuse(batch)
        except RuntimeError:
            failed += 1
            assert not reuse.sources & {view.source for view in views}
            continue
        answered += 1
        assert_equal(found, encoder(batch))
    assert failed > 5
    assert answered > 5


def test_memory_that_ran_out_restarts_nobody_else(encoder, monkeypatch):
    reuse, other, frames = started(encoder, "L2")
    with monkeypatch.context() as patch:
        patch.setattr(block_reuse, "_grown", lambda kept, slots: (_ for _ in ()).throw(torch.OutOfMemoryError("none")))
        with pytest.raises(torch.OutOfMemoryError):
            reuse(look(encoder, *frames, first=3, pts=3.0))
    assert reuse.sources == {0, 1, 2}
    assert_go_on_alike(reuse, other, encoder, frames)
    assert reuse(look(encoder, *frames, first=3, pts=3.0)).reports[0].reason == "first frame"


@pytest.mark.parametrize(
    ("error", "text", "options"),
    [
        (ValueError, "level 'L4'; accepted: L0, L1, L2, L3", {"level": "L4"}),
        (ValueError, "context -1 and tolerance 0.25; accepted: 0 or more, and 0 up to 1", {"context": -1}),
        (ValueError, "tolerance 1", {"tolerance": 1}),
        (ValueError, "tolerance nan", {"tolerance": math.nan}),
        (TypeError, "gates are a float; give a Gate, such as Threshold", {"gates": 0.1}),
    ],
)
def test_settings_that_make_no_sense_are_refused(encoder, error, text, options):
    with pytest.raises(error, match=text) as refusal:
        ReuseEncoder(encoder, **options)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("level", ["L2", "L3"])
def test_towers_that_are_no_row_of_blocks_are_refused(level):
    with pytest.raises(ModelError, match=r"not a plain row of blocks.*use level L0 or L1") as refusal:
        ReuseEncoder(encoders.load(qwen2_5_vl()), level=level)
    assert "\n" not in str(refusal.value)


def test_blocks_with_modules_that_nobody_knows_are_refused():
    strange = small_vit()
    strange.blocks[1].attention.q_norm = nn.LayerNorm(8)
    with pytest.raises(ModelError, match="'q_norm' of ViTAttention of vit is not known to levels L2 and L3"):
        ReuseEncoder(strange, level="L2")
    assert ReuseEncoder(strange, level="L1").level == "L1"


@pytest.mark.parametrize("level", LEVELS)
def test_a_view_without_any_token_is_a_view(encoder, level):
    reuse = ReuseEncoder(encoder, level=level)
    nothing = np.repeat(GRID[-1:], 38)
    frame = picture(SIZE, 1)
    for _ in range(2):
        batch = look(encoder, frame, table=nothing)
        assert_equal(reuse(batch), encoder(batch))
    assert reuse(look(encoder, frame)).reports[0].tokens_encoded == 36


def test_numbers_that_are_none_go_away_with_the_frame_that_held_them(encoder):
    for gates in (Threshold(0.1), TopK(4)):
        reuse = ReuseEncoder(encoder, level="L2", gates=gates)
        frame = picture(SIZE, 1)
        reuse(look(encoder, frame))
        poisoned = look(encoder, frame)
        poisoned.pixels[0, 7, 1, 2, 2] = torch.nan
        assert reuse(poisoned).features.tokens.isnan().any()
        found = reuse(look(encoder, frame))
        assert found.reports[0].tokens_encoded == 1
        found.features.check_finite()
        torch.testing.assert_close(found.features.tokens, encoder(look(encoder, frame)).tokens, rtol=0, atol=0.05)
