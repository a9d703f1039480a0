"""A ladder of layouts: the few token counts that a budget may choose between."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from texvlm.layouts import Layout, make_layout
from texvlm.layouts.base import check_count


@dataclass(frozen=True, slots=True)
class Ladder:
    """Layouts of one patch and growing token counts.

    A few counts rather than any: each change of count samples a frame's tokens anew, and models
    compiled or captured for fixed shapes want to see few of them.

    Attributes:
        rungs: the layouts, by count.
    """

    rungs: tuple[Layout, ...]

    def __post_init__(self) -> None:
        counts = [layout.tokens for layout in self.rungs]
        if not counts or None in counts:
            raise ValueError("a ladder has one or more layouts of a fixed token count; give layouts with tokens=")
        if any(a >= b for a, b in zip(self.counts, self.counts[1:], strict=False)):
            raise ValueError(f"counts of a ladder are {counts}; they must grow")
        if len({layout.patch for layout in self.rungs}) > 1:
            raise ValueError("layouts of a ladder have one patch; an engine serves no two")

    @property
    def counts(self) -> tuple[int, ...]:
        """Tokens of each rung."""
        return tuple(layout.tokens or 0 for layout in self.rungs)

    @property
    def minimum(self) -> int:
        """Tokens of the lowest rung."""
        return self.counts[0]

    @property
    def maximum(self) -> int:
        """Tokens of the highest rung."""
        return self.counts[-1]

    def rung_within(self, tokens: float) -> int:
        """The highest rung of at most so many tokens.

        Raises:
            ValueError: even the lowest has more.
        """
        if tokens < self.minimum:
            raise ValueError(
                f"budget of {tokens:g} tokens is under the minimum of {self.minimum}; give more, or a ladder with a "
                "lower rung"
            )
        return bisect_right(self.counts, tokens) - 1

    def at_most(self, tokens: float) -> Layout:
        """The layout with the most tokens within a budget; ValueError as `rung_within`."""
        return self.rungs[self.rung_within(tokens)]


def make_ladder(
    name: str = "quadtree",
    *,
    minimum: int = 64,
    maximum: int = 268,
    steps: int = 6,
    counts: Sequence[int] | None = None,
    **options: Any,
) -> Ladder:
    """Layouts of one kind with growing counts.

    Args:
        name: see `texvlm.make_layout`.
        minimum: tokens of the lowest rung.
        maximum: of the highest.
        steps: rungs, their counts growing by about the same factor.
        counts: the counts themselves, for layouts that have only some (rings: 172, 208, 268).
        **options: of every layout, as patch or e2_deg.
    Raises:
        ValueError, TypeError: counts that do not grow, or what `make_layout` refuses.
    """
    if counts is None:
        check_count("minimum", minimum)
        check_count("steps", steps)
        if minimum > maximum:
            raise ValueError(f"minimum {minimum} is above maximum {maximum}; give minimum <= maximum")
        factor = (maximum / minimum) ** (1 / max(steps - 1, 1))
        counts = sorted({round(minimum * factor**k) for k in range(steps - 1)} | {maximum})
    return Ladder(tuple(make_layout(name, tokens=count, **options) for count in counts))
