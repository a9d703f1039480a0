"""Where rows of a block pass its gates: who moved far enough from what a module last saw, and what it then sees.

Two ways to the same rows: in torch, for every device, type and gate; and compiled, in one pass over the
rows, for thresholds on the CPU, where the number of calls would count more than the arithmetic.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from texvlm.temporal._row_kernels import pick, pick_normed
from texvlm.temporal.block_parts import Rows
from texvlm.temporal.gates import GatePlan, Given, Site, Threshold, gate_at

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


class RowGates:
    """The gates of one call, for views that each live in a slot.

    Args:
        slots: of the views.
        rows: of each view.
        forced: bool, (views, rows): rows that every gate takes.
        padding: bool, (views, rows): rows that no gate takes; None without.
        gates: who else is taken.
    """

    def __init__(
        self,
        slots: Sequence[int],
        rows: int,
        *,
        forced: torch.Tensor,
        padding: torch.Tensor | None,
        gates: GatePlan,
    ) -> None:
        first = torch.tensor(list(slots), device=forced.device)[:, None] * rows
        self._place = _consecutive(slots)
        self._base = (first + torch.arange(rows, device=forced.device)).flatten()
        self._rows, self._views = rows, len(slots)
        self._forced, self._padding = forced, padding
        self._gates = gates

    @property
    def place(self) -> Place:
        """Slots of the views."""
        return self._place

    def none(self, width: int) -> Taken:
        """No rows."""
        empty = self._base[:0]
        return Taken(empty, empty, torch.empty(0, width, device=empty.device))

    def count(self, taken: Taken) -> torch.Tensor:
        """Rows taken of each view, (views,)."""
        if self._views == 1:
            return taken.rows.new_tensor([len(taken.rows)])
        return torch.bincount(taken.rows // self._rows, minlength=self._views)

    def take_normed(
        self, hidden: torch.Tensor, norm: Rows, kept: Kept, reference: str, *, block: int, site: Site, added: str = ""
    ) -> Taken | None:
        """Rows whose norm moved; None for none. Their reference becomes what it is now.

        Args:
            hidden: (views, rows, width); what is kept as `added` is added to it in place.
            norm: row by row.
            kept: of the block.
            reference: name of what was last seen.
            block: number, for the gate.
            site: likewise.
            added: name of what is added first; empty for nothing.
        """
        if added:
            hidden += kept[added][self._place]
        return self.take(norm(hidden), kept, reference, block=block, site=site)

    def take(self, now: torch.Tensor, kept: Kept, reference: str, *, block: int, site: Site) -> Taken | None:
        """As `take_normed`, of rows as they are, (views, rows, width)."""
        wide = now.float()  # squares of half floats overflow
        moved = (wide - kept[reference][self._place]).square_().sum(dim=-1)
        change = (moved / wide.square().sum(dim=-1).clamp_min(torch.finfo(wide.dtype).tiny)).sqrt_()
        # what is no number is computed again until it is one
        change = change.nan_to_num_(nan=float("inf"), posinf=float("inf")).masked_fill_(self._forced, float("inf"))
        if self._padding is not None:
            change = change.masked_fill_(self._padding, 0)
        chosen = gate_at(self._gates, block, site).select(change) | change.isinf()
        if self._padding is not None:
            chosen &= ~self._padding
        rows = chosen.flatten().nonzero().squeeze(-1)
        if not len(rows):
            return None
        values = now.flatten(0, 1)[rows]
        taken = Taken(self._base[rows], rows, values)
        keep(kept[reference], taken, values)
        return taken


class CompiledRowGates(RowGates):
    """RowGates on the CPU, for float32 and thresholds; other gates, and norms that are no LayerNorm, go the other way.

    See RowGates for arguments.
    """

    @cached_property
    def _numbers(self) -> NDArray[np.int64]:
        """Kept row of each row."""
        return self._base.numpy()

    @cached_property
    def _must(self) -> NDArray[np.bool_]:
        """Rows that every gate takes."""
        return self._forced.flatten().numpy()

    @cached_property
    def _idle(self) -> NDArray[np.bool_]:
        """Rows that no gate takes."""
        return np.zeros(len(self._base), bool) if self._padding is None else self._padding.flatten().numpy()

    def take_normed(
        self, hidden: torch.Tensor, norm: Rows, kept: Kept, reference: str, *, block: int, site: Site, added: str = ""
    ) -> Taken | None:
        """See RowGates."""
        gate = gate_at(self._gates, block, site)
        if not isinstance(gate, Threshold | Given) or not _plain(norm):
            return super().take_normed(hidden, norm, kept, reference, block=block, site=site, added=added)
        layer = cast(nn.LayerNorm, norm)
        flat = hidden.flatten(0, 1).numpy()
        more = kept[added].flatten(0, 1).numpy() if added else flat[:0]
        values, taken = self._room(flat.shape)
        count = pick_normed(
            flat,
            more,
            self._numbers,
            layer.weight.detach().numpy(),
            layer.bias.detach().numpy(),
            layer.eps,
            kept[reference].flatten(0, 1).numpy(),
            self._must_of(gate),
            self._idle,
            _limit(gate),
            values.numpy(),
            taken.numpy(),
        )
        return self._taken(values, taken, count)

    def take(self, now: torch.Tensor, kept: Kept, reference: str, *, block: int, site: Site) -> Taken | None:
        """See RowGates."""
        gate = gate_at(self._gates, block, site)
        if not isinstance(gate, Threshold | Given):
            return super().take(now, kept, reference, block=block, site=site)
        flat = now.flatten(0, 1).numpy()
        values, taken = self._room(flat.shape)
        count = pick(
            flat,
            self._numbers,
            kept[reference].flatten(0, 1).numpy(),
            self._must_of(gate),
            self._idle,
            _limit(gate),
            values.numpy(),
            taken.numpy(),
        )
        return self._taken(values, taken, count)

    def _must_of(self, gate: Threshold | Given) -> NDArray[np.bool_]:
        """Rows that are taken anyway."""
        return self._must if isinstance(gate, Threshold) else self._must | gate.rows.flatten().numpy()

    def _room(self, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """Where picked rows go, with one more for a row that is not picked after all."""
        return torch.empty(shape[0] + 1, shape[1]), torch.empty(shape[0], dtype=torch.int64)

    def _taken(self, values: torch.Tensor, taken: torch.Tensor, count: int) -> Taken | None:
        if not count:
            return None
        rows = taken[:count]
        return Taken(self._base[rows], rows, values[:count])


def row_gates(
    slots: Sequence[int],
    rows: int,
    *,
    forced: torch.Tensor,
    padding: torch.Tensor | None,
    gates: GatePlan,
    dtypes: set[torch.dtype],
) -> RowGates:
    """The way that suits the device and the element types of states and what is kept of them. See RowGates."""
    compiled = forced.device.type == "cpu" and dtypes == {torch.float32}
    kind = CompiledRowGates if compiled else RowGates
    return kind(slots, rows, forced=forced, padding=padding, gates=gates)


def keep(kept: torch.Tensor, taken: Taken, values: torch.Tensor) -> None:
    """Put values of the rows taken into (slots, rows, width)."""
    kept.flatten(0, 1).index_copy_(0, taken.kept, values.to(kept.dtype))


def _limit(gate: Threshold | Given) -> float:
    """Square of the share that a row moves at least."""
    return gate.share**2 if isinstance(gate, Threshold) else float("inf")


def _plain(norm: Rows) -> bool:
    return isinstance(norm, nn.LayerNorm) and norm.weight is not None and norm.bias is not None


def _consecutive(slots: Sequence[int]) -> Place:
    first = slots[0]
    return slice(first, first + len(slots)) if list(slots) == list(range(first, first + len(slots))) else list(slots)
