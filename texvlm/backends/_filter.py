"""Host kernel that filters tokens: trilinear, level by level, float64 positions, float32 results.

One thread takes one token. Positions are separable, so a token needs only `patch` columns and
`patch` rows of texel indices and weights at each of at most two levels. Where every weight is zero
(whole LOD, sampled at texel centres: every token of an aligned quadtree) texels are copied, which
makes those tokens exact, and cheaper.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import frexp, log2
from typing import Any

import numpy as np
from numba import njit, prange

from texvlm._compiled import compiled
from texvlm.layouts.table import PADDING_LAYER


@compiled()
def split_lod(side, patch, last_level):  # type: ignore[no-untyped-def]
    """(mip level, weight of the next level) of a token: floor and fraction of log2(side / patch).

    The level comes from the exponent bits, so a power-of-two ratio has exactly the fraction 0.
    """
    if side <= patch:
        return 0, 0.0
    mantissa, exponent = frexp(side / patch)  # mantissa in [0.5, 1)
    level = exponent - 1
    if level >= last_level:
        return last_level, 0.0
    return level, log2(mantissa * 2.0)


@njit(inline="always")
def _axis(centre, side, patch, level, count, first, second, weight):  # type: ignore[no-untyped-def]
    """Texel indices and weights along one axis; True when every weight is zero and texels are consecutive."""
    aligned = True
    scale = 1.0 / (1 << level)
    for i in range(patch):
        # ((i + 0.5) / patch - 0.5) * side, written so that whole texels come out whole for any patch
        position = (centre + (2 * i + 1 - patch) * side / (2.0 * patch)) * scale - 0.5
        position = min(max(position, 0.0), count - 1.0)
        low = int(position)
        first[i] = low
        weight[i] = position - low
        second[i] = min(low + 1, count - 1)
        aligned = aligned and weight[i] == 0.0 and (i == 0 or low == first[i - 1] + 1)
    return aligned


@lru_cache
def sample_kernel(channels: int, to_bytes: bool) -> Callable[..., None]:
    """The kernel for one channel count and one kind of output: rounded bytes, or scaled floats.

    Its arguments: `texels` (layers, elements) flat pyramids; `offsets` and `pitches` (levels,)
    elements to a level and from row to row; `frame_sizes` (layers, 2); `places` (n, 6) float32 view
    and `names` (n, 6) int32 view of the table; `rows` which to do; `slots` where in `out` each goes;
    `out` (m, channels, patch, patch); `scale`, `bias` (channels,) float32, applied to texel values.
    Bytes are cut off, not rounded: the caller puts the 0.5 into `bias`.
    """
    C = channels
    one, low_byte, high_byte = np.float32(1), np.float32(0), np.float32(255)

    @compiled(parallel=True, error_model="numpy")
    def sample(texels, offsets, pitches, frame_sizes, places, names, rows, slots, out, scale, bias):  # type: ignore[no-untyped-def]
        patch = out.shape[2]
        last_level = len(offsets) - 1
        for index in prange(len(rows)):
            row = rows[index]
            target = out[slots[index]]
            layer = names[row, 3]
            if layer == PADDING_LAYER:
                target[:] = 0
                continue
            x0 = np.empty(patch, np.int64)
            x1 = np.empty(patch, np.int64)
            y0 = np.empty(patch, np.int64)
            y1 = np.empty(patch, np.int64)
            wx = np.empty(patch, np.float32)
            wy = np.empty(patch, np.float32)
            base_level, fraction = split_lod(np.float64(places[row, 2]), patch, last_level)
            source = texels[layer]
            mixed = np.empty((C, patch, patch), np.float32)
            for step in range(2 if fraction > 0 else 1):
                level = base_level + step
                share = np.float32(fraction if step else 1.0 - fraction)
                columns = (frame_sizes[layer, 0] + (1 << level) - 1) >> level
                lines = (frame_sizes[layer, 1] + (1 << level) - 1) >> level
                offset = offsets[level]
                pitch = pitches[level]
                side = np.float64(places[row, 2])
                flat_x = _axis(np.float64(places[row, 0]), side, patch, level, columns, x0, x1, wx)
                flat_y = _axis(np.float64(places[row, 1]), side, patch, level, lines, y0, y1, wy)
                if flat_x and flat_y and share == 1.0:
                    for y in range(patch):
                        start = offset + y0[y] * pitch + x0[0] * C
                        line = source[start : start + patch * C]
                        for x in range(patch):
                            for c in range(C):
                                value = np.float32(line[x * C + c]) * scale[c] + bias[c]
                                if to_bytes:
                                    target[c, y, x] = np.uint8(min(max(value, low_byte), high_byte))
                                else:
                                    target[c, y, x] = value
                    continue
                for y in range(patch):
                    upper = offset + y0[y] * pitch
                    lower = offset + y1[y] * pitch
                    lower_share = wy[y] * share
                    upper_share = share - lower_share
                    for x in range(patch):
                        a = x0[x] * C
                        b = x1[x] * C
                        right = wx[x]
                        left = one - right
                        for c in range(C):
                            top = np.float32(source[upper + a + c]) * left + np.float32(source[upper + b + c]) * right
                            low = np.float32(source[lower + a + c]) * left + np.float32(source[lower + b + c]) * right
                            value = top * upper_share + low * lower_share
                            if step:
                                value += mixed[c, y, x]
                            mixed[c, y, x] = value
                if step == 0 and fraction > 0:
                    continue
                for c in range(C):
                    for y in range(patch):
                        for x in range(patch):
                            value = mixed[c, y, x] * scale[c] + bias[c]
                            if to_bytes:
                                target[c, y, x] = np.uint8(min(max(value, low_byte), high_byte))
                            else:
                                target[c, y, x] = value

    return sample  # type: ignore[no-any-return]


def table_views(table: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The table's 4-byte fields as float32 and as int32, shape (n, fields); no copy."""
    fields = len(table.dtype.names or ())
    return table.view(np.float32).reshape(-1, fields), table.view(np.int32).reshape(-1, fields)
