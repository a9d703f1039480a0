"""The quadtree on score maps: detail follows the mass, whatever the map's size and scale."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raster import coverage, side_map, tokens_of, worst_jump

from texvlm.layouts import Focus, Quadtree
from texvlm.layouts._quadtree_tree import View, _mass, integral_image


def with_score(score: np.ndarray) -> Focus:
    return Focus(np.zeros((1, 2)), score=score.astype(np.float32))


def test_a_zero_map_gives_a_uniform_layout() -> None:
    table = Quadtree(tokens=256).plan((1024, 1024), with_score(np.zeros((5, 9))))
    assert (table["side"] == 64).all()
    table = Quadtree().plan((1920, 1080), with_score(np.zeros((3, 3))))
    assert table["side"].max() <= 2 * np.median(table["side"])
    assert (table["region"] == 0).all()


def test_detail_follows_the_mass_and_the_rest_is_uniform() -> None:
    score = np.zeros((9, 16))
    score[6, 12] = 1  # texels x 1440..1560, y 720..840
    table = Quadtree(tokens=400).plan((1920, 1080), with_score(score))
    sides = side_map(table, (1920, 1080))
    assert (sides[720:840, 1440:1560] == 16).all()
    assert sides[:600, :1200].min() >= 64
    assert (coverage(table, (1920, 1080)) == 1).all()
    assert worst_jump(table, (1920, 1080)) <= 2


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    st.tuples(st.integers(20, 220), st.integers(20, 220)),
    st.integers(1, 120),
)
def test_any_score_map_gives_a_balanced_partition(
    seed: int, shape: tuple[int, int], size: tuple[int, int], tokens: int
) -> None:
    rng = np.random.default_rng(seed)
    score = rng.random(shape) * (rng.random(shape) < 0.4) * 10 ** rng.uniform(-20, 20)
    layout = Quadtree(tokens=min(tokens, layout_limit(size)), patch=8)
    table = layout.plan(size, with_score(score))
    assert (coverage(table, size) == 1).all()
    assert worst_jump(table, size) <= 2
    assert layout.tokens - len(tokens_of(table)) <= 2
    scaled = layout.plan(size, with_score(score * 4))
    assert np.array_equal(scaled, table)


def layout_limit(size: tuple[int, int]) -> int:
    return Quadtree(patch=8).counts(size)[1]


def test_score_mass_has_fractional_bounds() -> None:
    rng = np.random.default_rng(3)
    score = rng.random((3, 5))
    size = (50, 30)
    view = View(1, 1, 1.0, *map(float, size), 9, np.zeros((1, 2)), np.ones(1), 1.0, 2.0, integral_image(score))
    fine = score.repeat(10, axis=0).repeat(10, axis=1) / score.max() / 100  # one value per texel
    for _ in range(50):
        x0, x1 = np.sort(rng.integers(0, 51, 2))
        y0, y1 = np.sort(rng.integers(0, 31, 2))
        expected = fine[y0:y1, x0:x1].sum()
        assert _mass(view, float(x0), float(y0), float(x1), float(y1)) == pytest.approx(expected, abs=1e-9)
