"""Poses: from a ray in the head's or the room's space into the view of one eye.

A runtime gives the gaze as a pose (from where, and which way), and each eye's view as another, in the same
space. Views may be turned against each other (canted displays) and lie some centimetres apart, which matters for
what is near.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from texvlm.gaze.sample import Direction

FORWARD: Direction = (0.0, 0.0, -1.0)


@dataclass(frozen=True, slots=True)
class Pose:
    """Where something is and how it is turned, in a space with x right, y up and -z forward.

    Attributes:
        position: (x, y, z), metres.
        orientation: unit quaternion (x, y, z, w), as in OpenXR's XrQuaternionf. Scaled to length 1.
    Raises:
        ValueError: a number that is not finite, or a quaternion of length 0.
    """

    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    orientation: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        length = math.hypot(*self.orientation)
        if not (all(map(math.isfinite, self.position)) and 0 < length < math.inf):
            raise ValueError(
                f"a pose at {self.position}, turned by {self.orientation}: accepted are metres, and a quaternion "
                "(x, y, z, w) of finite length above 0"
            )
        x, y, z, w = self.orientation
        object.__setattr__(self, "orientation", (x / length, y / length, z / length, w / length))

    @property
    def forward(self) -> Direction:
        """Which way it faces: its -z axis; of a gaze pose, the gaze."""
        return _turn(FORWARD, self.orientation)

    def direction_of(self, gaze: Pose, *, distance_m: float = math.inf) -> Direction:
        """A gaze as a direction in this view.

        Args:
            gaze: where the ray starts and which way it goes, in the space of this pose.
            distance_m: how far away that is which is looked at; infinite for directions alone.
        """
        x, y, z, w = self.orientation
        back = (-x, -y, -z, w)
        if math.isinf(distance_m):
            return _turn(gaze.forward, back)
        ahead = zip(gaze.position, gaze.forward, self.position, strict=True)
        px, py, pz = (start + distance_m * step - here for start, step, here in ahead)
        return _turn((px, py, pz), back)


UPRIGHT = Pose()
"""At the origin, not turned."""


def _turn(vector: Direction, quaternion: tuple[float, float, float, float]) -> Direction:
    """A vector turned by a unit quaternion: v + 2w (q x v) + 2 q x (q x v)."""
    x, y, z, w = quaternion
    a, b, c = vector
    tx, ty, tz = 2 * (y * c - z * b), 2 * (z * a - x * c), 2 * (x * b - y * a)
    return a + w * tx + y * tz - z * ty, b + w * ty + z * tx - x * tz, c + w * tz + x * ty - y * tx
