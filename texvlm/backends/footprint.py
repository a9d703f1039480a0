"""Which tiles a token reads, and so which tokens a change makes stale.

A token reads the texels between its outermost samples, at its one or two mip levels, with one more
texel on each side where the filter's weight is not zero. A texel of level k stands for 2**k x 2**k
texels of level 0, hence for whole tiles. This mirrors the filter exactly: a token is stale if and
only if a texel that it reads lies above a tile that was updated.
"""

from __future__ import annotations

from math import ceil, floor
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from texvlm._compiled import compiled
from texvlm.backends._filter import split_lod, table_views
from texvlm.layouts.table import PADDING_LAYER, Table
from texvlm.regions import TILE


def stale_rows(
    table: Table,
    versions: NDArray[np.int64],
    seen: int,
    *,
    frame_sizes: NDArray[np.int32],
    patch: int,
    levels: int,
) -> NDArray[np.bool_]:
    """Rows that read at least one tile updated after they were last handed out.

    Args:
        table: TOKEN_RECORD, shape (n,).
        versions: when each tile was last updated, (layers, rows, columns).
        seen: the version up to which the rows have been handed out.
        frame_sizes: (width, height) of each layer's frame, (layers, 2).
        patch: output pixels along one token side.
        levels: mip levels of the texture.
    Returns:
        bool, (n,). Padding rows are never stale.
    """
    places, names = table_views(table)
    stale = np.zeros(len(table), np.bool_)
    _mark_stale(places, names, versions, seen, frame_sizes, patch, levels - 1, stale)
    return stale


@njit(inline="always")
def _tile_span(centre, side, patch, level, count):  # type: ignore[no-untyped-def]
    """[first, stop) tiles read along one axis at one level of `count` texels."""
    reach = (patch - 1) * side / (2.0 * patch)
    scale = 1.0 / (1 << level)
    low = min(max((centre - reach) * scale - 0.5, 0.0), count - 1.0)
    high = min(max((centre + reach) * scale - 0.5, 0.0), count - 1.0)
    return (floor(low) << level) // TILE, ((ceil(high) + 1 << level) - 1) // TILE + 1


@compiled()
def _mark_stale(places, names, versions, seen, frame_sizes, patch, last_level, stale):  # type: ignore[no-untyped-def]
    for row in range(len(places)):
        layer = names[row, 3]
        if layer == PADDING_LAYER:
            continue
        side = np.float64(places[row, 2])
        base_level, fraction = split_lod(side, patch, last_level)
        width = frame_sizes[layer, 0]
        height = frame_sizes[layer, 1]
        newest = np.int64(0)
        for level in range(base_level, base_level + (2 if fraction > 0 else 1)):
            columns = (width + (1 << level) - 1) >> level
            lines = (height + (1 << level) - 1) >> level
            x0, x1 = _tile_span(np.float64(places[row, 0]), side, patch, level, columns)
            y0, y1 = _tile_span(np.float64(places[row, 1]), side, patch, level, lines)
            for ty in range(y0, min(y1, (height + TILE - 1) // TILE)):
                for tx in range(x0, min(x1, (width + TILE - 1) // TILE)):
                    newest = max(newest, versions[layer, ty, tx])
        stale[row] = newest > seen


def row_changes(table: Table, previous: Table) -> NDArray[np.bool_]:
    """Rows whose place differs, bit for bit; bool, (n,)."""
    now: NDArray[Any] = table.view(np.uint32).reshape(len(table), -1)
    before: NDArray[Any] = previous.view(np.uint32).reshape(len(previous), -1)
    return np.asarray((now != before).any(axis=1))
