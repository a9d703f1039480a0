"""From tokens to a grid over the frame: which token each cell of the grid belongs to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from texvlm.layouts.table import PADDING_LAYER, Table

NOBODY = -1
"""The token of a cell that none covers."""


def token_cells(table: Table, *, size: tuple[int, int], shape: tuple[int, int]) -> NDArray[np.int32]:
    """The token over the centre of each cell, the smallest of several, NOBODY for none; int32, `shape`.

    Values of tokens become a map by indexing: `np.append(values, 0)[token_cells(...)]`.

    Args:
        table: rows of one view, (tokens,).
        size: (width, height) of the frame, texels.
        shape: (rows, columns) of a grid that ends where the frame does.
    """
    if table.ndim != 1:
        raise ValueError(f"table of shape {table.shape}; accepted: rows of one view, (tokens,)")
    owner = np.full(shape, NOBODY, np.int32)
    steps = np.array([size[0] / shape[1], size[1] / shape[0]])
    centres = np.stack([table["x"], table["y"]], axis=-1).astype(np.float64)
    half = table["side"].astype(np.float64)[:, None] / 2
    first = np.ceil((centres - half) / steps - 0.5).clip(0, shape[::-1]).astype(int)
    stop = np.ceil((centres + half) / steps - 0.5).clip(0, shape[::-1]).astype(int)
    for token in np.argsort(-table["side"], kind="stable"):
        if table["layer"][token] != PADDING_LAYER:
            (x0, y0), (x1, y1) = first[token], stop[token]
            owner[y0:y1, x0:x1] = token
    return owner
