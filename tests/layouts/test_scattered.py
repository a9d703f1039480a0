"""Sunflower and log-polar: counts, places and areas; neither claims coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raster import coverage, focus_at

from texvlm.layouts import Focus, LogPolar, Sunflower
from texvlm.layouts.logpolar import split_count
from texvlm.visual_field import VisualField, cumulative_density

sides = st.one_of(st.integers(1, 400), st.sampled_from([1, 1080, 16384]))


@settings(max_examples=150, deadline=None)
@given(st.tuples(sides, sides), st.integers(1, 400), st.floats(-3, 4), st.floats(-3, 4), st.floats(0.1, 50))
def test_every_centre_is_inside_for_any_fixation(
    size: tuple[int, int], tokens: int, u: float, v: float, e2_deg: float
) -> None:
    layout = Sunflower(tokens=tokens, e2_deg=e2_deg)
    focus = focus_at((u * size[0], v * size[1]))
    table = layout.plan(size, focus)
    assert table.shape == (tokens,)
    assert (table["layer"] == 0).all()
    for axis, limit in (("x", size[0]), ("y", size[1])):
        assert (table[axis] >= 0).all()
        assert (table[axis] <= limit).all()
    assert (np.isfinite(table["side"]) & (table["side"] > 0)).all()
    assert np.array_equal(layout.plan(size, focus), table)


@pytest.mark.parametrize("point", [(960.0, 540.0), (0.0, 0.0), (1900.0, 500.0), (-400.0, 300.0), (1e200, 5.0)])
def test_areas_sum_to_the_frame_and_grow_outwards(point: tuple[float, float]) -> None:
    table = Sunflower(tokens=1000).plan((1920, 1080), focus_at(point))
    assert (table["side"].astype(np.float64) ** 2).sum() == pytest.approx(1920 * 1080, rel=0.01)
    assert (np.diff(table["side"]) > -1e-3).all()
    covered = (coverage(table, (1920, 1080)) > 0).mean()
    assert 0.7 < covered < 0.95  # most of the frame, not all: what the docstring says


def test_whole_circles_give_vogels_spiral() -> None:
    size, tokens = (1000, 1000), 2000
    field = VisualField(size)
    table = Sunflower(tokens=tokens).plan(size, focus_at((500.0, 500.0)))
    offset = np.stack([table["x"], table["y"]], axis=1).astype(np.float64) - 500
    radius = np.hypot(*offset.T)
    inner = np.arange(1, np.flatnonzero(radius > 450)[0])
    turns = np.arctan2(offset[inner, 1], offset[inner, 0]) / (2 * np.pi) - inner * (math.sqrt(5) - 1) / 2
    np.testing.assert_allclose(turns - np.round(turns), 0, atol=2e-3)
    # and the share inside each radius is that of cortical magnification
    share = cumulative_density(field.eccentricity_deg(radius), e2_deg=2.0)
    np.testing.assert_allclose(share[inner] / share[inner[-1]], (inner + 0.5) / (inner[-1] + 0.5), atol=2e-3)


def test_neighbours_are_as_far_apart_as_their_sides() -> None:
    table = Sunflower(tokens=500).plan((1024, 768), focus_at((300.0, 300.0)))
    points = np.stack([table["x"], table["y"]], axis=1).astype(np.float64)
    distance = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    np.fill_diagonal(distance, np.inf)
    ratio = distance.min(axis=1) / table["side"]
    assert 0.6 < np.median(ratio) < 1.1
    assert np.quantile(ratio, 0.02) > 0.3  # no clumps


def test_log_polar_cells_have_the_area_of_their_disc() -> None:
    layout = LogPolar(rings=10, wedges=16)
    size = (800, 600)
    table = layout.plan(size, focus_at((400.0, 300.0)))
    assert layout.tokens == len(table) == 160
    assert (table["side"].astype(np.float64) ** 2).sum() == pytest.approx(math.pi * 500**2, rel=1e-5)
    radius = np.hypot(table["x"] - 400.0, table["y"] - 300.0).reshape(10, 16)
    assert np.ptp(radius, axis=1).max() < 1e-3
    assert (np.diff(radius[:, 0]) > 0).all()
    logs = np.log(VisualField(size).eccentricity_deg(radius[:, 0]) + 2.0)
    np.testing.assert_allclose(np.diff(logs), np.diff(logs)[0], rtol=1e-3)


def test_log_polar_moves_with_the_fixation_and_leaves_the_frame() -> None:
    layout = LogPolar()
    middle = layout.plan((640, 480), focus_at((320.0, 240.0)))
    corner = layout.plan((640, 480), focus_at((0.5, 0.25)))
    np.testing.assert_allclose(corner["x"] - middle["x"], -319.5, atol=1e-3)
    np.testing.assert_allclose(corner["y"] - middle["y"], -239.75, atol=1e-3)
    assert (corner["valid"] == 0).sum() > 100
    assert (corner["layer"] == 0).all()


def test_counts_of_log_polar() -> None:
    assert split_count(336) == (14, 24)
    rings, wedges = split_count(300)
    assert rings * wedges == 300
    with pytest.raises(ValueError, match=r"268 tokens are no rings x wedges .* nearest counts are 266 and 270"):
        split_count(268)


@pytest.mark.parametrize("layout", [Sunflower(), LogPolar()])
def test_a_focus_they_cannot_serve_is_refused(layout: Sunflower | LogPolar) -> None:
    with pytest.raises(ValueError, match="serves 1 fixation, not 2; rings and crops serve several, quadtree shares"):
        layout.plan((64, 64), focus_at((1.0, 1.0), (2.0, 2.0)))
    with pytest.raises(ValueError, match="cannot follow a score map; quadtree can"):
        layout.plan((64, 64), Focus(np.zeros((1, 2)), score=np.ones((1, 1), np.float32)))


@pytest.mark.parametrize("options", [{"tokens": 0}, {"fov_deg": 0}, {"e2_deg": -1}, {"patch": 0}])
def test_impossible_sunflowers_are_refused(options: dict[str, float]) -> None:
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"{name} is {options[name]}"):
        Sunflower(**options)  # type: ignore[arg-type]
