"""The budget of a call: how many tokens each source's next frame gets, and in which layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from texvlm.budget.complexity import Complexity, MipComplexity
from texvlm.budget.ladder import Ladder
from texvlm.budget.latency import LatencyController
from texvlm.budget.shares import split_tokens
from texvlm.fixation import Scene
from texvlm.layouts import Layout
from texvlm.layouts.base import check_count

STAY = 0.85
"""A source keeps its rung until it deserves less than this share of it, so that counts do not flicker."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What one source's frame gets.

    Attributes:
        source: which source.
        layout: for `Engine.tokens(layout=...)`.
        tokens: its count.
        complexity: of the frame, smoothed, 0..1.
        why: a few words for people: what limited it.
    """

    source: int
    layout: Layout
    tokens: int
    complexity: float
    why: str


class TokenBudget:
    """Shares tokens between sources by what is to be seen in them, within what the machine can do.

        budget = TokenBudget(make_ladder(minimum=64, maximum=268), controller=LatencyController(20, 128, 1072))
        grants = budget.plan([scene_of(engine, source) for source in range(4)])
        for layout, sources in by_layout(grants):
            engine.tokens(looks, sources=sources, layout=layout)
        budget.observe(spent_ms)

    A frame deserves between the ladder's minimum and maximum, by complexity times importance. When
    all together deserve more than there is, they share it in proportion. Nobody gets more than it
    deserves only because there is room.

    Args:
        ladder: the counts to choose between.
        total: tokens of one call for all sources; None for no limit but the controller's.
        controller: holds a time per call, or None.
        complexity: judges frames.
        smoothing: share of the earlier complexity in each new one, 0..1, 1 excluded.
    Raises:
        ValueError: a limit under the ladder's minimum, or a value out of range.
        TypeError: a total that is no whole number.
    """

    def __init__(
        self,
        ladder: Ladder,
        *,
        total: int | None = None,
        controller: LatencyController | None = None,
        complexity: Complexity | None = None,
        smoothing: float = 0.8,
    ) -> None:
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing is {smoothing}; accepted: a share of 0 or above, below 1")
        if total is not None:
            check_count("total", total)
        for limit in (total, None if controller is None else controller.minimum):
            if limit is not None:
                ladder.rung_within(limit)
        self._ladder, self._total, self._controller = ladder, total, controller
        self._complexity = MipComplexity() if complexity is None else complexity
        self._smoothing = smoothing
        self._smooth: dict[int, float] = {}
        self._rung: dict[int, int] = {}
        self._granted = 0

    @property
    def available(self) -> int | None:
        """Tokens of the next call for all sources; None where nothing limits them."""
        limits = [self._total, None if self._controller is None else self._controller.tokens]
        return min((limit for limit in limits if limit is not None), default=None)

    def plan(self, scenes: Sequence[Scene], *, importance: Sequence[float] | None = None) -> list[Grant]:
        """What the next frame of each source gets; nothing is remembered when this fails.

        Args:
            scenes: one frame of each source of the call.
            importance: of each to the query or task, >= 0; only ratios matter, the most important counts in full.
        Raises:
            ValueError: a source twice, importance that does not fit or is 0 for all, a complexity that is
                not in 0..1, or a budget under the minimum of so many sources.
        """
        sources = [scene.source for scene in scenes]
        if not sources or len(set(sources)) != len(sources):
            raise ValueError(f"sources of a call are {sources}; give one scene each, of one source or more")
        shares = _relative(importance, len(scenes))
        available = self.available
        lowest = self._ladder.minimum * len(scenes)
        if available is not None and available < lowest:
            raise ValueError(
                f"budget of {available} tokens is under the minimum of {len(scenes)} sources, {lowest}; give more, "
                "serve fewer sources in a call, or take a ladder with a lower rung"
            )
        smooth = [self._smoothed(scene) for scene in scenes]
        span = self._ladder.maximum - self._ladder.minimum
        deserved = [self._ladder.minimum + span * part * share for part, share in zip(smooth, shares, strict=True)]
        rungs = [self._rung_for(source, want) for source, want in zip(sources, deserved, strict=True)]
        limited = available is not None and sum(self._ladder.counts[rung] for rung in rungs) > available
        if available is not None and limited:
            rungs = self._within(available, sources, deserved)
        self._smooth.update(zip(sources, smooth, strict=True))
        self._rung.update(zip(sources, rungs, strict=True))
        self._granted = sum(self._ladder.counts[rung] for rung in rungs)
        why = "shares the budget" if limited else "by what is to be seen"
        return [
            Grant(source, self._ladder.rungs[rung], self._ladder.counts[rung], part, why)
            for source, rung, part in zip(sources, rungs, smooth, strict=True)
        ]

    def observe(self, spent_ms: float) -> None:
        """Tell what the planned call took; ValueError for a time that is negative or not finite."""
        if self._controller is not None and self._granted:
            self._controller.observe(spent_ms, used=self._granted)

    def reset(self, source: int | None = None) -> None:
        """Forget what was seen of a source, or of all; the machine's speed is kept."""
        for remembered in (self._smooth, self._rung):
            if source is None:
                remembered.clear()
            else:
                remembered.pop(source, None)

    def _smoothed(self, scene: Scene) -> float:
        found = float(self._complexity(scene))
        if not 0 <= found <= 1:
            raise ValueError(f"complexity of source {scene.source} is {found}; it must lie in 0..1")
        before = self._smooth.get(scene.source)
        return found if before is None else self._smoothing * before + (1 - self._smoothing) * found

    def _rung_for(self, source: int, wanted: float) -> int:
        """The rung that a source gets for what it wants, or the higher one that it has and nearly deserves."""
        best = self._ladder.rung_within(wanted)
        now = self._rung.get(source, best)
        return now if now > best and wanted >= STAY * self._ladder.counts[now] else best

    def _within(self, available: int, sources: list[int], deserved: list[float]) -> list[int]:
        """Rungs that together stay within a budget: each its share, then what rounding left, a rung at a time.

        A source that had a higher rung goes first, so that what is left does not wander; then the one
        furthest below its share, the first of equal ones.
        """
        counts = self._ladder.counts
        room = min(available, len(sources) * self._ladder.maximum)
        wanted = split_tokens(room, deserved, minimum=self._ladder.minimum, maximum=self._ladder.maximum)
        wanted = [min(share, math.ceil(most)) for share, most in zip(wanted, deserved, strict=True)]
        rungs = [self._ladder.rung_within(share) for share in wanted]
        left = available - sum(counts[rung] for rung in rungs)
        while True:
            able = [
                k
                for k, rung in enumerate(rungs)
                if rung < len(counts) - 1
                and counts[rung + 1] - counts[rung] <= left
                and self._rung_for(sources[k], deserved[k]) > rung
            ]
            if not able:
                return rungs
            best = max(able, key=lambda k: (self._rung.get(sources[k], 0) > rungs[k], wanted[k] - counts[rungs[k]], -k))
            left -= counts[rungs[best] + 1] - counts[rungs[best]]
            rungs[best] += 1


def by_layout(grants: Sequence[Grant]) -> list[tuple[Layout, list[int]]]:
    """Grants as calls of an engine: each layout, fewest tokens first, with the sources that have it."""
    found: dict[Layout, list[int]] = {}
    for grant in sorted(grants, key=lambda grant: (grant.tokens, grant.source)):
        found.setdefault(grant.layout, []).append(grant.source)
    return list(found.items())


def _relative(importance: Sequence[float] | None, count: int) -> list[float]:
    """Importance as shares of the highest."""
    if importance is None:
        return [1.0] * count
    values = [float(value) for value in importance]
    if len(values) != count:
        raise ValueError(f"{len(values)} importances for {count} sources; give one each")
    if not all(0 <= value < math.inf for value in values) or not any(values):
        raise ValueError(f"importances are {values}; accepted: finite numbers of 0 and above, not all 0")
    return [value / max(values) for value in values]
