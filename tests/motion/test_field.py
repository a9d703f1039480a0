"""MotionField: shapes, looking up, grids, scaling, chains of fields."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moving import similarity, true_field

from texvlm.motion import MotionField, grid_of

SIZE = (96, 64)


def field_of(flow, *, size=SIZE, cell=(16, 16), valid=None, error=None) -> MotionField:
    flow = np.asarray(flow, np.float32)
    known = np.ones(flow.shape[:2], bool) if valid is None else valid
    return MotionField(flow, known, size, cell, "test", error)


@pytest.mark.parametrize(
    ("broken", "kind", "said"),
    [
        (lambda f: field_of(f[..., 0]), ValueError, r"flow of shape \(4, 6\)"),
        (lambda f: field_of(f[:3]), ValueError, "6 x 3 cells of 16 x 16 texels for a frame of 96 x 64; it takes 6 x 4"),
        (lambda f: field_of(f, valid=np.ones((4, 5), bool)), ValueError, r"valid of shape \(4, 5\)"),
        (lambda f: field_of(f, error=np.zeros((1, 6), np.float32)), ValueError, r"error of shape \(1, 6\)"),
        (lambda f: field_of(f * np.nan), ValueError, "not finite"),
        (lambda f: field_of(f, error=np.full((4, 6), np.inf, np.float32)), ValueError, "not finite"),
        (lambda f: field_of(f, cell=(16, 0)), ValueError, "sides above 0"),
        (lambda f: field_of(f, valid=np.ones((4, 6), np.uint8)), TypeError, "valid of a motion field is uint8"),
        (lambda f: MotionField(f.tolist(), None, SIZE, (16, 16), "test"), TypeError, "flow of a motion field is list"),
        (lambda f: field_of(f).at([1, 2, 3]), ValueError, r"points of shape \(3,\)"),
        (lambda f: field_of(f).check_frame((64, 96)), ValueError, "of a 96 x 64 frame for one of 64 x 96"),
        (lambda f: field_of(f).after(MotionField.zero((48, 32))), ValueError, "give a field of this frame"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(broken, kind, said):
    with pytest.raises(kind, match=said) as refusal:
        broken(np.zeros((4, 6, 2), np.float32))
    assert "\n" not in str(refusal.value)


def test_between_centres_flow_is_bilinear_and_beyond_the_last_one_it_goes_on():
    flow = np.zeros((1, 2, 2))
    flow[0, 1] = 4, 8
    field = field_of(flow, size=(32, 16))
    found, known = field.at([[8, 8], [12, 3], [16, 8], [24, 8], [32, 16], [-1, 8], [33, 8], [np.nan, 8]])
    assert found[:5].tolist() == [[0, 0], [1, 2], [2, 4], [4, 8], [4, 8]]
    assert known.tolist() == [True] * 5 + [False] * 3
    assert not found[5:].any()


def test_invalid_cells_carry_no_weight():
    flow = np.array([[[2, 2], [1e6, 1e6]]], np.float32)
    field = field_of(flow, size=(32, 16), valid=np.array([[True, False]]))
    found, known = field.at([[8, 8], [13, 8], [19, 8]])
    assert known.tolist() == [True, True, False]
    assert found.tolist() == [[2, 2], [2, 2], [0, 0]]
    coarse = field.resampled((32, 16))
    assert coarse.valid.all()
    assert coarse.flow.tolist() == [[[2, 2]]]


def test_a_zero_field_says_that_nothing_moved_and_an_unknown_one_that_nothing_is_known():
    assert MotionField.zero((33, 17)).flow.shape == (2, 3, 2)
    assert MotionField.zero((33, 17)).valid_share == 1
    assert MotionField.zero((33, 17), valid=False).valid_share == 0
    assert repr(MotionField.zero((33, 17))) == (
        "MotionField(zero, 3 x 2 cells of 16 x 16 over 33 x 17, 100% valid, error unknown)"
    )


sizes = st.tuples(st.integers(1, 200), st.integers(1, 200))
cells = st.tuples(st.floats(0.7, 40), st.floats(0.7, 40))


@settings(max_examples=60, deadline=None)
@given(size=sizes, cell=cells, other=cells, shift=st.tuples(st.floats(-50, 50), st.floats(-50, 50)))
def test_an_even_shift_is_the_same_on_every_grid(size, cell, other, shift):
    columns, rows = grid_of(size, cell)
    field = field_of(np.full((rows, columns, 2), shift), size=size, cell=cell)
    again = field.resampled(other)
    assert again.valid.all()
    np.testing.assert_allclose(again.flow, np.broadcast_to(np.float32(shift), again.flow.shape), rtol=1e-4, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(size=sizes, to=sizes, seed=st.integers(0, 2**32 - 1))
def test_scaling_a_frame_scales_its_field_and_back_again_changes_nothing(size, to, seed):
    rng = np.random.default_rng(seed)
    columns, rows = grid_of(size, (8, 8))
    field = field_of(
        rng.normal(0, 5, (rows, columns, 2)), size=size, cell=(8, 8), valid=rng.random((rows, columns)) < 0.7
    )
    scaled = field.scaled(to)
    back = scaled.scaled(size)
    np.testing.assert_allclose(back.flow, field.flow, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(back.cell, field.cell)
    ratio = np.array(to) / np.array(size)
    places = rng.random((50, 2)) * size
    here, known = field.at(places)
    there, still_known = scaled.at(np.minimum(places * ratio, to))
    assert (known == still_known).mean() > 0.9  # a weight of just one half may be rounded to either side
    both = known & still_known
    np.testing.assert_allclose(there[both], (here * ratio)[both], rtol=1e-3, atol=1e-3)


def test_coarser_cells_are_means_and_finer_ones_lie_between():
    truth = true_field(SIZE, similarity(SIZE, zoom=1.1), cell=(4, 4))
    ramp = field_of(truth.flow, cell=(4, 4))
    coarse = ramp.resampled((16, 16))
    blocks = ramp.flow.reshape(4, 4, 6, 4, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(coarse.flow, blocks, atol=1e-5)
    fine = coarse.resampled((4, 4))
    inner = (slice(2, -2), slice(2, -2))  # outside of the outermost centres a field goes on as it is
    np.testing.assert_allclose(fine.flow[inner], ramp.flow[inner], atol=1e-4)
    assert ramp.resampled((4, 4)) is ramp


def test_errors_are_averaged_with_their_cells():
    error = np.arange(24, dtype=np.float32).reshape(4, 6)
    coarse = field_of(np.zeros((4, 6, 2)), error=error).resampled((32, 32))
    np.testing.assert_allclose(coarse.error, error.reshape(2, 2, 3, 2).mean(axis=(1, 3)), rtol=1e-6)


def test_two_fields_in_a_row_are_the_field_over_both_frames():
    size = (320, 240)
    first, second = similarity(size, zoom=1.02, shift=(3, 1)), similarity(size, turn=0.02, shift=(-2, 4))
    chain = true_field(size, second).after(true_field(size, first))
    truth = true_field(size, first @ second)
    both = chain.valid & truth.valid
    assert both.mean() > 0.8
    np.testing.assert_allclose(
        chain.flow[both], truth.flow[both], atol=0.1
    )  # fields are flat beyond their outermost centres


def test_what_comes_from_outside_the_frame_has_no_motion_before_that():
    moved = field_of(np.full((4, 6, 2), (16, 0)))
    assert moved.after(MotionField.zero(SIZE)).valid[:, :-1].all()
    assert not moved.after(MotionField.zero(SIZE)).valid[:, -1].any()
    assert not moved.after(MotionField.zero(SIZE, valid=False)).valid.any()
