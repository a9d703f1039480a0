"""Tokens for regions of a frame: a minimum and a maximum for each, held on the table that is sampled.

    regions, score map, total  ->  shares (exact, within limits)  ->  score map for the quadtree  ->  plan
                                        ^                                                           |
                                        +----- counts outside their limits: weigh that region anew --+

A quadtree splits in steps of three tokens and keeps touching squares within a factor of two, so what
a region gets follows its share of the map only roughly. So the plan is counted, and planned again
until each region has between its minimum and its maximum. A token is counted for the first region
whose box holds its centre: where boxes overlap, the earlier one counts. What no box holds is the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.budget import split_tokens
from texvlm.fixation.look import check_map
from texvlm.fixation.score_map import Region
from texvlm.layouts import Quadtree
from texvlm.layouts.base import Focus
from texvlm.layouts.table import PADDING_LAYER, Table

LONGEST = 128
"""Cells of the map along the frame's longer side."""

SPREADS = ((0.3, 0.0), (1.0, 2.0), (1.0, -2.0), (1.0, 0.0))
"""(share of a region's mass that is spread over all of it, how it leans), tried in turn.

Spread, because more mass must mean more tokens also where the score is concentrated in a spot that is split as far
as it can be. Leaning, because equal squares of an even map reach their turn together, and counts jump."""

FARTHEST = 30
"""Logarithm of a region's weight beyond which it is all or nothing."""

WEIGHING, SEARCHING = 6, 58
"""Plans that weigh all regions anew at once, and further ones that search for the weight of one at a time."""


@dataclass(frozen=True, slots=True)
class BudgetRegion:
    """A box of a frame and the tokens that it may have.

    Attributes:
        box: (u0, v0, u1, v1), the frame spanning 0..1.
        weight: what its score counts, > 0; the rest of the frame counts 1.
        minimum: tokens.
        maximum: tokens; None for no limit.
    """

    box: tuple[float, float, float, float]
    weight: float = 1.0
    minimum: int = 0
    maximum: int | None = None

    def __post_init__(self) -> None:
        Region(self.box, self.weight)
        most = self.minimum if self.maximum is None else self.maximum
        if not 0 <= index(self.minimum) <= index(most):
            raise ValueError(
                f"region {self.box} has minimum {self.minimum} and maximum {self.maximum}; give 0 <= minimum <= maximum"
            )


@dataclass(frozen=True, slots=True, eq=False)
class RegionPlan:
    """A table in which each region has its tokens.

    Attributes:
        table: what the layout planned, (tokens,).
        score: the map that it follows, float32: `engine.tokens(score=plan.score)` samples this table.
        shares: tokens that each region was meant to get, the rest of the frame last; their sum is the total.
        counts: tokens that each really has; within the limits. Their sum is up to two under the total
            where the quadtree pads.
        plans: how many tables were planned to get there.
    """

    table: Table
    score: NDArray[np.float32]
    shares: tuple[int, ...]
    counts: tuple[int, ...]
    plans: int


def region_shares(
    regions: Sequence[BudgetRegion], total: int, *, size: tuple[int, int], score: NDArray[Any] | None = None
) -> list[int]:
    """Tokens for each region, and for the rest of the frame at the end, 0 where there is none.

    In proportion to weight times score mass (area, without a score or where it is 0 everywhere), within limits;
    rounded by largest remainders. The sum is exact.

    Args:
        regions: one or more; see the module for boxes that overlap.
        total: tokens of the frame.
        size: (width, height) of the frame, texels.
        score: importance over the frame, >= 0, (rows, columns).
    Raises:
        ValueError: no region, minimums above the total, or maximums that leave tokens over where the
            regions cover all of the frame.
    """
    return _shares(regions, total, _covers(regions, size) * _values(size, score))


