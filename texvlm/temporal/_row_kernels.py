"""Passes over the rows of a block on the CPU: bring up to date, norm, compare with the reference, pick what moved.

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
ANY_ORDER = {"reassoc", "contract", "nsz", "arcp"}


@compiled()
def _catch_up(here: Floats, kept: int, attended: Floats, passed: Floats, terms: int) -> None:
    """Add to a row what the first modules made of it: attention and MLP of a block in turn, `terms` of them."""
    for term in range(terms):
        of_module = passed if term % 2 else attended
        more = of_module[term // 2, kept]
        for i in range(len(here)):
            here[i] += more[i]


@compiled()
def wake(
    hidden: Floats, awake: Flags, wanted: Flags, base: Numbers, attended: Floats, passed: Floats, terms: int
) -> None:
    """Bring the rows `wanted`, (rows,), up to date, where nobody has looked at them in this call; see `advance`."""
    for row in range(len(awake)):
        if wanted[row] and not awake[row]:
            _catch_up(hidden[row], base[row], attended, passed, terms)
            awake[row] = True


@compiled()
def advance(
    hidden: Floats,
    awake: Flags,
    base: Numbers,
    attended: Floats,
    passed: Floats,
    terms: int,
    made: Floats,
    rows: Numbers,
) -> None:
    """Keep what a module made of some rows, and add what it made of all rows that are awake.

    A row sleeps as long as it is what it was in the last call; one that the module was run on wakes.

    Args:
        hidden: (rows, width): of rows that sleep, what enters the first block; of others, what entered the module.
        awake: (rows,).
        base: kept row of each row, (rows,).
        attended: kept, (blocks, kept rows, width).
        passed: likewise.
        terms: number of the module among all, attention and MLP of each block in turn.
        made: (n, width).
        rows: of which rows, (n,).
    """
    of_module = (passed if terms % 2 else attended)[terms // 2]
    for number in range(len(rows)):
        row = rows[number]
        kept = of_module[base[row]]
        for i in range(len(kept)):
            kept[i] = made[number, i]
        if not awake[row]:
            _catch_up(hidden[row], base[row], attended, passed, terms)
            awake[row] = True
    for row in range(len(awake)):
        if awake[row]:
            here, more = hidden[row], of_module[base[row]]
            for i in range(len(here)):
                here[i] += more[i]


@compiled(fastmath=ANY_ORDER)
def pick_normed(
    hidden: Floats,
    awake: Flags,
    base: Numbers,
    weight: Floats,
    bias: Floats,
    eps: float,
    seen: Floats,
    must: Flags,
    idle: Flags,
    limit: float,
    values: Floats,
    taken: Numbers,
    change: Floats,
) -> int:
    """Norm each row that is awake, and pick those that moved from what was last seen of them.

    Args:
        hidden: (rows, width).
        awake: (rows,).
        base: kept row of each row, (rows,).
        weight: of the layer norm, (width,).
        bias: likewise.
        eps: likewise.
        seen: (kept rows, width); becomes the normed row where it is picked.
        must: (rows,): rows that are picked anyway, all of them awake.
        idle: (rows,): rows that are never picked.
        limit: square of the share by which a row moves at least.
        values: (rows + 1, width); takes the normed rows that are picked, one behind the other.
        taken: (rows,); takes their numbers.
        change: (rows,); takes the share by which each row moved, and nothing is picked; (0,) to pick.
    Returns:
        How many were picked.
    """
    rows, width = hidden.shape
    count = 0
    for row in range(rows):
        if idle[row] or not awake[row]:
            continue
        here = hidden[row]
        total = np.float32(0)
        for i in range(width):
            total += here[i]
        mean = total / np.float32(width)
        spread = np.float32(0)
        for i in range(width):
            spread += (here[i] - mean) * (here[i] - mean)
        scale = np.float32(1) / np.sqrt(spread / np.float32(width) + np.float32(eps))
        before, out = seen[base[row]], values[count]
        moved, size = np.float32(0), np.float32(0)
        for i in range(width):
            value = (here[i] - mean) * scale * weight[i] + bias[i]
            out[i] = value
            moved += (value - before[i]) * (value - before[i])
            size += value * value
        if len(change):
            change[row] = np.sqrt(moved / max(size, _TINY))
        elif must[row] or not (moved / max(size, _TINY) <= np.float32(limit)):
            for i in range(width):
                before[i] = out[i]
            taken[count] = row
            count += 1
    return count


@compiled(fastmath=ANY_ORDER)
def pick_mixed(
    total: Floats,
    weight: Floats,
    first: int,
    base: Numbers,
    seen: Floats,
    must: Flags,
    idle: Flags,
    limit: float,
    values: Floats,
    taken: Numbers,
    count: int,
    change: Floats,
) -> int:
    """As `pick_normed`, of the rows of one view behind its attention; the view's first row is row `first`.

    `total` is (heads, rows of the view, head width) and `weight`, by which it is divided, (heads, rows of the
    view). `count` rows of views before this one have been picked; gives back how many it is with this one's.
    """
    heads, rows, wide = total.shape
    for local in range(rows):
        row = first + local
        if idle[row]:
            continue
        before, out = seen[base[row]], values[count]
        moved, size = np.float32(0), np.float32(0)
        for head in range(heads):
            part = np.float32(1) / weight[head, local]
            here, at = total[head, local], head * wide
            for i in range(wide):
                value = here[i] * part
                out[at + i] = value
                moved += (value - before[at + i]) * (value - before[at + i])
                size += value * value
        if len(change):
            change[row] = np.sqrt(moved / max(size, _TINY))
        elif must[row] or not (moved / max(size, _TINY) <= np.float32(limit)):
            for i in range(heads * wide):
                before[i] = out[i]
            taken[count] = row
            count += 1
    return count
