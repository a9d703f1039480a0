"""The quadtree: an exact, balanced partition with an exact count, for any frame and fixation."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raster import boxes, coverage, focus_at, side_map, tokens_of, worst_jump

from texvlm.layouts import PADDING_LAYER, Focus, Quadtree, Table, make_layout
from texvlm.visual_field import VisualField

CENTRE = focus_at((0.0, 0.0))


@st.composite
def requests(draw: st.DrawFn) -> tuple[Quadtree, tuple[int, int], Focus]:
    """A layout, a small frame that it fits, and a focus anywhere, also outside the frame."""
    patch = draw(st.sampled_from([4, 7, 8, 14, 16]))
    size = draw(st.one_of(st.tuples(st.integers(1, 200), st.integers(1, 200)), st.sampled_from([(600, 3), (2, 500)])))
    cells = math.ceil(size[0] / patch) * math.ceil(size[1] / patch)
    count = draw(st.integers(1, 3))
    points = st.tuples(st.floats(-1.5, 2.5), st.floats(-1.5, 2.5))
    fixations = np.array([draw(points) for _ in range(count)]) * size
    weights = np.array([draw(st.floats(0.05, 20)) for _ in range(count)])
    tokens = draw(st.integers(1, min(cells, 300)))
    e2_deg = draw(st.sampled_from([0.5, 2.0, 10.0]))
    return Quadtree(tokens=tokens, patch=patch, e2_deg=e2_deg), size, Focus(fixations, weights)


@settings(max_examples=200, deadline=None)
@given(requests())
def test_every_texel_is_in_exactly_one_token(request: tuple[Quadtree, tuple[int, int], Focus]) -> None:
    layout, size, focus = request
    table = layout.plan(size, focus)
    assert table.shape == (layout.tokens,)
    assert (coverage(table, size) == 1).all()
    assert worst_jump(table, size) <= 2
    tokens = tokens_of(table)
    assert layout.tokens - len(tokens) <= 2
    assert (table["layer"][: len(tokens)] == 0).all()
    areas = tokens["valid"].astype(np.float64) * tokens["side"].astype(np.float64) ** 2
    assert areas.sum() == pytest.approx(size[0] * size[1], rel=1e-6)
    assert (tokens["valid"] > 0).all()
    assert np.array_equal(layout.plan(size, focus), table)


@settings(max_examples=100, deadline=None)
@given(requests())
def test_sides_and_places_are_multiples_and_rows_are_in_morton_order(
    request: tuple[Quadtree, tuple[int, int], Focus],
) -> None:
    layout, size, focus = request
    tokens = tokens_of(layout.plan(size, focus))
    octaves = np.log2(tokens["side"] / layout.patch)
    assert (octaves == np.round(octaves)).all()
    assert (octaves >= 0).all()
    corners = boxes(tokens)[:, :2]
    assert (corners % tokens["side"][:, None] == 0).all()
    codes = [_morton(int(x), int(y)) for x, y in corners / layout.patch]
    assert codes == sorted(codes)
    assert (tokens["region"] < len(focus.fixations)).all()


def _morton(x: int, y: int) -> int:
    return sum(((x >> bit & 1) << 2 * bit) | ((y >> bit & 1) << 2 * bit + 1) for bit in range(16))


# --- against a slow reference that shares no code --------------------------------------------------------


def reference_leaves(layout: Quadtree, size: tuple[int, int], focus: Focus) -> set[tuple[float, float, float]]:
    """Best-first splitting in the plainest form: a set of squares, and all pairs for the 2:1 rule."""
    focal = VisualField(size, layout.fov_deg).focal_texels
    patch, (width, height) = layout.patch, size
    side = patch
    while side < max(size):
        side *= 2
    leaves = {(0, 0, side)}

    def priority(leaf: tuple[int, int, int]) -> float:
        x, y, side = leaf
        total = 0.0
        for (fx, fy), weight in zip(focus.fixations, focus.weights, strict=True):
            near = np.clip((fx, fy), (x, y), (min(x + side, width), min(y + side, height)))
            e = math.degrees(math.atan(math.dist(near, (fx, fy)) / focal))
            total += weight / (e + layout.e2_deg) ** 2
        return side * side * total

    def children(leaf: tuple[int, int, int]) -> list[tuple[int, int, int]]:
        x, y, half = leaf[0], leaf[1], leaf[2] // 2
        corners = [(x, y), (x + half, y), (x, y + half), (x + half, y + half)]
        return [(cx, cy, half) for cx, cy in corners if cx < width and cy < height]

    def touch(a: tuple[int, int, int], b: tuple[int, int, int]) -> bool:
        return a[0] <= b[0] + b[2] and b[0] <= a[0] + a[2] and a[1] <= b[1] + b[2] and b[1] <= a[1] + a[2]

    def split(leaves: set[tuple[int, int, int]], leaf: tuple[int, int, int]) -> set[tuple[int, int, int]]:
        for other in [o for o in leaves if o[2] > leaf[2] and touch(o, leaf)]:
            if other in leaves:
                leaves = split(leaves, other)
        return leaves - {leaf} | set(children(leaf))

    while True:
        options = sorted((leaf for leaf in leaves if leaf[2] > patch), key=priority, reverse=True)
        for leaf in options:
            after = split(leaves, leaf)
            if len(after) <= layout.tokens:
                leaves = after
                break
        else:
            return leaves  # type: ignore[return-value]


@pytest.mark.parametrize("seed", range(12))
def test_leaves_equal_the_slow_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    compared = 0
    for _ in range(4):
        size = (int(rng.integers(40, 300)), int(rng.integers(40, 300)))
        count = int(rng.integers(1, 4))
        focus = Focus(rng.uniform(-0.3, 1.3, (count, 2)) * size, rng.uniform(0.2, 3, count))
        cells = math.ceil(size[0] / 8) * math.ceil(size[1] / 8)
        layout = Quadtree(tokens=int(rng.integers(1, min(cells, 70))), patch=8)
        expected = reference_leaves(layout, size, focus)
        tokens = tokens_of(layout.plan(size, focus))
        found = {(x0, y0, x1 - x0) for x0, y0, x1, _ in boxes(tokens).tolist()}
        if len(expected) == layout.tokens:  # else the exact count is settled by a trade, tested below
            assert found == expected
            compared += 1
        else:
            assert len(found) >= len(expected)
    assert compared > 0


# --- counts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size",
    [(1024, 1024), (1920, 1080), (1280, 720), (640, 480), (1080, 1920), (3840, 2160), (7680, 4320), (16384, 16384)],
)
def test_the_default_count_is_exact_on_usual_frames(size: tuple[int, int], rng: np.random.Generator) -> None:
    for u, v in rng.uniform(-0.2, 1.2, (25, 2)):
        table = Quadtree().plan(size, focus_at((u * size[0], v * size[1])))
        assert (table["layer"] == 0).all()
        assert (table["valid"] > 0).all()


@pytest.mark.parametrize(
    ("size", "tokens"),
    [((1, 1), 1), ((16384, 1), 268), ((1, 16384), 268), ((16384, 16), 1024), ((17, 33), 6), ((3, 16384), 1)],
)
def test_extreme_frames(size: tuple[int, int], tokens: int) -> None:
    table = Quadtree(tokens=tokens).plan(size, focus_at((size[0] / 3, size[1] / 3)))
    assert len(tokens_of(table)) == tokens
    areas = table["valid"].astype(np.float64) * table["side"].astype(np.float64) ** 2
    assert areas.sum() == pytest.approx(size[0] * size[1], rel=1e-6)


@pytest.mark.parametrize("size", [(100, 60), (64, 64), (130, 17)])
def test_all_cells_is_the_greatest_count(size: tuple[int, int]) -> None:
    greatest = math.ceil(size[0] / 8) * math.ceil(size[1] / 8)
    assert Quadtree(patch=8).counts(size) == (1, greatest)
    table = Quadtree(tokens=greatest, patch=8).plan(size, CENTRE)
    assert (table["side"] == 8).all()
    with pytest.raises(ValueError, match=rf"{greatest + 1} tokens .* the greatest count is {greatest}: ask for fewer"):
        Quadtree(tokens=greatest + 1, patch=8).plan(size, CENTRE)


def test_padding_only_where_no_partition_has_the_count() -> None:
    layout = Quadtree()
    assert layout.reachable_counts((1024, 1024), up_to=40) == list(range(1, 41, 3))
    for tokens, padding in ((268, 0), (269, 1), (270, 2), (271, 0)):
        table = Quadtree(tokens=tokens).plan((1024, 1024), focus_at((100.0, 900.0)))
        assert (table["layer"] == PADDING_LAYER).sum() == padding
        assert (table["layer"][: tokens - padding] == 0).all()
        assert (table["valid"][tokens - padding :] == 0).all()
    # a border that cuts squares in half reaches every count, even next to the border itself
    reachable = layout.reachable_counts((1280, 720), up_to=200)
    assert set(range(100, 201)) <= set(reachable)
    for tokens in range(230, 260):
        for point in ((640.0, 719.0), (1279.0, 360.0), (10.0, 10.0)):
            table = Quadtree(tokens=tokens).plan((1280, 720), focus_at(point))
            assert (table["layer"] == 0).all()
        assert worst_jump(table, (1280, 720)) <= 2


def test_one_token_is_one_square_over_the_frame() -> None:
    (token,) = Quadtree(tokens=1).plan((1920, 1080), CENTRE)
    assert (token["x"], token["y"], token["side"]) == (1024, 1024, 2048)
    assert token["valid"] == pytest.approx(1920 * 1080 / 2048**2)


# --- where the detail goes -----------------------------------------------------------------------------


@pytest.mark.parametrize("point", [(960.0, 540.0), (5.0, 5.0), (1919.5, 300.25), (700.0, 1079.0)])
def test_side_grows_with_eccentricity(point: tuple[float, float]) -> None:
    size = (1920, 1080)
    table = Quadtree().plan(size, focus_at(point))
    sides = side_map(table, size)
    assert sides[int(point[1]), int(point[0])] == table["side"].min()
    distance = np.hypot(table["x"] - point[0], table["y"] - point[1])
    medians = [np.median(chunk["side"]) for chunk in np.array_split(table[np.argsort(distance)], 6)]
    assert medians == sorted(medians)
    assert medians[-1] >= 4 * medians[0]


@pytest.mark.parametrize("point", [(-1e4, 540.0), (1e9, -1e9), (960.0, 1e300)])
def test_far_away_fixations_still_cover_the_frame(point: tuple[float, float]) -> None:
    table = Quadtree().plan((1920, 1080), focus_at(point))
    assert (table["layer"] == 0).all()
    assert (coverage(table, (1920, 1080)) == 1).all()


def test_equal_fixations_share_equally_and_weights_shift_tokens() -> None:
    size = (2048, 1024)
    left, right = (512.0, 512.0), (1536.0, 512.0)

    def share(*weights: float) -> float:
        table = Quadtree(tokens=800).plan(size, focus_at(left, right, weights=list(weights)))
        return float((table["region"] == 0).mean())

    assert share(1, 1) == pytest.approx(0.5, abs=0.01)
    assert share(1, 1) < share(3, 1) < share(20, 1)
    assert share(3, 1) + share(1, 3) == pytest.approx(1, abs=0.02)
    assert share(5, 5) == share(1, 1)


def test_regions_lie_around_their_fixations() -> None:
    points = [(200.0, 200.0), (1700.0, 300.0), (900.0, 950.0)]
    table = Quadtree().plan((1920, 1080), focus_at(*points))
    distance = np.stack([np.hypot(table["x"] - x, table["y"] - y) for x, y in points])
    clear = np.sort(distance, axis=0)[1] - distance.min(axis=0) > 2 * table["side"]
    assert clear.sum() > 150
    assert (table["region"] == distance.argmin(axis=0))[clear].all()
    for region in range(3):
        assert table["side"][table["region"] == region].min() <= 32


def test_e2_sets_how_steep() -> None:
    def spread(e2_deg: float) -> float:
        sides = Quadtree(e2_deg=e2_deg).plan((4096, 4096), focus_at((2048.0, 2048.0)))["side"]
        return float(sides.max() / sides.min())

    assert spread(0.75) > spread(20) >= spread(1000)


# --- sides ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patch", "min_side", "max_side", "sides"),
    [
        (16, None, 64, (16, 64)),
        (16, 20, 100, (32, 64)),  # rounded into the range
        (16, 32, 32, (32, 32)),
        (14, 28, 60, (28, 56)),
        (16, 4, 128, (4, 128)),  # below the patch: magnified
    ],
)
def test_sides_stay_within_the_limits(
    patch: int, min_side: float | None, max_side: float, sides: tuple[int, int]
) -> None:
    size = (640, 360)
    layout = Quadtree(tokens=1, patch=patch, min_side=min_side, max_side=max_side)
    least, greatest = layout.counts(size)
    for tokens in (least, min(greatest, least + 90)):
        layout = Quadtree(tokens=tokens, patch=patch, min_side=min_side, max_side=max_side)
        table = tokens_of(layout.plan(size, focus_at((100.0, 100.0))))
        assert table["side"].min() >= sides[0]
        assert table["side"].max() <= sides[1]
        assert tokens - len(table) <= 2
        assert worst_jump(table, size) <= 2
        assert (coverage(table, size) == 1).all()
    assert layout.least_side == sides[0]


def test_a_budget_too_small_for_max_side_names_the_least_count() -> None:
    with pytest.raises(ValueError, match=r"100 tokens cannot cover .* max_side 64; the least count is 510"):
        Quadtree(tokens=100, max_side=64).plan((1920, 1080), CENTRE)


# --- arguments and threads -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": 0}, "tokens is 0; at least 1 is needed"),
        ({"tokens": -3}, "tokens is -3"),
        ({"patch": 0}, "patch is 0"),
        ({"fov_deg": 180}, "fov_deg is 180; a field of view is above 0 and below 180 degrees"),
        ({"e2_deg": 0}, "e2_deg is 0"),
        ({"e2_deg": math.nan}, "e2_deg is nan"),
        ({"min_side": 0.5}, "min_side is 0.5; it is a finite number of texels, 1 or more"),
        ({"max_side": math.inf}, "max_side is inf"),
        ({"min_side": 20, "max_side": 30}, r"no side patch \* 2\*\*k with patch 16 lies between min_side 32"),
        ({"min_side": 64, "max_side": 32}, "no side"),
    ],
)
def test_impossible_options_are_refused_in_one_line(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Quadtree(**options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_a_count_that_is_no_number_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"tokens is 2\.5; it is a whole number"):
        Quadtree(tokens=2.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(0, 5), (16385, 10)])
def test_frames_out_of_range_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=f"frame size {size[0]} x {size[1]}: each side is 1..16384 texels"):
        Quadtree(tokens=1).plan(size, CENTRE)


def test_layouts_compare_by_value_and_plan_from_many_threads() -> None:
    assert Quadtree() == Quadtree(tokens=268)
    assert hash(Quadtree()) == hash(Quadtree(tokens=268))
    points = [(float(x), float(x % 700)) for x in range(0, 1900, 40)]
    layout = Quadtree()

    def plan(point: tuple[float, float]) -> Table:
        return layout.plan((1920, 1080), focus_at(point))

    alone = [plan(point) for point in points]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(plan, points))
    assert all(np.array_equal(a, b) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("size", [(1, 1), (64, 48), (160, 90)], ids=str)
def test_a_small_frame_is_padded_where_nobody_insists_on_the_count(size: tuple[int, int]) -> None:
    table = make_layout("quadtree").plan(size, CENTRE)
    cells = math.ceil(size[0] / 16) * math.ceil(size[1] / 16)
    assert table.shape == (268,)
    assert (table["layer"][:cells] == 0).all()
    assert (table["layer"][cells:] == PADDING_LAYER).all()
    assert (coverage(table[:cells], size) == 1).all()
    with pytest.raises(ValueError, match=f"268 tokens are more than .* the greatest count is {cells}"):
        make_layout("quadtree", tokens=268).plan(size, CENTRE)
    with pytest.raises(ValueError, match="small_frames is 'stretch'; accepted: 'refuse', 'pad'"):
        Quadtree(small_frames="stretch")  # type: ignore[arg-type]
