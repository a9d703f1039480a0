"""Merge blocks: every square whole, in order, and nothing lost or counted twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raster import coverage, focus_at, tokens_of

from texvlm.layouts import LAYOUTS, PADDING_LAYER, MergeBlocks, Quadtree, UniformGrid, make_layout

FRAME = (1280, 720)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("block", [2, 3, 4])
def test_every_layout_gives_whole_squares_in_reading_order(name: str, block: int) -> None:
    layout = make_layout(name, patch=14, block=block)
    table = layout.plan(FRAME, focus_at((600.0, 300.0)))
    assert layout.patch == 14
    assert len(table) % block**2 == 0
    assert layout.tokens in (None, len(table))
    squares = table.reshape(-1, block, block)
    assert ((squares["layer"] == PADDING_LAYER).sum((1, 2)) % block**2 == 0).all()
    held = squares[squares["layer"][:, 0, 0] != PADDING_LAYER]
    side = held["side"]
    assert (side == side[:, :1, :1]).all()
    assert np.allclose(np.diff(held["x"], axis=2), side[:, :, 1:], rtol=1e-3)
    assert np.allclose(np.diff(held["y"], axis=1), side[:, 1:], rtol=1e-3)
    assert np.allclose(np.diff(held["x"], axis=1), 0)
    assert (held["region"] == held["region"][:, :1, :1]).all()
    placed = layout.layout.plan(FRAME, focus_at((600.0, 300.0)))  # type: ignore[attr-defined]
    assert np.allclose(held["x"].mean((1, 2)), tokens_of(placed)["x"], rtol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(64, 400), st.integers(64, 400)), st.integers(1, 60), st.integers(2, 3))
def test_a_partition_stays_one(size: tuple[int, int], squares: int, block: int) -> None:
    layout = MergeBlocks(Quadtree(squares, patch=8 * block, small_frames="pad"), block)
    table = layout.plan(size, focus_at((size[0] * 0.3, size[1] * 0.8)))
    assert len(table) == squares * block**2
    assert (coverage(table, size) == 1).all()


def test_a_uniform_grid_comes_in_the_order_that_qwen_reads() -> None:
    table = make_layout("uniform", patch=14, block=2).plan((56, 56), focus_at((0.0, 0.0)))
    rows, columns = (np.round(table[name] / 14 - 0.5).astype(int).tolist() for name in ("y", "x"))
    assert rows == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3, 2, 2, 3, 3]
    assert columns == [0, 1, 0, 1, 2, 3, 2, 3, 0, 1, 0, 1, 2, 3, 2, 3]


def test_squares_at_an_edge_know_what_lies_inside() -> None:
    table = make_layout("uniform", patch=16, block=2).plan((40, 32), focus_at((0.0, 0.0)))
    assert table["valid"].tolist() == [1, 1, 1, 1, 0.5, 0, 0.5, 0]
    assert (table["layer"] == 0).all()


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="patch 15 of the layout is no multiple of block 2"):
        MergeBlocks(UniformGrid(patch=15), 2)
    with pytest.raises(ValueError, match="block is 0; at least 1"):
        make_layout("uniform", block=0)
    with pytest.raises(TypeError, match=r"block is 1\.5; it is a whole number of tokens"):
        make_layout("uniform", block=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"270 tokens are not whole squares of 2 x 2; .* 4, such as 272"):
        make_layout("quadtree", tokens=270, block=2)


def test_one_token_a_square_is_the_layout_itself() -> None:
    assert make_layout("quadtree", block=1) == make_layout("quadtree")
    assert {make_layout("quadtree", tokens=256, block=2): 1}[MergeBlocks(Quadtree(64, patch=32), 2)] == 1
