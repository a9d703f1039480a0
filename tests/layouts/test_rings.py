"""Rings: presets, proof of nesting, an exact partition of the field, continuity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raster import boxes, coverage, focus_at

from texvlm.layouts import RING_PRESETS, Focus, Rings, make_layout

FIELDS = {
    "rings-172-1280": (172, 1280),
    "rings-20-288": (20, 288),
    "rings-172": (172, 1024),
    "rings-208": (208, 1024),
    "rings-268": (268, 1024),
}


def test_the_table_of_presets_is_complete() -> None:
    assert set(FIELDS) == set(RING_PRESETS)


@pytest.mark.parametrize("name", FIELDS)
def test_presets_partition_their_field(name: str) -> None:
    tokens, field = FIELDS[name]
    layout = make_layout(name)
    assert isinstance(layout, Rings)
    assert (layout.tokens, layout.field_texels) == (tokens, field)
    size = (field + 40, field + 24)  # the field and some frame around it
    table = layout.plan(size, focus_at((field / 2 + 30, field / 2 + 10)))
    assert table.shape == (tokens,)
    expected = np.zeros((size[1], size[0]), np.int64)
    expected[10 : 10 + field, 30 : 30 + field] = 1
    assert np.array_equal(coverage(table, size), expected)
    assert (table["valid"] == 1).all()
    assert (table["side"].astype(np.float64) ** 2).sum() == field**2


def test_ring_borders_of_the_published_layout() -> None:
    table = make_layout("rings-172-1280").plan((1280, 1280), focus_at((640.0, 640.0)))
    for side, inner, outer, count in ((16, 0, 32, 16), (32, 32, 64, 12), (64, 64, 192, 32), (96, 192, 384, 48)):
        reach = np.abs(boxes(table[table["side"] == side]) - 640)
        assert len(reach) == count
        assert reach.max() == outer
        assert reach.reshape(-1, 2, 2).min(axis=1).max(axis=1).min() == inner
    assert (np.diff(table["side"]) >= 0).all()  # ring by ring, from the inside


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(FIELDS)), st.floats(-500, 2500), st.floats(-500, 2500), st.floats(-1, 1), st.floats(-1, 1)
)
def test_tokens_follow_the_fixation_by_fractions_of_a_texel(
    name: str, x: float, y: float, dx: float, dy: float
) -> None:
    layout = make_layout(name)
    before = layout.plan((1920, 1080), focus_at((x, y)))
    after = layout.plan((1920, 1080), focus_at((x + dx, y + dy)))
    assert np.array_equal(before["side"], after["side"])
    for axis, step in (("x", dx), ("y", dy)):
        np.testing.assert_allclose(after[axis].astype(np.float64) - before[axis], step, atol=1e-3)
    # one texel of movement takes one column or row of texels in or out of a token at most
    assert (np.abs(after["valid"].astype(np.float64) - before["valid"]) <= 2 / before["side"] + 1e-4).all()


def test_sub_pixel_fixations_are_kept() -> None:
    table = make_layout("rings-20-288").plan((288, 288), focus_at((144.25, 143.625)))
    assert (table["x"][0], table["y"][0]) == (136.25, 135.625)


def test_several_fixations_each_get_all_rings() -> None:
    layout = Rings(fixations=2)
    assert layout.tokens == 2 * 268
    points = ((100.0, 200.0), (1500.5, 900.0))
    table = layout.plan((1920, 1080), focus_at(*points))
    assert table["region"].tolist() == [0] * 268 + [1] * 268
    for region, point in enumerate(points):
        alone = Rings().plan((1920, 1080), focus_at(point))
        mine = table[table["region"] == region]
        for name in ("x", "y", "side", "valid"):
            assert np.array_equal(mine[name], alone[name])


def test_tokens_outside_the_frame_have_no_valid_part_but_keep_their_layer() -> None:
    table = Rings().plan((1024, 1024), focus_at((0.0, 0.0)))
    assert (table["layer"] == 0).all()
    outside = (boxes(table)[:, 2:] <= 0).any(axis=1)
    assert 0 < outside.sum() < len(table)
    assert (table["valid"][outside] == 0).all()
    assert (table["valid"][~outside] > 0).all()
    assert (table["valid"] * table["side"].astype(np.float64) ** 2).sum() == pytest.approx(512 * 512)


def test_scale_and_patch_scale_the_field() -> None:
    focus = focus_at((500.0, 500.0))
    plain = Rings().plan((1000, 1000), focus)
    assert np.array_equal(Rings(scale=2).plan((1000, 1000), focus)["side"], 2 * plain["side"])
    assert np.array_equal(Rings(patch=8).plan((1000, 1000), focus)["side"], plain["side"] / 2)
    fitted = Rings(scale="frame").plan((512, 300), focus_at((256.0, 256.0)))
    assert boxes(fitted).min() == 0
    assert boxes(fitted).max() == 512


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strides": (1, 3), "grids": (4, 4)}, "ring 1 .stride 3, grid 4. does not close around .* of 4 patches"),
        ({"strides": (1, 2), "grids": (4, 5)}, "ring 1"),  # odd rest: not centred
        ({"strides": (1, 2), "grids": (4, 2)}, "ring 1"),  # no token left
        ({"strides": (2, 1), "grids": (4, 16)}, "ring 1 has stride 1 after 2; strides ascend outwards"),
        ({"strides": (1, 2), "grids": (4,)}, "2 strides and 1 grids"),
        ({"strides": (), "grids": ()}, "0 strides"),
        ({"strides": (0,), "grids": (1,)}, "stride is 0"),
        ({"scale": 0}, "scale is 0; accepted: a number above 0, or 'frame'"),
        ({"scale": "wide"}, "scale is 'wide'"),
        ({"fixations": 0}, "fixations is 0"),
    ],
)
def test_rings_that_do_not_nest_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rings(**options)  # type: ignore[arg-type]


def test_a_focus_it_cannot_serve_is_refused() -> None:
    two = focus_at((1.0, 1.0), (2.0, 2.0))
    with pytest.raises(ValueError, match="serves 1 fixation, not 2; make it with fixations=2, or use quadtree"):
        Rings().plan((64, 64), two)
    with pytest.raises(ValueError, match="rings layout cannot follow a score map; quadtree can"):
        Rings().plan((64, 64), Focus(np.zeros((1, 2)), score=np.ones((1, 1), np.float32)))
