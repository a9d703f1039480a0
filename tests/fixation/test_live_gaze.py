"""Live gaze: less jitter at rest, little lag in motion, held in blinks, placed ahead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fixation.scenes import places, plain, scenes_of

from texvlm.fixation import GazePoint, LiveGaze, OneEuro, Scene

STEP_S = 1 / 120


@pytest.fixture(scope="module")
def scene() -> Scene:
    return next(scenes_of([plain()]))


def follow(policy, scene, points, *, per_frame=4, valid=None):
    """Looks of a policy that gets so many samples a frame, 120 a second."""
    looks = []
    for first in range(0, len(points), per_frame):
        samples = tuple(
            GazePoint(k * STEP_S, *points[k], valid=valid is None or bool(valid[k]))
            for k in range(first, min(first + per_frame, len(points)))
        )
        looks.append(policy.look(replace(scene, gaze=samples, time_s=samples[-1].time_s)))
    return looks


def test_the_centre_is_looked_at_until_there_is_a_sample(scene):
    look = LiveGaze().look(scene)
    assert look.fixations.tolist() == [[0.5, 0.5]]
    assert look.why == "gaze: none yet"


def test_jitter_at_rest_is_smoothed(scene, rng):
    points = rng.normal((0.4, 0.6), 0.01, (480, 2))
    found = places(follow(LiveGaze(), scene, points))[20:]
    assert found.std(axis=0).max() < 0.01 / 2
    np.testing.assert_allclose(found.mean(axis=0), (0.4, 0.6), atol=0.005)


def test_motion_is_followed_with_little_lag(scene):
    t = np.arange(240) * STEP_S
    points = np.stack([0.2 + 0.3 * t, np.full_like(t, 0.5)], axis=1)  # 0.3 frames a second
    lag = points[3::4] - places(follow(LiveGaze(), scene, points))
    assert np.abs(lag[10:]).max() < 0.3 * 0.05  # 50 ms
    sluggish = points[3::4] - places(follow(LiveGaze(beta=0), scene, points))
    assert np.abs(lag[10:]).max() < np.abs(sluggish[10:]).max() / 2


def test_latency_is_made_up_for_by_the_speed(scene):
    t = np.arange(240) * STEP_S
    points = np.stack([0.2 + 0.3 * t, np.full_like(t, 0.5)], axis=1)
    now, ahead = (places(follow(LiveGaze(latency_s=latency), scene, points))[-1] for latency in (0.0, 0.1))
    assert ahead[0] - now[0] == pytest.approx(0.03, rel=0.02)
    assert ahead[1] == pytest.approx(now[1])
    far = places(follow(LiveGaze(latency_s=10.0, reach=0.05), scene, points))[-1]
    assert far[0] - now[0] == pytest.approx(0.05, rel=1e-6)


def test_a_blink_holds_and_the_filter_goes_on(scene):
    points = np.tile([0.3, 0.3], (60, 1))
    valid = np.ones(60, bool)
    valid[20:44] = False  # 0.2 s
    points[20:44] = 0.9
    looks = follow(LiveGaze(), scene, points, valid=valid)
    np.testing.assert_allclose(places(looks), 0.3)
    assert looks[6].why == "gaze: no sample, holds"


def test_after_a_long_loss_the_eye_may_be_anywhere(scene):
    points = np.concatenate([np.tile([0.2, 0.2], (40, 1)), np.tile([0.8, 0.7], (100, 1))])
    valid = np.ones(140, bool)
    valid[40:100] = False  # 0.5 s
    looks = follow(LiveGaze(), scene, points, valid=valid)
    np.testing.assert_allclose(places(looks)[10:25], 0.2)
    np.testing.assert_allclose(places(looks)[25], (0.8, 0.7))  # at once, not on a way from there


def test_samples_that_are_no_numbers_are_a_blink(scene):
    policy = LiveGaze()
    policy.look(replace(scene, gaze=(GazePoint(0, 0.3, 0.3),)))
    look = policy.look(replace(scene, gaze=(GazePoint(0.01, float("nan"), 0.5),)))
    assert look.fixations.tolist() == [[0.3, 0.3]]


@pytest.mark.parametrize("time", [0.5, float("nan")])
def test_times_never_go_back(scene, time):
    policy = LiveGaze()
    policy.look(replace(scene, gaze=(GazePoint(1.0, 0.3, 0.3),)))
    with pytest.raises(ValueError, match="never go back"):
        policy.look(replace(scene, gaze=(GazePoint(time, 0.3, 0.3),)))


def test_both_eyes_at_one_time_count_once():
    euro = OneEuro()
    euro.step(np.array([0.2, 0.2]), 0.1)
    assert euro.step(np.array([0.9, 0.9]), 0.0).tolist() == [0.2, 0.2]


def test_a_cutoff_without_speed_is_a_first_order_low_pass():
    euro, found = OneEuro(min_cutoff_hz=2.0, beta=0.0), []
    for value in (0.0, *[1.0] * 20):
        found.append(euro.step(np.array([value, 0.0]), 0.01)[0])
    keep = 1 - 1 / (1 + 1 / (2 * np.pi * 2.0 * 0.01))
    np.testing.assert_allclose(found, [0.0, *(1 - keep ** np.arange(1, 21))])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_cutoff_hz": 0}, "min_cutoff_hz is 0"),
        ({"beta": -1}, "beta is -1"),
        ({"latency_s": -1}, "latency_s is -1"),
        ({"reach": float("inf")}, "reach is inf"),
        ({"blink_s": 0}, "blink_s is 0"),
    ],
)
def test_settings_that_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        LiveGaze(**options)
