"""Ghosting: what was there before and is still in the output, of features or pictures.

With t the truth now, p the truth k frames ago and o the output: a ghost of strength a makes o = t + a (p - t). So a
is the residual o - t along p - t, and how well the residual points that way says whether it is a ghost at all.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.layouts.base import check_count
from texvlm.temporal.quality.sequences import as_values, check_shape


@dataclass(frozen=True, slots=True, eq=False)
class Ghosting:
    """Ghosts of one frame, or the worst of a sequence.

    Attributes:
        frame: which frame, counted from 0.
        strength: share of what was there before in each token, 0 for no ghost, 1 for a token that stayed
            as it was, (tokens,).
        lag: frames ago that it shows, int32, 0 for no ghost, (tokens,).
        share: of the tokens that have a ghost, 0..1.
        worst: largest strength.
    """

    frame: int
    strength: NDArray[np.float64]
    lag: NDArray[np.int32]
    share: float
    worst: float


class GhostMeter:
    """Compares what an output gets wrong with what past frames looked like.

    Args:
        lags: past frames that are looked for: the last 1, 2, ... of them. Bounds the memory.
        least_strength: of a ghost.
        least_cosine: of the residual and the way to the past frame: below, the output is wrong in another way.
        least_change: root mean square between truth now and then, in the values' unit: below, nothing can be told.
    """

    def __init__(
        self, lags: int = 8, *, least_strength: float = 0.1, least_cosine: float = 0.7, least_change: float = 0.01
    ) -> None:
        check_count("lags", lags)
        for name, value in (("least_strength", least_strength), ("least_cosine", least_cosine)):
            if not 0 < value <= 1:
                raise ValueError(f"{name} is {value}; accepted: above 0, up to 1")
        if not 0 < least_change < np.inf:
            raise ValueError(f"least_change is {least_change}; accepted: a number above 0")
        self._lags, self._strength, self._cosine, self._change = lags, least_strength, least_cosine, least_change
        self.reset()

    def reset(self) -> None:
        """Forget all. Not on a cut: what shines through a cut is the worst ghost."""
        self._past: deque[NDArray[np.float64]] = deque(maxlen=self._lags)
        self._frames = 0
        self._worst: Ghosting | None = None

    def update(self, output: Any, truth: Any) -> Ghosting:
        """Take the next frame; returns its ghosts.

        Args:
            output: what is judged, (tokens, d), d >= 2 numbers of each token: features, or its pixels.
            truth: what it should be, the same shape: the full forward, or the frame's own pixels.
        Raises:
            ValueError, TypeError: shapes that differ from each other or from before; nothing is taken.
        """
        now, wanted = (as_values(what, v).astype(np.float64) for what, v in (("output", output), ("truth", truth)))
        if now.ndim != 2 or now.shape != wanted.shape or now.shape[1] < 2:
            raise ValueError(f"output {now.shape} with truth {wanted.shape}; accepted: both (tokens, d), d >= 2")
        check_shape("output", now.shape, self._past[-1].shape if self._past else None)
        wrong = now - wanted
        strength, lag = np.zeros(len(now)), np.zeros(len(now), np.int32)
        closest = np.full(len(now), self._cosine)
        length = np.linalg.norm(wrong, axis=1)
        for ago, past in enumerate(reversed(self._past), 1):
            way = past - wanted
            span = np.linalg.norm(way, axis=1)
            along = (wrong * way).sum(axis=1)
            cosine = np.divide(along, length * span, out=np.zeros_like(along), where=length * span > 0)
            share = np.divide(along, span**2, out=np.zeros_like(along), where=span > 0)
            enough = (span / np.sqrt(now.shape[1]) >= self._change) & (share >= self._strength)
            better = enough & (cosine > closest + (1e-9 if ago > 1 else -1e-9))
            strength[better], lag[better], closest[better] = share[better], ago, cosine[better]
        self._past.append(wanted)
        found = Ghosting(self._frames, strength, lag, float((lag > 0).mean()), float(strength.max()))
        self._frames += 1
        if self._worst is None or found.worst > self._worst.worst:
            self._worst = found
        return found

    def report(self) -> Ghosting | None:
        """The frame with the strongest ghost so far, the first of equal ones; None before the first frame."""
        return self._worst
