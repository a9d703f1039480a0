"""Flicker: swings of a token's value that its content does not explain, by frequency.

What content explains is removed first: a token's value is fitted, over the window, by a line in time, its
content and the content's rate of change; what remains is the token's own. So pictures that blink are
not taken for features that do.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.layouts.base import check_count
from texvlm.temporal.quality.sequences import as_values, check_shape, check_time

FINER = 4
"""Frequencies that are tried, for each that the window tells apart: finds a peak between two."""

FEWEST = 8
"""Frames without which nothing is told; and twice what is fitted, where content has channels."""

SEED = 20261121


@dataclass(frozen=True, slots=True, eq=False)
class Flicker:
    """Swings within the window.

    Attributes:
        frames: in the window.
        span_s: its length.
        frequency_hz: the strongest frequency over all tokens; None where nothing swings or there are too few frames.
        tonal: share of the swings' energy around that frequency, 0..1: near 1 for a steady blink, small for noise.
        amplitude: of each token, root mean square of its own swings at `least_hz` and above, over its
            channels, in the values' unit, (tokens,).
        token_hz: strongest frequency of each token, NaN where it does not swing, (tokens,).
    """

    frames: int
    span_s: float
    frequency_hz: float | None
    tonal: float
    amplitude: NDArray[np.float64]
    token_hz: NDArray[np.float64]


class FlickerMeter:
    """Keeps the last frames' values and their content, and looks for what swings in the one but not the other.

    Frequencies reach from `least_hz` to half the mean frame rate; times need not be equally spaced.

    Args:
        window: frames, 8 or more.
        least_hz: slower swings count as drift.
        directions: features of more channels are projected on so many fixed random directions, which keeps the mean
            square over channels on average; bounds the memory.
    """

    def __init__(self, window: int = 64, *, least_hz: float = 1.0, directions: int = 16) -> None:
        check_count("window", window)
        check_count("directions", directions)
        if window < FEWEST:
            raise ValueError(f"window is {window}; accepted: {FEWEST} frames or more")
        if not 0 < least_hz < math.inf:
            raise ValueError(f"least_hz is {least_hz}; accepted: a frequency above 0")
        self._window, self._least_hz, self._directions = window, least_hz, directions
        self.reset()

    def reset(self) -> None:
        """Forget all; also on a cut."""
        self._frames: deque[tuple[float, NDArray[np.float32], NDArray[np.float32]]] = deque(maxlen=self._window)
        self._shapes: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        self._projection: NDArray[np.float32] | None = None

    def update(self, values: Any, *, time_s: float, content: Any = None) -> None:
        """Take the next frame.

        Args:
            values: of each token, (tokens,) or (tokens, d).
            time_s: when it is shown.
            content: what each token's value may follow, (tokens,) or (tokens, c) with few channels: the mean colour
                of its pixels, or a few of the full forward's channels. None where it should not move at all.
        Raises:
            ValueError, TypeError: another shape than before, or a time that is not later; nothing is taken.
        """
        now = as_values("values", values)
        given = np.zeros((len(now), 0), np.float32) if content is None else as_values("content", content)
        now, given = (array[:, None] if array.ndim == 1 else array for array in (now, given))
        if now.ndim != 2 or given.ndim != 2 or len(given) != len(now):
            raise ValueError(f"values {now.shape} with content {given.shape}; accepted: (tokens,) or (tokens, d) each")
        shapes = (now.shape, given.shape)
        check_shape("values", now.shape, None if self._shapes is None else self._shapes[0])
        check_shape("content", given.shape, None if self._shapes is None else self._shapes[1])
        check_time(time_s, self._frames[-1][0] if self._frames else -math.inf)
        if self._shapes is None and now.shape[1] > self._directions:
            random = np.random.default_rng(SEED).standard_normal((now.shape[1], self._directions))
            self._projection = np.linalg.qr(random)[0].astype(np.float32)
        self._shapes = shapes
        kept = now if self._projection is None else now @ self._projection
        self._frames.append((time_s, kept, given))

    def report(self) -> Flicker:
        """What swings in the window now."""
        count = len(self._frames)
        tokens = 0 if self._shapes is None else self._shapes[0][0]
        times = np.array([frame[0] for frame in self._frames])
        span = float(times[-1] - times[0]) if count > 1 else 0.0
        silent = Flicker(count, span, None, 0.0, np.zeros(tokens), np.full(tokens, np.nan))
        if count < max(FEWEST, 4 + 4 * (0 if self._shapes is None else self._shapes[1][1])):
            return silent  # what is fitted would explain anything
        highest = (count - 1) / span / 2
        if self._least_hz > highest:
            return silent
        own = _own_part(
            np.stack([frame[1] for frame in self._frames]), np.stack([frame[2] for frame in self._frames]), times
        )
        step = 1 / span / FINER
        tried = np.arange(self._least_hz, highest + step / 2, step)
        energy = _energies(own, times, tried)  # (frequencies, tokens)
        total = energy.sum(axis=1)
        scale = max(float(np.square(self._frames[-1][1]).mean()), 1e-12)
        if total.max() <= 1e-10 * scale:
            return silent
        best = int(total.argmax())
        # what a window of this length cannot tell from the peak belongs to it
        near = np.abs(tried - tried[best]) <= 2 / span
        strongest = np.where(energy.max(axis=0) > 1e-10 * scale, tried[energy.argmax(axis=0)], np.nan)
        amplitude = np.sqrt(energy.sum(axis=0) / FINER / HANN_SPREAD)
        return Flicker(count, span, float(tried[best]), float(total[near].sum() / total.sum()), amplitude, strongest)


HANN_SPREAD = 1.5
"""Neighbouring frequencies of a window over which a Hann window spreads the energy of one (its noise bandwidth)."""


def _own_part(
    values: NDArray[np.float32], content: NDArray[np.float32], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What a line in time, the content and its rate of change leave of each token's values, (frames, tokens, d)."""
    frames, tokens, channels = content.shape
    line = np.broadcast_to(np.stack([np.ones(frames), times - times.mean()], axis=1), (tokens, frames, 2))
    drive = content.astype(np.float64).transpose(1, 0, 2)
    rate = np.gradient(drive, times, axis=1) if channels else drive
    known = np.concatenate([line, drive, rate], axis=2)
    wanted = values.astype(np.float64).transpose(1, 0, 2)
    own: NDArray[np.float64] = wanted - known @ (np.linalg.pinv(known, rcond=1e-9) @ wanted)
    return own.transpose(1, 0, 2)


def _energies(own: NDArray[np.float64], times: NDArray[np.float64], tried: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean square over the channels of the swing at each frequency, (frequencies, tokens).

    A sine of amplitude a has energy a**2 / 2 at its own frequency. Hann window; times as they are.
    """
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * (times - times[0]) / (times[-1] - times[0]))
    taper = taper * np.gradient(times)  # each frame stands for the time around it
    waves = np.exp(-2j * np.pi * tried[:, None] * times) * (taper / taper.sum())
    found = np.tensordot(waves, own, axes=1)
    energy: NDArray[np.float64] = 2 * np.square(np.abs(found)).mean(axis=2)
    return energy
