"""Host kernels for levels 1 and up: exact area means, rounded half up once.

`build_columns` works tile by tile: a tile's four levels come from its own 16 x 16 texels, through
integer sums that are kept exact from level to level and rounded only where a texel is written.
`build_tail` takes levels 5 and up from level 4, in the same way. float32 textures take the same
path with float64 sums.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from texvlm.backends._threads import parallel_region
from texvlm.pyramid import COLUMN_LEVELS, level_size
from texvlm.regions import TileMask


def build_columns(levels: Sequence[NDArray[Any]], tiles: TileMask) -> None:
    """Rebuild levels 1..4 of the masked tiles.

    Args:
        levels: levels 0..4 of one layer, each (height, width, channels), C-contiguous.
        tiles: bool, (rows, columns).
    """
    channels = levels[0].shape[2]
    make = _columns_kernel_u8 if levels[0].dtype == np.uint8 else _columns_kernel_f32
    with parallel_region():
        make(channels)(*(level.reshape(level.shape[0], -1) for level in levels[: COLUMN_LEVELS + 1]), tiles)


def build_tail(levels: Sequence[NDArray[Any]], tiles: TileMask, size: tuple[int, int]) -> int:
    """Rebuild the texels of levels 5 and up that lie above masked tiles.

    Args:
        levels: all levels of one layer, (height, width, channels) each.
        tiles: bool, (rows, columns); one cell is one texel of level 4.
        size: (width, height) of the frame, level-0 texels.
    Returns:
        Texels written.
    """
    base = levels[COLUMN_LEVELS]
    written = 0
    dirty = tiles
    for step, level in enumerate(levels[COLUMN_LEVELS + 1 :], start=1):
        width, height = level_size(size, COLUMN_LEVELS + step)
        dirty = _parents(dirty, (height, width))
        kernel = _tail_u8 if base.dtype == np.uint8 else _tail_f32
        written += kernel(base, level, dirty, tiles.shape[0], tiles.shape[1], 1 << step)
    return written


def _parents(dirty: TileMask, shape: tuple[int, int]) -> TileMask:
    """The next coarser level's cells above any dirty cell."""
    parents = np.zeros((shape[0] * 2, shape[1] * 2), np.bool_)
    parents[: dirty.shape[0], : dirty.shape[1]] = dirty
    return np.ascontiguousarray(parents.reshape(shape[0], 2, shape[1], 2).any(axis=(1, 3)))


@lru_cache
def _columns_kernel_u8(channels: int) -> Callable[..., None]:
    C = channels

    @njit(inline="always")  # type: ignore[untyped-decorator]
    def pair_sums(columns, sums, count):  # type: ignore[no-untyped-def]
        """Sums of horizontally neighbouring texels, channel by channel."""
        for x in range(count):
            for c in range(C):
                sums[x * C + c] = columns[2 * x * C + c] + columns[2 * x * C + C + c]

    @njit(parallel=True, cache=True, nogil=True)  # type: ignore[untyped-decorator]
    def build(l0, l1, l2, l3, l4, tiles):  # type: ignore[no-untyped-def]
        for ty in prange(tiles.shape[0]):
            columns = np.empty(16 * C, np.uint16)
            s1 = np.empty((8, 8 * C), np.uint16)
            s2 = np.empty((4, 4 * C), np.uint16)
            s3 = np.empty((2, 2 * C), np.uint16)
            for tx in range(tiles.shape[1]):
                if not tiles[ty, tx]:
                    continue
                for y in range(8):
                    upper = l0[ty * 16 + 2 * y]
                    lower = l0[ty * 16 + 2 * y + 1]
                    for b in range(16 * C):
                        columns[b] = np.uint16(upper[tx * 16 * C + b]) + np.uint16(lower[tx * 16 * C + b])
                    pair_sums(columns, s1[y], 8)
                    for b in range(8 * C):
                        l1[ty * 8 + y, tx * 8 * C + b] = np.uint8((s1[y, b] + np.uint16(2)) >> np.uint16(2))
                for y in range(4):
                    for b in range(8 * C):
                        columns[b] = s1[2 * y, b] + s1[2 * y + 1, b]
                    pair_sums(columns, s2[y], 4)
                    for b in range(4 * C):
                        l2[ty * 4 + y, tx * 4 * C + b] = np.uint8((s2[y, b] + np.uint16(8)) >> np.uint16(4))
                for y in range(2):
                    for b in range(4 * C):
                        columns[b] = s2[2 * y, b] + s2[2 * y + 1, b]
                    pair_sums(columns, s3[y], 2)
                    for b in range(2 * C):
                        l3[ty * 2 + y, tx * 2 * C + b] = np.uint8((s3[y, b] + np.uint16(32)) >> np.uint16(6))
                for c in range(C):
                    # 256 * 255 + 128 needs 17 bits
                    total = np.uint32(s3[0, c]) + s3[0, C + c] + s3[1, c] + s3[1, C + c]
                    l4[ty, tx * C + c] = np.uint8((total + np.uint32(128)) >> np.uint32(8))

    return build  # type: ignore[no-any-return]


