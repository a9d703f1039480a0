"""The uniform layout: exact side search, full coverage, fixed rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raster import coverage, focus_at, tokens_of

from texvlm.layouts import PADDING_LAYER, Focus, UniformGrid
from texvlm.layouts.uniform import side_for_count

CENTRE = focus_at((0.0, 0.0))
sides = st.integers(1, 300)


@settings(max_examples=150, deadline=None)
@given(st.tuples(sides, sides), st.integers(1, 400))
def test_the_side_is_the_least_that_fits(size: tuple[int, int], tokens: int) -> None:
    tokens = min(tokens, size[0] * size[1])
    fits = [s for s in range(1, max(size) + 1) if -(-size[0] // s) * -(-size[1] // s) <= tokens]
    assert side_for_count(size, tokens) == fits[0]


@settings(max_examples=80, deadline=None)
@given(st.tuples(sides, sides), st.integers(1, 400), st.sampled_from([8, 14, 16]))
def test_every_texel_is_in_exactly_one_token(size: tuple[int, int], tokens: int, patch: int) -> None:
    tokens = min(tokens, size[0] * size[1])
    for layout in (UniformGrid(patch=patch, tokens=tokens), UniformGrid(patch=patch)):
        table = layout.plan(size, CENTRE)
        assert (coverage(table, size) == 1).all()
        if layout.tokens is not None:
            assert table.shape == (tokens,)
        held = tokens_of(table)
        assert (table["layer"][: len(held)] == 0).all()
        assert (table["layer"][len(held) :] == PADDING_LAYER).all()
        areas = held["valid"].astype(np.float64) * held["side"].astype(np.float64) ** 2
        assert areas.sum() == pytest.approx(size[0] * size[1], rel=1e-6)


def test_native_resolution_is_row_major_from_the_top_left() -> None:
    table = UniformGrid().plan((40, 32), focus_at((1e6, 3.0)))
    assert table["x"].tolist() == [8, 24, 40] * 2
    assert table["y"].tolist() == [8] * 3 + [24] * 3
    assert table["valid"].tolist() == [1, 1, 0.5] * 2
    assert (table["side"] == 16).all()


@pytest.mark.parametrize(
    ("size", "tokens", "side"),
    [((1024, 1024), 256, 64), ((1024, 1024), 4096, 16), ((16384, 1), 268, 62), ((1, 16384), 1, 16384), ((1, 1), 1, 1)],
)
def test_known_sides(size: tuple[int, int], tokens: int, side: int) -> None:
    assert side_for_count(size, tokens) == side
    assert UniformGrid(tokens=tokens).plan(size, CENTRE)["side"][0] == side


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="7 tokens are more than a 2 x 3 frame has texels; the greatest count is 6"):
        UniformGrid(tokens=7).plan((2, 3), CENTRE)
    with pytest.raises(ValueError, match="side 16 and tokens 4: a grid takes one of them"):
        UniformGrid(side=16, tokens=4)
    with pytest.raises(ValueError, match="tokens is 0"):
        UniformGrid(tokens=0)
    with pytest.raises(ValueError, match="side is 0"):
        UniformGrid(side=0)
    scored = Focus(np.zeros((1, 2)), score=np.ones((2, 2), np.float32))
    with pytest.raises(ValueError, match="uniform layout cannot follow a score map; quadtree can"):
        UniformGrid().plan((64, 64), scored)
