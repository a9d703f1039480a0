"""Host kernels for level 0: which tiles differ from a frame, and copying those tiles in.

Shared by every backend that keeps level 0, or a mirror of it, in host memory. Numba, parallel over
tile rows, cached on disk, without the GIL. A kernel is made for each channel count, because only a
tile row of fixed length (16 * channels elements) compiles to straight vector code: 27 times faster
here than the same loop with a variable length.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from texvlm.backends._threads import ThreadAccount
from texvlm.regions import TILE, TileMask, tile_grid

_detecting, _copying = ThreadAccount(), ThreadAccount()


def detect_tiles(stored: NDArray[Any], pixels: NDArray[Any], threshold: float) -> TileMask:
    """Tiles in which any element of the frame differs from what is stored by more than `threshold`.

    Args:
        stored: level 0 of one layer, (padded_height, padded_width, channels), C-contiguous.
        pixels: the frame, (height, width, channels), C-contiguous, same dtype (uint8 or float32).
        threshold: in texel values; NaN on either side of a float comparison counts as different.
    Returns:
        bool, (rows, columns) of the frame's tiles.
    """
    height, width, channels = pixels.shape
    columns, rows = tile_grid((width, height))
    mask = np.empty((rows, columns), np.bool_)
    integer = pixels.dtype == np.uint8
    kernel = _detect_kernel_u8(channels) if integer else _detect_kernel_f32(channels)
    limit = np.uint8(min(255, int(threshold))) if integer else np.float32(threshold)
    with _detecting.region(pixels.size):
        kernel(stored.reshape(stored.shape[0], -1), pixels.reshape(height, -1), limit, mask)
    return mask


def copy_tiles(stored: NDArray[Any], pixels: NDArray[Any], tiles: TileMask) -> None:
    """Copy the masked tiles of a frame into level 0; partial tiles repeat the frame's edge pixels.

    Args:
        stored: level 0 of one layer, (padded_height, padded_width, channels); written.
        pixels: the frame, (height, width, channels), same dtype.
        tiles: bool, (rows, columns).
    """
    height, _, channels = pixels.shape
    with _copying.region(int(np.count_nonzero(tiles)) * TILE * TILE * channels):
        _copy_kernel(channels)(stored.reshape(stored.shape[0], -1), pixels.reshape(height, -1), tiles)


@lru_cache
def _detect_kernel_u8(channels: int) -> Callable[..., None]:
    span = TILE * channels

    @njit(parallel=True, cache=True, nogil=True)
    def detect(stored, frame, limit, mask):  # type: ignore[no-untyped-def]
        height, width = frame.shape
        whole = width // span
        for ty in prange(mask.shape[0]):
            for tx in range(mask.shape[1]):
                mask[ty, tx] = False
            for y in range(ty * TILE, min(height, ty * TILE + TILE)):
                new = frame[y]
                old = stored[y]
                for tx in range(whole):
                    most = np.uint8(0)
                    for b in range(span):
                        # max - min is |a - b| without leaving 8 bits, so that the loop vectorises
                        i = tx * span + b
                        most = max(most, np.uint8(max(new[i], old[i]) - min(new[i], old[i])))
                    mask[ty, tx] |= most > limit
                most = np.uint8(0)
                for i in range(whole * span, width):
                    most = max(most, np.uint8(max(new[i], old[i]) - min(new[i], old[i])))
                if whole < mask.shape[1]:
                    mask[ty, whole] |= most > limit

    return detect  # type: ignore[no-any-return]


@lru_cache
def _detect_kernel_f32(channels: int) -> Callable[..., None]:
    span = TILE * channels

    @njit(parallel=True, cache=True, nogil=True)
    def detect(stored, frame, limit, mask):  # type: ignore[no-untyped-def]
        height, width = frame.shape
        for ty in prange(mask.shape[0]):
            for tx in range(mask.shape[1]):
                differs = False
                for y in range(ty * TILE, min(height, ty * TILE + TILE)):
                    for i in range(tx * span, min(width, (tx + 1) * span)):
                        new = frame[y, i]
                        old = stored[y, i]
                        # equal infinities have the difference NaN, and are not a change
                        differs |= not (abs(new - old) <= limit or new == old)
                mask[ty, tx] = differs

    return detect  # type: ignore[no-any-return]


@lru_cache
def _copy_kernel(channels: int) -> Callable[..., None]:
    span = TILE * channels

    @njit(parallel=True, cache=True, nogil=True)
    def copy(stored, frame, tiles):  # type: ignore[no-untyped-def]
        height, width = frame.shape
        for ty in prange(tiles.shape[0]):
            tx = 0
            while tx < tiles.shape[1]:
                if not tiles[ty, tx]:
                    tx += 1
                    continue
                first = tx * span
                while tx < tiles.shape[1] and tiles[ty, tx]:
                    tx += 1
                stop = min(tx * span, width)
                for row in range(TILE):
                    source = frame[min(ty * TILE + row, height - 1)]
                    target = stored[ty * TILE + row]
                    target[first:stop] = source[first:stop]
                    for b in range(stop, tx * span):
                        target[b] = source[width - channels + b % channels]

    return copy  # type: ignore[no-any-return]
