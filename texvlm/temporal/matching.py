"""Which token of the last table each token of a new one is: at the same place, or where its content came from.

Row numbers do not say: a quadtree orders its rows anew when the gaze moves, and content moves over a
grid. What a match is worth is judged by pixels afterwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from texvlm.layouts.table import PADDING_LAYER, Table
from texvlm.motion.field import MotionField

UNMATCHED = -1

Match = NDArray[np.int64]
"""Row of the old table for each row of the new one, (tokens,); -1 for none. No old row is given twice."""


def same_place(old: Table, new: Table) -> Match:
    """Rows that lie where a row of the old table lay, of the same side, to the bit."""
    padding = new["layer"] == PADDING_LAYER
    if np.array_equal(_key(old), _key(new)) and np.array_equal(old["layer"] == PADDING_LAYER, padding):
        return np.where(padding, UNMATCHED, np.arange(len(new)))
    known = {key: row for row, key in enumerate(map(bytes, _key(old))) if old["layer"][row] != PADDING_LAYER}
    found = (
        UNMATCHED if layer == PADDING_LAYER else known.pop(bytes(key), UNMATCHED)
        for key, layer in zip(_key(new), new["layer"], strict=True)
    )
    return np.fromiter(found, np.int64, len(new))


def moved(old: Table, new: Table, motion: MotionField, *, tolerance: float) -> Match:
    """Rows whose content the old table held, as the motion says.

    Args:
        old: the last table.
        new: the table to match.
        motion: backward: where the content of a place was when the old table was sampled.
        tolerance: how far from an old token's centre the content may have been, and by how much the
            sides may differ, of the new token's side.
    """
    match = np.full(len(new), UNMATCHED, np.int64)
    wanted = np.flatnonzero(new["layer"] != PADDING_LAYER)
    offered = np.flatnonzero(old["layer"] != PADDING_LAYER)
    if not len(wanted) or not len(offered):
        return match
    centres = np.stack([new["x"], new["y"]], axis=1)[wanted]
    flow, valid = motion.at(centres)
    came_from = centres + flow
    places = np.stack([old["x"], old["y"]], axis=1)[offered]
    side = new["side"][wanted].astype(np.float64)
    distance = np.abs(came_from[:, None] - places[None]).max(axis=2) / side[:, None]
    distance = np.maximum(distance, np.abs(old["side"][offered][None] / side[:, None] - 1))
    distance[~valid] = np.inf
    # the nearest pairs first, so that of two tokens that want the same one the better gets it
    nearest = distance.argmin(axis=1)
    best = distance[np.arange(len(wanted)), nearest]
    given: set[int] = set()
    for index in np.argsort(best, kind="stable"):
        if best[index] > tolerance:
            break
        row = int(offered[nearest[index]])
        if row not in given:
            given.add(row)
            match[wanted[index]] = row
    return match


def _key(table: Table) -> NDArray[np.uint32]:
    """(tokens, 3): the bits of x, y and side."""
    return np.stack([table[name].view(np.uint32) for name in ("x", "y", "side")], axis=1)
