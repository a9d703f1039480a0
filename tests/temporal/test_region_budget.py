"""Budgets of regions: shares are exact, counts on the planned table lie within limits, and what cannot be is said."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from texvlm import Engine
from texvlm.layouts import Quadtree
from texvlm.layouts.table import PADDING_LAYER, make_table
from texvlm.temporal.region_budget import BudgetRegion, count_in_regions, plan_regions, region_shares

SIZE = (1280, 720)
LEFT, RIGHT = (0.1, 0.2, 0.4, 0.7), (0.55, 0.3, 0.9, 0.8)


def counted(table, boxes, size):
    """Tokens of each box, the first that holds the centre; in plain Python."""
    counts = [0] * (len(boxes) + 1)
    for row in table:
        if row["layer"] == PADDING_LAYER:
            continue
        u, v = row["x"] / size[0], row["y"] / size[1]
        owner = [k for k, (u0, v0, u1, v1) in enumerate(boxes) if u0 <= u < u1 and v0 <= v < v1]
        counts[owner[0] if owner else -1] += 1
    return tuple(counts)


def said(call):
    """What a call gives, or None and the words of its refusal."""
    try:
        return call(), ""
    except ValueError as error:
        return None, str(error)


def test_shares_follow_weight_and_mass():
    halves = [BudgetRegion((0, 0, 0.5, 1)), BudgetRegion((0.5, 0, 1, 1), weight=3)]
    assert region_shares(halves, 100, size=SIZE) == [25, 75, 0]
    assert region_shares(halves[1:], 100, size=SIZE) == [75, 25]
    score = np.array([[3.0, 1.0]])
    assert region_shares(halves, 100, size=SIZE, score=score) == [50, 50, 0]
    assert region_shares(halves, 100, size=SIZE, score=0 * score) == [25, 75, 0]
    capped = [halves[0], BudgetRegion((0.5, 0, 1, 1), weight=3, maximum=40)]
    assert region_shares(capped, 100, size=SIZE) == [60, 40, 0]
    both = [BudgetRegion((0, 0, 1, 1)), BudgetRegion(LEFT)]
    assert region_shares(both, 100, size=SIZE) == [100, 0, 0], "where boxes overlap, the earlier one counts"


boxes = st.tuples(*[st.floats(0, 0.8)] * 2, *[st.floats(0.1, 0.6)] * 2).map(
    lambda b: (b[0], b[1], min(b[0] + b[2], 1.0), min(b[1] + b[3], 1.0))
)
regions = st.builds(
    lambda box, weight, least, room: BudgetRegion(box, weight, least, None if room is None else least + room),
    boxes,
    st.floats(0.1, 9),
    st.integers(0, 30),
    st.one_of(st.none(), st.integers(0, 40)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(regions, min_size=1, max_size=4), st.integers(120, 400), st.integers(0, 2**32 - 1))
def test_shares_are_exact_and_within_limits(found, total, seed):
    score = np.random.default_rng(seed).random((5, 7))
    shares, refusal = said(lambda: region_shares(found, total, size=SIZE, score=score))
    if shares is None:
        assert "cover all of the frame" in refusal  # the minimums never exceed these totals
        assert sum(total if region.maximum is None else region.maximum for region in found) < total
        return
    assert sum(shares) == total
    assert shares == region_shares(found, total, size=SIZE, score=score)
    for region, share in zip(found, shares, strict=False):
        assert region.minimum <= share <= (total if region.maximum is None else region.maximum)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(regions, min_size=1, max_size=3),
    st.sampled_from([196, 268, 300]),
    st.sampled_from([(1280, 720), (640, 480), (512, 512), (333, 517)]),
    st.integers(0, 2**32 - 1),
)
def test_counts_on_the_table_lie_within_limits_or_the_error_says_what_was_near(found, tokens, size, seed):
    score = np.random.default_rng(seed).random((6, 6)) ** 4
    layout = Quadtree(tokens=tokens)
    plan, refusal = said(lambda: plan_regions(layout, found, size=size, score=score))
    if plan is None:
        assert "\n" not in refusal
        assert any(words in refusal for words in ("the nearest of", "holds at most", "cover all of the frame"))
        return
    counts = counted(plan.table, [region.box for region in found], size)
    assert counts == plan.counts == count_in_regions(plan.table, found, size=size)
    assert tokens - 2 <= sum(counts) <= tokens
    for region, count in zip(found, counts, strict=False):
        assert region.minimum <= count <= (tokens if region.maximum is None else region.maximum)
    again = plan_regions(layout, found, size=size, score=score)
    np.testing.assert_array_equal(again.table, plan.table)


def test_one_more_or_fewer_token_is_kept_to_on_a_usual_frame():
    for least in range(30, 90, 6):
        limits = [BudgetRegion(LEFT, minimum=least, maximum=least + 2), BudgetRegion(RIGHT, maximum=60)]
        counts = plan_regions(Quadtree(tokens=268), limits, size=SIZE).counts
        assert least <= counts[0] <= least + 2
        assert counts[1] <= 60


def test_the_engine_samples_the_planned_table():
    limits = [BudgetRegion(LEFT, minimum=90), BudgetRegion(RIGHT, maximum=20)]
    with Engine(backend="cpu", tokens=200) as engine:
        engine.submit(np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
        plan = plan_regions(engine.layout, limits, size=SIZE)
        np.testing.assert_array_equal(engine.tokens(score=plan.score).table[0], plan.table)
    assert plan.counts[0] >= 90
    assert plan.counts[1] <= 20
    free = plan_regions(Quadtree(tokens=200), [BudgetRegion(LEFT), BudgetRegion(RIGHT)], size=SIZE)
    assert free.plans == 1
    assert not (free.counts[0] >= 90 and free.counts[1] <= 20), "the limits above did something"


QUARTERS = (None, *itertools.product((False, True), repeat=4))  # one square of 64, or four of 32, some of them split


def _squares(quarter, corner):
    if quarter is None:
        return [(corner[0] + 32, corner[1] + 32, 64)]
    found = []
    for k, split in enumerate(quarter):
        x, y = corner[0] + 32 * (k % 2), corner[1] + 32 * (k // 2)
        eights = ((8, 8), (24, 8), (8, 24), (24, 24))
        found += [(x + a, y + b, 16) for a, b in eights] if split else [(x + 16, y + 16, 32)]
    return found


def every_tree():
    """All balanced quadtrees of a 128 x 128 frame, squares of 16 and above: squares of each quarter, and ids."""
    corners = ((0, 0), (64, 0), (0, 64), (64, 64))
    squares = [[_squares(quarter, corner) for quarter in QUARTERS] for corner in corners]
    ids = np.array(list(itertools.product(range(len(QUARTERS)), repeat=4)))
    balanced = np.ones(len(ids), bool)
    for a, b in itertools.permutations(range(4), 2):
        (x, y, side) = squares[a][0][0]
        touching = [
            any(s == 16 and max(abs(x - i), abs(y - j)) <= (side + s) / 2 for i, j, s in squares[b][q])
            for q in range(len(QUARTERS))
        ]
        balanced &= ~((ids[:, a] == 0) & np.array(touching)[ids[:, b]])
    return squares, ids[balanced]


def test_next_to_nothing_that_is_possible_is_missed(rng):
    squares, ids = every_tree()
    sizes = np.array([[len(found) for found in quarter] for quarter in squares])
    tokens = sum(sizes[k, ids[:, k]] for k in range(4))
    feasible = found = 0
    for _ in range(40):
        total = int(rng.choice([16, 22, 28, 34, 40]))
        u, v, width, height = *rng.uniform(0, 0.4, 2), *rng.uniform(0.2, 0.6, 2)
        box = (u, v, u + width, v + height)
        per = np.array(
            [
                [counted(make_table(*zip(*s, strict=True), size=(128, 128)), [box], (128, 128))[0] for s in quarter]
                for quarter in squares
            ]
        )
        possible = set(sum(per[k, ids[:, k]] for k in range(4))[tokens == total].tolist())
        least = int(rng.integers(0, total))
        region = BudgetRegion(box, minimum=least, maximum=least + int(rng.integers(0, 4)))
        able = any(region.minimum <= count <= region.maximum for count in possible)
        feasible += able
        plan, _ = said(lambda: plan_regions(Quadtree(tokens=total), [region], size=(128, 128)))  # noqa: B023
        if plan is not None:
            found += 1
            assert plan.counts[0] in possible
            assert able
    assert feasible >= 10
    assert found >= 0.9 * feasible


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], "list of regions is empty"),
        ([BudgetRegion(LEFT, minimum=150), BudgetRegion(RIGHT, minimum=150)], "sum to 300; there are 268"),
        ([BudgetRegion((0, 0, 1, 1), maximum=100)], "take at most 100 of 268 tokens"),
        ([BudgetRegion((0.5, 0.5, 0.51, 0.51), minimum=9)], r"region 0 .* holds at most 1 tokens of 16 texels, not 9"),
        ([BudgetRegion((0.2, 0.2, 0.4, 0.3), minimum=80)], r"region 0 .* wants 80 to 268 of 268 tokens; the nearest"),
    ],
)
def test_what_cannot_be_is_one_clear_error(found, words):
    with pytest.raises(ValueError, match=words):
        plan_regions(Quadtree(tokens=268), found, size=SIZE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"box": (0.5, 0, 0.4, 1)}, "accepted: u0,v0,u1,v1"),
        ({"box": LEFT, "weight": 0}, "a finite number above 0"),
        ({"box": LEFT, "minimum": -1}, "minimum -1"),
        ({"box": LEFT, "minimum": 5, "maximum": 4}, "minimum 5 and maximum 4"),
    ],
)
def test_regions_that_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        BudgetRegion(**arguments)


def test_a_score_that_is_no_map_is_refused():
    with pytest.raises(ValueError, match="score map"):
        region_shares([BudgetRegion(LEFT)], 100, size=SIZE, score=np.full((2, 2), np.nan))
