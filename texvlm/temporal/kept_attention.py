"""Attention on the CPU that is brought up to date rather than computed anew, where few keys changed.

For a query q_i, attention is sum_j w_ij v_j / sum_j w_ij with w_ij = exp(s_ij - peak_i). Both sums are kept.
Where rows C got other keys and values, a query that did not change itself needs the terms of C alone:

    sum  +=  sum over C of (w_ij v_j with the new keys and values) - (the same with the old ones)

which takes 2 |C| keys instead of all. It is exact but for rounding; a query is computed anew when a new
score rises so far above its peak, or its sum falls so far below the greatest it has been, that rounding
would count, and all of them every `RENEWAL` updates. Until then a value that is gone leaves a rounding of its
own size behind: 1e-5 of one that was a thousand times the others.

Source:
    The idea of updating the product of attention and values by differences is that of Dutson, Li and
    Gupta, Eventful Transformers, ICCV 2023; keeping the sums of the softmax apart is that of online
    softmax (Milakov and Gimelshein, 2018).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from texvlm.temporal._attention_kernels import exchange, weigh
from texvlm.temporal._row_kernels import Flags, Numbers
from texvlm.temporal.rotary import Rotations, turned
from texvlm.temporal.softmax_sums import attend

RENEWAL = 128
"""Updates of a slot after which all of its sums are computed anew."""

RISE = 4.0
"""A new score this far above a query's peak makes the terms of before too small beside it."""

FALL = 0.1
"""A sum of weights below this share of the greatest it has been has lost digits: rounding was that of the greatest."""

SHARE = 0.1
"""Share of rows that changed above which all are computed anew: torch does so on all cores, the update on one."""


class Mixed(NamedTuple):
    """Attention of one view, as a sum and what it is to be divided by.

    Attributes:
        total: weighted sums of values, (heads, rows, head width).
        weight: sums of weights, (heads, rows).
        products: pairs of query and key that were multiplied.
    """

    total: torch.Tensor
    weight: torch.Tensor
    products: int


class KeptAttention:
    """Queries, keys, values and sums of one block, float32, for any number of slots of as many rows.

    Args:
        heads: of attention.
        scaling: of the scores.
        rows: of each slot.
        width: of a row.
    """

    def __init__(self, *, heads: int, scaling: float, rows: int, width: int) -> None:
        self._heads, self._scaling = heads, scaling
        self._rows, self._width = rows, width
        self.states = torch.zeros(0, 3, rows, width, dtype=torch.float32, device="cpu")
        """Query, key and value, (slots, 3, rows, width), heads side by side."""
        self._sums = self.states.new_zeros(0, 3, heads, rows)  # see `weigh`
        self._totals = self.states.new_zeros(0, heads, rows, width // heads)
        self._updates: dict[int, int] = {}  # since the last renewal, of slots whose sums hold

    @property
    def slot_bytes(self) -> int:
        """Bytes kept for one slot."""
        states = 4 * self._rows * self._width  # with the totals
        return (states + 3 * self._heads * self._rows) * self.states.element_size()

    def reserve(self, slots: int) -> None:
        """Room for as many slots; what is kept stays."""
        more = slots - len(self._sums)
        if more > 0:
            self.states, self._sums, self._totals = (
                torch.cat([kept, kept.new_zeros(more, *kept.shape[1:])])
                for kept in (self.states, self._sums, self._totals)
            )

    def forget(self, slot: int) -> None:
        """The sums of a slot hold no more."""
        self._updates.pop(slot, None)

    def hide(self, slot: int, rows: torch.Tensor) -> None:
        """Empty rows that nobody sees, bool, (rows,): a weight of zero times what is no number is no number."""
        self.states[slot][1:, rows] = 0

    def update(
        self,
        slot: int,
        rows: Numbers,
        news: torch.Tensor,
        *,
        idle: Flags,
        settled: bool,
        rotations: Rotations | None,
    ) -> Mixed:
        """Attention of all rows of a slot after some got other queries, keys and values.

        Args:
            slot: which one.
            rows: that changed, (n,); none that nobody sees.
            news: query, key and value of those, (3, n, width).
            idle: keys that nobody sees, (rows,); (0,) for none.
            settled: they are those of the last call.
            rotations: of this view alone, (1, 1, turned rows, head width) each; None where positions are added.
        Returns:
            Views of what is kept, which hold until the next update of the slot.
        """
        sums, total = self._sums[slot], self._totals[slot]
        holds = settled and rotations is None and self._updates.get(slot, RENEWAL) < RENEWAL
        if holds and not len(rows):
            return Mixed(total, sums[2], 0)
        both = news.new_empty(2, self._heads, 2 * len(rows), self._width // self._heads)
        exchange(rows, news.numpy(), self.states[slot].numpy(), both.numpy())
        if holds and len(rows) <= SHARE * self._rows:
            self._updates[slot] += 1
            return Mixed(total, sums[2], self._by_difference(slot, rows, both, idle))
        if rotations is None:
            self._updates[slot] = 0
        return Mixed(total, sums[2], self._anew(slot, None, idle, rotations))

    def _by_difference(self, slot: int, rows: Numbers, both: torch.Tensor, idle: Flags) -> int:
        sums, query = self._sums[slot], self._by_head(self.states[slot, 0])
        scores = torch.baddbmm(sums[0][..., None], query, both[0].transpose(1, 2), beta=-1, alpha=self._scaling)
        anew = np.empty(self._rows, bool)
        weigh(scores.numpy(), sums.numpy(), RISE, FALL, rows, anew)
        self._totals[slot].baddbmm_(scores, both[1])
        return 2 * len(rows) * self._rows + self._anew(slot, torch.from_numpy(anew.nonzero()[0]), idle)

    def _anew(self, slot: int, queries: torch.Tensor | None, idle: Flags, rotations: Rotations | None = None) -> int:
        """Attention of some queries, None for all, with all keys. Their sum of weights is 1 then."""
        query, key, value = (self._by_head(part)[None] for part in self.states[slot])
        if rotations is not None:  # kept unturned, because a token's place may change while it is kept
            query, key = turned(query, *rotations), turned(key, *rotations)
        if queries is not None:
            query = query.index_select(2, queries)
        bias = None
        if len(idle):
            bias = query.new_zeros(1, 1, 1, len(idle)).masked_fill_(torch.from_numpy(idle), -torch.inf)
        mixed, peaks = attend(query, key, value, bias=bias, scaling=self._scaling)
        sums, total = self._sums[slot], self._totals[slot]
        if queries is None:
            sums[0], sums[1:], total[:] = peaks[0], 1, mixed[0]
        else:
            sums[0].index_copy_(1, queries, peaks[0])
            sums[1:].index_fill_(2, queries, 1)
            total.index_copy_(1, queries, mixed[0])
        return query.shape[2] * self._rows

    def _by_head(self, states: torch.Tensor) -> torch.Tensor:
        """(heads, rows, head width) of (rows, width)."""
        return states.view(len(states), self._heads, -1).transpose(0, 1)
