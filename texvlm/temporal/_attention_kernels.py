"""What attention that is brought up to date does row by row, on the CPU; matrices are multiplied by torch."""

from __future__ import annotations

import numpy as np

from texvlm._compiled import compiled
from texvlm.temporal._row_kernels import ANY_ORDER, Flags, Floats, Numbers


@compiled()
def exchange(rows: Numbers, news: Floats, states: Floats, both: Floats) -> None:
    """Put new queries, keys and values into what is kept, and the keys and values by the side of the old ones.

    Args:
        rows: that changed, (n,).
        news: queries, keys and values of those, (3, n, width), heads side by side.
        states: what is kept, (3, all rows, width); changed.
        both: (2, heads, 2 n, head width); takes keys, and values: the new ones, then the old, these values negated.
    """
    heads, wide = both.shape[1], both.shape[3]
    count = len(rows)
    for number in range(count):
        row = rows[number]
        for head in range(heads):
            at = head * wide
            for i in range(wide):
                both[0, head, number, i] = news[1, number, at + i]
                both[1, head, number, i] = news[2, number, at + i]
                both[0, head, count + number, i] = states[1, row, at + i]
                both[1, head, count + number, i] = -states[2, row, at + i]
        for part in range(3):
            for i in range(heads * wide):
                states[part, row, i] = news[part, number, i]


@compiled(fastmath=ANY_ORDER)
def weigh(scores: Floats, sums: Floats, rise: float, fall: float, rows: Numbers, anew: Flags) -> None:
    """Weights of new keys and old ones for all queries, and who is to be computed anew.

    Args:
        scores: above each query's peak, (heads, queries, 2 n): new keys, then old; becomes the weights.
        sums: (3, heads, queries): peak, greatest sum of weights since it was set, and sum of weights; the last
            two are brought up to date.
        rise: score above the peak from which terms of before are too small beside it.
        fall: share of the greatest sum below which digits are lost.
        rows: queries that changed themselves, (n,).
        anew: (queries,); takes those that are to be computed anew.
    """
    heads, queries, count = scores.shape[0], scores.shape[1], scores.shape[2] // 2
    anew[:] = False
    for row in rows:
        anew[row] = True
    highest = np.float32(2 * rise)
    for head in range(heads):
        for query in range(queries):
            here = scores[head, query]
            good = True
            for i in range(count):
                good &= here[i] <= np.float32(rise)  # not so for what is no number
            for i in range(2 * count):
                here[i] = np.exp(min(here[i], highest))
            more = np.float32(0)
            for i in range(count):
                more += here[i] - here[count + i]
            total = sums[2, head, query] + more
            sums[2, head, query] = total
            most = max(sums[1, head, query], total)
            sums[1, head, query] = most
            if not (good and total >= np.float32(fall) * most):
                anew[query] = True
