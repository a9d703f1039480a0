"""ReuseEncoder over time: the bound from outside, sources that come and go, and runs that are long."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reuse_scenes import View, assert_equal, batch_of, look, painted, picture, quadtree, small_vit, uniform

from texvlm.motion.field import MotionField
from texvlm.temporal.change import ChangeRule
from texvlm.temporal.gates import Threshold
from texvlm.temporal.reports import Level
from texvlm.temporal.reuse import ReuseEncoder

SIZE, PATCH = (24, 24), 4
LEVELS: tuple[Level, ...] = get_args(Level)
ENCODER = small_vit()


class Outside:
    """What somebody knows who keeps the pixels of every token that a report calls encoded, by its place."""

    def __init__(self, rule, std):
        self.rule, self.std = rule, std
        self.kept = {}

    def check(self, pixels, table, report):
        before, self.kept = self.kept, {}
        for row in np.flatnonzero(table["layer"] >= 0):
            place = tuple(table[row][name] for name in ("x", "y", "side"))
            if report.encoded[row]:
                self.kept[place] = (pixels[row].clone(), 0)
                assert (report.deviation[row], report.ages[row]) == (0, 0)
                continue
            encoded, age = before[place]
            off = (pixels[row].double() - encoded.double()).abs()
            if pixels.dtype != torch.uint8:
                off = off * 255 * torch.tensor(self.std).double()[:, None, None]
            change = float(off.mean() if self.rule.measure == "mean" else off.max())
            assert change <= self.rule.threshold + 1e-3
            assert float(report.deviation[row]) == pytest.approx(change, abs=1e-3)
            assert int(report.ages[row]) == age + 1
            assert self.rule.max_age is None or age + 1 < self.rule.max_age
            self.kept[place] = (encoded, age + 1)
        assert not report.moved[report.encoded].any()
        assert report.worst_deviation <= self.rule.threshold
        assert report.tokens == len(self.kept)


STEPS = st.lists(
    st.tuples(
        st.sets(st.integers(0, 3), min_size=1),  # who is there
        st.sampled_from([0, 1, 2, 3]),  # noise, steps of 255
        st.sampled_from(["grid", "grid", "left", "right"]),
        st.sampled_from(["", "", "", "reset", "size"]),
        st.randoms(use_true_random=False),
    ),
    min_size=2,
    max_size=7,
)


@settings(max_examples=20, deadline=None)
@given(
    level=st.sampled_from(LEVELS[1:]),
    rule=st.builds(
        ChangeRule,
        threshold=st.sampled_from([0.0, 0.7, 1.5]),
        measure=st.sampled_from(["mean", "max"]),
        max_age=st.sampled_from([None, 3]),
        refresh=st.sampled_from([0, 2]),
    ),
    steps=STEPS,
    dtype=st.sampled_from([np.uint8, np.float32]),
)
def test_sources_that_come_and_go_keep_the_bound_and_their_own_answers(level, rule, steps, dtype):
    """In one batch in any order, or each with an encoder of its own: the same features."""

    def made():
        return ReuseEncoder(ENCODER, level=level, rule=rule, gates=Threshold(0), context=3)

    together, alone = made(), {source: made() for source in range(4)}
    outside = {source: Outside(rule, ENCODER.std) for source in range(4)}
    frames = {source: picture(SIZE, source, dtype=np.uint8) for source in range(4)}
    for number, (present, noise, layout, event, chance) in enumerate(steps):
        random = np.random.default_rng(chance.getrandbits(32))
        order = chance.sample(sorted(present), len(present))
        one = order[0]
        if event == "reset":
            together.reset(one)
            alone[one].reset(one)
        if event == "size":
            frames[one] = picture((20, 24) if frames[one].shape[1] == 24 else SIZE, number, dtype=np.uint8)
        views = []
        for source in order:
            frame = frames[source]
            change = random.integers(-noise, noise + 1, frame.shape) * (random.random((*frame.shape[:2], 1)) < 0.5)
            frames[source] = frame = (frame.astype(int) + change).clip(0, 255).astype(np.uint8)
            size = (frame.shape[1], frame.shape[0])
            if layout == "grid":
                table = uniform(size, patch=PATCH, rows=37)
            else:
                table = quadtree(size, (0.1, 0.2) if layout == "left" else (0.8, 0.7), tokens=37, patch=PATCH)
            shown = frame if dtype == np.uint8 else (frame / 255).astype(np.float32)
            views.append(View(source, shown, table, number / 25))
        batch = batch_of(ENCODER, views, poison=math.nan if dtype == np.float32 else None)
        found = together(batch)
        for view, source in enumerate(order):
            outside[source].check(batch.pixels[view], batch.table[view], found.reports[view])
            single = alone[source](batch_of(ENCODER, views[view : view + 1]))
            torch.testing.assert_close(found.features.tokens[view], single.features.tokens[0], rtol=0, atol=1e-5)
            torch.testing.assert_close(found.features.prefix[view], single.features.prefix[0], rtol=0, atol=1e-5)
            assert torch.equal(found.reports[view].encoded, single.reports[0].encoded)
            assert found.reports[view].reason == single.reports[0].reason
        if rule.threshold == 0:
            assert_equal(found, ENCODER(batch))


# ---------------------------------------------------------------------- over many frames


@pytest.mark.parametrize("level", LEVELS[1:])
def test_a_slow_fade_triggers(level):
    """0.2 steps of 255 a frame: no frame differs from the last by the threshold, and none may be missed."""
    reuse = ReuseEncoder(ENCODER, level=level, rule=ChangeRule(threshold=1.0), context=0)
    frame = picture(SIZE, 1) * np.float32(0.5)
    since = torch.zeros(36, dtype=torch.int64)
    for step in range(25):
        report = reuse(look(ENCODER, frame + np.float32(0.2 * step / 255))).reports[0]
        since = torch.where(report.encoded[:36], 0, since + 1)
        assert since.max() <= 5
        assert torch.equal(report.ages[:36].long(), since)
        torch.testing.assert_close(report.deviation[:36], 0.2 * since.float(), rtol=0, atol=1e-2)
        assert report.worst_deviation <= 1.0
    assert ReuseEncoder(ENCODER).rule.threshold == 1.0  # what is tried here is what one gets


def test_a_fade_of_bytes_triggers_in_half_of_a_picture_alone():
    reuse = ReuseEncoder(ENCODER, level="L2", rule=ChangeRule(threshold=2.0, measure="max"))
    frame = picture(SIZE, 1, dtype=np.uint8) // 2
    encoded = torch.zeros(36, dtype=torch.int64)
    for step in range(20):
        now = frame.copy()
        now[:12] += np.uint8(step // 2)
        encoded += reuse(look(ENCODER, now)).reports[0].encoded[:36]
    assert encoded[:18].tolist() == [4] * 18  # first, and at steps of 3, 6 and 9
    assert encoded[18:].tolist() == [1] * 18


@pytest.mark.parametrize("level", LEVELS[1:])
@pytest.mark.parametrize("refresh", [1, 5, 36, 50])
def test_turns_visit_every_token(level, refresh):
    reuse = ReuseEncoder(ENCODER, level=level, rule=ChangeRule(refresh=refresh), context=0)
    frame = picture(SIZE, 1)
    reuse(look(ENCODER, frame))
    round_trip = math.ceil(36 / refresh)
    visits = torch.zeros(36, dtype=torch.int64)
    for _ in range(round_trip):
        report = reuse(look(ENCODER, frame)).reports[0]
        assert report.tokens_encoded == min(refresh, 36)
        assert report.oldest <= round_trip
        visits += report.encoded[:36]
    assert visits.min() == 1
    assert visits.sum() == round_trip * min(refresh, 36)


def test_ages_count_frames_not_calls():
    reuse = ReuseEncoder(ENCODER, level="L2", rule=ChangeRule(max_age=3))
    frame = picture(SIZE, 1)
    told = []
    for pts in (0.0, 0.1, 0.1, 0.1, 0.2, 0.3, math.nan, math.nan, 0.4):
        report = reuse(look(ENCODER, frame, pts=pts)).reports[0]
        told.append((report.oldest, report.tokens_encoded))
    assert told == [(0, 36), (1, 0), (1, 0), (1, 0), (2, 0), (0, 36), (1, 0), (2, 0), (0, 36)]


@pytest.mark.parametrize("level", ["L2", "L3"])
def test_a_pan_of_whole_sides_is_followed_exactly(level):
    """All that is reused is told its new place: with gates of 0, the full forward pass."""
    rule = ChangeRule(threshold=0.5)
    reuse = ReuseEncoder(ENCODER, level=level, rule=rule, gates=Threshold(0))
    wide = picture((24 + 4 * 8, 24), 5)
    field = MotionField(np.full((6, 6, 2), (4, 0), np.float32), np.ones((6, 6), np.bool_), SIZE, (4, 4), "test")
    for step in range(8):
        batch = look(ENCODER, wide[:, 4 * step : 4 * step + 24])
        found = reuse(batch, motion={0: field} if level == "L3" and step else None)
        assert_equal(found, ENCODER(batch))
        report = found.reports[0]
        if step:
            assert report.tokens_encoded == (6 if level == "L3" else 36)
            assert int(report.moved.sum()) == (30 if level == "L3" else 0)
    assert report.oldest == (5 if level == "L3" else 0)


def test_long_runs_do_not_drift():
    """200 frames of small changes, with everything that changed taken: still the full forward pass."""
    reuse = ReuseEncoder(ENCODER, level="L2", rule=ChangeRule(threshold=1e-4), gates=Threshold(0))
    frame = picture(SIZE, 1)
    random = np.random.default_rng(2)
    for step in range(200):
        x, y = random.integers(0, 6, 2) * 4
        frame = frame.copy()
        frame[y : y + 4, x : x + 4] += random.normal(0, 0.02, (4, 4, 3)).astype(np.float32)
        batch = look(ENCODER, frame)
        found = reuse(batch)
        assert found.reports[0].tokens_encoded <= 1 or step == 0
        if step % 20 == 19:
            assert_equal(found, ENCODER(batch), bound=2e-5)


def test_sums_of_attention_do_not_drift_behind_gates():
    """What is kept of attention, against its definition on the keys and values that are kept beside it."""
    reuse = ReuseEncoder(ENCODER, level="L2", gates=Threshold(0.2))
    frame, updated = picture(SIZE, 1), 0
    for step in range(200):
        frame = painted(frame, (4 * (step % 6), 4 * (step // 6 % 6)), 4, step)
        reuse(look(ENCODER, frame))
        if step % 25 != 24:
            continue
        assert reuse._blocks is not None
        (room,) = reuse._blocks._rooms.values()
        for kept in room.cache._attention:
            updated += kept._updates[0]
            q, k, v = (part.double().view(39, 2, 8).transpose(0, 1) for part in kept.states[0])
            scores = (q @ k.transpose(1, 2) * 8**-0.5)[..., :37]
            expected = scores.softmax(dim=-1) @ v[:, :37]
            found = kept._totals[0] / kept._sums[0, 2][..., None]
            assert (found - expected)[:, :37].abs().max() < 1e-5
    assert updated > 0
