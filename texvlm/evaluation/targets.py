"""Targets: small generated signs of ten classes that only detail tells apart.

A sign is a plate with one mark on it. Shape and colours of the plate, colours, tilt and shade of the
mark are drawn at random for every sign and say nothing about its class, so that a classifier has to
read the mark. The marks are three characters, three figures and four textures of about the same area.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from texvlm.glyphs import GLYPH_SIZE, text_mask

Plane = NDArray[np.float64]
Ink = NDArray[np.bool_]

CLASSES = ("A", "K", "8", "star", "ring", "cross", "bars", "rails", "checks", "dots")
"""What is on a sign; a label is an index into this."""

TILT_DEG = 20.0
"""A sign is turned by up to this, either way."""

LEAST_CONTRAST = 0.4
"""Difference in luminance of mark and plate, of full scale, at least."""

_OVERSAMPLING = 4
_MARK = 0.58
"""Half the side of the square that holds the mark, in halves of the plate's side."""
_LUMA = np.array([0.299, 0.587, 0.114])


def draw_sign(label: int, side: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One sign.

    Args:
        label: index into CLASSES.
        side: pixels along one side of the picture, at least 4.
        rng: decides plate, colours, tilt and shade.
    Returns:
        Colours (side, side, 3), 0..255, and coverage (side, side), 0..1; float32.
    Raises:
        ValueError: no such class, or too small a side.
    """
    if not 0 <= label < len(CLASSES):
        raise ValueError(f"label {label}; there are classes 0..{len(CLASSES) - 1}")
    if side < 4:
        raise ValueError(f"side is {side}; a sign has 4 pixels or more")
    fine = side * _OVERSAMPLING
    across = (np.arange(fine) + 0.5) / fine * 2 - 1
    tilt = np.radians(rng.uniform(-TILT_DEG, TILT_DEG))
    x = across[None, :] * np.cos(tilt) + across[:, None] * np.sin(tilt)
    y = across[:, None] * np.cos(tilt) - across[None, :] * np.sin(tilt)
    plate = _PLATES[rng.integers(len(_PLATES))](x, y)
    mark = _mark(CLASSES[label], x / _MARK, y / _MARK) & plate
    plate_colour, mark_colour = _colours(rng)
    shade = 1 - rng.uniform(0, 0.35) * (across[None, :] * rng.uniform(-1, 1) + across[:, None] * rng.uniform(-1, 1)) / 2
    colours = np.where(mark[..., None], mark_colour, plate_colour) * shade[..., None]
    cover = _shrunk(plate.astype(np.float64))
    mixed = _shrunk(np.clip(colours, 0, 255) * plate[..., None]) / np.maximum(cover, 1e-6)[..., None]
    return mixed.astype(np.float32), cover.astype(np.float32)


def _mark(name: str, x: Plane, y: Plane) -> Ink:
    """Where the ink of a class lies, for coordinates in -1..1 across the mark."""
    if name in _FIGURES:
        inside: Ink = (np.abs(x) <= 1) & (np.abs(y) <= 1)
        return _FIGURES[name](x, y) & inside
    columns, rows = GLYPH_SIZE
    column = np.floor((x * rows / columns + 1) / 2 * columns).astype(np.int64)  # cells are square: rows set the scale
    row = np.floor((y + 1) / 2 * rows).astype(np.int64)
    inside = (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    cells: Ink = text_mask(name)[np.clip(row, 0, rows - 1), np.clip(column, 0, columns - 1)]
    return cells & inside


def _star(x: Plane, y: Plane) -> Ink:
    """Five points, one up."""
    angle = np.mod(np.arctan2(x, -y), 2 * np.pi / 5)
    edge = np.minimum(angle, 2 * np.pi / 5 - angle) / (np.pi / 5)  # 0 at a point, 1 between two
    inside: Ink = np.hypot(x, y) <= 1.0 - 0.6 * edge**0.7
    return inside


def _ring(x: Plane, y: Plane) -> Ink:
    radius = np.hypot(x, y)
    inside: Ink = (radius >= 0.5) & (radius <= 0.92)
    return inside


def _cross(x: Plane, y: Plane) -> Ink:
    inside: Ink = np.minimum(np.abs(x), np.abs(y)) <= 0.26
    return inside


def _bars(x: Plane, y: Plane) -> Ink:
    lit: Ink = np.floor((y + 1) * 3.5).astype(np.int64) % 2 == 0
    return lit & (np.abs(x) <= 0.8)


def _rails(x: Plane, y: Plane) -> Ink:
    return _bars(y, x)


def _dots(x: Plane, y: Plane) -> Ink:
    inside: Ink = np.hypot(np.mod((x + 1) * 1.5, 1) - 0.5, np.mod((y + 1) * 1.5, 1) - 0.5) <= 0.34
    return inside


def _checks(x: Plane, y: Plane) -> Ink:
    lit: Ink = (np.floor((x + 1) * 2).astype(np.int64) + np.floor((y + 1) * 2).astype(np.int64)) % 2 == 0
    return lit


_FIGURES: dict[str, Callable[[Plane, Plane], Ink]] = {
    "star": _star,
    "ring": _ring,
    "cross": _cross,
    "bars": _bars,
    "rails": _rails,
    "checks": _checks,
    "dots": _dots,
}


def _disc(x: Plane, y: Plane) -> Ink:
    inside: Ink = np.hypot(x, y) <= 0.98
    return inside


def _square(x: Plane, y: Plane) -> Ink:
    inside: Ink = np.maximum(np.abs(x), np.abs(y)) <= 0.75
    return inside


def _octagon(x: Plane, y: Plane) -> Ink:
    inside: Ink = np.maximum(np.maximum(np.abs(x), np.abs(y)), (np.abs(x) + np.abs(y)) / 2**0.5) <= 0.9
    return inside


_PLATES: tuple[Callable[[Plane, Plane], Ink], ...] = (_disc, _square, _octagon)


def _colours(rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Colours of plate and mark, 0..255, that differ enough in luminance."""
    while True:
        plate, mark = rng.uniform(0, 255, (2, 3))
        if abs(float((plate - mark) @ _LUMA)) >= LEAST_CONTRAST * 255:
            return plate, mark


def _shrunk(fine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of blocks of _OVERSAMPLING pixels along both axes."""
    side = len(fine) // _OVERSAMPLING
    blocks: NDArray[np.float64] = fine.reshape(side, _OVERSAMPLING, side, _OVERSAMPLING, -1).mean((1, 3))
    return blocks[..., 0] if fine.ndim == 2 else blocks
