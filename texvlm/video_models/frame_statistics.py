"""Statistics of two pictures of one source: a handful of numbers that say how one differs from the other.

Cheap enough for every frame, because they are taken from one small mip level that is resident anyway.
Each is an amount of change, and blind to something that another one sees: a single small object, a
change of the light, a shift of the whole picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.pyramid import level_size

LONGEST = 64
"""Longer side of the level that statistics are taken from, texels, at most."""

BOX = 4
"""Side of the squares in which changes are averaged, texels: noise cancels out there, objects do not."""

BINS = 16
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Plane = NDArray[np.float32]

STATISTICS: dict[str, Callable[[Plane, Plane], Any]] = {
    "mean": lambda now, then: np.abs(now - then).mean(),
    "rms": lambda now, then: np.sqrt(np.square(now - then).mean()),
    "p90": lambda now, then: np.quantile(np.abs(now - then), 0.9),
    "over 2/255": lambda now, then: (np.abs(now - then) > 2 / 255).mean(),
    "over 8/255": lambda now, then: (np.abs(now - then) > 8 / 255).mean(),
    "over 32/255": lambda now, then: (np.abs(now - then) > 32 / 255).mean(),
    "boxes, mean": lambda now, then: np.abs(_boxes(now - then)).mean(),
    "boxes, largest": lambda now, then: np.abs(_boxes(now - then)).max(),
    "light": lambda now, then: abs(now.mean() - then.mean()),
    "mean without light": lambda now, then: np.abs(now - then - (now.mean() - then.mean())).mean(),
    "structure": lambda now, then: 1 - _correlation(now, then),
    "histogram": lambda now, then: np.abs(_histogram(now) - _histogram(then)).sum(),
    "edges": lambda now, then: sum(np.abs(np.diff(now - then, axis=axis)).sum() for axis in (0, 1)) / now.size,
    "middle": lambda now, then: np.abs(_middle(now - then)).mean(),
}
"""What is measured, on luma in 0..1, in the order of the vector; the first is the plain change of pixels."""


def frame_statistics(now: NDArray[Any], then: NDArray[Any]) -> NDArray[np.float32]:
    """The numbers of STATISTICS, float32, (len(STATISTICS),); each 0 or more, and all finite for finite pictures.

    Args:
        now: a frame's mip level of at most LONGEST texels, (height, width, channels), uint8 or float in 0..1.
        then: the same level of the frame to compare with.
    Raises:
        ValueError: shapes that differ, or no pictures.
    """
    if now.shape != then.shape or now.ndim != 3 or 0 in now.shape:
        raise ValueError(
            f"pictures of shape {now.shape} and {then.shape}; need the same (height, width, channels) twice"
        )
    a, b = _luma(now), _luma(then)
    return np.array([max(float(measure(a, b)), 0.0) for measure in STATISTICS.values()], np.float32)


def statistics_level(size: tuple[int, int], levels: int) -> int:
    """The finest of so many mip levels whose longer side is at most LONGEST, for a frame of (width, height)."""
    return next((level for level in range(levels) if max(level_size(size, level)) <= LONGEST), levels - 1)


def _luma(picture: NDArray[Any]) -> Plane:
    scale = 255 if picture.dtype == np.uint8 else 1
    colour: Plane = picture[..., :3].astype(np.float32) / np.float32(scale)
    plane: Plane = colour @ _LUMA if colour.shape[2] == 3 else colour[..., 0]
    return plane


def _boxes(plane: Plane) -> Plane:
    """Means of squares of BOX, (rows, columns); what is left over at the right and bottom is left out."""
    rows, columns = (max(side // BOX, 1) for side in plane.shape)
    height, width = min(BOX, plane.shape[0]), min(BOX, plane.shape[1])
    cut = plane[: rows * height, : columns * width]
    means: Plane = cut.reshape(rows, height, columns, width).mean(axis=(1, 3))
    return means


def _middle(plane: Plane) -> Plane:
    """The middle half along both sides."""
    height, width = plane.shape
    return plane[height // 4 : height - height // 4, width // 4 : width - width // 4]


def _histogram(plane: Plane) -> NDArray[np.float64]:
    counts, _ = np.histogram(plane, bins=BINS, range=(0, 1))
    return counts / plane.size


def _correlation(a: Plane, b: Plane) -> float:
    """Of two pictures; 1 where neither has contrast, 0 where only one has."""
    a, b = a - a.mean(), b - b.mean()
    lengths = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    if lengths < 1e-6 * a.size:
        return 1.0 if np.abs(a - b).max() < 1 / 255 else 0.0
    return float((a * b).sum() / lengths)
