"""From a gaze direction to a point of the picture.

A projector is anything that takes a direction (x right, y up, -z forward, of any length) and gives (u, v), or None for
a ray that meets no picture. `project` is how the rest of the package calls one: whatever it answers,
no number that is not finite comes out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from texvlm.gaze.sample import Direction, Point

Projector = Callable[[Direction], Point | None]
"""(x, y, z) to (u, v), or to None for a ray that meets no picture."""

FARTHEST = 8.0
"""Frame sides from the centre beyond which a ray counts as missing the picture: it is then nearly parallel to it."""


def project(projector: Projector, direction: Direction) -> Point | None:
    """Where a direction meets the picture; None behind the eye, parallel to the picture, far off it, or not finite."""
    if not all(map(math.isfinite, direction)):
        return None
    point = projector(direction)
    return None if point is None else within_reach(point)


def within_reach(point: Point) -> Point | None:
    """The point as floats, or None where it is not finite, or further than FARTHEST from the picture's centre."""
    u, v = point
    near = abs(u - 0.5) <= FARTHEST and abs(v - 0.5) <= FARTHEST  # false for NaN
    return (float(u), float(v)) if near else None


@dataclass(frozen=True, slots=True)
class FovProjector:
    """The view of one eye by the angles of its field of view, which need not be symmetric.

    Attributes:
        left: angle of the left edge, radians; negative where it lies left of straight ahead.
        right: of the right edge.
        up: of the upper edge.
        down: of the lower edge; negative where it lies below straight ahead.
    Raises:
        ValueError: an angle outside -pi/2..pi/2, or two edges in one place.
    Source:
        OpenXR 1.1, XrFovf: the angles, with their signs and order (angleLeft, angleRight, angleUp, angleDown).
    """

    left: float
    right: float
    up: float
    down: float

    def __post_init__(self) -> None:
        for name in ("left", "right", "up", "down"):
            angle = getattr(self, name)
            if not -math.pi / 2 < angle < math.pi / 2:
                raise ValueError(f"{name} is {angle}; accepted: radians between -pi/2 and pi/2")
        if self.left == self.right or self.up == self.down:
            raise ValueError(
                f"a field of view from {self.left} to {self.right} and {self.down} to {self.up} has no size"
            )

    @classmethod
    def symmetric(cls, width_rad: float, *, aspect: float) -> FovProjector:
        """A view of this angle across, of a picture whose width is `aspect` times its height."""
        half = width_rad / 2
        up = math.atan(math.tan(half) / aspect)
        return cls(-half, half, up, -up)

    def __call__(self, direction: Direction) -> Point | None:
        """See Projector."""
        ratios = _slopes(direction)
        if ratios is None:
            return None
        across, upward = ratios
        left, right, up, down = map(math.tan, (self.left, self.right, self.up, self.down))
        return (across - left) / (right - left), (up - upward) / (up - down)

    def direction(self, point: Point) -> Direction:
        """The ray through a point of the picture, of z = -1."""
        left, right, up, down = map(math.tan, (self.left, self.right, self.up, self.down))
        return left + point[0] * (right - left), up - point[1] * (up - down), -1.0


@dataclass(frozen=True, slots=True)
class PinholeProjector:
    """A camera by its intrinsics, without lens distortion (undistort, or give a callable of your own).

    Attributes:
        focal: (fx, fy), texels.
        centre: (cx, cy), texels from the picture's outer top-left corner: half a texel more than in
            OpenCV, which counts from the first texel's centre.
        size: (width, height) of the picture, texels.
    Raises:
        ValueError: a focal length or a side that is not above 0, or a number that is not finite.
    Source:
        Hartley and Zisserman, Multiple View Geometry, 2nd edition, section 6.1.
    """

    focal: tuple[float, float]
    centre: tuple[float, float]
    size: tuple[int, int]

    def __post_init__(self) -> None:
        if not all(0 < length < math.inf for length in self.focal):
            raise ValueError(f"focal is {self.focal}; accepted: (fx, fy) in texels, above 0")
        if not all(map(math.isfinite, self.centre)):
            raise ValueError(f"centre is {self.centre}; accepted: (cx, cy) in texels")
        if not all(side > 0 for side in self.size):
            raise ValueError(f"size is {self.size}; accepted: (width, height) in texels, above 0")

    def __call__(self, direction: Direction) -> Point | None:
        """See Projector."""
        ratios = _slopes(direction)
        if ratios is None:
            return None
        across, upward = ratios
        u = (self.centre[0] + self.focal[0] * across) / self.size[0]
        return u, (self.centre[1] - self.focal[1] * upward) / self.size[1]


def _slopes(direction: Direction) -> tuple[float, float] | None:
    """Tangents of a ray to the right and upward; None unless it goes forward."""
    x, y, z = direction
    if not z < 0:
        return None
    return x / -z, y / -z
