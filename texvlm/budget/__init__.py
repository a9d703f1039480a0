"""How many tokens: for each frame and source, between a minimum and a maximum.

    complexity (mips)  x  importance  ->  what each frame deserves
    LatencyController (ms)            ->  what the machine can do     ->  TokenBudget  ->  Grant (layout)

`texvlm.fixation` says where to look; this says how much. Both see a `Scene`. A grant is a layout out
of a `Ladder`, for `Engine.tokens(layout=...)`: token counts change in few steps and seldom.

Rejected: any count in any frame (every change samples anew, and compiled models want few shapes), and
a PID controller (its gains fit one machine; this one needs to know only that time grows with the
tokens, and no faster than their square).
"""

from __future__ import annotations

from texvlm.budget.complexity import (
    STATISTICS,
    Complexity,
    LinearComplexity,
    MipComplexity,
    fit_complexity,
    mip_statistics,
)
from texvlm.budget.ladder import Ladder, make_ladder
from texvlm.budget.latency import LatencyController
from texvlm.budget.shares import split_tokens
from texvlm.budget.token_budget import Grant, TokenBudget, by_layout

__all__ = [
    "STATISTICS",
    "Complexity",
    "Grant",
    "Ladder",
    "LatencyController",
    "LinearComplexity",
    "MipComplexity",
    "TokenBudget",
    "by_layout",
    "fit_complexity",
    "make_ladder",
    "mip_statistics",
    "split_tokens",
]
