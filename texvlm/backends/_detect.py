"""Level 0 in host memory: which tiles differ from a frame, and copying those tiles in.

Shared by every backend that keeps level 0, or a mirror of it, in host memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.backends._threads import ThreadAccount
from texvlm.backends._tiles import frame_rows, tile_kernel
from texvlm.regions import TILE, TileMask, tile_grid

_detecting, _copying = ThreadAccount(), ThreadAccount()
_NO_LEVELS = np.zeros(0, np.int64)


def detect_tiles(stored: NDArray[Any], pixels: NDArray[Any], threshold: float) -> TileMask:
    """Tiles in which any element of the frame differs from what is stored by more than `threshold`.

    Args:
        stored: level 0 of one layer, (padded_height, padded_width, channels), C-contiguous.
        pixels: the frame, (height, width, channels), C-contiguous, same dtype (uint8 or float32).
        threshold: in texel values; NaN on either side of a float comparison counts as different.
    Returns:
        bool, (rows, columns) of the frame's tiles.
    """
    height, width, _ = pixels.shape
    columns, rows = tile_grid((width, height))
    mask = np.empty((rows, columns), np.bool_)
    with _detecting.region(pixels.size):
        _run(stored, pixels, mask, texel_limit(threshold, pixels.dtype), compare=True, copy=False)
    return mask


def copy_tiles(stored: NDArray[Any], pixels: NDArray[Any], tiles: TileMask) -> None:
    """Copy the masked tiles of a frame into level 0; partial tiles repeat the frame's edge pixels.

    Args:
        stored: level 0 of one layer, (padded_height, padded_width, channels); written.
        pixels: the frame, (height, width, channels), same dtype.
        tiles: bool, (rows, columns).
    """
    with _copying.region(int(np.count_nonzero(tiles)) * TILE * TILE * pixels.shape[2]):
        _run(stored, pixels, tiles, texel_limit(0, pixels.dtype), compare=False, copy=True)


def texel_limit(threshold: float, dtype: np.dtype[Any]) -> np.uint8 | np.float32:
    """A threshold in texel values as the kernel takes it: differences of bytes are whole numbers."""
    return np.uint8(min(255, int(threshold))) if dtype == np.uint8 else np.float32(threshold)


def _run(
    stored: NDArray[Any],
    pixels: NDArray[Any],
    tiles: TileMask,
    limit: np.uint8 | np.float32,
    *,
    compare: bool,
    copy: bool,
) -> None:
    """The tile kernel on level 0 alone."""
    tile_kernel(pixels.shape[2], pixels.dtype == np.uint8)(
        frame_rows(pixels),
        stored.reshape(stored.shape[0], -1),
        limit,
        tiles,
        stored.reshape(-1),
        _NO_LEVELS,
        _NO_LEVELS,
        compare,
        copy,
        False,
    )
