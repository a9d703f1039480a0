"""Consistency: forward against backward flow, and moved pixels; the kernel against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moving import pair, similarity, true_field

from texvlm.motion import MotionField, Tolerance, consistent, difference, disagreement, occluded, validated

SIZE = (160, 96)


def reference_difference(field: MotionField, new, reference):
    """Slow: every texel by itself, in float64."""
    height, width = new.shape
    scale = round(field.size[0] / width)
    moved, still, outside, count = np.zeros((4, *field.valid.shape))
    for y in range(height):
        for x in range(width):
            px, py = ((x + 0.5) * scale / field.cell[0] - 0.5, (y + 0.5) * scale / field.cell[1] - 0.5)
            px, py = np.clip(px, 0, field.columns - 1), np.clip(py, 0, field.rows - 1)
            flow = bilinear(field.flow.astype(np.float64), px, py) / scale
            cell = (
                min(int((y + 0.5) * scale / field.cell[1]), field.rows - 1),
                min(int((x + 0.5) * scale / field.cell[0]), field.columns - 1),
            )
            fx, fy = x + flow[0], y + flow[1]
            outside[cell] += not (-0.5 <= fx <= width - 0.5 and -0.5 <= fy <= height - 0.5)
            fetched = bilinear(
                reference.astype(np.float64)[..., None], np.clip(fx, 0, width - 1), np.clip(fy, 0, height - 1)
            )[0]
            moved[cell] += abs(new[y, x] - fetched)
            still[cell] += abs(float(new[y, x]) - float(reference[y, x]))
            count[cell] += 1
    return moved / np.maximum(count, 1), still / np.maximum(count, 1), outside / np.maximum(count, 1)


def bilinear(grid, x, y):
    left, top = int(np.floor(x)), int(np.floor(y))
    right, bottom = min(left + 1, grid.shape[1] - 1), min(top + 1, grid.shape[0] - 1)
    u, v = x - left, y - top
    upper = (1 - u) * grid[top, left] + u * grid[top, right]
    return (1 - v) * upper + v * ((1 - u) * grid[bottom, left] + u * grid[bottom, right])


@pytest.mark.parametrize(
    ("size", "picture", "cell"),
    [((40, 24), (24, 40), (16, 16)), ((39, 23), (12, 20), (8, 8)), ((40, 24), (24, 40), (7.5, 3.25))],
)
def test_differences_are_those_of_every_texel_by_itself(size, picture, cell, rng):
    new, reference = rng.random((2, *picture), np.float32)
    blank = MotionField.zero(size, cell=cell)
    flow = rng.normal(0, 6, blank.flow.shape).astype(np.float32)
    field = MotionField(flow, blank.valid, size, cell, "test")
    found = difference(field, new, reference)
    moved, still, outside = reference_difference(field, new, reference)
    np.testing.assert_allclose(found.moved, moved, atol=1e-4)
    np.testing.assert_allclose(found.still, still, atol=1e-6)
    # a texel just at the edge may fall on either side in single precision
    assert np.mean(np.abs(found.outside - outside) > 1e-6) < 0.02


@settings(max_examples=20, deadline=None)
@given(
    zoom=st.floats(0.95, 1.05),
    turn=st.floats(-0.05, 0.05),
    shift=st.tuples(st.floats(-8, 8), st.floats(-8, 8)),
)
def test_there_and_back_again_is_where_one_started(zoom, turn, shift):
    matrix = similarity(SIZE, zoom=zoom, turn=turn, shift=shift)
    backward, forward = true_field(SIZE, matrix), true_field(SIZE, np.linalg.inv(matrix))
    apart, known = disagreement(backward, forward)
    assert apart[known].max(initial=0) < 0.6  # fields are flat beyond their outermost centres
    assert np.array_equal(consistent(backward, forward), known)
    assert validated(backward, forward=forward).valid_share == pytest.approx(known.mean())


def test_what_comes_back_elsewhere_is_occluded():
    flow = np.zeros((6, 10, 2), np.float32)
    flow[2:4, 4:6] = 12, 0
    backward = MotionField(flow, np.ones((6, 10), bool), SIZE, (16, 16), "test")
    hidden = occluded(backward, MotionField.zero(SIZE))
    assert hidden[2:4, 4:6].all()
    assert hidden.sum() == 4
    assert not occluded(MotionField.zero(SIZE, valid=False), MotionField.zero(SIZE)).any()
    assert occluded(MotionField.zero(SIZE), MotionField.zero(SIZE, valid=False)).all()


def test_a_wrong_flow_is_told_by_the_pixels():
    matrix = similarity(SIZE, shift=(5, 2))
    new, reference = pair(SIZE, matrix)
    right = validated(true_field(SIZE, matrix), new=new, reference=reference)
    inside = true_field(SIZE, matrix).valid
    assert right.valid[inside].mean() > 0.95
    assert right.error is not None
    assert np.median(right.error) < 0.01
    wrong = validated(true_field(SIZE, similarity(SIZE, shift=(-5, -2))), new=new, reference=reference)
    assert wrong.valid_share < 0.2


def test_a_change_of_light_is_no_motion():
    new, reference = pair(SIZE, np.eye(3))
    dimmed = validated(MotionField.zero(SIZE), new=new * 0.5, reference=reference)
    assert not dimmed.valid.all()
    assert validated(
        MotionField.zero(SIZE), new=new * 0.5, reference=reference, tolerance=Tolerance(error=None)
    ).valid.all()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda z: validated(z, new=np.zeros((96, 160))), "one picture alone"),
        (lambda z: difference(z, np.zeros((96, 160)), np.zeros((48, 80))), r"pictures of \(96, 160\) and \(48, 80\)"),
        (lambda z: difference(z, np.zeros((96, 96)), np.zeros((96, 96))), "accepted: a mip level of it"),
        (lambda z: validated(z, forward=MotionField.zero((64, 64))), "of a 64 x 64 frame for one of 160 x 96"),
        (lambda z: Tolerance(error=-1), "error is -1; accepted: 0 and above"),
        (lambda z: Tolerance(relative=float("nan")), "relative is nan"),
    ],
)
def test_bad_input_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call(MotionField.zero(SIZE))