def plan_regions(
    layout: Quadtree, regions: Sequence[BudgetRegion], *, size: tuple[int, int], score: NDArray[Any] | None = None
) -> RegionPlan:
    """A table in which every region has at least its minimum and at most its maximum of tokens.

    Args:
        layout: says how many tokens there are, and of which sides.
        regions: one or more.
        size: (width, height) of the frame, texels.
        score: importance over the frame, >= 0, (rows, columns); decides shares, and places within regions.
    Raises:
        ValueError: limits that no table meets or that none was found for: names the region, what it
            wants and the nearest that was found; or what `region_shares` and the layout refuse.
    """
    covers, values = _covers(regions, size), _values(size, score)
    shares = _shares(regions, layout.tokens, covers * values)
    _check_room(regions, layout, size)
    search = _Search(layout, regions, size, shares)
    for spread, lean in SPREADS:
        search.begin((1 - spread) * _unit(covers * values) + spread * _unit(covers * _leaning(size, lean)))
        search.weigh_all(WEIGHING)
        search.weigh_one_by_one(SEARCHING)
        if not search.best_miss:
            return search.best
    number = max(range(len(regions)), key=lambda r: _miss(regions[r], search.best.counts[r]))
    region = regions[number]
    raise ValueError(
        f"region {number} {region.box} wants {region.minimum} to "
        f"{layout.tokens if region.maximum is None else region.maximum} of {layout.tokens} tokens; the nearest of "
        f"{search.plans} plans gives it {search.best.counts[number]}: widen its limits (a quadtree goes in steps of "
        "three, and squares that touch differ by two at most), or change the total"
    )


def count_in_regions(table: Table, regions: Sequence[BudgetRegion], *, size: tuple[int, int]) -> tuple[int, ...]:
    """Tokens whose centre each box holds (of several, the first one's), and last those of the rest; no padding rows."""
    rows = table[table["layer"] != PADDING_LAYER]
    free = np.ones(len(rows), np.bool_)
    counts = []
    for region in regions:
        u0, v0, u1, v1 = region.box
        inside = free & (rows["x"] >= u0 * size[0]) & (rows["x"] < u1 * size[0])
        inside &= (rows["y"] >= v0 * size[1]) & (rows["y"] < v1 * size[1])
        counts.append(int(inside.sum()))
        free &= ~inside
    return (*counts, int(free.sum()))


class _Search:
    """Weights of the regions, and the best plan so far."""

    def __init__(
        self, layout: Quadtree, regions: Sequence[BudgetRegion], size: tuple[int, int], shares: Sequence[int]
    ) -> None:
        self.layout, self.regions, self.size, self.shares = layout, regions, size, tuple(shares)
        self.plans = 0
        self.best_miss = math.inf
        self.best: RegionPlan

    def begin(self, spread: NDArray[np.float64]) -> None:
        """Weigh regions by their shares; `spread` is how the mass of each lies in it, (regions + 1, rows, columns)."""
        self._spread = spread
        self._weights = [max(share, 0.25) for share in self.shares]
        self._counts = self._plan()

    def _plan(self) -> tuple[int, ...]:
        """Plan with the present weights; keeps the plan where it is the nearest to the limits yet."""
        values = np.tensordot(np.asarray(self._weights), self._spread, axes=1)
        score = np.asarray(values / values.max(), np.float32)
        table = self.layout.plan(self.size, Focus(np.zeros((1, 2)), score=score))
        counts = count_in_regions(table, self.regions, size=self.size)
        self.plans += 1
        miss = sum(_miss(region, count) for region, count in zip(self.regions, counts, strict=False))
        if miss < self.best_miss:
            self.best_miss = miss
            self.best = RegionPlan(table, score, self.shares, counts, self.plans)
        return counts

    def weigh_all(self, plans: int) -> None:
        """Each region anew by how far its count is from its share."""
        until = self.plans + plans
        while self.best_miss and self.plans < until:
            parts = zip(self._weights, self.shares, self._counts, strict=True)
            self._weights = [weight * (share + 0.5) / (count + 0.5) for weight, share, count in parts]
            self._counts = self._plan()

    def weigh_one_by_one(self, plans: int) -> None:
        """The weights of regions outside their limits by bisection, in turns: each moves the others a little."""
        before, until = -1, self.plans + plans
        while self.best_miss and before < self.plans < until:
            before = self.plans
            for number in range(len(self.regions)):
                self._bisect(number, until)

    def _bisect(self, number: int, until: int) -> None:
        """Bring one region within its limits, where a weight of it does."""
        region, low, high = self.regions[number], -math.inf, math.inf
        while miss := _miss(region, self._counts[number]):
            level = math.log(self._weights[number])
            low, high = (level, high) if self._counts[number] < region.minimum else (low, level)
            if self.plans >= until or high - low < 1e-4 or abs(level) > FARTHEST:
                return
            step = min(miss, 3) if high == math.inf else -min(miss, 3)
            level = (low + high) / 2 if math.isfinite(low + high) else level + step
            self._weights[number] = math.exp(level)
            self._counts = self._plan()


def _miss(region: BudgetRegion, count: int) -> int:
    """How many tokens a count lies outside a region's limits."""
    over = 0 if region.maximum is None else count - region.maximum
    return max(region.minimum - count, over, 0)


