"""GazeSample: one measurement of an eye tracker, as the tracker gives it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from texvlm.gaze.clocks import MONOTONIC, check_clock, whole_ns

Eye = Literal["left", "right", "both"]
"""Whose gaze: one eye's, or the one gaze that a tracker makes of both (also of a pointer)."""

Direction = tuple[float, float, float]
"""(x, y, z): right, up, and -z forward. Its length does not matter."""

Point = tuple[float, float]
"""(u, v), the picture spanning 0..1 from its top-left corner."""


@dataclass(frozen=True, slots=True)
class GazeSample:
    """One measurement: a direction in an eye's view, or a point of the picture.

    Attributes:
        time_ns: when the eye looked there, nanoseconds of `clock`.
        direction: (x, y, z) in the view that it is projected with; or
        point: (u, v).
        clock: name of the clock that `time_ns` was read from.
        valid: False in a blink, or where the tracker lost the eye; it may then have neither.
        confidence: 0..1, or NaN where the tracker knows none for a lost eye.
        eye: whose.
    Raises:
        ValueError, TypeError: a field is not accepted. Coordinates that are not numbers make the sample unusable,
            which is no error: trackers write NaN for a shut eye.
    """

    time_ns: int
    direction: Direction | None = None
    point: Point | None = None
    clock: str = MONOTONIC
    valid: bool = True
    confidence: float = 1.0
    eye: Eye = "both"

    def __post_init__(self) -> None:
        object.__setattr__(self, "time_ns", whole_ns("time_ns", self.time_ns))
        check_clock(self.clock)
        if self.eye not in get_args(Eye):
            raise ValueError(f"eye is {self.eye!r}; accepted: 'left', 'right', 'both'")
        if not (0 <= self.confidence <= 1 or math.isnan(self.confidence)):
            raise ValueError(f"confidence is {self.confidence}; accepted: 0..1")
        if self.direction is not None and self.point is not None:
            raise ValueError("a gaze sample with both a direction and a point; give one of them")
        if self.direction is None and self.point is None and self.valid:
            raise ValueError("a valid gaze sample without direction or point; give one, or valid=False")
        for name, count in (("direction", 3), ("point", 2)):
            place = getattr(self, name)
            if place is not None:
                if len(place) != count:
                    raise ValueError(f"{name} has {len(place)} numbers; accepted: (x, y, z) or, of a point, (u, v)")
                object.__setattr__(self, name, tuple(map(float, place)))

    def usable(self, min_confidence: float = 0.0) -> bool:
        """Whether it says where the eye looked: valid, of numbers, and of at least this confidence."""
        place = self.direction or self.point
        return self.valid and self.confidence >= min_confidence and place is not None and all(map(math.isfinite, place))


def cyclopean(left: GazeSample, right: GazeSample) -> GazeSample:
    """One gaze of both eyes: the mean where both are usable, else the one that is; not valid where neither is.

    Its time is the later one, its confidence that of the less certain eye that it was made of. The mean
    direction is that of an eye between the two, for a distance at which their rays meet ahead.

    Raises:
        ValueError: samples of two clocks, or a direction and a point.
    """
    if left.clock != right.clock:
        raise ValueError(
            f"samples of clocks {left.clock!r} and {right.clock!r}; bring them to one with texvlm.gaze.to_clock"
        )
    time_ns = max(left.time_ns, right.time_ns)
    seen = [sample for sample in (left, right) if sample.usable()]
    if not seen:
        return GazeSample(time_ns, clock=left.clock, valid=False, confidence=0.0)
    confidence = min(sample.confidence for sample in seen)
    directions = [_unit(sample.direction) for sample in seen if sample.direction is not None]
    points = [sample.point for sample in seen if sample.point is not None]
    if directions and points:
        raise ValueError("one eye gives a direction and the other a point; project the direction first")
    if directions:
        x, y, z = (sum(axis) for axis in zip(*directions, strict=True))
        return GazeSample(time_ns, (x, y, z), clock=left.clock, confidence=confidence, valid=(x, y, z) != (0, 0, 0))
    u, v = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    return GazeSample(time_ns, point=(u, v), clock=left.clock, confidence=confidence)


def _unit(direction: Direction) -> Direction:
    length = math.hypot(*direction)
    if not length:
        return 0.0, 0.0, 0.0
    x, y, z = direction
    return x / length, y / length, z / length
