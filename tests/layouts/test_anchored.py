"""AnchoredGrid: covers the frame wherever it lies, always with as many rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texvlm.layouts import PADDING_LAYER, Focus, UniformGrid
from texvlm.layouts.anchored import MOST_ZOOM, AnchoredGrid

FOCUS = Focus(np.array([[0.0, 0.0]]))
PLACES = st.floats(-1e4, 1e4)


@given(
    size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    side=st.integers(3, 64),
    origin=st.tuples(PLACES, PLACES),
    zoom=st.booleans(),
    scale=st.floats(1 / MOST_ZOOM, MOST_ZOOM),
)
def test_areas_inside_the_frame_sum_to_it_and_rows_never_change(size, side, origin, zoom, scale):
    grid = AnchoredGrid(side=side, zoom=zoom)
    moved = AnchoredGrid(side=side, zoom=zoom, origin=origin, scale=scale if zoom else 1.0)
    table = moved.plan(size, FOCUS)
    assert len(table) == len(grid.plan(size, FOCUS))
    held = table[table["layer"] != PADDING_LAYER]
    area = (held["valid"].astype(np.float64) * held["side"].astype(np.float64) ** 2).sum()
    assert area == pytest.approx(size[0] * size[1], rel=1e-3)
    assert (held["valid"] >= 0).all()


def test_a_grid_at_rest_is_a_uniform_one_and_padding():
    table = AnchoredGrid(side=16).plan((64, 32), FOCUS)
    uniform = UniformGrid(side=16).plan((64, 32), FOCUS)
    assert table[: len(uniform)].tobytes() == uniform.tobytes()
    assert len(table) == 5 * 3
    assert (table["layer"][len(uniform) :] == PADDING_LAYER).all()


def test_a_corner_lies_at_the_origin():
    table = AnchoredGrid(side=16, origin=(35.25, -3.0)).plan((64, 32), FOCUS)
    held = table[table["layer"] != PADDING_LAYER]
    assert 35.25 in held["x"] - 8
    assert -3.0 in held["y"] - 8


def test_a_count_is_kept():
    grid = AnchoredGrid(tokens=280)
    table = grid.plan((1920, 1080), FOCUS)
    assert len(table) == grid.tokens == 280
    side = grid.side_in((1920, 1080))
    assert (
        (-(-1920 // side) + 1) * (-(-1080 // side) + 1)
        <= 280
        < (-(-1920 // (side - 1)) + 1) * (-(-1080 // (side - 1)) + 1)
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"side": 16, "tokens": 20}, "one of them, not both"),
        ({"scale": 1.2}, "zoom=True"),
        ({"scale": 1.5, "zoom": True}, "scale is 1.5"),
        ({"origin": (float("nan"), 0.0)}, "origin is"),
        ({"side": 0}, "side"),
    ],
)
def test_what_cannot_be_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        AnchoredGrid(**options)


def test_too_few_tokens_are_refused():
    with pytest.raises(ValueError, match="3 tokens are too few for a grid that moves; accepted: 4 or more"):
        AnchoredGrid(tokens=3).plan((64, 64), FOCUS)
