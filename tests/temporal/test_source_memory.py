"""SourceMemory: the bound on what is reused, checked with copies of the pixels kept outside, whatever happens."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reuse_scenes import picture, quadtree, sampled, uniform

from texvlm.motion.field import MotionField
from texvlm.temporal.change import ChangeRule
from texvlm.temporal.source_memory import SourceMemory

SIZE, PATCH, ROWS = (24, 16), 4, 26
STD = (0.5, 0.25, 0.5)


@cache
def table(kind):
    """Of 26 rows: the grid, the grid a side further on, a grid of fewer tokens, and quadtrees of two gazes."""
    made = {
        "grid": lambda: uniform(SIZE, patch=PATCH, rows=ROWS),
        "moved": lambda: uniform(SIZE, patch=PATCH, rows=ROWS, shift=(1, 0)),
        "fewer": lambda: uniform((16, 16), patch=PATCH, rows=ROWS),
        "left": lambda: quadtree(SIZE, (0.1, 0.2), tokens=ROWS, patch=PATCH),
        "right": lambda: quadtree(SIZE, (0.8, 0.7), tokens=ROWS, patch=PATCH),
    }[kind]()
    return np.concatenate([made, np.repeat(table("grid")[-1:], ROWS - len(made))]) if len(made) < ROWS else made


def motion_by(x, y=0.0):
    return MotionField(np.full((4, 6, 2), (x, y), np.float32), np.ones((4, 6), np.bool_), SIZE, (4, 4), "test")


def tokens_of(frame, layout, kind):
    pixels = torch.from_numpy(sampled(frame, layout, patch=PATCH))
    if kind == "uint8":
        return pixels
    found = ((pixels / 255 - 0.4) / torch.tensor(STD)[:, None, None]).to(getattr(torch, kind))
    found[torch.from_numpy(layout["layer"] < 0)] = torch.nan
    return found


def distance(one, other, measure):
    """Steps of 255, of one token."""
    off = np.abs(one.double().numpy() - other.double().numpy())
    if one.dtype != torch.uint8:
        off = off * 255 * np.array(STD)[:, None, None]
    return float(off.mean() if measure == "mean" else off.max())


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 2, 5]),  # noise, steps of 255
        st.sampled_from(["same", "same", "grid", "moved", "fewer", "left", "right"]),
        st.sampled_from([None, None, 0.0, -4.0, 4.0, 1.0]),  # motion, texels
        st.sampled_from([0.04, 0.04, 0.0, math.nan]),  # seconds on
        st.sampled_from(["", "", "", "", "cut"]),
    ),
    min_size=2,
    max_size=12,
)
RULES = st.builds(
    ChangeRule,
    threshold=st.sampled_from([0.0, 0.5, 1.0, 2.0]),
    measure=st.sampled_from(["mean", "max"]),
    max_age=st.sampled_from([None, 1, 2, 4]),
    refresh=st.sampled_from([0, 0, 3]),
)


@settings(max_examples=60, deadline=None)
@given(RULES, STEPS, st.sampled_from(["uint8", "float32", "float16"]), st.integers(0, 999))
def test_every_token_that_is_reused_keeps_the_bound(rule, steps, kind, seed):
    random = np.random.default_rng(seed)
    frame = picture(SIZE, seed, dtype=np.uint8)
    std = None if kind == "uint8" else STD
    layout, pts, memory = table("grid"), math.nan, None
    encoded, encoded_at, shown = {}, {}, 0  # by where they are kept: pixels, and the frame that they are of
    for noise, wanted, motion, later, everything in steps:
        layout = layout if wanted == "same" else table(wanted)
        held = layout["layer"] >= 0
        if motion:
            frame = np.roll(frame, -round(motion), axis=1)
        frame = (frame.astype(int) + random.integers(-noise, noise + 1, frame.shape)).clip(0, 255).astype(np.uint8)
        now = later + (0 if math.isnan(pts) else pts)
        again = now == pts
        pixels = tokens_of(frame, layout, kind)
        memory = memory or SourceMemory(pixels)
        field = None if motion is None else motion_by(motion)
        arguments = {"pts": now, "std": std, "motion": field, "everything": everything}
        verdict = memory.judge(pixels, layout, SIZE, rule, **arguments)
        twice = memory.judge(pixels, layout, SIZE, rule, **arguments)
        assert torch.equal(verdict.stale, twice.stale)  # nothing is remembered before the commit
        assert torch.equal(verdict.order, twice.order)
        memory.commit(verdict, pixels, layout, SIZE, now)

        shown += not again
        order = verdict.order.tolist()
        assert sorted(order) == list(range(ROWS))
        assert not (verdict.stale.numpy() & ~held).any()
        assert not (verdict.due & ~verdict.stale).any()
        assert verdict.whole or not everything
        if rule.threshold == 0 and any(encoded.keys() - {order[row] for row in np.flatnonzero(held)}):
            assert verdict.stale.sum() == held.sum()  # a token that is gone changes what the others see
        for row in np.flatnonzero(held):
            if verdict.stale[row]:
                encoded[order[row]], encoded_at[order[row]] = pixels[row].clone(), shown
                assert (verdict.change[row], verdict.ages[row]) == (0, 0)
                continue
            off = distance(pixels[row], encoded[order[row]], rule.measure)
            age = shown - encoded_at[order[row]]
            assert off <= rule.threshold + 1e-3
            assert float(verdict.change[row]) == pytest.approx(off, abs=1e-3)
            assert float(verdict.change[row]) <= rule.threshold
            assert int(verdict.ages[row]) == age
            assert rule.max_age is None or age < rule.max_age
        if rule.refresh and not verdict.whole:
            assert verdict.stale.sum() >= min(rule.refresh, held.sum())
        for place in encoded.keys() - {order[row] for row in np.flatnonzero(held)}:
            del encoded[place]
        pts = pts if math.isnan(now) else now


def judged(memory, frame, layout, *, rule=None, motion=None, size=SIZE, **arguments):
    pixels = tokens_of(frame, layout, "uint8")
    memory = memory or SourceMemory(pixels)
    options = {"pts": math.nan, "std": None} | arguments
    verdict = memory.judge(pixels, layout, size, rule or ChangeRule(threshold=0.5), motion=motion, **options)
    memory.commit(verdict, pixels, layout, size, options["pts"])
    return memory, verdict


def test_a_pan_of_one_side_encodes_the_column_that_came_in_and_the_column_that_turned():
    wide = picture((64, 16), 3, dtype=np.uint8)
    memory, first = judged(None, wide[:, :24], table("grid"))
    assert (first.reason, first.whole, int(first.stale.sum())) == ("first frame", True, 24)
    memory, verdict = judged(memory, wide[:, 4:28], table("grid"), motion=motion_by(4.0))
    assert verdict.stale[:24].view(4, 6).nonzero()[:, 1].tolist() == [5] * 4
    assert torch.equal(verdict.moved[:24], ~verdict.stale[:24])
    assert verdict.replaced
    assert (verdict.change == 0).all()
    # without motion all of them are others
    _, same = judged(memory, wide[:, 8:32], table("grid"))
    assert same.stale[:24].all()
    assert not same.moved.any()


def test_where_motion_is_wrong_pixels_say_so():
    frame = picture(SIZE, 3, dtype=np.uint8)
    memory, _ = judged(None, frame, table("grid"))
    _, verdict = judged(memory, frame, table("grid"), motion=motion_by(4.0))
    assert verdict.stale.sum() == 24
    assert verdict.due.sum() <= 4  # the rest gets through where it changed


def test_a_grid_that_moves_with_its_content_keeps_its_rows_and_tells_that_they_moved():
    wide = picture((64, 16), 3, dtype=np.uint8)
    memory, _ = judged(None, wide[:, 1:25], table("moved"))
    _, verdict = judged(memory, wide[:, 2:26], table("grid"), motion=motion_by(1.0))
    assert not verdict.stale[:24].any()
    assert verdict.moved[:24].all()
    assert verdict.order.tolist() == list(range(ROWS))
    assert verdict.replaced


def test_reasons_are_told():
    frame = picture(SIZE, 1, dtype=np.uint8)
    memory, _ = judged(None, frame, table("grid"), pts=0.0)
    for reason, arguments in {
        "nothing changed": {"pts": 0.1},
        "frame given again": {"pts": 0.1},
        "cut": {"pts": 0.2, "everything": "cut"},
        "nothing known": {"pts": 0.3, "size": (25, 16)},
    }.items():
        memory, verdict = judged(memory, frame, table("grid"), **arguments)
        assert verdict.reason == reason
        assert verdict.whole == (reason in ("cut", "nothing known"))
    _, verdict = judged(memory, 255 - frame, table("grid"), size=(25, 16), pts=0.4)
    assert verdict.reason == "change"


def test_time_runs_on():
    frame = picture(SIZE, 1, dtype=np.uint8)
    memory, _ = judged(None, frame, table("grid"), pts=2.0)
    for pts in (2.0, math.nan, 3.0):
        memory.check_time(pts, 7)
    judged(memory, frame, table("grid"), pts=math.nan)
    with pytest.raises(ValueError, match=r"source 7: a frame of 1.5 s after one of 2 s; .* or reset\(7\)") as refusal:
        memory.check_time(1.5, 7)
    assert "\n" not in str(refusal.value)


def test_what_does_not_fit_is_told():
    pixels = torch.zeros(5, 3, 4, 4)
    memory = SourceMemory(pixels)
    assert memory.fits(torch.ones(5, 3, 4, 4))
    assert not memory.fits(pixels[:4])
    assert not memory.fits(pixels.half())
    assert not memory.fits(torch.zeros(5, 3, 8, 8))
    assert memory.nbytes == 5 * (3 * 16 * 4 + 4 + 1 + 8)
