"""Frames with a known share of changed tiles: every frame really changes other tiles than the last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from texvlm.regions import TILE, TileMask, tile_grid

Pattern = Literal["scattered", "clustered"]

STEP = 64
"""Added to every byte of a changed tile, modulo 256: more than any threshold in use, whatever the byte."""


def still(size: tuple[int, int], seed: int = 0) -> NDArray[np.uint8]:
    """A textured picture, (height, width, 3): colour blocks with noise on them."""
    width, height = size
    rng = np.random.default_rng(seed)
    columns, rows = tile_grid(size)
    blocks = rng.integers(32, 192, (rows, columns, 3), dtype=np.uint8)
    picture = blocks.repeat(TILE, axis=0).repeat(TILE, axis=1)[:height, :width]
    return picture + rng.integers(0, 32, (height, width, 3), dtype=np.uint8)


def changing(size: tuple[int, int], share: float, pattern: Pattern, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Frames without end, each with exactly round(share * tiles) tiles changed since the one before.

    "scattered" draws the tiles at random; "clustered" is one compact object that moves from frame to
    frame. The same array is handed out each time, changed in place.
    """
    picture = still(size, seed)
    rng = np.random.default_rng(seed + 1)
    columns, rows = tile_grid(size)
    count = round(share * rows * columns)
    yield picture
    for step in range(1, 1 << 31):
        if pattern == "scattered":
            mask = np.zeros((rows, columns), np.bool_)
            mask.flat[rng.choice(rows * columns, count, replace=False)] = True
        else:
            mask = _object(rows, columns, count, step)
        for y, x in np.argwhere(mask):
            picture[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE] += STEP
        yield picture


def _object(rows: int, columns: int, count: int, step: int) -> TileMask:
    """A block of `count` tiles, about square, that bounces over the frame by a few tiles a step."""
    mask = np.zeros((rows, columns), np.bool_)
    if count == 0:
        return mask
    high = min(rows, max(1, round(count**0.5)))
    wide = min(columns, -(-count // high))
    high = -(-count // wide)
    left, top = (_bounce(step * pace, room) for pace, room in ((3, columns - wide), (2, rows - high)))
    block = np.arange(high * wide).reshape(high, wide) < count
    mask[top : top + high, left : left + wide] = block
    return mask


def _bounce(distance: int, room: int) -> int:
    """Position on a line of `room` cells after walking to and fro."""
    if room <= 0:
        return 0
    place = distance % (2 * room)
    return min(place, 2 * room - place)
