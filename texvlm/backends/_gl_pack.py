"""Host kernels of the gl backend: which rectangles are dirty, and packing their texels for upload.

Textures of three channels are stored with four (the fourth is 255 or 1), so packing adds it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from texvlm._compiled import compiled
from texvlm.backends._pack import Pieces, cut_strips, pack_texels
from texvlm.backends._threads import ThreadAccount
from texvlm.regions import TILE, TileMask

_widening = ThreadAccount()


def find_rectangles(tiles: TileMask, limit: int) -> Pieces | None:
    """Disjoint rectangles that hold exactly the masked tiles; None when there are more than `limit`."""
    found = np.empty((limit, 4), np.int32)
    count = _find_rectangles(tiles, found)
    return None if count > limit else found[:count]


def list_tail(tiles: TileMask, levels: int) -> NDArray[np.int32]:
    """Texels above masked tiles on `levels` levels beyond level 4.

    Returns:
        (x, y, steps, 0), shape (n, 4): a texel of level 4 + steps; level by level.
    """
    return _list_tail(tiles, levels)  # type: ignore[no-any-return]


def split_pieces(pieces: Pieces, most_tiles: int) -> list[Pieces]:
    """Batches of rectangles of at most about `most_tiles` tiles each; larger rectangles are cut."""
    cut: list[tuple[int, int, int, int]] = []
    if int(pieces[:, 2:].prod(axis=1, dtype=np.int64).max(initial=0)) > most_tiles:
        for x, y, width, height in pieces.tolist():
            rows = max(1, most_tiles // width)
            cut += [(x, y + done, width, min(rows, height - done)) for done in range(0, height, rows)]
        pieces = np.array(cut, np.int32).reshape(-1, 4)
    areas = pieces[:, 2:].prod(axis=1, dtype=np.int64)
    if int(areas.sum()) <= most_tiles:
        return [pieces] if len(pieces) else []
    batch = (np.cumsum(areas) - 1) // most_tiles
    return [pieces[batch == index] for index in np.unique(batch)]


def pack(stored: NDArray[Any], pieces: Pieces, packed: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Copy rectangles of level 0 into a buffer, as the texture stores them.

    Args:
        stored: level 0 of one layer, (padded_height, padded_width, channels), uint8 or float32.
        pieces: what to copy.
        packed: destination, bytes; long enough.
    Returns:
        Byte at which each rectangle starts, (n,).
    """
    height, _, channels = stored.shape
    if channels != 3:
        return pack_texels(stored, pieces, packed) * np.int64(stored.itemsize * channels)
    strips, starts = cut_strips(pieces)
    rows = stored.reshape(height, -1)
    with _widening.region(int(strips[:, 2].sum()) * TILE * channels):
        if stored.dtype == np.uint8:
            _widen_bytes(rows.view(np.uint32), strips, packed[: packed.size // 4 * 4].view(np.uint32))
        else:
            _widen_floats(rows, strips, packed[: packed.size // 4 * 4].view(np.float32))
    return starts * np.int64(stored.itemsize * 4)


@compiled()
def _find_rectangles(tiles, found):  # type: ignore[no-untyped-def]
    """Runs of a row, stacked while the next row has the very same run. Stops counting beyond len(found)."""
    rows, columns = tiles.shape
    limit = len(found)
    count = 0
    open_at = np.full(columns, -1, np.int32)  # rectangle that may grow, by its first column
    for y in range(rows):
        x = 0
        while x < columns:
            if not tiles[y, x]:
                open_at[x] = -1
                x += 1
                continue
            start = x
            while x < columns and tiles[y, x]:
                if x > start:
                    open_at[x] = -1
                x += 1
            grown = open_at[start]
            if grown >= 0 and found[grown, 2] == x - start:
                found[grown, 3] += 1
                continue
            if count == limit:
                return limit + 1
            found[count, 0], found[count, 1], found[count, 2], found[count, 3] = start, y, x - start, 1
            open_at[start] = count
            count += 1
    return count


@compiled()
def _list_tail(tiles, levels):  # type: ignore[no-untyped-def]
    rows, columns = tiles.shape
    # level 5 is the largest, and each level after it is at most as large as the one before
    places = np.zeros((min(np.count_nonzero(tiles), ((rows + 1) // 2) * ((columns + 1) // 2)) * levels, 4), np.int32)
    count = 0
    below = tiles
    for steps in range(1, levels + 1):
        rows, columns = (rows + 1) // 2, (columns + 1) // 2
        dirty = np.zeros((rows, columns), np.bool_)
        for y in range(below.shape[0]):
            for x in range(below.shape[1]):
                if below[y, x] and not dirty[y // 2, x // 2]:
                    dirty[y // 2, x // 2] = True
                    places[count, 0] = x // 2
                    places[count, 1] = y // 2
                    places[count, 2] = steps
                    count += 1
        below = dirty
    return places[:count]


@compiled(parallel=True)
def _widen_bytes(words, strips, packed):  # type: ignore[no-untyped-def]
    """RGB to RGBA: three words become four, so that no byte is touched alone."""
    opaque = np.uint32(0xFF000000)
    for index in prange(len(strips)):
        first = strips[index, 0] * 3 // 4
        quads = strips[index, 2] // 4
        for row in range(16):
            source = words[strips[index, 1] + row, first : first + quads * 3]
            start = strips[index, 3] + row * quads * 4
            target = packed[start : start + quads * 4]
            for q in range(quads):
                a = source[3 * q]
                b = source[3 * q + 1]
                c = source[3 * q + 2]
                target[4 * q] = a | opaque
                target[4 * q + 1] = (a >> np.uint32(24)) | (b << np.uint32(8)) | opaque
                target[4 * q + 2] = (b >> np.uint32(16)) | (c << np.uint32(16)) | opaque
                target[4 * q + 3] = (c >> np.uint32(8)) | opaque


@compiled(parallel=True)
def _widen_floats(stored, strips, packed):  # type: ignore[no-untyped-def]
    """RGB to RGBA, floats."""
    for index in prange(len(strips)):
        first = strips[index, 0] * 3
        count = strips[index, 2]
        for row in range(16):
            source = stored[strips[index, 1] + row, first : first + count * 3]
            start = (strips[index, 3] + row * count) * 4
            target = packed[start : start + count * 4]
            for x in range(count):
                target[4 * x] = source[3 * x]
                target[4 * x + 1] = source[3 * x + 1]
                target[4 * x + 2] = source[3 * x + 2]
                target[4 * x + 3] = np.float32(1)
