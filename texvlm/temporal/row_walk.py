"""RowWalk: the rows of one call on their way through compiled blocks, and which of them pass each gate.

A row that is what it was in the last call sleeps: it is neither normed nor compared, because it would stand
where it stood. It wakes where a module is run on it, or where a gate has to look at it all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import numpy as np
import torch
from torch import nn

from texvlm.temporal._row_kernels import Flags, Floats, Numbers, advance, pick_mixed, pick_normed, wake
from texvlm.temporal.block_parts import Rows
from texvlm.temporal.gates import Gate, GatePlan, Given, Site, Threshold, gate_at
from texvlm.temporal.kept_attention import Mixed
from texvlm.temporal.row_gates import LastShares

Shares = dict[tuple[int, Site], LastShares]
"""Of each gate."""

REFERENCES: dict[Site, str] = {"attention": "seen", "projection": "mixed", "mlp": "normed"}
"""Name under which is kept what each gate last let pass."""

KEPT = (*REFERENCES.values(), "attended", "passed")
"""What is kept of a row in each block: the references, and what was made behind the last two gates."""

_NO_CHANGE: Floats = np.empty(0, np.float32)


class Asked(NamedTuple):
    """A gate in one call, as the passes over the rows take it.

    Attributes:
        gate: which one.
        must: bool, (rows,): rows that are taken anyway.
        limit: square of the share by which the others move at least; infinite where nobody else is taken.
        again: views of which rows are looked at though they sleep.
    """

    gate: Gate
    must: Flags
    limit: float
    again: list[bool]

    @property
    def compares(self) -> bool:
        """The gate wants to see how far all rows moved before it takes any."""
        return type(self.gate) not in (Threshold, Given)


class RowWalk:
    """The rows of some views, each of which lives in a slot.

    Args:
        kept: by name, see KEPT, (blocks, slots, rows, width) each; changed.
        shares: changed.
        slots: of the views.
        hidden: what enters the first block, (views, rows, width).
        forced: bool, (views, rows): rows that every gate takes.
        changed: bool, (views, rows): rows that may be others than in the last call of their slots; None for all.
        padding: bool, (views, rows): rows that no gate takes; None without.
        gates: who else is taken.

    Attributes:
        hidden: (views * rows, width): of rows that sleep, what enters the first block; of others, what enters the
            next module.
        awake: bool, (views * rows,).
        taken: numbers of the rows that were last picked, rising.
        flops: operations that each view took, float64, (views,).
    """

    def __init__(
        self,
        kept: dict[str, torch.Tensor],
        shares: Shares,
        slots: Sequence[int],
        hidden: torch.Tensor,
        *,
        forced: torch.Tensor,
        changed: torch.Tensor | None,
        padding: torch.Tensor | None,
        gates: GatePlan,
    ) -> None:
        self._views, self._rows, self._width = hidden.shape
        self._kept = {name: part.numpy().reshape(len(part), -1, self._width) for name, part in kept.items()}
        self._shares, self._gates, self._slots = shares, gates, slots
        self._base = (np.asarray(slots)[:, None] * self._rows + np.arange(self._rows)).ravel()
        idle = torch.zeros_like(forced) if padding is None else padding
        self._idle = idle.flatten().numpy()
        self._forced = (forced & ~idle).flatten().numpy()
        self.hidden = hidden.flatten(0, 1).clone(memory_format=torch.contiguous_format)
        self.awake = (torch.ones_like(forced) if changed is None else changed | forced).flatten()
        self.taken: Numbers = np.empty(0, np.int64)
        self.flops = np.zeros(self._views)

    def taken_by_view(self) -> list[slice]:
        """Where the rows of each view stand among those that were last picked."""
        ends = np.searchsorted(self.taken, self._rows * np.arange(self._views + 1))
        return [slice(int(start), int(end)) for start, end in pairwise(ends)]

    def spend(self, each: int) -> None:
        """Count the operations that a module took for each of the rows that were last picked."""
        self.flops += each * np.bincount(self.taken // self._rows, minlength=self._views)

    def ask(self, block: int, site: Site) -> Asked:
        """The gate of one place; to be asked once a call, for some gates are read from a tape."""
        gate = gate_at(self._gates, block, site)
        must, limit = self._forced, float("inf")
        if type(gate) is Threshold:
            limit = gate.share**2
        elif type(gate) is Given:
            must = must | gate.rows.expand(self._views, self._rows).flatten().numpy()
        return Asked(gate, must, limit, self._shares[block, site].look_again(gate, self._slots))

    def take_normed(self, norm: Rows, block: int, site: Site) -> torch.Tensor:
        """What a module sees of the rows that pass the gate before it, (n, width); `taken` becomes their numbers."""
        asked = self.ask(block, site)
        if any(asked.again):
            wanted = asked.must if type(asked.gate) is Given else np.repeat(asked.again, self._rows)
            wake(self.hidden.numpy(), self.awake.numpy(), wanted, *self._history(), 2 * block + (site == "mlp"))
        layer = cast(nn.LayerNorm, norm)
        values, taken = self._room()
        rows = (
            self.hidden.numpy(),
            self.awake.numpy(),
            self._base,
            layer.weight.detach().numpy(),
            layer.bias.detach().numpy(),
            layer.eps,
            self._kept[REFERENCES[site]][block],
        )
        must = asked.must
        if asked.compares:
            change = np.zeros(len(self._base), np.float32)
            pick_normed(*rows, must, self._idle, asked.limit, values.numpy(), taken, change)
            must = self._chosen(asked.gate, change)
        count = pick_normed(*rows, must, self._idle, asked.limit, values.numpy(), taken, _NO_CHANGE)
        self.taken = taken[:count]
        return values[:count]

    def take_mixed(self, mixed: Iterable[tuple[int, Mixed]], asked: Asked, block: int) -> torch.Tensor:
        """Likewise behind attention, whatever sleeps.

        Args:
            mixed: attention by number of view, rising; of views that are left out no row is taken.
            asked: the gate.
            block: number.
        """
        seen, must = self._kept[REFERENCES["projection"]][block], asked.must
        values, taken = self._room()

        def pick(view: int, found: Mixed, count: int, change: Floats) -> int:
            views_rows = view * self._rows, self._base, seen, must, self._idle, asked.limit
            arrays = found.total.numpy(), found.weight.numpy()
            return int(pick_mixed(*arrays, *views_rows, values.numpy(), taken, count, change))

        if asked.compares:
            mixed = list(mixed)
            change = np.zeros(len(self._base), np.float32)
            for view, found in mixed:
                pick(view, found, 0, change)
            must = self._chosen(asked.gate, change)
        count = 0
        for view, found in mixed:
            count = pick(view, found, count, _NO_CHANGE)
        self.taken = taken[:count]
        return values[:count]

    def advance(self, made: torch.Tensor, block: int, site: Site) -> None:
        """Keep what a module made of the rows that were last picked, and add it to the rows that are awake."""
        terms = 2 * block + (site == "mlp")
        advance(self.hidden.numpy(), self.awake.numpy(), *self._history(), terms, made.numpy(), self.taken)

    def _history(self) -> tuple[Numbers, Floats, Floats]:
        return self._base, self._kept["attended"], self._kept["passed"]

    def _room(self) -> tuple[torch.Tensor, Numbers]:
        """Where picked rows go, with one more for a row that is not picked after all; and their numbers."""
        return self.hidden.new_empty(len(self._base) + 1, self._width), np.empty(len(self._base), np.int64)

    def _chosen(self, gate: Gate, change: Floats) -> Flags:
        """Rows that a gate takes that wants to see how far all of them moved; 0 for those that nobody sees."""
        seen = torch.from_numpy(change).view(self._views, self._rows)
        forced = torch.from_numpy(self._forced).view(seen.shape)
        # what is no number is computed again until it is one
        seen = seen.nan_to_num(nan=float("inf"), posinf=float("inf")).masked_fill_(forced, float("inf"))
        chosen: Flags = (gate.select(seen) | seen.isinf()).flatten().numpy()
        return chosen
