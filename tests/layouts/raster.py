"""Brute force for layout tests: which tokens hold which texels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from texvlm.layouts import PADDING_LAYER, Focus, Table


def focus_at(*points: tuple[float, float], weights: list[float] | None = None) -> Focus:
    array = np.array(points, np.float64)
    return Focus(array) if weights is None else Focus(array, np.array(weights, np.float64))


def tokens_of(table: Table) -> Table:
    """The rows that hold tokens."""
    return table[table["layer"] != PADDING_LAYER]


def boxes(table: Table) -> NDArray[np.float64]:
    """x0, y0, x1, y1 of each row, float64."""
    x, y, half = (table[name].astype(np.float64) for name in ("x", "y", "side"))
    half /= 2
    return np.stack([x - half, y - half, x + half, y + half], axis=1)


def _first_centre(edge: float, limit: int) -> int:
    """Index of the first texel whose centre is not left of an edge."""
    return int(np.clip(np.ceil(edge - 0.5), 0, limit))


def coverage(table: Table, size: tuple[int, int]) -> NDArray[np.int64]:
    """How many tokens hold each texel's centre, shape (height, width)."""
    width, height = size
    count = np.zeros((height, width), np.int64)
    for x0, y0, x1, y1 in boxes(tokens_of(table)):
        rows = slice(_first_centre(y0, height), _first_centre(y1, height))
        count[rows, _first_centre(x0, width) : _first_centre(x1, width)] += 1
    return count


def side_map(table: Table, size: tuple[int, int]) -> NDArray[np.float64]:
    """Side of the token over each texel, shape (height, width); for partitions."""
    width, height = size
    sides = np.zeros((height, width))
    for (x0, y0, x1, y1), side in zip(boxes(tokens_of(table)), tokens_of(table)["side"], strict=True):
        rows = slice(_first_centre(y0, height), _first_centre(y1, height))
        sides[rows, _first_centre(x0, width) : _first_centre(x1, width)] = side
    return sides


def worst_jump(table: Table, size: tuple[int, int]) -> float:
    """Greatest ratio of sides between tokens that touch, at edges and corners alike."""
    sides = side_map(table, size)
    pairs = [
        (sides[:, 1:], sides[:, :-1]),
        (sides[1:], sides[:-1]),
        (sides[1:, 1:], sides[:-1, :-1]),
        (sides[1:, :-1], sides[:-1, 1:]),
    ]
    return max((float(np.maximum(a / b, b / a).max(initial=1)) for a, b in pairs), default=1)
