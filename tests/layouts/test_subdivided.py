"""Subdivided: parts tile the tokens they are of, in order, and padding stays padding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from texvlm.layouts import PADDING_LAYER, Focus, UniformGrid
from texvlm.layouts.anchored import AnchoredGrid
from texvlm.layouts.subdivided import Subdivided

FOCUS = Focus(np.array([[0.0, 0.0]]))


@settings(max_examples=50, deadline=None)
@given(
    parts=st.integers(1, 5),
    origin=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
    size=st.tuples(st.integers(20, 90), st.integers(20, 90)),
)
def test_parts_tile_their_token_row_by_row(parts, origin, size):
    grid = AnchoredGrid(patch=4, side=16, origin=origin)
    whole, fine = grid.plan(size, FOCUS), Subdivided(grid, parts).plan(size, FOCUS)
    assert len(fine) == len(whole) * parts * parts
    held = whole["layer"] != PADDING_LAYER
    square = fine.reshape(len(whole), parts, parts)
    assert (square["layer"][~held] == PADDING_LAYER).all()
    assert (square["layer"][held] == 0).all()
    square, whole = square[held], whole[held]
    np.testing.assert_allclose(square["side"] * parts, np.broadcast_to(16, square.shape), rtol=1e-6)
    steps = (np.arange(parts) - (parts - 1) / 2) * 16 / parts
    np.testing.assert_allclose(
        square["x"], whole["x"][:, None, None] + steps[None, None, :] + 0 * square["x"], atol=1e-4
    )
    np.testing.assert_allclose(
        square["y"], whole["y"][:, None, None] + steps[None, :, None] + 0 * square["y"], atol=1e-4
    )
    np.testing.assert_allclose(square["valid"].mean(axis=(1, 2)), whole["valid"], atol=1e-5)


def test_it_has_the_patch_and_the_regions_of_its_layout():
    fine = Subdivided(UniformGrid(patch=8, side=32), 4)
    assert (fine.patch, fine.tokens) == (8, None)
    assert Subdivided(UniformGrid(patch=8, tokens=64), 2).tokens == 256
    assert fine.plan((64, 64), FOCUS)["region"].tolist() == [0] * 64
    assert fine == Subdivided(UniformGrid(patch=8, side=32), 4)
    with pytest.raises(ValueError, match="parts"):
        Subdivided(UniformGrid(), 0)
