"""Fixation paths: where to look at each moment, known beforehand.

A path answers `at(pts)` with one fixation (u, v): 0..1 across the frame, origin top-left; a point
outside 0..1 is legal and means a look past the edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol


class FixationPath(Protocol):
    """Where to look over time."""

    def at(self, pts: float | None) -> tuple[float, float]:
        """The fixation (u, v) at a time, seconds."""


@dataclass(frozen=True, slots=True)
class FixedFixation:
    """One fixation for ever; both numbers are finite."""

    u: float = 0.5
    v: float = 0.5

    def __post_init__(self) -> None:
        if not (math.isfinite(self.u) and math.isfinite(self.v)):
            raise ValueError(f"fixation ({self.u}, {self.v}) is not finite; give numbers, 0..1 inside the frame")

    def at(self, pts: float | None = None) -> tuple[float, float]:
        """(u, v), whatever the time."""
        return self.u, self.v


@dataclass(frozen=True, slots=True)
class MovingFixation:
    """A smooth look around for demos: a Lissajous figure with slow phases, the same every time.

    Attributes:
        centre: (u, v) of the middle of the figure.
        reach: largest distance from it, (along u, along v).
        periods_s: seconds of one sweep, (along u, along v); a ratio like 3 : 2 never looks like a circle.
    """

    centre: tuple[float, float] = (0.5, 0.5)
    reach: tuple[float, float] = (0.36, 0.3)
    periods_s: tuple[float, float] = (6.0, 4.0)

    def __post_init__(self) -> None:
        if not (all(map(math.isfinite, (*self.centre, *self.reach))) and min(self.periods_s) > 0):
            raise ValueError(f"{self}: centre and reach are finite, periods above 0")

    def at(self, pts: float | None) -> tuple[float, float]:
        """(u, v) at a time, seconds; an unknown time is the start."""
        t = 2 * math.pi * (pts or 0.0)
        return (
            self.centre[0] + self.reach[0] * math.sin(t / self.periods_s[0]),
            self.centre[1] + self.reach[1] * math.sin(t / self.periods_s[1]),
        )


def parse_fixation(text: str) -> FixedFixation:
    """A fixation from text: "0.5,0.5".

    Raises:
        ValueError: not two finite numbers; names the text.
    """
    parts = text.split(",")
    if len(parts) != 2:
        raise ValueError(f"fixation {text!r} has {len(parts)} part(s); accepted: two numbers U,V such as 0.5,0.5")
    try:
        u, v = float(parts[0]), float(parts[1])
    except ValueError:
        raise ValueError(
            f"fixation {text!r} holds something that is no number; accepted: U,V such as 0.5,0.5"
        ) from None
    if not (math.isfinite(u) and math.isfinite(v)):
        raise ValueError(f"fixation {text!r} is not finite; accepted: two numbers U,V such as 0.5,0.5")
    return FixedFixation(u, v)
