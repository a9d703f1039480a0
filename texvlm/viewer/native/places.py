"""Where pictures lie in a window, and which point of the frame a pixel of the window shows. Plain arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

GAP = 4
"""Pixels between two pictures side by side."""


@dataclass(frozen=True, slots=True)
class Place:
    """A rectangle of the window, framebuffer pixels from the top-left."""

    x: int
    y: int
    width: int
    height: int


def places_of(frame: tuple[int, int], window: tuple[int, int], pictures: int = 1) -> tuple[Place, ...]:
    """Where so many pictures of a frame lie: as large as they fit side by side, centred, none below one pixel.

    Args:
        frame: (width, height), texels.
        window: (width, height), pixels.
        pictures: how many.
    """
    room = max((window[0] - GAP * (pictures - 1)) / pictures, 1.0)
    scale = min(room / frame[0], window[1] / frame[1])
    width, height = (max(1, round(side * scale)) for side in frame)
    left = (window[0] - pictures * width - GAP * (pictures - 1)) // 2
    top = (window[1] - height) // 2
    return tuple(Place(left + k * (width + GAP), top, width, height) for k in range(pictures))


def point_in(places: tuple[Place, ...], x: float, y: float) -> tuple[float, float]:
    """(u, v) of the frame under a pixel of the window, in the nearest picture; beyond its edge, the edge."""

    def beside(place: Place) -> float:
        return max(place.x - x, x - place.x - place.width, 0.0)

    place = min(places, key=beside)
    u, v = (x - place.x) / place.width, (y - place.y) / place.height
    return min(max(u, 0.0), 1.0), min(max(v, 0.0), 1.0)
