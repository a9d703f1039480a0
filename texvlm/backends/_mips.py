"""Host kernels for levels 1 and up: exact area means, rounded half up once.

A tile's four levels come from its own 16 x 16 texels, through integer sums that stay exact from
level to level and are rounded only where a texel is written. Runs of dirty tiles are done together:
the same loops over a longer row compile to vector code that is five times faster on a full frame.
Levels 5 and up (the tail) come from level 4 in the same way. float32 textures take the same path
with float64 sums.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from texvlm.backends._threads import ThreadAccount
from texvlm.pyramid import COLUMN_LEVELS
from texvlm.regions import TILE, TileMask

_building = ThreadAccount()


def build_levels(
    texels: NDArray[Any], offsets: NDArray[np.int64], pitches: NDArray[np.int64], tiles: TileMask, channels: int
) -> int:
    """Rebuild levels 1..4 of the masked tiles, and the tail texels above them.

    Args:
        texels: every level of one layer, flat, shape (elements,).
        offsets: first element of each level, (levels,).
        pitches: elements from one row of a level to the next, (levels,).
        tiles: bool, (rows, columns) of the frame's tiles; one cell is one texel of level 4.
        channels: elements of one texel.
    Returns:
        Tail texels written.
    """
    integer = texels.dtype == np.uint8
    with _building.region(int(np.count_nonzero(tiles)) * TILE * TILE * channels):
        _columns_kernel(channels, integer)(texels, offsets, pitches, tiles)
    return int(_tail_kernel(channels, integer)(texels, offsets, pitches, tiles))


# Row operations are functions of their own so that the compiler sees rows that do not overlap. They
# stand here, and not inside the factory: Numba's disk cache takes no kernel whose closure holds functions.


@njit
def _add_rows(upper, lower, out, count):  # type: ignore[no-untyped-def]
    """Sums of vertically neighbouring texels, in the element type of `out`."""
    for i in range(count):
        out[i] = out.dtype.type(upper[i]) + out.dtype.type(lower[i])


@njit
def _add_pairs(row, out, count, channels):  # type: ignore[no-untyped-def]
    """Sums of horizontally neighbouring texels, channel by channel."""
    for x in range(count):
        for c in range(channels):
            out[x * channels + c] = row[2 * x * channels + c] + row[2 * x * channels + channels + c]


@njit
def _write_bytes(sums, out, count, shift):  # type: ignore[no-untyped-def]
    """Means of 2**shift texels, rounded half up, from their 16-bit sums."""
    half, places = np.uint16(1 << (shift - 1)), np.uint16(shift)
    for i in range(count):
        out[i] = np.uint8((sums[i] + half) >> places)


@njit
def _write_floats(sums, out, count, shift):  # type: ignore[no-untyped-def]
    """Means of 2**shift texels from their sums."""
    for i in range(count):
        out[i] = np.float32(sums[i] / (1 << shift))


@lru_cache
def _columns_kernel(channels: int, integer: bool) -> Callable[..., None]:
    C = channels

    @njit(parallel=True, cache=True, nogil=True)
    def build(texels, offsets, pitches, tiles):  # type: ignore[no-untyped-def]
        columns = tiles.shape[1]
        for ty in prange(tiles.shape[0]):
            if integer:  # the sums of levels 1..3 fit 16 bits: 64 * 255
                row = np.empty(columns * 16 * C, np.uint16)
                sums = np.empty((8, columns * 8 * C), np.uint16)
            else:
                row = np.empty(columns * 16 * C, np.float64)
                sums = np.empty((8, columns * 8 * C), np.float64)
            tx = 0
            while tx < columns:
                if not tiles[ty, tx]:
                    tx += 1
                    continue
                first = tx
                while tx < columns and tiles[ty, tx]:
                    tx += 1
                count = tx - first
                for y in range(8):
                    upper = offsets[0] + (ty * 16 + 2 * y) * pitches[0] + first * 16 * C
                    _add_rows(texels[upper:], texels[upper + pitches[0] :], row, count * 16 * C)
                    _add_pairs(row, sums[y], count * 8, C)
                for level in range(1, 4):
                    lines = 16 >> level
                    start = offsets[level] + ty * lines * pitches[level] + first * lines * C
                    for y in range(lines):
                        if integer:
                            _write_bytes(sums[y], texels[start + y * pitches[level] :], count * lines * C, 2 * level)
                        else:
                            _write_floats(sums[y], texels[start + y * pitches[level] :], count * lines * C, 2 * level)
                    if level < 3:  # the next level's sums overwrite rows that are used up
                        for y in range(lines // 2):
                            _add_rows(sums[2 * y], sums[2 * y + 1], row, count * lines * C)
                            _add_pairs(row, sums[y], count * lines // 2, C)
                start = offsets[4] + ty * pitches[4] + first * C
                for x in range(count):
                    for c in range(C):
                        i = 2 * x * C + c
                        if integer:  # 256 * 255 + 128 needs 17 bits
                            total = np.uint32(sums[0, i]) + sums[0, i + C] + sums[1, i] + sums[1, i + C]
                            texels[start + x * C + c] = np.uint8((total + np.uint32(128)) >> np.uint32(8))
                        else:
                            mean = (sums[0, i] + sums[0, i + C] + sums[1, i] + sums[1, i + C]) / 256.0
                            texels[start + x * C + c] = np.float32(mean)

    return build  # type: ignore[no-any-return]


@lru_cache
def _tail_kernel(channels: int, integer: bool) -> Callable[..., int]:
    C = channels
    zero = np.int32(0) if integer else np.float64(0)

    @njit(cache=True, nogil=True)
    def build(texels, offsets, pitches, tiles):  # type: ignore[no-untyped-def]
        rows, columns = tiles.shape
        dirty = tiles
        written = 0
        total = np.full(C, zero)
        for level in range(COLUMN_LEVELS + 1, len(offsets)):
            shift = level - COLUMN_LEVELS
            block = 1 << shift
            above = np.zeros(((dirty.shape[0] + 1) // 2, (dirty.shape[1] + 1) // 2), np.bool_)
            for y in range(dirty.shape[0]):
                for x in range(dirty.shape[1]):
                    above[y >> 1, x >> 1] |= dirty[y, x]
            for y in range(above.shape[0]):
                for x in range(above.shape[1]):
                    if not above[y, x]:
                        continue
                    total[:] = zero
                    inside = min(block, columns - x * block)
                    for v in range(y * block, (y + 1) * block):
                        line = offsets[COLUMN_LEVELS] + min(v, rows - 1) * pitches[COLUMN_LEVELS] + x * block * C
                        for u in range(inside):
                            for c in range(C):
                                total[c] += texels[line + u * C + c]
                        for c in range(C):  # the frame's last texel goes on for ever
                            total[c] += (block - inside) * texels[line + (inside - 1) * C + c]
                    for c in range(C):
                        target = offsets[level] + y * pitches[level] + x * C + c
                        if integer:
                            texels[target] = (total[c] + (1 << (2 * shift - 1))) >> (2 * shift)
                        else:
                            texels[target] = total[c] / (block * block)
                    written += 1
            dirty = above
        return written

    return build  # type: ignore[no-any-return]
