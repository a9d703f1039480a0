"""Which token of the last table each one is: against a search by loops, and under shifts that are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reuse_scenes import quadtree, uniform

from texvlm.layouts.table import TOKEN_RECORD
from texvlm.motion.field import MotionField, grid_of
from texvlm.temporal.matching import UNMATCHED, moved, same_place

SIZE = (64, 48)


def shifted_by(x, y, *, size=SIZE, valid=True, cell=8):
    """Backward flow (x, y) everywhere."""
    columns, rows = grid_of(size, (cell, cell))
    flow = np.full((rows, columns, 2), (x, y), np.float32)
    return MotionField(flow, np.full((rows, columns), valid), size, (cell, cell), "test")


def table_of(places):
    """Tokens of (x, y, side), or padding where None."""
    table = np.zeros(len(places), TOKEN_RECORD)
    for row, place in enumerate(places):
        if place is None:
            table[row]["layer"], table[row]["side"] = -1, 1
        else:
            table[row]["x"], table[row]["y"], table[row]["side"] = place
    return table


PLACES = st.one_of(
    st.none(), st.tuples(st.sampled_from([0, 4, 12, 20]), st.sampled_from([0, 4, 12]), st.sampled_from([1, 8, 16]))
)
TABLES = st.integers(1, 14).flatmap(
    lambda rows: st.tuples(*(st.lists(PLACES, min_size=rows, max_size=rows) for _ in range(2)))
)


def assert_is_a_match(match, old, new):
    """Injective, and padding neither asks nor is given."""
    given_rows = match[match != UNMATCHED]
    assert len(set(given_rows.tolist())) == len(given_rows)
    assert (old["layer"][given_rows] >= 0).all()
    assert (new["layer"][match != UNMATCHED] >= 0).all()


@settings(max_examples=120, deadline=None)
@given(TABLES)
@example(([None, (4, 4, 8)], [(0, 0, 1), (4, 4, 8)]))  # all but the layer of padding
def test_same_place_finds_every_place_that_was_there(tables):
    old, new = (table_of(places) for places in tables)
    match = same_place(old, new)
    assert_is_a_match(match, old, new)
    for row, place in enumerate(tables[1]):
        if match[row] != UNMATCHED:
            assert tables[0][match[row]] == place
        elif place is not None:  # all that lay there are given
            there = {index for index, other in enumerate(tables[0]) if other == place}
            assert there <= set(match.tolist()) or len(there) > 1


@settings(max_examples=120, deadline=None)
@given(TABLES, st.integers(-9, 9), st.integers(-9, 9), st.sampled_from([0.0, 0.25, 0.9]), st.booleans())
def test_what_moved_lies_within_the_tolerance(tables, x, y, tolerance, valid):
    old, new = (table_of(places) for places in tables)
    match = moved(old, new, shifted_by(x, y, valid=valid), tolerance=tolerance)
    assert_is_a_match(match, old, new)
    for row in np.flatnonzero(match != UNMATCHED):
        token, other = new[row], old[match[row]]
        off = max(abs(token["x"] + x - other["x"]), abs(token["y"] + y - other["y"]))
        assert off <= tolerance * token["side"] + 1e-4
        assert abs(float(other["side"]) / float(token["side"]) - 1) <= tolerance + 1e-6
        assert valid


@pytest.mark.parametrize(("across", "down"), [(1, 0), (0, 1), (-2, 1), (3, -2)])
def test_a_pan_of_whole_sides_is_the_identity_shifted(across, down):
    grid = uniform(SIZE, patch=8, rows=50)
    columns, rows = 8, 6
    match = moved(grid, grid, shifted_by(8 * across, 8 * down), tolerance=0.25)
    for row in range(rows):
        for column in range(columns):
            inside = 0 <= row + down < rows and 0 <= column + across < columns
            expected = (row + down) * columns + column + across if inside else UNMATCHED
            assert match[row * columns + column] == expected
    assert (match[rows * columns :] == UNMATCHED).all()


def test_of_two_that_want_one_token_the_nearer_gets_it():
    old, new = table_of([(12, 12, 8)]), table_of([(13.5, 12, 8), (12.5, 12, 8), (30, 30, 8)])
    assert moved(old, new, shifted_by(0, 0), tolerance=0.25).tolist() == [UNMATCHED, 0, UNMATCHED]
    assert moved(old, new[:1], shifted_by(0, 0), tolerance=0.25).tolist() == [0]
    assert moved(old, new, shifted_by(-0.5, 0), tolerance=0).tolist() == [UNMATCHED, 0, UNMATCHED]


def test_rows_of_a_quadtree_are_found_again_when_the_gaze_moves():
    old, new = (quadtree(SIZE, gaze, tokens=24, patch=8) for gaze in ((0.2, 0.3), (0.7, 0.6)))
    match = same_place(old, new)
    places = [
        {(token["x"], token["y"], token["side"]) for token in table if token["layer"] >= 0} for table in (old, new)
    ]
    assert 0 < (match != UNMATCHED).sum() == len(places[0] & places[1]) < len(places[1])
    still = moved(old, new, shifted_by(0, 0), tolerance=0)
    assert (still[match != UNMATCHED] == match[match != UNMATCHED]).all()


def test_tables_without_tokens_match_nothing():
    empty, one = table_of([None, None]), table_of([(4, 4, 8), None])
    for old, new in ((empty, one), (one, empty), (empty, empty)):
        assert (moved(old, new, shifted_by(0, 0), tolerance=0.9) == UNMATCHED).all()
        assert (same_place(old, new) == UNMATCHED).all()
