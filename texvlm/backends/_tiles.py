"""The host kernel that brings tiles up to date: compare, copy, and average, in one pass or one at a time.

A tile owns its mips up to level 4, so everything that a new frame asks of a row of tiles can be done
while that row is in the nearest cache, and rows need nothing of each other: they are the unit of
parallel work. Numba, cached on disk, without the GIL. A kernel is made for each channel count,
because only a tile row of fixed length (16 * channels elements) compiles to straight vector
code; the same loop with a variable length does not.

Averages are exact area means, rounded half up once. A tile's four levels come from its own 16 x 16
texels, through integer sums that stay exact from level to level and are rounded only where a texel
is written. Runs of dirty tiles are done together: the same loops over a longer row compile to vector
code that a single tile is too short for. float32 texels take the same path with float64 sums.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from texvlm._compiled import compiled
from texvlm.regions import TILE

# Steps on a run of tiles are functions of their own so that the compiler sees arrays that do not
# overlap. They stand here, and not inside the factory: Numba's disk cache takes no kernel whose closure
# holds functions.


@njit
def _add_quads(texels, start, pitch, lines, row, sums, count, channels):  # type: ignore[no-untyped-def]
    """Sums of 2 x 2 elements of `lines` pairs of lines, in the element type of `sums`; (lines, count)."""
    for y in range(lines):
        upper, lower = texels[start + 2 * y * pitch :], texels[start + (2 * y + 1) * pitch :]
        for i in range(2 * count * channels):
            row[i] = row.dtype.type(upper[i]) + row.dtype.type(lower[i])
        out = sums[y]
        for x in range(count):
            for c in range(channels):
                out[x * channels + c] = row[2 * x * channels + c] + row[2 * x * channels + channels + c]


@njit
def _write_bytes(sums, lines, count, shift, texels, start, pitch):  # type: ignore[no-untyped-def]
    """Means of 2**shift texels, rounded half up, from their 16-bit sums, (lines, count)."""
    half, places = np.uint16(1 << (shift - 1)), np.uint16(shift)
    for y in range(lines):
        total, out = sums[y], texels[start + y * pitch :]
        for i in range(count):
            out[i] = np.uint8((total[i] + half) >> places)


@njit
def _write_floats(sums, lines, count, shift, texels, start, pitch):  # type: ignore[no-untyped-def]
    """Means of 2**shift texels from their sums, (lines, count)."""
    for y in range(lines):
        total, out = sums[y], texels[start + y * pitch :]
        for i in range(count):
            out[i] = np.float32(total[i] / (1 << shift))


def frame_rows(pixels: NDArray[Any]) -> NDArray[Any]:
    """A frame as the kernel takes it: (height, width * channels), never written.

    Always marked read-only, because Numba compiles a kernel anew for arrays that are.
    """
    rows = pixels.reshape(pixels.shape[0], -1).view()
    rows.flags.writeable = False
    return rows


@lru_cache
def tile_kernel(channels: int, integer: bool) -> Callable[..., None]:
    """The kernel for one channel count, and for uint8 or float32 texels.

    Its arguments: `frame` (height, width * channels), the new pixels; `stored` (padded height, padded
    width * channels), level 0; `limit`, the largest difference that is no change, of the frame's
    dtype; `tiles` (rows, columns) bool, written by `compare` and read by the other steps; `texels`
    (elements,), every level of the layer, level 0 being `stored`; `offsets` and `pitches` (levels,)
    elements to a level and from row to row; then which steps to do: `compare`, `copy`, `build`.
    """
    C = channels
    span = TILE * channels

    @compiled(parallel=True)
    def update(frame, stored, limit, tiles, texels, offsets, pitches, compare, copy, build):  # type: ignore[no-untyped-def]
        height, width = frame.shape
        columns = tiles.shape[1]
        whole = width // span
        pace = columns * 8 * C  # elements from one line of sums to the next
        for ty in prange(tiles.shape[0]):
            if compare:
                dirty = 0
                for tx in range(columns):
                    tiles[ty, tx] = False
                for y in range(ty * TILE, min(height, ty * TILE + TILE)):
                    new = frame[y]
                    old = stored[y]
                    for tx in range(columns):
                        if tiles[ty, tx]:
                            continue
                        if not integer:
                            differs = False
                            for i in range(tx * span, min(width, (tx + 1) * span)):
                                # equal infinities have the difference NaN, and are not a change
                                differs |= not (abs(new[i] - old[i]) <= limit or new[i] == old[i])
                        elif tx < whole:
                            most = np.uint8(0)
                            for b in range(span):
                                # max - min is |a - b| without leaving 8 bits, so that the loop vectorises
                                i = tx * span + b
                                most = max(most, np.uint8(max(new[i], old[i]) - min(new[i], old[i])))
                            differs = most > limit
                        else:
                            most = np.uint8(0)
                            for i in range(tx * span, width):
                                most = max(most, np.uint8(max(new[i], old[i]) - min(new[i], old[i])))
                            differs = most > limit
                        if differs:
                            tiles[ty, tx] = True
                            dirty += 1
                    if dirty == columns:
                        break
                if dirty == 0:
                    continue
            if integer:  # the sums of levels 1..3 fit 16 bits: 64 * 255
                row = np.empty(columns * span, np.uint16)
                sums = np.empty((8, pace), np.uint16)
            else:
                row = np.empty(columns * span, np.float64)
                sums = np.empty((8, pace), np.float64)
            flat_sums = sums.reshape(-1)
            tx = 0
            while tx < columns:
                if not tiles[ty, tx]:
                    tx += 1
                    continue
                first = tx
                while tx < columns and tiles[ty, tx]:
                    tx += 1
                count = tx - first
                if copy:
                    stop = min(tx * span, width)
                    for line in range(TILE):
                        source = frame[min(ty * TILE + line, height - 1)]
                        target = stored[ty * TILE + line]
                        target[first * span : stop] = source[first * span : stop]
                        for i in range(stop, tx * span):
                            target[i] = source[width - C + i % C]
                if not build:
                    continue
                start = offsets[0] + ty * 16 * pitches[0] + first * span
                _add_quads(texels, start, pitches[0], 8, row, sums, count * 8, C)
                for level in range(1, 4):
                    lines = 16 >> level
                    start = offsets[level] + ty * lines * pitches[level] + first * lines * C
                    if integer:
                        _write_bytes(sums, lines, count * lines * C, 2 * level, texels, start, pitches[level])
                    else:
                        _write_floats(sums, lines, count * lines * C, 2 * level, texels, start, pitches[level])
                    if level < 3:  # the next level's sums overwrite lines that are used up
                        _add_quads(flat_sums, 0, pace, lines // 2, row, sums, count * lines // 2, C)
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

    return update  # type: ignore[no-any-return]
