"""Staleness: whether reused tokens are as young and as near their pixels as they are said to be.

Nothing here trusts the reuse: the meter keeps each token's pixels at the frames where it was reported encoded,
and compares them itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.temporal.quality.sequences import as_values, check_shape


@dataclass(frozen=True, slots=True, eq=False)
class Staleness:
    """What was found so far.

    Attributes:
        frames: how many were taken.
        reused: tokens that were reused, over all frames.
        broken: of those, how many lay further from their pixels than reported.
        wrong_ages: how many had another age than the one counted here.
        over_age: how many were older than the limit.
        stale: how many lay further from their pixels than the limit.
        worst_deviation: largest true deviation of a reused token, of full scale.
        worst_excess: largest true deviation above the reported one.
        oldest: largest age, frames.
        tokens: those of the last frame that broke one of the four rules, int64, (k,).
    """

    frames: int
    reused: int
    broken: int
    wrong_ages: int
    over_age: int
    stale: int
    worst_deviation: float
    worst_excess: float
    oldest: int
    tokens: NDArray[np.int64]

    @property
    def sound(self) -> bool:
        """Whether no rule was ever broken."""
        return not (self.broken or self.wrong_ages or self.over_age or self.stale)


class StalenessMeter:
    """Checks reports on reuse from outside.

    Args:
        limit: largest deviation that a reused token may have, of full scale; None for no limit but the reported one.
        oldest: largest age that it may have, frames; None for no limit.
        measure: "mean" or "max" of the absolute difference over a token's pixels: what is reported.
        slack: difference that is put down to rounding, of full scale.
    """

    def __init__(
        self, *, limit: float | None = None, oldest: int | None = None, measure: str = "mean", slack: float = 1e-5
    ) -> None:
        if measure not in ("mean", "max"):
            raise ValueError(f"measure is {measure!r}; accepted: mean, max")
        for name, value in (("limit", limit), ("oldest", oldest), ("slack", slack)):
            if value is not None and not 0 <= value < np.inf:
                raise ValueError(f"{name} is {value}; accepted: a finite number of 0 or above")
        self._limit, self._oldest, self._slack = limit, oldest, slack
        self._measure = np.mean if measure == "mean" else np.max
        self.reset()

    def reset(self) -> None:
        """Forget all; also where the reuse was reset, or its tokens were laid out anew."""
        self._encoded: NDArray[np.float32] | None = None
        self._ages = np.zeros(0, np.int64)
        self._found = Staleness(0, 0, 0, 0, 0, 0, 0.0, 0.0, 0, np.zeros(0, np.int64))

    def update(self, pixels: Any, *, encoded: Any, deviation: Any, ages: Any = None) -> Staleness:
        """Take the next frame; returns what was found so far.

        Args:
            pixels: of each token now, of full scale (bytes too), (tokens, ...).
            encoded: bool, (tokens,): reported as encoded in this frame.
            deviation: reported difference from the pixels last encoded, or the bound on it, of full scale, (tokens,).
            ages: reported, frames since encoded, (tokens,), where there are any.
        Raises:
            ValueError, TypeError: shapes that do not fit; nothing is taken.
        """
        now = as_values("pixels", pixels)
        now = now.reshape(len(now), -1)
        fresh = as_values("encoded", encoded) > 0
        said = as_values("deviation", deviation)
        told = None if ages is None else as_values("ages", ages, bytes_are=1)
        check_shape("pixels", now.shape, None if self._encoded is None else self._encoded.shape)
        for what, given in (("encoded", fresh), ("deviation", said), ("ages", told)):
            if given is not None and given.shape != (len(now),):
                raise ValueError(f"{what} of shape {given.shape} for {len(now)} tokens; give one each")
        if self._encoded is None:
            if not fresh.all():
                raise ValueError(
                    f"{int((~fresh).sum())} of {len(now)} tokens are reused in the first frame; begin where all are "
                    "encoded"
                )
            self._encoded, self._ages = now.copy(), np.zeros(len(now), np.int64)
        self._encoded[fresh] = now[fresh]
        self._ages = np.where(fresh, 0, self._ages + 1)
        true = self._measure(np.abs(now - self._encoded), axis=1)
        self._found = self._judged(true, said, told, ~fresh)
        return self._found

    def report(self) -> Staleness:
        """What was found so far."""
        return self._found

    def _judged(
        self,
        true: NDArray[np.float32],
        said: NDArray[np.float32],
        told: NDArray[np.float32] | None,
        reused: NDArray[np.bool_],
    ) -> Staleness:
        old = self._found
        excess = np.where(reused, true - said, 0)
        broken = reused & (excess > self._slack)
        wrong = np.zeros_like(reused) if told is None else told != self._ages
        over = np.zeros_like(reused) if self._oldest is None else self._ages > self._oldest
        stale = np.zeros_like(reused) if self._limit is None else reused & (true > self._limit + self._slack)
        return Staleness(
            old.frames + 1,
            old.reused + int(reused.sum()),
            old.broken + int(broken.sum()),
            old.wrong_ages + int(wrong.sum()),
            old.over_age + int(over.sum()),
            old.stale + int(stale.sum()),
            max(old.worst_deviation, float(np.where(reused, true, 0).max())),
            max(old.worst_excess, float(excess.max())),
            max(old.oldest, int(self._ages.max())),
            np.flatnonzero(broken | wrong | over | stale),
        )
