"""Directions to points: held to a projection matrix, to geometry, and to never giving what is no number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texvlm.gaze import UPRIGHT, FovProjector, PinholeProjector, Pose, project

ANGLES = st.floats(0.1, 1.4)
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
QUATERNIONS = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: math.hypot(*q) > 0.1)


def through_a_matrix(fov: FovProjector, direction: tuple[float, float, float]) -> tuple[float, float]:
    """OpenGL's off-axis projection of a point far along the ray, and its viewport with v downwards."""
    left, right, up, down = (math.tan(angle) for angle in (fov.left, fov.right, fov.up, fov.down))
    matrix = np.array(
        [
            [2 / (right - left), 0, (right + left) / (right - left), 0],
            [0, 2 / (up - down), (up + down) / (up - down), 0],
            [0, 0, -1, -0.2],
            [0, 0, -1, 0],
        ]
    )
    x, y, _, w = matrix @ (*direction, 0)
    return (x / w + 1) / 2, (1 - y / w) / 2


@given(ANGLES, ANGLES, ANGLES, ANGLES, st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-9, -0.3)))
def test_an_asymmetric_view_is_that_of_its_projection_matrix(left, right, up, down, direction):
    fov = FovProjector(-left, right, up, -down)
    expected = through_a_matrix(fov, direction)
    found = project(fov, direction)
    if found is None:
        assert max(abs(value - 0.5) for value in expected) >= 7.99
    else:
        assert found == pytest.approx(expected, abs=1e-9)


@given(ANGLES, ANGLES, ANGLES, ANGLES, st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_the_ray_through_a_point_leads_back_to_it(left, right, up, down, point):
    fov = FovProjector(-left, right, up, -down)
    assert project(fov, fov.direction(point)) == pytest.approx(point, abs=1e-9)


def test_edges_and_centre():
    fov = FovProjector(-0.9, 0.7, 0.6, -0.8)
    assert project(fov, (math.tan(-0.9), 0, -1)) == pytest.approx((0, math.tan(0.6) / (math.tan(0.6) + math.tan(0.8))))
    assert project(fov, (2 * math.tan(0.7), 2 * math.tan(-0.8), -2)) == pytest.approx((1, 1))
    flipped = FovProjector(-0.9, 0.7, -0.8, 0.6)  # as some runtimes ask for pictures upside down
    assert project(flipped, (0, math.tan(0.6), -1))[1] == pytest.approx(1)


@given(st.floats(0.2, 2.5), st.integers(16, 4000), st.integers(16, 4000))
def test_a_symmetric_view_is_a_pinhole_camera(angle, width, height):
    focal = width / 2 / math.tan(angle / 2)
    camera = PinholeProjector((focal, focal), (width / 2, height / 2), (width, height))
    fov = FovProjector.symmetric(angle, aspect=width / height)
    for direction in ((0.1, 0.05, -1.0), (-0.02, 0.1, -0.7), (0.0, 0.0, -3.0)):
        assert project(camera, direction) == pytest.approx(project(fov, direction), abs=1e-9)


def test_a_camera_counts_from_the_outer_corner():
    camera = PinholeProjector((500, 400), (320, 250), (640, 480))
    assert project(camera, (0, 0, -1)) == (0.5, 250 / 480)
    assert project(camera, (0.1, 0.1, -1)) == pytest.approx((370 / 640, 210 / 480))


@given(NUMBERS, NUMBERS, NUMBERS)
def test_no_number_that_is_none_comes_out(x, y, z):
    for projector in (
        FovProjector(-0.9, 0.7, 0.6, -0.8),
        PinholeProjector((500, 400), (320, 250), (640, 480)),
        lambda direction: (direction[0], math.nan),
        lambda direction: (math.inf, 0.0),
        lambda direction: None,
    ):
        point = project(projector, (x, y, z))
        assert point is None or all(map(math.isfinite, point))
        if point is not None:
            assert z < 0
            assert max(abs(value - 0.5) for value in point) <= 8


@pytest.mark.parametrize("direction", [(0, 0, 1), (0, 0, 0), (1, 1, 0), (0.3, 0.1, 2), (1, 0, -1e-12)])
def test_behind_the_eye_and_beside_it_there_is_no_picture(direction):
    assert project(FovProjector(-0.9, 0.7, 0.6, -0.8), direction) is None
    assert project(PinholeProjector((500, 400), (320, 250), (640, 480)), direction) is None


def test_any_callable_is_a_projector():
    assert project(lambda ray: (ray[0] + 0.5, 0.5 - ray[1]), (0.25, 0.125, -1)) == (0.75, 0.375)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FovProjector(-1.6, 0.7, 0.6, -0.8), "left is -1.6; accepted: radians"),
        (lambda: FovProjector(-0.5, math.nan, 0.6, -0.8), "right is nan"),
        (lambda: FovProjector(0.5, 0.5, 0.6, -0.8), "has no size"),
        (lambda: PinholeProjector((0, 400), (1, 1), (2, 2)), r"focal is \(0, 400\)"),
        (lambda: PinholeProjector((1, 1), (math.inf, 1), (2, 2)), "centre is"),
        (lambda: PinholeProjector((1, 1), (1, 1), (0, 2)), "size is"),
        (lambda: Pose(orientation=(0, 0, 0, 0)), "of finite length above 0"),
        (lambda: Pose(position=(math.nan, 0, 0)), "accepted are metres"),
    ],
)
def test_what_is_no_view_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---------------------------------------------------------------- poses


def rotation(quaternion: tuple[float, float, float, float]) -> np.ndarray:
    x, y, z, w = np.array(quaternion) / math.hypot(*quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@given(QUATERNIONS, QUATERNIONS)
def test_a_gaze_is_turned_into_the_eyes_view(eye, gaze):
    expected = rotation(eye).T @ rotation(gaze) @ (0, 0, -1)
    np.testing.assert_allclose(Pose(orientation=eye).direction_of(Pose(orientation=gaze)), expected, atol=1e-12)


@given(QUATERNIONS, QUATERNIONS, st.floats(0.2, 10))
def test_what_is_near_lies_aside_for_each_eye(eye, gaze, distance):
    head, view = Pose((0.1, 1.6, -0.2), gaze), Pose((0.13, 1.61, -0.2), eye)
    place = np.array(head.position) + distance * (rotation(gaze) @ (0, 0, -1))
    expected = rotation(eye).T @ (place - view.position)
    np.testing.assert_allclose(view.direction_of(head, distance_m=distance), expected, atol=1e-11)


def test_straight_ahead():
    assert UPRIGHT.forward == (0, 0, -1)
    left, right = Pose((-0.03, 0, 0)), Pose((0.03, 0, 0))
    assert left.direction_of(UPRIGHT, distance_m=0.5) == (0.03, 0, -0.5)
    assert right.direction_of(UPRIGHT, distance_m=0.5) == (-0.03, 0, -0.5)