def _covers(regions: Sequence[BudgetRegion], size: tuple[int, int]) -> NDArray[np.float64]:
    """How much of each cell of the map belongs to each region, and to the rest, (regions + 1, rows, columns)."""
    if not regions:
        raise ValueError("the list of regions is empty; give one or more")
    columns, rows = _grid(size)
    free = np.ones((rows, columns))
    covers = []
    for region in regions:
        u0, v0, u1, v1 = region.box
        cover = np.minimum(free, np.outer(_covered(rows, v0, v1), _covered(columns, u0, u1)))
        free = free - cover
        covers.append(cover)
    return np.stack([*covers, np.where(free > 1e-9, free, 0)])


def _values(size: tuple[int, int], score: NDArray[Any] | None) -> NDArray[np.float64]:
    """The score on the map's cells; ones without a score, or where it is 0 everywhere."""
    columns, rows = _grid(size)
    if score is None:
        return np.ones((rows, columns))
    given = check_map("score map", score).astype(np.float64)
    if not given.any():
        return np.ones((rows, columns))
    values: NDArray[np.float64] = _parts(rows, given.shape[0]) @ given @ _parts(columns, given.shape[1]).T
    return values


def _grid(size: tuple[int, int]) -> tuple[int, int]:
    columns, rows = (max(1, round(side / max(size) * LONGEST)) for side in size)
    return columns, rows


def _leaning(size: tuple[int, int], lean: float) -> NDArray[np.float64]:
    """A map that grows by e**lean from left to right, and otherwise from top to bottom: no two squares are equal."""
    columns, rows = _grid(size)
    u, v = (np.arange(columns) + 0.5) / columns, (np.arange(rows)[:, None] + 0.5) / rows
    leaning: NDArray[np.float64] = np.exp(lean * (u + 0.618 * v))
    return leaning


def _unit(masses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each region's mass scaled to 1; 0 stays 0."""
    totals = masses.sum(axis=(1, 2), keepdims=True)
    unit: NDArray[np.float64] = np.divide(masses, totals, out=np.zeros_like(masses), where=totals > 0)
    return unit


def _shares(regions: Sequence[BudgetRegion], total: int, masses: NDArray[np.float64]) -> list[int]:
    weights = [*(region.weight for region in regions), 1.0]
    rest = bool(masses[-1].any())
    mass = [weight * float(part.sum()) for weight, part in zip(weights, masses, strict=True)]
    least = [*(region.minimum for region in regions), 0]
    most = [*(total if r.maximum is None else max(r.maximum, r.minimum) for r in regions), total if rest else 0]
    if total < sum(least):
        raise ValueError(f"minimums of the regions sum to {sum(least)}; there are {total} tokens")
    if sum(most) < total:
        raise ValueError(
            f"the regions cover all of the frame and take at most {sum(most)} of {total} tokens; give a larger maximum"
        )
    return split_tokens(total, mass, minimum=least, maximum=most)


def _check_room(regions: Sequence[BudgetRegion], layout: Quadtree, size: tuple[int, int]) -> None:
    """ValueError where a region is too small for its minimum: centres of squares lie a least side apart or more."""
    for number, region in enumerate(regions):
        u0, v0, u1, v1 = (min(max(edge, 0.0), 1.0) for edge in region.box)
        spans = ((u1 - u0) * size[0], (v1 - v0) * size[1])
        across, down = (math.floor(span / layout.least_side) + 1 for span in spans)
        if region.minimum > across * down:
            raise ValueError(
                f"region {number} {region.box} holds at most {across * down} tokens of {layout.least_side:g} texels, "
                f"not {region.minimum}; ask for fewer, or a layout with a smaller min_side"
            )


def _parts(new: int, old: int) -> NDArray[np.float64]:
    """Share of each new part of an axis that lies in each old one, (new, old); rows sum to 1."""
    stops = np.minimum(np.arange(1, new + 1)[:, None] / new, np.arange(1, old + 1) / old)
    starts = np.maximum(np.arange(new)[:, None] / new, np.arange(old) / old)
    parts: NDArray[np.float64] = np.clip(stops - starts, 0, None) * new
    return parts


def _covered(cells: int, start: float, end: float) -> NDArray[np.float64]:
    """How much of each of `cells` equal parts of 0..1 lies between start and end, 0..1."""
    edges = np.arange(cells + 1) / cells
    cover: NDArray[np.float64] = np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], start), 0, None) * cells
    return cover
