"""The token table: one row per token, the only geometry that a backend ever sees.

A row says where a token lies (`x`, `y`, `side`, in level-0 texels), which layer it reads, which
region (fixation, crop, or 0) it serves, and which fraction of its area lies inside the frame.
Level of detail and sampling offsets both follow from `side` and nothing else:

    lod    = max(0, log2(side / patch))
    pixel (i, j) samples  (x + ((i + 0.5) / patch - 0.5) * side, y + ((j + 0.5) / patch - 0.5) * side)

Every field is a 4-byte scalar so that NumPy, CUDA and std430 agree on the layout.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

TOKEN_RECORD = np.dtype(
    [
        ("x", "f4"),  # centre, level-0 texels, origin = outer corner of texel (0, 0)
        ("y", "f4"),
        ("side", "f4"),  # level-0 texels
        ("layer", "i4"),  # texture-array index; PADDING_LAYER for a row that holds no token
        ("region", "i4"),  # which fixation or crop the token serves
        ("valid", "f4"),  # fraction of the token's area inside the frame, 0..1
    ]
)
TABLE_FIELDS = TOKEN_RECORD.names or ()

FARTHEST = 2.0**100
"""Coordinates of tokens stay within this, texels: far beyond any frame, and 32-bit floats hold it with room."""

PADDING_LAYER = -1
"""Layer of a row that only fills up the count; its pixels are zero and its `valid` is 0."""

Table = NDArray[np.void]
"""Structured array of TOKEN_RECORD, shape (tokens,) or (views, tokens)."""


def make_table(
    x: ArrayLike,
    y: ArrayLike,
    side: ArrayLike,
    *,
    size: tuple[int, int],
    region: ArrayLike = 0,
) -> Table:
    """Rows from centres and sides, with `valid` worked out for a frame of `size`.

    Args:
        x: centre of each token from the left, level-0 texels, shape (n,); cut off at FARTHEST.
        y: centre of each token from the top, level-0 texels, shape (n,); as `x`.
        side: token sides, level-0 texels, shape (n,) or a scalar; all > 0.
        size: (width, height) of the frame, texels.
        region: region of each token, shape (n,) or a scalar.
    Returns:
        Table of shape (n,), layer 0.
    Raises:
        ValueError: a side is not a positive number; names the first such token.
    """
    x64, y64 = np.asarray(x, np.float64), np.asarray(y, np.float64)
    table = np.zeros(x64.shape, TOKEN_RECORD)
    side64 = np.broadcast_to(np.asarray(side, np.float64), x64.shape)
    bad = np.flatnonzero(~(side64 > 0))
    if bad.size:
        raise ValueError(f"token {bad[0]} has side {side64[bad[0]]}; a side is a positive number of texels")
    table["x"], table["y"] = np.clip(x64, -FARTHEST, FARTHEST), np.clip(y64, -FARTHEST, FARTHEST)
    table["side"], table["region"] = side64, region
    table["valid"] = valid_fraction(x64, y64, side64, size)
    return table


def valid_fraction(
    x: NDArray[np.float64], y: NDArray[np.float64], side: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Fraction of each token's square that lies inside the frame; shape of `x`, 0..1."""
    half = side / 2
    inside_x = np.minimum(x + half, size[0]) - np.maximum(x - half, 0)
    inside_y = np.minimum(y + half, size[1]) - np.maximum(y - half, 0)
    area = np.maximum(inside_x, 0) * np.maximum(inside_y, 0)
    fraction: NDArray[np.float32] = np.clip(area / (side * side), 0, 1).astype(np.float32)
    return fraction


def pad_table(table: Table, tokens: int) -> Table:
    """The table followed by padding rows up to `tokens` rows; ValueError when it is longer already."""
    missing = tokens - len(table)
    if missing < 0:
        raise ValueError(f"{len(table)} tokens do not fit {tokens} rows")
    padding = np.zeros(missing, TOKEN_RECORD)
    padding["layer"], padding["side"] = PADDING_LAYER, 1
    return np.concatenate([table, padding])


def lod_of_side(side: ArrayLike, *, patch: int) -> NDArray[np.float32]:
    """LOD at which one output pixel covers one texel: log2(side / patch), floored at 0.

    A magnified token (side below the patch) reads the base level.

    Args:
        side: token side, level-0 texels, any shape, all > 0.
        patch: output pixels along one token side.
    Returns:
        LOD in levels, float32, shape of `side`.
    Source:
        OpenGL 4.6 core, section 8.14.1 (scale factor and level of detail).
    """
    ratio = np.asarray(side, np.float64) / patch
    lod: NDArray[np.float32] = np.maximum(np.log2(ratio), 0).astype(np.float32)
    return lod
