"""From one ray of both eyes to a sample for each picture."""

from __future__ import annotations

import math

import pytest

from texvlm.gaze import UPRIGHT, FovProjector, Pose
from texvlm.xr import XR_CLOCK, GazeOfFrames, GazeRay
from texvlm.xr.eye_gaze import straight_ahead

FOV = FovProjector(-0.9, 0.7, 0.8, -0.85)
EYES = [("left", FOV, Pose((-0.03, 0, 0))), ("right", FOV, Pose((0.03, 0, 0)))]


def test_far_away_both_eyes_look_the_same_way():
    left, right = GazeOfFrames().samples(straight_ahead(7), EYES)
    assert left.point == right.point == FOV((0, 0, -1))
    assert (left.eye, right.eye, left.clock, left.time_ns) == ("left", "right", XR_CLOCK, 7)


@pytest.mark.parametrize("distance_m", [0.3, 1.0, 4.0])
def test_what_is_near_is_seen_by_each_eye_in_its_own_place(distance_m):
    left, right = GazeOfFrames(distance_m).samples(straight_ahead(0), EYES)
    apart = left.point[0] - right.point[0]
    assert apart == pytest.approx(0.06 / distance_m / (math.tan(0.9) + math.tan(0.7)))


def test_a_sample_is_given_once():
    gaze = GazeOfFrames()
    assert len(gaze.samples(GazeRay(10, UPRIGHT), EYES)) == 2
    assert gaze.samples(GazeRay(10, UPRIGHT), EYES) == ()
    assert gaze.samples(GazeRay(9, UPRIGHT), EYES) == ()
    assert gaze.samples(None, EYES) == ()
    assert len(gaze.samples(GazeRay(11, UPRIGHT), EYES)) == 2


def test_a_loss_without_a_time_lies_right_after_what_was_last():
    gaze = GazeOfFrames()
    assert gaze.samples(GazeRay(None, None), EYES) == ()
    gaze.samples(GazeRay(10, UPRIGHT), EYES)
    assert [sample.time_ns for sample in gaze.samples(GazeRay(None, None), EYES)] == [11, 11]
    assert [sample.valid for sample in gaze.samples(GazeRay(12, UPRIGHT), EYES)] == [True, True]


def test_a_ray_behind_the_picture_and_a_blink_are_no_gaze():
    gaze = GazeOfFrames()
    backwards = Pose(orientation=(0, 1, 0, 0))
    for ray in (GazeRay(1, backwards), GazeRay(2, None)):
        assert [(sample.valid, sample.point) for sample in gaze.samples(ray, EYES)] == [(False, None)] * 2