@lru_cache
def _columns_kernel_f32(channels: int) -> Callable[..., None]:
    C = channels

    @njit(inline="always")  # type: ignore[untyped-decorator]
    def mean(l0, y0, x0, side, c):  # type: ignore[no-untyped-def]
        total = 0.0
        for y in range(y0, y0 + side):
            for x in range(x0, x0 + side):
                total += l0[y, x * C + c]
        return np.float32(total / (side * side))

    @njit(parallel=True, cache=True, nogil=True)  # type: ignore[untyped-decorator]
    def build(l0, l1, l2, l3, l4, tiles):  # type: ignore[no-untyped-def]
        for ty in prange(tiles.shape[0]):
            for tx in range(tiles.shape[1]):
                if not tiles[ty, tx]:
                    continue
                for c in range(C):
                    for y in range(8):
                        for x in range(8):
                            l1[ty * 8 + y, (tx * 8 + x) * C + c] = mean(l0, ty * 16 + y * 2, tx * 16 + x * 2, 2, c)
                    for y in range(4):
                        for x in range(4):
                            l2[ty * 4 + y, (tx * 4 + x) * C + c] = mean(l0, ty * 16 + y * 4, tx * 16 + x * 4, 4, c)
                    for y in range(2):
                        for x in range(2):
                            l3[ty * 2 + y, (tx * 2 + x) * C + c] = mean(l0, ty * 16 + y * 8, tx * 16 + x * 8, 8, c)
                    l4[ty, tx * C + c] = mean(l0, ty * 16, tx * 16, 16, c)

    return build  # type: ignore[no-any-return]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _tail_u8(base, level, dirty, rows, columns, block):  # type: ignore[no-untyped-def]
    """One tail level of a uint8 texture; `block` level-4 texels along a side, edge texels repeated."""
    written = 0
    shift = 0
    while (1 << shift) < block * block:
        shift += 1
    half = (1 << shift) >> 1
    for y in range(dirty.shape[0]):
        for x in range(dirty.shape[1]):
            if not dirty[y, x]:
                continue
            for c in range(level.shape[2]):
                total = 0
                for v in range(y * block, (y + 1) * block):
                    for u in range(x * block, (x + 1) * block):
                        total += base[min(v, rows - 1), min(u, columns - 1), c]
                level[y, x, c] = (total + half) >> shift
            written += 1
    return written


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _tail_f32(base, level, dirty, rows, columns, block):  # type: ignore[no-untyped-def]
    """One tail level of a float32 texture."""
    written = 0
    for y in range(dirty.shape[0]):
        for x in range(dirty.shape[1]):
            if not dirty[y, x]:
                continue
            for c in range(level.shape[2]):
                total = 0.0
                for v in range(y * block, (y + 1) * block):
                    for u in range(x * block, (x + 1) * block):
                        total += base[min(v, rows - 1), min(u, columns - 1), c]
                level[y, x, c] = total / (block * block)
            written += 1
    return written
