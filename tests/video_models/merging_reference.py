"""Token merging, slow and plain: loops over pairs in float64, as the paper's section 3 tells it."""

from __future__ import annotations

import numpy as np


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Of two vectors; 0 where one has no length."""
    length = np.linalg.norm(a) * np.linalg.norm(b)
    return float(a @ b / length) if length else 0.0


def edges_within(keys: np.ndarray, prefix: int, protected: np.ndarray) -> list[tuple[float, int, int]]:
    """(similarity, from, to) of each token of the first set that has somewhere to go, in the order of rows."""
    rows = list(range(prefix, len(keys)))
    return _edges(keys, rows[::2], lambda _: rows[1::2], protected)


def edges_across(keys: np.ndarray, frames: int, prefix: int, protected: np.ndarray) -> list[tuple[float, int, int]]:
    """The same for rows of several frames, each to the frame before its own."""
    count = len(keys) // frames
    first = [row for row in range(count, len(keys)) if row % count >= prefix]
    return _edges(keys, first, lambda row: _of_frame(row // count - 1, count, prefix), protected)


def _of_frame(frame, count, prefix):
    return list(range(frame * count + prefix, (frame + 1) * count))


def _edges(keys, first, second_of, protected):
    found = []
    for row in first:
        best = None
        for other in second_of(row):
            if protected[row] or protected[other]:
                continue
            score = cosine(keys[row], keys[other])
            if best is None or score > best[0]:
                best = (score, row, other)
        if best is not None:
            found.append(best)
    return found


def groups_of(edges: list[tuple[float, int, int]], r: int, tokens: int) -> dict[int, list[int]]:
    """Tokens of each group by the token that stays, after the r best edges."""
    into = {}
    for _ in range(r):
        best = max((e for e in edges if e[1] not in into), key=lambda e: (e[0], -e[1]))
        into[best[1]] = best[2]
    groups: dict[int, list[int]] = {}
    for token in range(tokens):
        head = token
        while head in into:
            head = into[head]
        groups.setdefault(head, []).append(token)
    return dict(sorted(groups.items()))


def means(values: np.ndarray, sizes: np.ndarray, groups: dict[int, list[int]]) -> np.ndarray:
    """Mean of each group, weighted by size."""
    return np.stack([np.average(values[members], axis=0, weights=sizes[members]) for members in groups.values()])
