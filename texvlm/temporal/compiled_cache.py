"""CompiledBlockCache: blocks on the rows that changed, on the CPU, with as little said to torch as can be.

Of a narrow model the arithmetic that is left takes less time than the calls that ask for it. So what is
done row by row is done by one compiled pass over the rows between two multiplications of matrices; and
rows that are what they were in the last call sleep: nobody so much as looks at them.

    hidden -> advance -> norm, compare, pick -> query, key, value -> KeptAttention -> compare, pick -> project
           -> advance -> norm, compare, pick -> mlp -> next block
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from texvlm.temporal._row_kernels import Flags, Floats, Numbers, advance, pick_mixed, pick_normed, wake
from texvlm.temporal.block_parts import BlockParts, Rows
from texvlm.temporal.block_run import BlockRun
from texvlm.temporal.gates import Gate, GatePlan, Given, Site, Threshold, gate_at
from texvlm.temporal.kept_attention import KeptAttention
from texvlm.temporal.rotary import Rotations

Limits = dict[tuple[int, Site], dict[int, float]]

_KEPT = ("seen", "mixed", "attended", "normed", "passed")
"""What is kept of a row in each block: references of the three gates, and what was made behind the last two."""

_NO_CHANGE: Floats = np.empty(0, np.float32)
_NO_ROWS: Numbers = np.empty(0, np.int64)


def can_compile(parts: Sequence[BlockParts], *, dtypes: set[torch.dtype], device: torch.device) -> bool:
    """Whether these blocks can be run here: on the CPU, in float32, behind layer norms."""
    norms = [norm for part in parts for norm in (part.norm_attention, part.norm_mlp)]
    plain = all(isinstance(norm, nn.LayerNorm) and norm.weight is not None and norm.bias is not None for norm in norms)
    return device.type == "cpu" and dtypes == {torch.float32} and plain


class CompiledBlockCache:
    """As BlockCache, where can_compile; attention is brought up to date rather than computed anew.

    Args:
        parts: the blocks.
        rows: of each slot: prefix and tokens.
        width: numbers a row.
    """

    def __init__(self, parts: Sequence[BlockParts], *, rows: int, width: int) -> None:
        self._parts = tuple(parts)
        self.rows, self.width = rows, width
        self.slots = 0
        self._kept = {name: torch.zeros(len(self._parts), 0, rows, width) for name in _KEPT}
        self._attention = [
            KeptAttention(heads=part.heads, scaling=part.scaling, rows=rows, width=width) for part in self._parts
        ]
        self._unseen: dict[int, Flags] = {}
        # of each gate and slot, the square of the share by which rows were last let pass
        self._limits: Limits = {(block, site): {} for block in range(len(self._parts)) for site in get_args(Site)}

    def reserve(self, slots: int) -> None:
        """Room for as many slots; what is kept stays."""
        if slots <= self.slots:
            return
        more = slots - self.slots
        grown = {
            name: torch.cat([kept, kept.new_zeros(len(kept), more, *kept.shape[2:])], dim=1)
            for name, kept in self._kept.items()
        }
        for attention in self._attention:
            attention.reserve(slots)
        self._kept = grown
        self.slots = slots

    def forget(self, slot: int) -> None:
        """Keep nothing of a slot but its room; all rows of its next view are to be forced."""
        self._unseen.pop(slot, None)
        for attention in self._attention:
            attention.forget(slot)

    @property
    def slot_bytes(self) -> int:
        """Bytes kept for one slot."""
        states = len(_KEPT) * len(self._parts) * self.rows * self.width * 4
        unseen = max((rows.nbytes for rows in self._unseen.values()), default=0)
        return states + unseen + sum(attention.slot_bytes for attention in self._attention)

    @torch.no_grad()
    def run(
        self,
        hidden: torch.Tensor,
        slots: Sequence[int],
        *,
        forced: torch.Tensor,
        gates: GatePlan,
        changed: torch.Tensor | None = None,
        padding: torch.Tensor | None = None,
        rotations: Rotations | None = None,
    ) -> BlockRun:
        """See BlockCache.run."""
        settled = self._settle(slots, padding)
        walk = _Walk(self._kept, slots, hidden, forced, changed, padding, gates, self._limits)
        flops = np.zeros(len(slots))
        for block, parts in enumerate(self._parts):
            of_attention, of_projection, of_mlp = parts.row_flops
            values = walk.take_normed(parts.norm_attention, "seen", block, "attention")
            taken, counts = walk.taken, walk.counts()
            flops += counts * of_attention
            made = torch.empty(0, self.width)
            # without a row that changed, there may still be one that is gone, or lies elsewhere
            if len(taken) or rotations is not None or not all(settled):
                news = [part(values) for part in (parts.query, parts.key, parts.value)]
                mixer = walk.mixer(block)
                ends = counts.cumsum()
                for view, slot in enumerate(slots):
                    own = slice(ends[view] - counts[view], ends[view])
                    if not counts[view] and settled[view] and rotations is None and not mixer.curious[view]:
                        continue
                    mixed = self._attention[block].update(
                        slot,
                        taken[own] - view * self.rows,
                        torch.stack([part[own] for part in news]),
                        idle=walk.idle_of(view),
                        settled=settled[view],
                        rotations=None if rotations is None else _one(rotations, view),
                    )
                    flops[view] += 4 * mixed.products * self.width
                    mixer.look(view, mixed.total, mixed.weight)
                values = mixer.take()
                flops += walk.counts() * of_projection
                made = parts.project(values) if len(values) else values
            walk.advance(made, 2 * block)
            values = walk.take_normed(parts.norm_mlp, "normed", block, "mlp")
            flops += walk.counts() * of_mlp
            walk.advance(parts.mlp(values) if len(values) else values, 2 * block + 1)
        return BlockRun(walk.hidden.view(hidden.shape), torch.from_numpy(flops), walk.awake.view(forced.shape))

    def _settle(self, slots: Sequence[int], padding: torch.Tensor | None) -> list[bool]:
        """Whether the rows that nobody sees are those of the last call, for each view; what newly is one is emptied."""
        settled = []
        for view, slot in enumerate(slots):
            now = np.empty(0, bool) if padding is None else padding[view].numpy()
            before = self._unseen.get(slot)
            same = before is not None and np.array_equal(now, before)
            settled.append(same)
            if same:
                continue
            self._unseen[slot] = now.copy()
            if len(now):
                for attention in self._attention:
                    attention.hide(slot, torch.from_numpy(now))
        return settled


class _Walk:
    """The rows of one call on their way through the blocks.

    Attributes:
        hidden: see `advance`, (views * rows, width).
        awake: likewise, (views * rows,).
        taken: rows that were last picked.
    """

    def __init__(
        self,
        kept: dict[str, torch.Tensor],
        slots: Sequence[int],
        hidden: torch.Tensor,
        forced: torch.Tensor,
        changed: torch.Tensor | None,
        padding: torch.Tensor | None,
        gates: GatePlan,
        limits: Limits,
    ) -> None:
        self._views, self._rows, self._width = hidden.shape
        self._kept = {name: part.numpy().reshape(len(part), -1, self._width) for name, part in kept.items()}
        self._slots = slots
        self._base = (np.asarray(slots)[:, None] * self._rows + np.arange(self._rows)).ravel()
        self._gates, self._limits = gates, limits
        self.hidden = hidden.flatten(0, 1).clone(memory_format=torch.contiguous_format)
        idle = torch.zeros_like(forced) if padding is None else padding
        self._padded = padding is not None
        self._idle = idle.flatten().numpy()
        self._forced = (forced & ~idle).flatten().numpy()
        self.awake = torch.ones_like(forced) if changed is None else changed | forced
        self.awake = self.awake.flatten()
        self.taken = _NO_ROWS

    def idle_of(self, view: int) -> Flags:
        """Rows of a view that nobody sees; (0,) without."""
        return self._idle[view * self._rows : (view + 1) * self._rows] if self._padded else self._idle[:0]

    def counts(self) -> NDArray[np.int64]:
        """Rows that were last picked of each view."""
        return np.bincount(self.taken // self._rows, minlength=self._views)

    def advance(self, made: torch.Tensor, terms: int) -> None:
        """Keep what a module made of the rows that were last picked, and add it to the rows."""
        advance(self.hidden.numpy(), self.awake.numpy(), *self._history(terms), made.numpy(), self.taken)

    def take_normed(self, norm: Rows, reference: str, block: int, site: Site) -> torch.Tensor:
        """What a module sees of the rows that pass its gate, (n, width); `taken` becomes their numbers."""
        gate = gate_at(self._gates, block, site)
        must, limit = self._terms_of(gate)
        terms = 2 * block + (site == "mlp")
        asked = self._curious(gate, limit, block, site)
        if isinstance(gate, Given):
            self._wake(must, terms)
        elif any(asked):
            self._wake(np.repeat(asked, self._rows), terms)
        layer = cast(nn.LayerNorm, norm)
        values, taken = self.room()
        arguments = (
            self.hidden.numpy(),
            self.awake.numpy(),
            self._base,
            layer.weight.detach().numpy(),
            layer.bias.detach().numpy(),
            layer.eps,
            self._kept[reference][block],
        )
        if not isinstance(gate, Threshold | Given):
            change = np.zeros(len(self._base), np.float32)
            pick_normed(*arguments, must, self._idle, limit, values.numpy(), taken, change)
            must = self.chosen(gate, change)
        count = pick_normed(*arguments, must, self._idle, limit, values.numpy(), taken, _NO_CHANGE)
        self.taken = taken[:count]
        return values[:count]

    def mixer(self, block: int) -> _Mixer:
        """The gate behind attention."""
        gate = gate_at(self._gates, block, "projection")
        must, limit = self._terms_of(gate)
        asked = self._curious(gate, limit, block, "projection")
        return _Mixer(self, gate, must, limit, asked, self._kept["mixed"][block])

    def room(self) -> tuple[torch.Tensor, Numbers]:
        """Where picked rows go, with one more for a row that is not picked after all; and their numbers."""
        return torch.empty(len(self._base) + 1, self._width), np.empty(len(self._base), np.int64)

    def chosen(self, gate: Gate, change: Floats) -> Flags:
        """Rows that a gate takes that wants to see them all."""
        seen = torch.from_numpy(change).view(self._views, self._rows)
        forced, idle = (torch.from_numpy(rows).view(seen.shape) for rows in (self._forced, self._idle))
        # what is no number is computed again until it is one
        seen = seen.nan_to_num(nan=float("inf"), posinf=float("inf")).masked_fill_(forced, float("inf"))
        seen = seen.masked_fill_(idle, 0)
        return ((gate.select(seen) | seen.isinf()) & ~idle).flatten().numpy()

    def _history(self, terms: int) -> tuple[Numbers, Floats, Floats, int]:
        return self._base, self._kept["attended"], self._kept["passed"], terms

    def _wake(self, wanted: Flags, terms: int) -> None:
        wake(self.hidden.numpy(), self.awake.numpy(), wanted, *self._history(terms))

    def _terms_of(self, gate: Gate) -> tuple[Flags, float]:
        """Rows that are taken anyway, and the square of the share by which the others move at least."""
        if isinstance(gate, Threshold):
            return self._forced, gate.share**2
        given = gate.rows.expand(self._views, self._rows).flatten().numpy() if isinstance(gate, Given) else False
        return self._forced | given, float("inf")

    def _curious(self, gate: Gate, limit: float, block: int, site: Site) -> list[bool]:
        """Views of which sleeping rows must be looked at, too: the last gate to let them pass was looser."""
        last = self._limits[block, site]
        asked = [limit < last.get(slot, 0.0) for slot in self._slots]
        last.update(dict.fromkeys(self._slots, limit))
        return asked if isinstance(gate, Threshold | Given) else [True] * len(asked)


class _Mixer:
    """Rows behind attention, view by view, and which of them pass the gate.

    Attributes:
        curious: views that are to be looked at though nothing in them changed.
    """

    def __init__(self, walk: _Walk, gate: Gate, must: Flags, limit: float, curious: list[bool], seen: Floats) -> None:
        self._walk, self._gate, self._must, self._limit, self._seen = walk, gate, must, limit, seen
        self.curious = curious
        self._values, self._taken = walk.room()
        self._count = 0
        self._threshold = isinstance(gate, Threshold | Given)
        self._waiting: list[tuple[int, torch.Tensor, torch.Tensor]] = []
        self._change = _NO_CHANGE if self._threshold else np.zeros(len(self._taken), np.float32)

    def look(self, view: int, total: torch.Tensor, weight: torch.Tensor) -> None:
        """Attention of a view, see Mixed; views in order."""
        if not self._threshold:
            self._waiting.append((view, total, weight))
        self._count = self._pick(view, total, weight, self._change)

    def take(self) -> torch.Tensor:
        """What passed, (n, width); the walk's `taken` becomes their numbers."""
        if not self._threshold:
            self._must = self._walk.chosen(self._gate, self._change)
            for view, total, weight in self._waiting:
                self._count = self._pick(view, total, weight, _NO_CHANGE)
        self._walk.taken = self._taken[: self._count]
        return self._values[: self._count]

    def _pick(self, view: int, total: torch.Tensor, weight: torch.Tensor, change: Floats) -> int:
        found: int = pick_mixed(
            total.numpy(),
            weight.numpy(),
            view * total.shape[1],
            self._walk._base,
            self._seen,
            self._must,
            self._walk._idle,
            self._limit,
            self._values.numpy(),
            self._taken,
            self._count,
            change,
        )
        return found


def _one(rotations: Rotations, view: int) -> Rotations:
    return rotations[0][view : view + 1], rotations[1][view : view + 1]
