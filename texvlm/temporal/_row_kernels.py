"""One pass over rows on the CPU: add, norm, compare with the reference, and pick out what moved.

What torch does in a dozen calls, each of them over all rows. Sums are taken in any order, so that they
vectorise; what is no number is picked, as by the gates.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from texvlm._compiled import compiled

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]

_TINY = np.float32(np.finfo(np.float32).tiny)
_ANY_ORDER = {"reassoc", "contract", "nsz", "arcp"}


@compiled(fastmath=_ANY_ORDER)
def pick_normed(
    hidden: Floats,
    added: Floats,
    base: Numbers,
    weight: Floats,
    bias: Floats,
    eps: float,
    seen: Floats,
    forced: Flags,
    idle: Flags,
    limit: float,
    values: Floats,
    taken: Numbers,
) -> int:
    """Add what is kept to each row, norm it, and pick the rows that moved from what was last seen of them.

    Args:
        hidden: (rows, width); `added` is added to it in place.
        added: (kept rows, width), or (0, width) for nothing.
        base: kept row of each row, (rows,).
        weight: of the layer norm, (width,).
        bias: likewise.
        eps: likewise.
        seen: (kept rows, width); becomes the normed row where it is picked.
        forced: (rows,): rows that are picked anyway.
        idle: (rows,): rows that are never picked.
        limit: square of the share by which a row moves at least.
        values: (rows + 1, width); takes the normed rows that are picked, one behind the other.
        taken: (rows,); takes their numbers.
    Returns:
        How many were picked.
    """
    rows, width = hidden.shape
    count = 0
    for row in range(rows):
        here = hidden[row]
        kept = base[row]
        if len(added):
            more = added[kept]
            for i in range(width):
                here[i] += more[i]
        if idle[row]:
            continue
        total = np.float32(0)
        for i in range(width):
            total += here[i]
        mean = total / np.float32(width)
        spread = np.float32(0)
        for i in range(width):
            spread += (here[i] - mean) * (here[i] - mean)
        scale = np.float32(1) / np.sqrt(spread / np.float32(width) + np.float32(eps))
        before, out = seen[kept], values[count]
        moved, size = np.float32(0), np.float32(0)
        for i in range(width):
            value = (here[i] - mean) * scale * weight[i] + bias[i]
            out[i] = value
            moved += (value - before[i]) * (value - before[i])
            size += value * value
        if forced[row] or not (moved <= np.float32(limit) * max(size, _TINY)):
            for i in range(width):
                before[i] = out[i]
            taken[count] = row
            count += 1
    return count


@compiled(fastmath=_ANY_ORDER)
def pick(
    now: Floats,
    base: Numbers,
    seen: Floats,
    forced: Flags,
    idle: Flags,
    limit: float,
    values: Floats,
    taken: Numbers,
) -> int:
    """As `pick_normed`, of rows as they are: (rows, width)."""
    rows, width = now.shape
    count = 0
    for row in range(rows):
        if idle[row]:
            continue
        here, before, out = now[row], seen[base[row]], values[count]
        moved, size = np.float32(0), np.float32(0)
        for i in range(width):
            moved += (here[i] - before[i]) * (here[i] - before[i])
            size += here[i] * here[i]
        if forced[row] or not (moved <= np.float32(limit) * max(size, _TINY)):
            for i in range(width):
                out[i] = here[i]
                before[i] = here[i]
            taken[count] = row
            count += 1
    return count
