"""Attention that is brought up to date rather than computed anew, where few keys changed.

For a query q_i, attention is sum_j w_ij v_j / sum_j w_ij with w_ij = exp(s_ij - peak_i). Both sums are kept.
Where rows C got other keys and values, a query that did not change itself needs the terms of C alone:

    sum  +=  sum over C of (w_ij v_j with the new keys and values) - (the same with the old ones)

which takes 2 |C| keys instead of all. It is exact but for rounding; a query is computed anew when a new
score rises so far above its peak, or its sum falls so far below the greatest it has been, that rounding
would count, and all of them every `RENEWAL` updates.

Source:
    The idea of updating the product of attention and values by differences is that of Dutson, Li and
    Gupta, Eventful Transformers, ICCV 2023; keeping the sums of the softmax apart is that of online
    softmax (Milakov and Gimelshein, 2018).
"""

from __future__ import annotations

import torch

RENEWAL = 128
"""Updates of a slot after which all of its sums are computed anew."""

_RISE = 4.0
"""A new score this far above a query's peak makes the terms of before too small beside it."""

_FALL = 0.1
"""A sum of weights below this share of the greatest it has been has lost digits: rounding was that of the greatest."""

SHARE = 0.35
"""Share of rows that changed above which computing anew is no more work."""


class AttentionCache:
    """Kept sums of one block, for any number of slots.

    Args:
        heads: of attention.
        scaling: of the scores.
    """

    def __init__(self, *, heads: int, scaling: float) -> None:
        self._heads, self._scaling = heads, scaling
        self._sums: dict[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]] = {}
        self._updates: dict[int, int] = {}
        self.products = 0
        """Pairs of query and key that the last call multiplied."""

    @property
    def slot_bytes(self) -> int:
        """Bytes kept for one slot."""
        return next((sum(part.nbytes for part in parts) for parts in self._sums.values()), 0)

    def forget(self, slot: int) -> None:
        """Keep nothing more of a slot."""
        self._sums.pop(slot, None)
        self._updates.pop(slot, None)

    def renew(
        self, slot: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, padding: torch.Tensor | None
    ) -> torch.Tensor:
        """Attention of all rows, computed anew.

        Args:
            slot: whose sums are kept.
            query: (rows, width), heads side by side.
            key: likewise.
            value: likewise.
            padding: bool, (rows,): keys that nobody sees; None without.
        Returns:
            (rows, width), heads side by side.
        """
        q, k, v = (self._by_head(part) for part in (query, key, value))
        self.products = len(query) * len(key)
        peak, weight, total = self._anew(q, k, v, padding)
        self._sums[slot] = (peak, weight.clone(), weight, total)
        self._updates[slot] = 0
        return self._mixed(weight, total)

    def update(
        self,
        slot: int,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        padding: torch.Tensor | None,
        *,
        rows: torch.Tensor,
        old_key: torch.Tensor,
        old_value: torch.Tensor,
    ) -> torch.Tensor:
        """Attention of all rows after some rows got other queries, keys and values.

        Args:
            slot: whose sums are kept.
            query: as they are now, (rows, width).
            key: likewise.
            value: likewise.
            padding: as at the last call for this slot.
            rows: which ones changed, int64, (n,).
            old_key: of those rows before, (n, width).
            old_value: likewise.
        """
        if slot in self._sums and not len(rows):
            self.products = 0
            return self._mixed(*self._sums[slot][2:])
        if slot not in self._sums or len(rows) > SHARE * len(query) or self._updates[slot] >= RENEWAL:
            return self.renew(slot, query, key, value, padding)
        self._updates[slot] += 1
        peak, most, weight, total = self._sums[slot]
        q, k, v = (self._by_head(part) for part in (query, key, value))
        news, count = k[:, rows], len(rows)
        keys = torch.cat([news, self._by_head(old_key)], dim=1)
        values = torch.cat([v[:, rows], -self._by_head(old_value)], dim=1)
        scores = torch.baddbmm(peak[..., None], q, keys.transpose(1, 2), beta=-1, alpha=self._scaling)
        risen = ~(scores[..., :count].amax(dim=-1) <= _RISE).all(dim=0)
        terms = scores.clamp_(max=2 * _RISE).exp_()
        total.baddbmm_(terms, values)
        weight += terms[..., :count].sum(dim=-1) - terms[..., count:].sum(dim=-1)
        torch.maximum(most, weight, out=most)
        anew = risen | ~(weight >= _FALL * most).all(dim=0)  # also where it is no number any more
        anew[rows] = True
        again = anew.nonzero().squeeze(-1)
        self.products = 2 * count * len(query) + len(again) * len(key)
        peak[:, again], weight[:, again], total[:, again] = self._anew(q[:, again], k, v, padding)
        most[:, again] = weight[:, again]
        return self._mixed(weight, total)

    def _anew(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, padding: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Peak and sum of weights, (heads, n) each, and weighted sum of values, (heads, n, head width)."""
        scores = torch.bmm(q, k.transpose(1, 2)).mul_(self._scaling)
        if padding is not None:
            scores = scores.masked_fill_(padding, float("-inf"))
        peak = scores.amax(dim=-1)
        terms = scores.sub_(peak[..., None]).exp_()
        return peak, terms.sum(dim=-1), torch.bmm(terms, v)

    def _by_head(self, states: torch.Tensor) -> torch.Tensor:
        """(heads, rows, head width) of (rows, width)."""
        rows, width = states.shape
        return states.view(rows, self._heads, width // self._heads).transpose(0, 1).float()

    def _mixed(self, weight: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
        return (total / weight[..., None]).transpose(0, 1).flatten(1)
