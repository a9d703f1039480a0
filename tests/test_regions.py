"""Tiles and rectangles: a cover may grow, it never loses a dirty tile."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from texvlm.regions import TILE, Rect, TileMask, mask_of, rectangles, tile_grid

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))


def grid_of(mask: TileMask) -> tuple[int, int]:
    return mask.shape[1], mask.shape[0]


@given(masks)
def test_without_a_limit_the_cover_is_exact(mask: TileMask) -> None:
    found = rectangles(mask)
    assert np.array_equal(mask_of(found, grid_of(mask)), mask)
    assert sum(rect.area for rect in found) == mask.sum()  # disjoint
    assert found == sorted(found, key=lambda r: (r.y0, r.x0))


@settings(max_examples=150)
@given(masks, st.integers(1, 8))
def test_a_limit_is_respected_and_loses_no_dirty_tile(mask: TileMask, limit: int) -> None:
    found = rectangles(mask, limit=limit)
    assert len(found) <= limit
    assert (mask_of(found, grid_of(mask)) | ~mask).all()
    exact = rectangles(mask)
    if len(exact) <= limit:
        assert found == exact


@settings(max_examples=100)
@given(masks, st.integers(1, 8))
def test_merging_joins_the_neighbours_that_waste_least(mask: TileMask, limit: int) -> None:
    expected = rectangles(mask)
    while len(expected) > limit:  # the plain form of the rule
        waste = [a.union(b).area - a.area - b.area for a, b in itertools.pairwise(expected)]
        best = int(np.argmin(waste))
        expected[best : best + 2] = [expected[best].union(expected[best + 1])]
    assert rectangles(mask, limit=limit) == expected


def test_runs_are_joined_and_stacked() -> None:
    mask = np.array([[1, 1, 0, 1], [1, 1, 0, 0], [0, 1, 1, 0]], bool)
    assert rectangles(mask) == [Rect(0, 0, 2, 2), Rect(3, 0, 4, 1), Rect(1, 2, 3, 3)]
    assert rectangles(mask, limit=1) == [Rect(0, 0, 4, 3)]
    assert rectangles(np.ones((5, 7), bool)) == [Rect(0, 0, 7, 5)]
    assert rectangles(np.zeros((5, 7), bool)) == []
    assert rectangles(np.zeros((0, 0), bool), limit=3) == []


def test_a_noisy_8k_mask_is_merged(rng: np.random.Generator) -> None:
    mask = rng.random((270, 480)) < 0.5
    found = rectangles(mask, limit=64)
    assert len(found) == 64
    assert (mask_of(found, (480, 270)) | ~mask).all()


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"a tile mask has shape \(rows, columns\), not \(3,\)"):
        rectangles(np.ones(3, bool))
    with pytest.raises(ValueError, match="limit is 0; at least one rectangle is needed"):
        rectangles(np.ones((2, 2), bool), limit=0)
    for corners in ((0, 0, 0, 1), (2, 0, 1, 1), (-1, 0, 1, 1)):
        with pytest.raises(ValueError, match="is empty or negative"):
            Rect(*corners)


def test_rect_arithmetic() -> None:
    assert Rect(1, 2, 4, 5).area == 9
    assert Rect(0, 0, 1, 1).union(Rect(3, 2, 4, 3)) == Rect(0, 0, 4, 3)
    assert Rect(1, 2, 3, 4).scaled(16) == Rect(16, 32, 48, 64)
    assert Rect(1, 2, 4, 5).parent() == Rect(0, 1, 2, 3)


@given(st.integers(1, 20000), st.integers(1, 20000))
def test_the_tile_grid_just_covers_the_frame(width: int, height: int) -> None:
    for tiles, texels in zip(tile_grid((width, height)), (width, height), strict=True):
        assert (tiles - 1) * TILE < texels <= tiles * TILE


@given(masks)
def test_the_gl_backends_own_cover_is_as_exact(mask: TileMask) -> None:
    from texvlm.backends._gl_pack import find_rectangles

    expected = {(r.x0, r.y0, r.x1 - r.x0, r.y1 - r.y0) for r in rectangles(mask)}
    found = find_rectangles(mask, mask.size)
    assert {tuple(map(int, piece)) for piece in found} == expected
    if len(expected) > 1:
        assert find_rectangles(mask, len(expected) - 1) is None
