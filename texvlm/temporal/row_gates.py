"""Where rows of a block pass its gates: who moved far enough from what a module last saw, and what it then sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from texvlm.temporal.gates import Gate, Given, Threshold

Place = slice | list[int]
"""Slots of the views of a call: a slice where they lie in a row, which is read without a copy."""

Kept = dict[str, torch.Tensor]
"""What one block keeps, by name, (slots, rows, width) each."""


class Taken(NamedTuple):
    """Rows that passed a gate.

    Attributes:
        kept: their numbers among all slots' rows, int64, (n,).
        rows: their numbers among the views' rows, int64, (n,).
        values: what the module sees of them, (n, width).
    """

    kept: torch.Tensor
    rows: torch.Tensor
    values: torch.Tensor


class LastShares:
    """By which share rows of each slot last passed one gate: what stayed below one may be above another."""

    def __init__(self) -> None:
        self._last: dict[int, float] = {}

    def look_again(self, gate: Gate, slots: Sequence[int]) -> list[bool]:
        """Whether rows may pass that are what they were in their slot's last call; this gate is the last one then."""
        before = [self._last.get(slot, 0.0) for slot in slots]
        share = gate.share if type(gate) is Threshold else float("inf")
        self._last.update(dict.fromkeys(slots, share))
        if type(gate) is Threshold:  # of a subclass nobody knows
            return [share < last for last in before]
        if type(gate) is Given:
            return gate.rows.any(dim=-1).expand(len(slots)).tolist()
        return [True] * len(slots)


class RowGates:
    """Views that each live in a slot, and the gates of one call.

    Args:
        slots: of the views.
        rows: of each view.
        forced: bool, (views, rows): rows that every gate takes.
        padding: bool, (views, rows): rows that no gate takes; None without.
    """

    def __init__(self, slots: Sequence[int], rows: int, *, forced: torch.Tensor, padding: torch.Tensor | None) -> None:
        first = torch.tensor(list(slots), device=forced.device)[:, None] * rows
        self._place = _consecutive(slots)
        self._base = (first + torch.arange(rows, device=forced.device)).flatten()
        self._rows, self._views = rows, len(slots)
        self._forced, self._padding = forced, padding

    @property
    def place(self) -> Place:
        """Slots of the views."""
        return self._place

    def count(self, taken: Taken) -> torch.Tensor:
        """Rows taken of each view, (views,)."""
        if self._views == 1:
            return taken.rows.new_tensor([len(taken.rows)])
        return torch.bincount(taken.rows // self._rows, minlength=self._views)

    def take(self, now: torch.Tensor, kept: Kept, reference: str, gate: Gate) -> Taken | None:
        """Rows that moved, of (views, rows, width); None for none. Their reference becomes what they are now.

        Args:
            now: what enters the module.
            kept: of the block.
            reference: name of what was last seen.
            gate: who is taken.
        """
        wide = now.float()  # squares of half floats overflow
        moved = (wide - kept[reference][self._place]).square_().sum(dim=-1)
        change = (moved / wide.square().sum(dim=-1).clamp_min(torch.finfo(wide.dtype).tiny)).sqrt_()
        # what is no number is computed again until it is one
        change = change.nan_to_num_(nan=float("inf"), posinf=float("inf")).masked_fill_(self._forced, float("inf"))
        if self._padding is not None:
            change = change.masked_fill_(self._padding, 0)
        chosen = gate.select(change) | change.isinf()
        if self._padding is not None:
            chosen &= ~self._padding
        rows = chosen.flatten().nonzero().squeeze(-1)
        if not len(rows):
            return None
        values = now.flatten(0, 1)[rows]
        taken = Taken(self._base[rows], rows, values)
        keep(kept[reference], taken, values)
        return taken


def keep(kept: torch.Tensor, taken: Taken, values: torch.Tensor) -> None:
    """Put values of the rows taken into (slots, rows, width)."""
    kept.flatten(0, 1).index_copy_(0, taken.kept, values.to(kept.dtype))


def _consecutive(slots: Sequence[int]) -> Place:
    first = slots[0]
    return slice(first, first + len(slots)) if list(slots) == list(range(first, first + len(slots))) else list(slots)
