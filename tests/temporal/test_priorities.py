"""Priorities: what differs from what was looked at, coarse before fine; fades, ages, motion, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from fixation.scenes import SIZE, plain, scenes_of, uv, with_square
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from texvlm import Engine
from texvlm.fixation import FollowMap, Peaks, find_peaks, parse_look, scene_of
from texvlm.layouts.table import make_table
from texvlm.motion.field import MotionField
from texvlm.temporal.priorities import Priorities, combined_difference, level_means
from texvlm.temporal.token_cells import NOBODY, token_cells

SPOT = (200, 60)


def maps_of(evidence, frames, **more):
    return [evidence.score(scene).values.copy() for scene in scenes_of(frames, **more)]


def test_levels_are_those_of_the_pyramid(rng):
    frame = rng.integers(0, 256, (64, 96, 3), np.uint8)
    with Engine(backend="cpu", threshold=0) as engine:
        engine.submit(frame)
        found = level_means(engine.read_level(1).astype(np.float32), 4)
        for level, mean in enumerate(found, 1):
            assert np.abs(mean - engine.read_level(level)).max() <= 1  # bytes are rounded
    assert len(level_means(np.zeros((1, 3, 1), np.float32), 9)) == 3


@settings(max_examples=30, deadline=None)
@given(
    arrays(np.float32, (7, 9, 1), elements=st.floats(-1, 1, width=32)),
    st.lists(st.floats(0.1, 10), min_size=1, max_size=5),
)
def test_combined_differences_are_bounded_by_the_difference_and_zero_for_none(difference, weights):
    found = combined_difference(difference, weights, noise=0)
    assert found.min() >= 0
    assert found.max() <= np.abs(difference).max() + 1e-6
    assert not combined_difference(0 * difference, weights, noise=0).any()
    assert not combined_difference(difference, weights[:1], noise=1).any()
    more = combined_difference(2 * difference, weights, noise=0)
    np.testing.assert_allclose(more, 2 * found, rtol=1e-4, atol=1e-6)


def test_what_a_whole_area_does_outweighs_flutter_of_the_same_size():
    area, flutter = (np.zeros((16, 16, 1), np.float32) for _ in range(2))
    area[4:12, 4:12] = 0.2
    flutter[4:12, 4:12] = 0.2 * (1 - 2 * (np.indices((8, 8)).sum(axis=0) % 2))[..., None]
    weights = (1, 2, 4)
    assert combined_difference(area, weights, noise=0).max() > 5 * combined_difference(flutter, weights, noise=0).max()


def test_a_change_is_found_where_it_is_and_fades():
    frames = [plain()] * 2 + [with_square(SPOT)] * 20
    found = maps_of(Priorities(decay_s=0.2), frames)
    assert not found[0].any()
    assert not found[1].any()
    np.testing.assert_allclose(np.diff(np.log([m.max() for m in found[2:]])), -1 / 30 / 0.2, rtol=1e-3)
    evidence = Priorities()
    for scene in scenes_of(frames[:3]):
        peaks = find_peaks(evidence.score(scene), 1, spacing=0.1, size=SIZE)
    np.testing.assert_allclose((peaks[0].u, peaks[0].v), uv(*SPOT), atol=0.03)


def faded(gray):
    frame = np.full((SIZE[1], SIZE[0], 3), 90 / 255, np.float32)
    frame[40:80, 180:220] = gray / 255
    return frame


def test_a_fade_too_slow_for_any_two_frames_adds_up():
    frames = [faded(90 + 0.2 * k) for k in range(60)]
    weights, noise = (1, 2, 4, 8), 4 / 255
    assert not combined_difference(frames[1] - frames[0], weights, noise=noise).any()
    steps = maps_of(Priorities(noise=noise, decay_s=1e-3), frames)
    counted = [k for k, found in enumerate(steps) if found.max() > 1e-6]
    assert counted
    assert np.diff([0, *counted, 60]).max() <= 21  # again and again, as often as the noise allows


def test_what_the_whole_frame_does_is_no_priority():
    found = maps_of(Priorities(), [plain(gray=g) for g in (90, 120, 60, 200)])
    assert all(m.max() < 1e-6 for m in found)


def test_told_a_place_counts_until_it_was_looked_at():
    evidence = Priorities(commit="told")
    frames = [plain()] + [with_square(SPOT)] * 4
    for k, scene in enumerate(scenes_of(frames)):
        score = evidence.score(scene).values
        if k in (1, 2):
            assert score.max() > 0.1
        if k == 2:
            elsewhere = np.ones((6, 10), bool)
            elsewhere[:, 5:] = False
            evidence.look_at(places=elsewhere)
        if k == 3:
            assert score.max() > 0.1, "nobody looked there"
            evidence.look_at(places=~elsewhere)
        if k == 4:
            assert not score.any()


def test_ages_grow_until_looked_at():
    evidence = Priorities(commit="told", age_weight=0.5, age_s=0.1)
    ages = []
    for k, scene in enumerate(scenes_of([plain()] * 8, rate=30)):
        ages.append(float(evidence.score(scene).values.max()))
        if k == 5:
            evidence.look_at()
    np.testing.assert_allclose(ages, 0.5 * np.minimum(np.array([0, 1, 2, 3, 4, 5, 1, 2]) / 3, 1), atol=1e-6)


def test_motion_counts_against_that_of_the_frame():
    flow = np.full((12, 20, 2), (7.0, 0.0), np.float32)  # the camera pans
    flow[3, 12] = 0  # and one thing moves with it
    field = MotionField(flow, np.ones((12, 20), bool), SIZE, (16, 16), "test")
    evidence = Priorities(motion_weight=2, longest=20)
    unknown = MotionField.zero(SIZE, valid=False)
    for scene in scenes_of([plain()] * 2):
        found = evidence.score(scene, motion=field).values
        assert not Priorities(motion_weight=2).score(scene, motion=unknown).values.any()
    assert np.unravel_index(found.argmax(), found.shape) == (3, 12)
    assert found.max() == pytest.approx(2)
    assert np.count_nonzero(found) == 1


def test_sources_are_apart_and_start_anew():
    evidence = Priorities(commit="told")
    with Engine(backend="cpu", threshold=0, sources=2) as engine:

        def score(frame, source):
            engine.submit(frame, source)
            return evidence.score(scene_of(engine, source)).values.any()

        assert not score(plain(), 0)
        assert not score(with_square(SPOT), 1)
        assert score(with_square(SPOT), 0)
        assert not score(with_square(SPOT), 1)
        assert not score(plain((96, 64)), 1), "another size starts anew"
        evidence.reset(0)
        assert not score(plain(), 0)
        evidence.reset()
        with pytest.raises(ValueError, match="source 0 has no frame that could have been looked at"):
            evidence.look_at(0)


def test_as_a_look():
    look = parse_look("priorities:levels=3,noise=0.01,count=2").make()
    assert isinstance(look, Peaks)
    assert (look.evidence.levels, look.evidence.noise, look.count) == (3, 0.01, 2)
    assert isinstance(parse_look("priorities:follow=map").make(), FollowMap)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"levels": 0}, "levels is 0"),
        ({"noise": -1}, "noise is -1"),
        ({"decay_s": 0}, "decay_s is 0"),
        ({"weights": (1, 2)}, "weights are .* for 4 levels"),
        ({"commit": "never"}, "commit is 'never'; accepted: changed, told"),
        ({"age_weight": 1}, 'give commit="told"'),
    ],
)
def test_options_that_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        Priorities(**options)


def test_calls_that_are_refused():
    evidence = Priorities(commit="told")
    for scene in scenes_of([plain()]):
        with pytest.raises(ValueError, match="for one of"):
            evidence.score(scene, motion=MotionField.zero((64, 64)))


def test_places_that_are_refused():
    evidence = Priorities(commit="told")
    for scene in scenes_of([plain()]):
        evidence.score(scene)
    with pytest.raises(ValueError, match="accepted: bool"):
        evidence.look_at(places=np.ones((3, 3)))


def test_cells_belong_to_the_smallest_token_over_their_centre():
    table = make_table([32, 8, 200], [32, 8, 8], [64, 16, 16], size=(64, 64))
    owner = token_cells(table, size=(64, 64), shape=(8, 8))
    expected = np.zeros((8, 8), int)
    expected[:2, :2] = 1
    np.testing.assert_array_equal(owner, expected)
    table["layer"][0] = -1
    assert (token_cells(table, size=(64, 64), shape=(8, 8)) == NOBODY).sum() == 60
    with pytest.raises(ValueError, match="rows of one view"):
        token_cells(table[None], size=(64, 64), shape=(8, 8))
