"""Looking where somebody looks, now: gaze samples or a pointer, smoothed, held in blinks, a little ahead."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from texvlm.fixation.evidence import check_positive
from texvlm.fixation.look import Look
from texvlm.fixation.scene import GazePoint, Scene

Point = NDArray[np.float64]

SACCADE = 1.0
"""Frame sides a second: what is faster is no pursuit, and says nothing of where the eye will be."""

SACCADE_HZ = 15.0
"""Cutoff of the speed that is compared with it: a saccade lasts some hundredths of a second."""

PURSUIT_HZ = 3.0
"""Cutoff of the speed that is predicted with."""


@dataclass(slots=True, eq=False)
class OneEuro:
    """A low-pass filter that is slow at rest (no jitter) and fast in motion (no lag).

    Attributes:
        min_cutoff_hz: cutoff at rest; lower is smoother.
        beta: how much the cutoff grows with speed, Hz for each frame side a second.
        speed_cutoff_hz: cutoff of the speed itself.
        value: the filtered point (u, v); None before the first sample.
        speed: filtered, frame sides a second.
    Source:
        Casiez, Roussel and Vogel, 1 Euro Filter, CHI 2012. Both axes share one speed here, so that a
        slanted path is not bent.
    """

    min_cutoff_hz: float = 1.5
    beta: float = 10.0
    speed_cutoff_hz: float = 1.0
    value: Point | None = field(default=None, init=False)
    speed: Point = field(default_factory=lambda: np.zeros(2), init=False)
    _raw: Point = field(default_factory=lambda: np.zeros(2), init=False, repr=False)

    def __post_init__(self) -> None:
        check_positive("min_cutoff_hz", self.min_cutoff_hz, "Hz")
        check_positive("speed_cutoff_hz", self.speed_cutoff_hz, "Hz")
        if not 0 <= self.beta < math.inf:
            raise ValueError(f"beta is {self.beta}; accepted: 0 (a fixed cutoff) or above")

    def step(self, point: Point, elapsed_s: float) -> Point:
        """Take a sample that came so long after the one before; the filtered point."""
        if self.value is None:
            self.value = self._raw = point
            return self.value
        if elapsed_s <= 0:  # both eyes at one time: the first one counts
            return self.value
        speed = (point - self._raw) / elapsed_s
        self._raw = point
        self.speed = self.speed + _gain(self.speed_cutoff_hz, elapsed_s) * (speed - self.speed)
        cutoff = self.min_cutoff_hz + self.beta * float(np.hypot(*self.speed))
        self.value = self.value + _gain(cutoff, elapsed_s) * (point - self.value)
        return self.value

    def restart(self) -> None:
        """Forget everything."""
        self.value, self.speed = None, np.zeros(2)


@dataclass(slots=True, eq=False)
class GazeFilter:
    """Gaze points of one eye or pointer in, in the order of time; where it looks at any later moment out.

    Attributes:
        min_cutoff_hz: see OneEuro.
        beta: see OneEuro.
        reach: longest way that is predicted, frame sides.
        blink_s: longest gap that counts as a blink; after a longer one the filter starts anew, because the eye
            may have gone anywhere behind the lid.
        last_s: time of the last valid point, seconds; -inf before the first.
        shut: the last point was not valid.
        speed: of smooth pursuit, frame sides a second; 0 in a saccade, and anew after it as after a blink: else
            the fixation would be thrown far beyond where the eye comes to rest.
    """

    min_cutoff_hz: float = 1.5
    beta: float = 10.0
    reach: float = 0.1
    blink_s: float = 0.4
    last_s: float = field(default=-math.inf, init=False)
    shut: bool = field(default=False, init=False)
    speed: Point = field(default_factory=lambda: np.zeros(2), init=False)
    _filter: OneEuro = field(init=False, repr=False)
    _quick: Point = field(default_factory=lambda: np.zeros(2), init=False, repr=False)
    _before: Point | None = field(default=None, init=False, repr=False)  # the point before, as it came

    def __post_init__(self) -> None:
        self._filter = OneEuro(self.min_cutoff_hz, self.beta)
        if not 0 <= self.reach < math.inf:
            raise ValueError(f"reach is {self.reach}; accepted: frame sides, 0 or above")
        check_positive("blink_s", self.blink_s, "seconds")

    @property
    def value(self) -> Point | None:
        """The smoothed gaze (u, v) at `last_s`; None before the first valid point."""
        return self._filter.value

    def take(self, point: GazePoint) -> bool:
        """The next point; whether it counted. ValueError for a time that is not finite or goes back."""
        if not math.isfinite(point.time_s) or point.time_s < self.last_s:
            raise ValueError(
                f"gaze sample at {point.time_s} s after one at {self.last_s} s; times are finite and never go back"
            )
        self.shut = not (point.valid and math.isfinite(point.u) and math.isfinite(point.v))
        if self.shut:
            self._before = None
            return False
        elapsed = point.time_s - self.last_s
        if elapsed > self.blink_s:
            self._filter.restart()
            self._before = None
        place = np.array([point.u, point.v], np.float64)
        self._filter.step(place, elapsed)
        self._move(place, elapsed)
        self.last_s = point.time_s
        return True

    def lead(self, time_s: float | None, *, latency_s: float = 0.0) -> Point:
        """How far the eye will have gone from `value` so long after a moment, at its speed, `reach` at most."""
        age = 0.0 if time_s is None else min(max(time_s - self.last_s, 0.0), self.blink_s)
        ahead = self.speed * (age + latency_s)
        far = float(np.hypot(*ahead))
        return ahead * min(1.0, self.reach / far) if far > 0 else ahead

    def _move(self, place: Point, elapsed_s: float) -> None:
        """Follow the speed of the eye to a point that came so long after the one before."""
        if self._before is None:
            self.speed = self._quick = np.zeros(2)
        elif elapsed_s > 0:
            speed = (place - self._before) / elapsed_s
            self._quick = self._quick + _gain(SACCADE_HZ, elapsed_s) * (speed - self._quick)
            if np.hypot(*self._quick) > SACCADE:
                self.speed = np.zeros(2)
            else:
                self.speed = self.speed + _gain(PURSUIT_HZ, elapsed_s) * (speed - self.speed)
        else:
            return  # both eyes at one time: the first one counts
        self._before = place


@dataclass(slots=True, eq=False)
class LiveGaze:
    """Follows the gaze points, or the pointer, that come with each scene.

    Without a valid sample (a blink, a lost eye) the look holds. After more than `blink_s` of that, the
    filter starts anew with the next sample, because the eye may have gone anywhere behind the lid.

    Attributes:
        min_cutoff_hz: see OneEuro.
        beta: see OneEuro.
        latency_s: how far ahead of the frame's time the look is placed, at the speed of the eye: what
            sampling, encoding and showing will take.
        reach: longest way that is predicted, frame sides.
        blink_s: longest gap that counts as a blink.
    """

    name: ClassVar[str] = "gaze"
    count: ClassVar[int] = 1
    min_cutoff_hz: float = 1.5
    beta: float = 10.0
    latency_s: float = 0.0
    reach: float = 0.1
    blink_s: float = 0.4
    _filter: GazeFilter = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._filter = GazeFilter(self.min_cutoff_hz, self.beta, self.reach, self.blink_s)
        if not 0 <= self.latency_s < math.inf:
            raise ValueError(f"latency_s is {self.latency_s}; accepted: seconds, 0 for none")

    def look(self, scene: Scene) -> Look:
        """See LookPolicy; ValueError for samples whose times are not finite or go back."""
        fresh = False
        for point in scene.gaze:
            fresh |= self._filter.take(point)
        at = self._filter.value
        if at is None:
            return Look(np.array([0.5, 0.5]), why="gaze: none yet")
        if not fresh:
            return Look(at, why="gaze: no sample, holds")
        ahead = self._filter.lead(scene.time_s, latency_s=self.latency_s)
        why = "gaze" if not ahead.any() or self.latency_s == 0 else f"gaze, {1000 * self.latency_s:.0f} ms ahead"
        return Look(at + ahead, why=why)


def _gain(cutoff_hz: float, elapsed_s: float) -> float:
    """Share of the difference that a first-order low-pass takes over in one step."""
    return 1 / (1 + 1 / (2 * math.pi * cutoff_hz * elapsed_s))
