"""TemporalEncoder: what it gives, when it encodes what, and sources that come, go and change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from reuse_scenes import View, assert_equal, batch_of, painted, picture, small_vit, uniform

from texvlm.errors import ModelError
from texvlm.motion import MotionField
from texvlm.temporal.encoder import TemporalEncoder
from texvlm.temporal.settings import TemporalSettings

SIZE, PATCH = (64, 48), 4
GRID = uniform(SIZE, patch=PATCH)
EXACT = TemporalSettings("exact", level="L2", threshold=0, gate=0, moving_threshold=0, max_age=None, cut_bar=None)
CAREFUL = TemporalSettings("careful", level="L2", threshold=1, gate=0, max_age=None)


@pytest.fixture(scope="module")
def encoder():
    return small_vit(image_size=64)


def batch(encoder, *views):
    """Views given as (source, frame, time)."""
    return batch_of(encoder, [View(source, frame, GRID, pts) for source, frame, pts in views])


def test_threshold_0_is_the_full_forward_whatever_happens(encoder, rng):
    temporal = TemporalEncoder(encoder, EXACT)
    frames = [picture(SIZE, 1)]
    for step in range(5):
        frames.append(painted(frames[-1], (8 * step, 4 * step), 12, step))
    frames += [frames[-1], picture(SIZE, 2), picture(SIZE, 3), picture(SIZE, 4)]
    for at, frame in enumerate(frames):
        views = batch(encoder, (3, frame, at / 25), (1, frames[max(at - 1, 0)], at / 25))
        assert_equal(temporal(views), encoder(views))


def test_a_first_frame_is_encoded_and_the_same_again_is_not(encoder):
    temporal = TemporalEncoder(encoder, CAREFUL)
    frame = picture(SIZE, 1)
    first = temporal(batch(encoder, (0, frame, 0.0))).reports[0]
    again = temporal(batch(encoder, (0, frame, 0.1))).reports[0]
    assert (first.level, first.reason, first.tokens_encoded) == ("L0", "first frame", len(GRID))
    assert (again.level, again.reason, again.tokens_encoded, again.flops) == ("L2", "nothing changed", 0, 0)
    assert temporal.counters.nothing_ran == 1
    assert temporal.counters.whole == {"first frame": 1}


def test_state_made_in_inference_mode_serves_outside_of_it(encoder):
    temporal = TemporalEncoder(encoder, CAREFUL)
    frames = [painted(picture(SIZE, 1), (8 * at, 4), 12, at) for at in range(4)]
    for at, frame in enumerate(frames):
        with torch.inference_mode(at % 2 == 0):
            out = temporal(batch(encoder, (0, frame, at / 25)))
        assert not out.features.tokens.is_inference()


def test_a_cut_leaves_no_old_token_though_a_part_looks_the_same(encoder):
    temporal = TemporalEncoder(encoder, CAREFUL)
    old, new = picture(SIZE, 1), picture(SIZE, 2)
    new[:8, :8] = old[:8, :8]
    for at in range(4):
        temporal(batch(encoder, (0, old, at / 25)))
    views = batch(encoder, (0, new, 0.2))
    out = temporal(views)
    assert (out.reports[0].reason, out.reports[0].transition) == ("cut", "cut")
    assert out.reports[0].tokens_encoded == len(GRID)
    assert_equal(out, encoder(views))
    assert temporal.counters.cuts == 1


def test_nearly_everything_changing_is_encoded_plainly_until_it_rests(encoder, monkeypatch):
    temporal = TemporalEncoder(encoder, replace(CAREFUL, cut_bar=None))
    busy = [picture(SIZE, seed) for seed in range(6)]
    for at, frame in enumerate(busy):
        views = batch(encoder, (0, frame, at / 25))
        out = temporal(views)
    assert out.reports[0].reason == "nearly all changed"
    assert out.reports[0].flops == out.reports[0].flops_full
    assert_equal(out, encoder(views))
    rest = [temporal(batch(encoder, (0, busy[-1], 1 + at / 25))).reports[0] for at in range(3)]
    assert [report.tokens_encoded for report in rest[1:]] == [0, 0]


def test_sources_join_leave_stall_and_change_size(encoder):
    temporal = TemporalEncoder(encoder, CAREFUL)
    frame, other = picture(SIZE, 1), picture(SIZE, 2)
    temporal(batch(encoder, (0, frame, 0.0)))
    joined = temporal(batch(encoder, (7, other, 0.1), (0, frame, 0.1)))
    assert [report.tokens_encoded for report in joined.reports] == [len(GRID), 0]
    for at in range(3):
        temporal(batch(encoder, (7, other, 0.2 + at)))
    stalled = temporal(batch(encoder, (0, frame, 0.2)))  # nothing since 0.1 s, while 7 went on
    assert stalled.reports[0].tokens_encoded == 0
    wide = (48, 64)
    view = batch_of(encoder, [View(0, picture(wide, 3), uniform(wide, patch=PATCH), 0.3)])
    assert temporal(view).reports[0].tokens_encoded == len(GRID)
    assert temporal(batch(encoder, (7, other, 9.0))).reports[0].tokens_encoded == 0
    temporal.forget(7)
    temporal.forget(8)
    assert temporal.sources == {0}
    assert temporal.state_bytes(7) == 0 < temporal.state_bytes(0)
    assert temporal(batch(encoder, (7, other, 0.0))).reports[0].reason == "first frame"


def test_time_backwards_is_one_error_and_harms_nobody(encoder):
    temporal = TemporalEncoder(encoder, CAREFUL)
    frame = picture(SIZE, 1)
    temporal(batch(encoder, (0, frame, 1.0), (1, frame, 1.0)))
    with pytest.raises(ValueError, match=r"source 1: a frame of 0\.5 s after one of 1 s"):
        temporal(batch(encoder, (0, frame, 1.1), (1, frame, 0.5)))
    out = temporal(batch(encoder, (0, frame, 1.1), (1, frame, 1.1)))
    assert [report.tokens_encoded for report in out.reports] == [0, 0]
    temporal.reset(1)
    assert temporal(batch(encoder, (1, frame, 0.5))).reports[0].tokens_encoded == len(GRID)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"motion": {0: MotionField.zero((10, 10))}}, "a motion field"),
        ({"pictures": {0: np.zeros((3, 3), np.uint8)}}, "picture of 3 x 3"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(encoder, given, says):
    temporal = TemporalEncoder(encoder, CAREFUL)
    frame = picture(SIZE, 1)
    temporal(batch(encoder, (0, frame, 0.0)))
    with pytest.raises(ValueError, match=says):
        temporal(batch(encoder, (0, frame, 0.1)), **given)
    assert temporal(batch(encoder, (0, frame, 0.05))).reports[0].tokens_encoded == 0


def test_motion_that_is_no_field_is_refused_by_name(encoder):
    temporal = TemporalEncoder(encoder, CAREFUL)
    with pytest.raises(TypeError, match=r"motion of source 0 is a ndarray; give a MotionField"):
        temporal(batch(encoder, (0, picture(SIZE, 1), 0.0)), motion={0: np.zeros((4, 4, 2))})


def test_half_a_turn_is_refused():
    with pytest.raises(ValueError, match=r"refresh of 1\.5 tokens"):
        replace(CAREFUL, refresh=1.5)


def test_two_views_of_a_source_are_refused(encoder):
    frame = picture(SIZE, 1)
    with pytest.raises(ValueError, match="one view of each source"):
        TemporalEncoder(encoder)(batch(encoder, (0, frame, 0.0), (0, frame, 0.1)))


def test_a_whole_frame_can_be_asked_for(encoder):
    temporal = TemporalEncoder(encoder, CAREFUL)
    frame = picture(SIZE, 1)
    temporal(batch(encoder, (0, frame, 0.0)))
    out = temporal(batch(encoder, (0, frame, 0.1)), whole={0: "key frame"})
    assert (out.reports[0].reason, out.reports[0].tokens_encoded) == ("key frame", len(GRID))


def _flashing(frame, at):
    """Frame 5 is lit, and nothing else changes."""
    return np.clip(frame + 0.5, 0, 1).astype(np.float32) if at == 5 else frame


def test_a_flash_is_encoded_or_held_as_was_asked(encoder):
    frame = picture(SIZE, 1) * np.float32(0.5)
    found = {}
    for flash in ("encode", "hold"):
        temporal = TemporalEncoder(encoder, replace(CAREFUL, flash=flash, max_age=8))
        reports = []
        for at in range(12):
            views = batch(encoder, (0, _flashing(frame, at), at / 25))
            out = temporal(views)
            reports.append(out.reports[0])
            if flash == "encode":
                assert_equal(out, encoder(views))
        found[flash] = reports
        assert temporal.counters.flashes >= 1
    assert found["encode"][5].tokens_encoded == len(GRID)
    held = found["hold"]
    assert (held[5].reason, held[5].tokens_encoded, held[5].oldest) == ("flash", 0, 5)
    assert held[5].worst_deviation > held[5].threshold  # and it says so
    assert [report.oldest for report in held[6:9]] == [6, 7, 0]  # the held frame counts: age 8 is encoded
    assert held[8].tokens_encoded == len(GRID)


def test_an_encoder_of_other_blocks_encodes_whole_views_or_nothing(encoder):
    other = small_vit(image_size=64)
    for block in other.blocks:
        block.extra = torch.nn.Linear(1, 1)
    with pytest.raises(ModelError, match="use level L0 or L1"):
        TemporalEncoder(other, CAREFUL)
    assert TemporalEncoder(other, "surveillance").most == "L1"
    assert TemporalEncoder(encoder, "surveillance").most == "L2"
    assert TemporalEncoder(encoder, TemporalSettings(level="L0")).most == "L0"
