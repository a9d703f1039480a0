"""Camera motion: the transform is found among objects that move otherwise, and named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moving import similarity, true_field

from texvlm.motion import MotionField, camera_motion

SIZE = (640, 480)


def seen(matrix, rng, *, noise=0.2, objects=0.3) -> tuple[MotionField, np.ndarray]:
    """A camera's field with noise, a block of which moves by itself: the field, and where that is."""
    truth = true_field(SIZE, matrix)
    flow = truth.flow + rng.normal(0, noise, truth.flow.shape).astype(np.float32)
    moving = np.zeros(truth.valid.shape, bool)
    rows, columns = (round(side * objects**0.5) for side in moving.shape)
    moving[5 : 5 + rows, 8 : 8 + columns] = True
    flow[moving] += (14, -9)
    return MotionField(flow, np.ones_like(moving), SIZE, (16, 16), "test"), moving


@pytest.mark.parametrize("model", ["similarity", "affine", "homography"])
@pytest.mark.parametrize(
    ("motion", "kind"),
    [
        ({}, "static"),
        ({"shift": (-12, 5)}, "pan"),
        ({"zoom": 1.03}, "zoom"),
        ({"turn": 0.03}, "rotation"),
        ({"zoom": 1.04, "turn": 0.02, "shift": (6, 3)}, "mixed"),
    ],
)
def test_the_camera_is_told_from_what_moves_before_it(model, motion, kind, rng):
    matrix = similarity(SIZE, **motion)
    field, moving = seen(matrix, rng)
    camera = camera_motion(field, model=model)
    assert camera.kind == kind
    np.testing.assert_allclose(camera.at(field.centres()), true_field(SIZE, matrix).flow, atol=0.25)
    assert (camera.inliers != ~moving).mean() < 0.02
    assert camera.share == pytest.approx(0.7, abs=0.04)
    np.testing.assert_allclose(camera.residual.flow[moving].mean(axis=0), (14, -9), atol=0.3)
    np.testing.assert_allclose(camera.residual.flow[~moving].mean(axis=0), (0, 0), atol=0.1)
    still = camera.field()
    assert still.origin == "camera"
    np.testing.assert_allclose(still.flow[still.valid], camera.at(field.centres()[still.valid]), atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    zoom=st.floats(0.9, 1.1),
    turn=st.floats(-0.1, 0.1),
    shift=st.tuples(st.floats(-30, 30), st.floats(-30, 30)),
)
def test_a_field_without_noise_gives_the_very_transform(zoom, turn, shift):
    matrix = similarity(SIZE, zoom=zoom, turn=turn, shift=shift)
    field = true_field(SIZE, matrix)
    camera = camera_motion(field)
    assert camera.share == 1
    np.testing.assert_allclose(camera.at(field.centres()), field.flow, atol=1e-2)


def test_a_turning_camera_needs_a_homography(rng):
    matrix = np.eye(3)
    matrix[2, :2] = 6e-5, -9e-5
    field, _ = seen(matrix, rng, objects=0.1)
    assert camera_motion(field, model="homography").share > 0.85
    assert camera_motion(field, model="similarity").share < 0.6


def test_the_same_field_gives_the_same_answer(rng):
    field, _ = seen(similarity(SIZE, zoom=1.02), rng)
    first, second = camera_motion(field), camera_motion(field)
    assert np.array_equal(first.matrix, second.matrix)
    assert np.array_equal(first.inliers, second.inliers)


def test_where_no_motion_prevails_nothing_is_claimed(rng):
    flow = rng.uniform(-40, 40, (30, 40, 2)).astype(np.float32)
    chaos = camera_motion(MotionField(flow, np.ones((30, 40), bool), SIZE, (16, 16), "test"))
    assert chaos.kind == "unknown"
    assert np.array_equal(chaos.matrix, np.eye(3))
    assert not chaos.inliers.any()
    assert np.array_equal(chaos.residual.flow, flow)
    assert not chaos.field().valid.any()


@pytest.mark.parametrize("size", [(16, 16), (48, 16), SIZE])
def test_too_few_valid_cells_give_no_camera(size):
    assert camera_motion(MotionField.zero(size, valid=False)).kind == "unknown"
    assert camera_motion(MotionField.zero(size), model="affine").kind == ("static" if size == SIZE else "unknown")


def test_cells_in_one_row_fix_what_they_can():
    field = MotionField.zero((640, 16))
    camera = camera_motion(field, model="affine")
    assert camera.kind == "static"
    assert camera.share == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model": "spline"}, "model is 'spline'; accepted: similarity, affine, homography"),
        ({"tolerance": 0}, "tolerance is 0"),
        ({"least_share": 1.5}, "least_share 1.5"),
    ],
)
def test_bad_options_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        camera_motion(MotionField.zero(SIZE), **options)
