"""Gaze into fixations: one for each source, on one clock, smoothed, held, predicted, from any thread."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texvlm import Engine
from texvlm.fixation import GazePoint, Looker, engine_arguments, scene_of
from texvlm.gaze import FovProjector, GazeInput, GazeSample, GazeView
from texvlm.gaze.input import WAITING

MS = 1_000_000
FOV = FovProjector(-0.9, 0.7, 0.6, -0.8)
EYES = (GazeView(FOV, "left"), GazeView(FovProjector(-0.7, 0.9, 0.6, -0.8), "right"))


def test_the_centre_until_there_is_a_sample():
    assert GazeInput().at(0) == ((0.5, 0.5), "none")
    assert GazeInput(EYES).fixations(10 * MS).tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_each_eye_has_its_own_source():
    gaze = GazeInput(EYES)
    for k in range(5):
        gaze.put(GazeSample(k * MS, FOV.direction((0.25, 0.75)), eye="left"))
        gaze.put(GazeSample(k * MS, EYES[1].projector.direction((0.5, 0.125)), eye="right"))
    np.testing.assert_allclose(gaze.fixations(4 * MS), [[0.25, 0.75], [0.5, 0.125]], atol=1e-9)


def test_one_gaze_may_serve_both_eyes_views():
    gaze = GazeInput([GazeView(view.projector) for view in EYES])
    gaze.put(GazeSample(0, (0.0, 0.0, -1.0)))
    (left, up), (right, _) = gaze.fixations(0)
    assert left == pytest.approx(1 - right)
    assert left > 0.5
    assert up == pytest.approx(math.tan(0.6) / (math.tan(0.6) + math.tan(0.8)))


def test_points_need_no_projector():
    gaze = GazeInput()
    gaze.put(GazeSample(0, point=(0.2, 0.9)))
    assert gaze.at(0) == ((0.2, 0.9), "followed")


def test_it_is_placed_where_the_eye_will_be_when_the_frame_is_shown():
    def moving(**options) -> GazeInput:
        gaze = GazeInput(beta=100.0, reach=0.3, **options)
        for k in range(1000):  # 0.5 frames a second
            gaze.put(GazeSample(k * MS, point=(0.2 + 0.0005 * k, 0.5)))
        return gaze

    (now, _), _ = moving().at(999 * MS)
    (later, v), state = moving().at(1049 * MS)
    assert later - now == pytest.approx(0.025, rel=0.02)
    assert v == pytest.approx(0.5)
    assert state == "followed"
    (further, _), _ = moving(latency_s=0.02).at(1049 * MS)
    assert further - later == pytest.approx(0.01, rel=0.02)
    (far, _), _ = moving(latency_s=100.0).at(999 * MS)
    assert far - now == pytest.approx(0.3, rel=1e-6)


@pytest.mark.parametrize("rate_hz", [60, 120, 500])
def test_after_a_saccade_it_is_where_the_eye_came_to_rest(rate_hz, rng):
    gaze = GazeInput()
    for k in range(rate_hz):
        time_s = k / rate_hz - 0.5
        u = 0.3 + 0.3 * min(max(time_s / 0.04, 0.0), 1.0)  # 0.3 frame sides in 40 ms
        gaze.put(GazeSample(int(time_s * 1e9), point=(u + rng.normal(0, 0.001), 0.5)))
        (seen, _), _ = gaze.at(int((time_s + 0.05) * 1e9))
        assert 0.29 < seen < 0.61  # never thrown beyond
        if not 0 < time_s < 0.12:
            assert abs(seen - u) < 0.01


def test_what_moved_behind_the_lid_is_no_motion():
    gaze = GazeInput()
    for k in range(100):
        shut = 50 <= k < 65  # 125 ms; meanwhile the eye has moved
        gaze.put(GazeSample(k * 8 * MS, point=(0.3 if k < 60 else 0.4, 0.5), valid=not shut))
        (seen, _), _ = gaze.at((k * 8 + 50) * MS)
        assert 0.3 <= seen <= 0.4 + 1e-9


def test_a_blink_holds():
    gaze = GazeInput()
    gaze.put(GazeSample(0, point=(0.2, 0.3)))
    for k, lost in enumerate(
        (
            GazeSample(10 * MS, valid=False),
            GazeSample(20 * MS, point=(math.nan, 0.4)),
            GazeSample(30 * MS, point=(0.9, 0.9), confidence=0.2),
            GazeSample(40 * MS, point=(1e30, 0.9)),
        )
    ):
        gaze.put(lost)
        assert gaze.at((15 + 10 * k) * MS) == ((0.2, 0.3), "held")
    gaze.put(GazeSample(50 * MS, point=(0.2, 0.3)))
    assert gaze.at(60 * MS) == ((0.2, 0.3), "followed")
    assert gaze.at(900 * MS) == ((0.2, 0.3), "held")  # the tracker fell silent


def test_behind_the_eye_counts_as_a_blink():
    gaze = GazeInput([GazeView(FOV)])
    gaze.put(GazeSample(0, FOV.direction((0.25, 0.75))))
    gaze.put(GazeSample(1, (0.0, 0.0, 1.0)))
    point, state = gaze.at(2)
    assert point == pytest.approx((0.25, 0.75))
    assert state == "held"


def test_the_clock_is_one():
    with pytest.raises(ValueError, match="clock 'openxr' where 'monotonic' is used"):
        GazeInput().put(GazeSample(0, point=(0.5, 0.5), clock="openxr"))
    gaze = GazeInput(offsets_ns={"openxr": 1000 * MS})
    gaze.put(GazeSample(0, point=(0.1, 0.1), clock="openxr"))
    assert gaze.at(1000 * MS)[1] == "followed"
    with pytest.raises(TypeError, match=r"time_ns is 0\.5; accepted: whole nanoseconds"):
        gaze.at(0.5)


def test_what_cannot_be_taken_is_refused_and_changes_nothing():
    gaze = GazeInput([GazeView(FOV, "left"), GazeView(None, "left")])
    with pytest.raises(ValueError, match=r"of 'right', which none of the 2 views follows .*; combine them with"):
        gaze.put(GazeSample(0, point=(0.5, 0.5), eye="right"))
    with pytest.raises(ValueError, match=r"of 'both', which none of the 2 views follows .*; give a GazeView with"):
        gaze.put(GazeSample(0, point=(0.5, 0.5)))
    with pytest.raises(ValueError, match="with a direction, for a view without projector"):
        gaze.put(GazeSample(5, (0.0, 0.0, -1.0), eye="left"))
    gaze.put(GazeSample(5, point=(0.2, 0.2), eye="left"))
    with pytest.raises(ValueError, match="of 'left' at 4 ns after one at 5 ns; times never go back"):
        gaze.put(GazeSample(4, point=(0.9, 0.9), eye="left"))
    np.testing.assert_allclose(gaze.fixations(5), 0.2)
    assert gaze.at(5, 1)[1] == "followed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": ()}, "no view"),
        ({"min_confidence": 2}, "min_confidence is 2"),
        ({"latency_s": -1}, "latency_s is -1"),
        ({"clock": "two words"}, "clock is 'two words'"),
        ({"reach": -1}, "reach is -1"),
        ({"blink_s": 0}, "blink_s is 0"),
        ({"beta": -1}, "beta is -1"),
    ],
)
def test_settings_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        GazeInput(**options)


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2000),
            st.one_of(
                st.tuples(NUMBERS, NUMBERS, NUMBERS).map(lambda d: {"direction": d}),
                st.tuples(NUMBERS, NUMBERS).map(lambda p: {"point": p}),
                st.just({"valid": False}),
            ),
            st.sampled_from([0.0, 0.6, 1.0, math.nan]),
        )
    ),
    st.integers(-(10**12), 10**12),
)
def test_whatever_a_tracker_says_the_fixation_is_a_place_near_the_frame(samples, shown_ns):
    gaze, now, usable = GazeInput([GazeView(FOV)], reach=0.1), 0, False
    for wait_ms, where, confidence in samples:
        now += wait_ms * MS
        sample = GazeSample(now, **where, confidence=confidence)
        gaze.put(sample)
        usable |= sample.usable(0.5)
        ((u, v), state) = gaze.at(now)
        assert max(abs(u - 0.5), abs(v - 0.5)) <= 8.2
        assert usable or state == "none"
    assert np.isfinite(gaze.fixations(shown_ns)).all()


def test_reset_forgets():
    gaze = GazeInput(EYES)
    for eye in ("left", "right"):
        gaze.put(GazeSample(5, (0.1, 0.1, -1.0), eye=eye))
    gaze.reset(0)
    assert [gaze.at(5, k)[1] for k in range(2)] == ["none", "followed"]
    gaze.reset()
    gaze.put(GazeSample(0, (0.1, 0.1, -1.0), eye="left"))  # an earlier clock is fine now
    assert [gaze.at(5, k)[1] for k in range(2)] == ["followed", "none"]


def test_an_app_that_never_asks_keeps_little():
    gaze = GazeInput()
    for k in range(WAITING + 500):
        gaze.put(GazeSample(k * MS, point=(0.5, 0.5)))
    assert len(gaze._waiting[0]) == WAITING
    assert gaze.at((WAITING + 499) * MS)[1] == "followed"


def test_samples_may_come_on_another_thread():
    gaze, failures = GazeInput(EYES), []

    def track() -> None:
        try:
            for k in range(2000):
                gaze.put(GazeSample(k * MS, FOV.direction((0.25, 0.75)), eye="left"))
        except Exception as error:
            failures.append(error)

    tracker = threading.Thread(target=track)
    tracker.start()
    while tracker.is_alive():
        points = gaze.fixations(2000 * MS)
        assert np.isfinite(points).all()
    tracker.join()
    assert not failures
    np.testing.assert_allclose(gaze.at(2000 * MS)[0], (0.25, 0.75), atol=1e-9)


def test_it_is_a_look_policy_for_all_its_sources(rng):
    gaze = GazeInput(EYES)
    looker = Looker(lambda: gaze)
    frame = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    with Engine(backend="cpu", sources=2, tokens=12) as engine:
        for source in range(2):
            engine.submit(frame, source)
        gaze.put(GazeSample(0, FOV.direction((0.25, 0.75)), eye="left"))
        right = GazePoint(0.0, 0.125, 0.5)  # what another part already knows on the frame
        looks = [
            looker.look(scene_of(engine, source, time_s=0.001, gaze=(right,) if source else ())) for source in (0, 1)
        ]
        np.testing.assert_allclose([look.fixations[0] for look in looks], [[0.25, 0.75], [0.125, 0.5]], atol=1e-9)
        assert [look.why for look in looks] == ["gaze", "gaze"]
        assert len(engine.tokens(**engine_arguments(looks))) == 2
        assert len(engine.tokens(gaze.fixations(1))) == 2
        with pytest.raises(ValueError, match=r"source 2; this gaze has views for 0\.\.1"):
            gaze.look(scene_of_third(engine))


def scene_of_third(engine: Engine):
    from dataclasses import replace

    return replace(scene_of(engine, 0), source=2)
