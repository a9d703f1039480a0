"""Levels 1 and up in host memory: of masked tiles, and of a new frame in one pass with level 0.

The kernel of levels 1..4 is in `_tiles`. Levels 5 and up (the tail) come from level 4 in the same
way, as exact area means rounded half up once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm._compiled import compiled
from texvlm.backends._detect import texel_limit
from texvlm.backends._threads import ThreadAccount
from texvlm.backends._tiles import frame_rows, tile_kernel
from texvlm.pyramid import COLUMN_LEVELS
from texvlm.regions import TILE, TileMask, tile_grid

DIRTY_WORK = 4
"""Time to copy and average an element, in units of the time to compare one; measured, roughly."""

_building, _updating = ThreadAccount(), ThreadAccount()


def build_levels(
    texels: NDArray[Any],
    stored: NDArray[Any],
    offsets: NDArray[np.int64],
    pitches: NDArray[np.int64],
    tiles: TileMask,
) -> int:
    """Rebuild levels 1..4 of the masked tiles, and the tail texels above them.

    Args:
        texels: every level of one layer, flat, shape (elements,).
        stored: level 0 of the layer, (height, width, channels), a view of `texels`.
        offsets: first element of each level, (levels,).
        pitches: elements from one row of a level to the next, (levels,).
        tiles: bool, (rows, columns) of the frame's tiles; one cell is one texel of level 4.
    Returns:
        Tail texels written.
    """
    channels, integer = stored.shape[2], texels.dtype == np.uint8
    level0 = stored.reshape(stored.shape[0], -1)
    limit = texel_limit(0, texels.dtype)
    with _building.region(int(np.count_nonzero(tiles)) * TILE * TILE * channels):
        tile_kernel(channels, integer)(
            frame_rows(stored), level0, limit, tiles, texels, offsets, pitches, False, False, True
        )
    return int(_tail_kernel(channels, integer)(texels, offsets, pitches, tiles))


def update_levels(
    texels: NDArray[Any],
    stored: NDArray[Any],
    offsets: NDArray[np.int64],
    pitches: NDArray[np.int64],
    pixels: NDArray[Any],
    threshold: float,
) -> tuple[TileMask, int]:
    """Detect, copy and rebuild in one pass: the bits of detect_tiles, copy_tiles and build_levels.

    Args:
        texels: every level of one layer, flat, shape (elements,); written.
        stored: level 0 of the layer, (height, width, channels), a view of `texels`.
        offsets: first element of each level, (levels,).
        pitches: elements from one row of a level to the next, (levels,).
        pixels: the frame, (height, width, channels).
        threshold: in texel values.
    Returns:
        The tiles that were updated, bool, (rows, columns); tail texels written.
    """
    height, width, channels = pixels.shape
    columns, rows = tile_grid((width, height))
    tiles = np.empty((rows, columns), np.bool_)
    integer = texels.dtype == np.uint8
    frame, level0 = frame_rows(pixels), stored.reshape(stored.shape[0], -1)
    limit = texel_limit(threshold, texels.dtype)
    with _updating.region(pixels.size) as call:
        tile_kernel(channels, integer)(frame, level0, limit, tiles, texels, offsets, pitches, True, True, True)
        dirty = int(np.count_nonzero(tiles))
        call.work += DIRTY_WORK * dirty * TILE * TILE * channels
    if not dirty:
        return tiles, 0
    return tiles, int(_tail_kernel(channels, integer)(texels, offsets, pitches, tiles))


@lru_cache
def _tail_kernel(channels: int, integer: bool) -> Callable[..., int]:
    C = channels
    zero = np.int32(0) if integer else np.float64(0)

    @compiled()
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
