"""Score maps: peaks, regions, shares of mass, and attention to tokens spread over the frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texvlm import make_layout
from texvlm.fixation import Region, ScoreMap, find_peaks, region_around, region_map, token_map
from texvlm.fixation.score_map import blurred, upsampled
from texvlm.layouts import Focus

SIZE = (320, 192)


def blob(*spots: tuple[int, int, float], shape: tuple[int, int] = (24, 40)) -> ScoreMap:
    values = np.zeros(shape, np.float32)
    for row, column, height in spots:
        values[row - 1 : row + 2, column - 1 : column + 2] = height / 2
        values[row, column] = height
    return ScoreMap.over_frame_of(values)


def test_peaks_come_by_height_and_keep_their_distance():
    found = find_peaks(blob((5, 10, 1.0), (5, 14, 0.9), (18, 30, 0.6)), 5, spacing=0.2, size=SIZE)
    np.testing.assert_allclose(
        [(peak.u * 40 - 0.5, peak.v * 24 - 0.5, peak.height) for peak in found], [(10, 5, 1), (30, 18, 0.6)], rtol=1e-6
    )
    assert len(find_peaks(blob((5, 10, 1.0), (5, 14, 0.9), (18, 30, 0.6)), 5, spacing=0.05, size=SIZE)) == 3
    assert find_peaks(blob(), 3, spacing=0.1, size=SIZE) == []
    assert len(find_peaks(blob((5, 10, 1.0), (18, 30, 0.05)), 3, spacing=0.1, size=SIZE)) == 1  # next to nothing


def test_a_plateau_is_looked_at_in_its_middle():
    values = np.zeros((20, 20), np.float32)
    values[4:9, 10:17] = 1
    (peak,) = find_peaks(ScoreMap.over_frame_of(values), 1, spacing=0.5, size=(100, 100))
    assert (peak.u, peak.v) == pytest.approx((13.5 / 20, 6.5 / 20))


@given(st.integers(1, 400), st.integers(1, 300), st.integers(0, 4))
def test_cells_that_reach_over_the_frame_are_looked_at_inside(width, height, level):
    shape = -(-height // 2**level), -(-width // 2**level)
    values = np.zeros(shape, np.float32)
    values[-1, -1] = 1
    score = ScoreMap(values, (2**level / width, 2**level / height))
    (peak,) = find_peaks(score, 1, spacing=0.1, size=(width, height))
    assert peak.u < 1
    assert peak.v < 1
    assert peak.u > 1 - 2**level / width - 1e-9
    assert score.over_frame().shape == shape


def test_the_region_around_a_peak_is_what_hangs_together():
    values = np.zeros((10, 20), np.float32)
    values[2:5, 4:8] = 0.8
    values[3, 5] = 1
    values[2:5, 12] = 0.9  # apart
    score = ScoreMap.over_frame_of(values)
    region = region_around(score, find_peaks(score, 1, spacing=0.2, size=(200, 100))[0])
    assert region.box == pytest.approx((4 / 20, 2 / 10, 8 / 20, 5 / 10))
    assert region.importance == 1


def test_the_mass_of_a_region_is_its_share():
    regions = [Region((0.1, 0.1, 0.3, 0.45), 2), Region((0.6, 0.5, 0.97, 0.9), 1)]
    score = region_map(regions, size=SIZE, surround=0.25)
    u, v = score.centres()
    assert score.values.sum() == pytest.approx(1, rel=1e-5)
    spread = 0.25 / score.values.size
    for region, share in zip(regions, (0.5, 0.25), strict=True):
        u0, v0, u1, v1 = region.box
        near = (u[None] > u0 - 0.02) & (u[None] < u1 + 0.02) & (v[:, None] > v0 - 0.03) & (v[:, None] < v1 + 0.03)
        assert (score.values - spread)[near].sum() == pytest.approx(share, rel=1e-4)


def test_a_quadtree_gives_the_more_important_region_more_tokens():
    boxes = (0.1, 0.2, 0.35, 0.7), (0.6, 0.2, 0.85, 0.7)
    layout, size = make_layout("quadtree", tokens=268), (1280, 720)
    counts = []
    for importance in (0.1, 1.0, 10.0):
        regions = [Region(boxes[0], importance), Region(boxes[1])]
        score = region_map(regions, size=size, surround=0.2).values
        table = layout.plan(size, Focus(np.zeros((1, 2)), score=score / score.max()))
        u, v = table["x"] / size[0], table["y"] / size[1]
        counts.append([int(((u > a) & (u < c) & (v > b) & (v < d)).sum()) for a, b, c, d in boxes])
    left, right = np.array(counts).T
    assert left[0] < left[1] < left[2]
    assert right[0] > right[1] > right[2]
    assert abs(left[1] - right[1]) <= 0.1 * 268


def test_attention_to_tokens_lies_where_the_tokens_do():
    size = (640, 384)
    table = make_layout("quadtree", tokens=64).plan(size, Focus(np.array([[100.0, 100.0]])))
    values = np.zeros(64)
    values[[7, 40]] = 3.0, 1.0
    score = token_map(values, table, size)
    assert score.values.sum() == pytest.approx(4, rel=1e-5)
    u, v = score.centres()
    for k in (7, 40):
        x, y, half = (float(table[k][name]) for name in ("x", "y", "side"))
        inside = (np.abs(u * size[0] - x) < half / 2)[None] & (np.abs(v * size[1] - y) < half / 2)[:, None]
        assert score.values[inside].sum() == pytest.approx(values[k], rel=0.35)  # but for cells on its edge
    peak = find_peaks(score, 1, spacing=0.05, size=size)[0]
    assert (peak.u * size[0], peak.v * size[1]) == pytest.approx((table[7]["x"], table[7]["y"]), abs=16)


def test_padding_rows_have_no_attention():
    layout = make_layout("quadtree", tokens=300, small_frames="pad")
    table = layout.plan((64, 64), Focus(np.array([[32.0, 32.0]])))
    assert token_map(np.ones(300), table, (64, 64)).values.sum() == pytest.approx(16, rel=1e-5)


@pytest.mark.parametrize("values", [np.ones(63), np.ones((1, 64)), np.full(64, np.nan), -np.ones(64)])
def test_attention_that_does_not_fit(values):
    table = make_layout("quadtree", tokens=64).plan((640, 384), Focus(np.array([[0.0, 0.0]])))
    with pytest.raises(ValueError, match=r"one value a row|negative or not finite"):
        token_map(values, table, (640, 384))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Region((0.5, 0.5, 0.5, 0.9)), "u0 < u1"),
        (lambda: Region((1.5, 0.5, 1.7, 0.9)), "inside 0..1 in part"),
        (lambda: Region((0.1, 0.1, 0.2, 0.2), 0), "importance of a region is 0"),
        (lambda: region_map([], size=SIZE, surround=0.1), "list of regions is empty"),
        (lambda: region_map([Region((0, 0, 1, 1))], size=SIZE, surround=2), "surround is 2"),
    ],
)
def test_regions_that_cannot_be(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_upsampling_keeps_flats_and_ramps():
    ramp = np.arange(8, dtype=np.float32)[None].repeat(3, 0)
    fine = upsampled(ramp, 4, (12, 32))
    np.testing.assert_allclose(fine[:, 2:-2], ((np.arange(32) + 0.5) / 4 - 0.5)[None, 2:-2].repeat(12, 0), atol=1e-6)
    np.testing.assert_array_equal(upsampled(np.ones((2, 3, 3), np.float32), 4, (7, 11)), np.ones((7, 11, 3)))


def test_blurring_keeps_flats_and_spreads_a_spot():
    np.testing.assert_allclose(blurred(np.full((1, 5), 2, np.float32)), 2)
    spot = np.zeros((5, 5), np.float32)
    spot[2, 2] = 9
    np.testing.assert_allclose(blurred(spot)[1:4, 1:4], 1)
