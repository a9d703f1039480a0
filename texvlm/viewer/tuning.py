"""The steps that keys take: from one layout, token budget or threshold to the next that can be had."""

from __future__ import annotations

from collections.abc import Callable

from texvlm.layouts import LAYOUTS, Layout
from texvlm.viewer.settings import ViewSettings

THRESHOLDS = tuple(level / 255 for level in (0, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64))
"""The ladder of thresholds, of full scale."""

GROWTH = 1.25
"""Ratio of one token budget to the next."""

LEAST_TOKENS, MOST_TOKENS = 4, 16384

SEARCH = 0.1
"""How far beside the wished budget one is looked for that the layout can have, as a share of it."""

Fits = Callable[[Layout], bool]


def next_layout(settings: ViewSettings, name: str, tokens: int, step: int, fits: Fits) -> tuple[str, int | None]:
    """(name, tokens) of the next layout that can be had, with the same budget where it can have that.

    Raises:
        ValueError: there is no other.
    """
    names = list(LAYOUTS)
    start = names.index(name)
    for away in range(1, len(names)):
        other = names[(start + step * away) % len(names)]
        for budget in (tokens, None):
            if _can_have(settings, other, budget, fits):
                return other, budget
    raise ValueError(f"no layout but {name} fits this frame")


def next_tokens(settings: ViewSettings, name: str, tokens: int, step: int, fits: Fits) -> int:
    """The next larger (step 1) or smaller (-1) budget that a layout can have.

    Raises:
        ValueError: there is none near.
    """
    wish = round(tokens * GROWTH**step)
    wish = min(max(wish, LEAST_TOKENS), MOST_TOKENS)
    for away in range(max(2, round(wish * SEARCH))):
        for budget in (wish + away, wish - away):
            known = LEAST_TOKENS <= budget <= MOST_TOKENS and (budget - tokens) * step > 0
            if known and _can_have(settings, name, budget, fits):
                return budget
    raise ValueError(f"layout {name} has no {'larger' if step > 0 else 'smaller'} budget near {wish} tokens here")


def next_threshold(threshold: float, step: int) -> float:
    """The next looser (1) or stricter (-1) one of the ladder; the last one stays."""
    if step > 0:
        return next((level for level in THRESHOLDS if level > threshold + 1e-9), THRESHOLDS[-1])
    return next((level for level in reversed(THRESHOLDS) if level < threshold - 1e-9), THRESHOLDS[0])


def _can_have(settings: ViewSettings, name: str, tokens: int | None, fits: Fits) -> bool:
    try:
        layout = settings.make_layout(name, tokens)
    except (ValueError, TypeError):
        return False
    return fits(layout)
