"""Packing tiles of level 0 for upload, on the host: rectangle after rectangle, row by row.

Shared by every backend that keeps a mirror of level 0 and sends only what changed. A single tile is a
16 x 16 rectangle.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from texvlm._compiled import compiled
from texvlm.backends._threads import ThreadAccount
from texvlm.regions import TILE, TileMask

Pieces = NDArray[np.int32]
"""Rectangles in tiles, (x, y, width, height), shape (n, 4)."""

_packing = ThreadAccount()


def list_tiles(tiles: TileMask) -> Pieces:
    """Each masked tile as a rectangle of its own, in reading order."""
    return _list_tiles(tiles)  # type: ignore[no-any-return]


def pack_texels(stored: NDArray[Any], pieces: Pieces, packed: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Copy rectangles of level 0 into a buffer as they are.

    Args:
        stored: level 0 of one layer, (padded_height, padded_width, channels), uint8 or float32.
        pieces: what to copy.
        packed: destination, bytes; long enough.
    Returns:
        Texel of the buffer at which each rectangle starts, (n,).
    """
    height, _, channels = stored.shape
    strips, starts = cut_strips(pieces)
    words = stored.reshape(height, -1).view(np.uint32)
    with _packing.region(int(strips[:, 2].sum()) * TILE * channels):
        _copy(words, strips, packed[: packed.size // 4 * 4].view(np.uint32), stored.itemsize * channels)
    return starts


def cut_strips(pieces: Pieces) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Strips of 16 rows of texels, so that rectangles of any shape share out evenly among threads.

    Returns:
        (strips, starts): a strip is (x, y, width, start), texels, and the texel of the buffer where it
        starts, shape (n, 4); `starts` has that of each rectangle.
    """
    return _cut_strips(pieces)  # type: ignore[no-any-return]


@compiled()
def _list_tiles(tiles):  # type: ignore[no-untyped-def]
    pieces = np.ones((np.count_nonzero(tiles), 4), np.int32)
    count = 0
    for y in range(tiles.shape[0]):
        for x in range(tiles.shape[1]):
            if tiles[y, x]:
                pieces[count, 0] = x
                pieces[count, 1] = y
                count += 1
    return pieces


@compiled()
def _cut_strips(pieces):  # type: ignore[no-untyped-def]
    strips = np.empty((pieces[:, 3].sum(), 4), np.int64)
    starts = np.empty(len(pieces), np.int64)
    start = 0
    count = 0
    for index in range(len(pieces)):
        starts[index] = start
        width = pieces[index, 2] * 16
        for row in range(pieces[index, 3]):
            strips[count, 0] = pieces[index, 0] * 16
            strips[count, 1] = (pieces[index, 1] + row) * 16
            strips[count, 2] = width
            strips[count, 3] = start
            start += width * 16
            count += 1
    return strips, starts


@compiled(parallel=True)
def _copy(words, strips, packed, texel_bytes):  # type: ignore[no-untyped-def]
    """Texels as they are. Sixteen of them are whole words for every format."""
    for index in prange(len(strips)):
        first = strips[index, 0] * texel_bytes // 4
        count = strips[index, 2] * texel_bytes // 4
        target = strips[index, 3] * texel_bytes // 4
        for row in range(16):
            packed[target : target + count] = words[strips[index, 1] + row, first : first + count]
            target += count
