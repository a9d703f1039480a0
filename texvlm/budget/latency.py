"""Holding a time per frame: how many tokens a machine can afford, learnt from what they cost."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median

from texvlm.layouts.base import check_count

LOW, AIM = 0.75, 0.9
"""Shares of the target: below LOW more tokens are tried, above the target fewer; a change is meant to reach AIM.

More are tried by the square root of the ratio: exact where time grows with the square of the tokens
(attention), short of the aim where it grows slower. So a rise from below LOW ends between LOW and
the target for any cost between constant and quadratic, and the controller comes to rest.
"""

MOST_FEWER, MOST_MORE = 0.25, 1.5
"""A change multiplies the tokens by no less and no more: one wild measurement must not empty or fill the frame."""


@dataclass(slots=True, eq=False)
class LatencyController:
    """Chooses a number of tokens so that a frame takes the target time.

    Measurements are taken in windows of frames with one number of tokens; the median decides, so that
    single hiccups do not. After a change, `settle` frames are ignored: a pipeline may still hold older
    ones. Nothing here reads a clock.

    Attributes:
        target_ms: time that a frame may take, from start to end as the caller measures it.
        minimum: tokens that are never gone below; `held` tells when they take too long.
        maximum: tokens that are never gone above.
        window: frames for one decision.
        settle: frames ignored after a change.
        tokens: what the next frame may spend; begins at `start`, or the maximum.
        start: first number of tokens.
        held: the last window was within the target.
    """

    target_ms: float
    minimum: int
    maximum: int
    window: int = 5
    settle: int = 1
    start: int | None = None
    tokens: int = field(init=False)
    held: bool = field(default=True, init=False)
    _spent_ms: list[float] = field(default_factory=list, init=False, repr=False)
    _used: list[int] = field(default_factory=list, init=False, repr=False)
    _ignored: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.target_ms < math.inf:
            raise ValueError(f"target_ms is {self.target_ms}; accepted: milliseconds a frame, above 0")
        for name, value in (("minimum", self.minimum), ("maximum", self.maximum), ("window", self.window)):
            check_count(name, value)
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}; give minimum <= maximum")
        if self.settle < 0:
            raise ValueError(f"settle is {self.settle}; accepted: frames, 0 or more")
        start = self.maximum if self.start is None else self.start
        if not self.minimum <= start <= self.maximum:
            raise ValueError(f"start is {start}; accepted: {self.minimum}..{self.maximum}")
        self.tokens = start

    def observe(self, spent_ms: float, *, used: int | None = None) -> int:
        """Take the time of a frame; how many tokens the next one may spend.

        Args:
            spent_ms: what it took.
            used: tokens that it had; all that it might have by default.
        Raises:
            ValueError: a time that is negative or not finite; nothing has changed.
        """
        if not 0 <= spent_ms < math.inf:
            raise ValueError(f"a frame took {spent_ms} ms; accepted: a finite time, 0 or above")
        if self._ignored < self.settle:
            self._ignored += 1
            return self.tokens
        self._spent_ms.append(float(spent_ms))
        self._used.append(self.tokens if used is None else used)
        if len(self._spent_ms) == self.window:
            self._decide(max(median(self._spent_ms), 1e-6), median(self._used))
            self._spent_ms.clear()
            self._used.clear()
        return self.tokens

    def _decide(self, spent_ms: float, used: float) -> None:
        """Keep or change the number, from what one window took."""
        self.held = spent_ms <= self.target_ms
        ratio = AIM * self.target_ms / spent_ms
        if not self.held:
            wanted = used * max(ratio, MOST_FEWER)
            wanted = min(wanted, self.tokens)
        elif spent_ms < LOW * self.target_ms:
            wanted = max(used * min(math.sqrt(ratio), MOST_MORE), self.tokens)
        else:
            return
        chosen = min(max(int(wanted), self.minimum), self.maximum)
        if chosen != self.tokens:
            self.tokens, self._ignored = chosen, 0
