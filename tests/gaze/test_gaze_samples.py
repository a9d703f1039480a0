"""Samples and their clocks: what is refused, what is only unusable, and two eyes as one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texvlm.gaze import GazeSample, cyclopean, measure_offset_ns, to_clock

FORWARD = (0.0, 0.0, -1.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"time_ns": 1.5}, "time_ns is 1.5; accepted: whole nanoseconds"),
        ({"clock": ""}, "clock is ''"),
        ({"clock": "a,b"}, "clock is 'a,b'"),
        ({"eye": "third"}, "eye is 'third'; accepted: 'left', 'right', 'both'"),
        ({"confidence": 1.2}, "confidence is 1.2; accepted: 0..1"),
        ({"point": (0.1, 0.2)}, "both a direction and a point"),
        ({"direction": None}, "valid gaze sample without direction or point"),
        ({"direction": (0.0, 1.0)}, "direction has 2 numbers"),
    ],
)
def test_what_is_no_sample_is_refused(fields, message):
    with pytest.raises((ValueError, TypeError), match=message):
        GazeSample(**({"time_ns": 0, "direction": FORWARD} | fields))


def test_a_shut_eye_is_no_error():
    lost = GazeSample(0, (math.nan, math.nan, math.nan), confidence=math.nan)
    assert not lost.usable()
    assert not GazeSample(0, valid=False).usable()
    assert not GazeSample(0, FORWARD, valid=False).usable()
    assert GazeSample(np.int64(3), np.array(FORWARD)).usable()
    assert not GazeSample(0, FORWARD, confidence=0.4).usable(0.5)


def test_another_clock_is_refused_unless_its_offset_is_known():
    sample = GazeSample(100, FORWARD, clock="tracker")
    with pytest.raises(ValueError, match=r"clock 'tracker' where 'monotonic' is used; give offsets_ns={'tracker': "):
        to_clock(sample, "monotonic", {"other": 5})
    moved = to_clock(sample, "monotonic", {"tracker": -30})
    assert (moved.time_ns, moved.clock, moved.direction) == (70, "monotonic", FORWARD)
    assert to_clock(moved, "monotonic") is moved


@given(
    offset=st.integers(-(10**15), 10**15),
    delays=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=4, max_size=4),
)
def test_an_offset_is_wrong_by_half_the_shortest_delay_at_most(offset, delays):
    now, waits = [0], [0, *(wait for pair in delays for wait in (*pair, 10))]

    def ours() -> int:
        now[0] += waits.pop(0)
        return now[0]

    def theirs() -> int:
        now[0] += waits.pop(0)
        return now[0] - offset

    found = measure_offset_ns(theirs, ours, rounds=4)
    assert abs(found - offset) <= min(there + back for there, back in delays) / 2 + 1


def test_an_offset_is_measured_once_at_least():
    with pytest.raises(ValueError, match="rounds is 0"):
        measure_offset_ns(lambda: 0, rounds=0)


def test_two_eyes_look_between_them():
    left, right = GazeSample(10, (0.2, 0.0, -2.0), eye="left"), GazeSample(12, (-0.1, 0.0, -1.0), eye="right")
    both = cyclopean(left, right)
    assert both.eye == "both"
    assert both.time_ns == 12
    np.testing.assert_allclose(both.direction, (0, 0, -2 / math.hypot(1, 0.1)), atol=1e-12)
    points = cyclopean(GazeSample(0, point=(0.2, 0.4)), GazeSample(0, point=(0.4, 0.8), confidence=0.7))
    assert points.point == pytest.approx((0.3, 0.6))
    assert points.confidence == 0.7


def test_one_eye_speaks_where_the_other_is_shut():
    left, shut = GazeSample(10, point=(0.2, 0.3), eye="left"), GazeSample(11, valid=False, eye="right")
    assert cyclopean(left, shut).point == (0.2, 0.3)
    assert not cyclopean(shut, shut).usable()
    opposite = cyclopean(GazeSample(0, (1.0, 0.0, 0.0)), GazeSample(0, (-1.0, 0.0, 0.0)))
    assert not opposite.usable()


def test_eyes_that_cannot_be_combined_are_refused():
    with pytest.raises(ValueError, match="clocks 'a' and 'b'; bring them to one"):
        cyclopean(GazeSample(0, FORWARD, clock="a"), GazeSample(0, FORWARD, clock="b"))
    with pytest.raises(ValueError, match="project the direction first"):
        cyclopean(GazeSample(0, FORWARD), GazeSample(0, point=(0.5, 0.5)))
