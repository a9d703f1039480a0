"""CompiledBlockCache: blocks on the rows that changed, on the CPU, with as little said to torch as can be.

Of a narrow model the arithmetic that is left takes less time than the calls that ask for it. So what is
done row by row is done by one compiled pass over the rows between two multiplications of matrices; and
rows that are what they were in the last call sleep: nobody so much as looks at them.

    hidden -> norm, compare, pick -> query, key, value -> KeptAttention -> compare, pick -> project -> keep, add
           -> norm, compare, pick -> mlp -> keep, add -> next block
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, get_args

import numpy as np
import torch
from torch import nn

from texvlm.temporal._row_kernels import Flags
from texvlm.temporal.block_parts import BlockParts
from texvlm.temporal.block_run import BlockRun
from texvlm.temporal.gates import GatePlan, Site
from texvlm.temporal.kept_attention import KeptAttention, Mixed
from texvlm.temporal.rotary import Rotations
from texvlm.temporal.row_gates import LastShares
from texvlm.temporal.row_walk import KEPT, Asked, RowWalk, Shares


def can_compile(parts: Sequence[BlockParts], *, dtypes: set[torch.dtype], device: torch.device) -> bool:
    """Whether these blocks can be run here: on the CPU, in float32, behind layer norms."""
    norms = [norm for part in parts for norm in (part.norm_attention, part.norm_mlp)]
    return device.type == "cpu" and dtypes == {torch.float32} and all(map(_is_plain, norms))


class _View(NamedTuple):
    """A view in one call: its slot, rows that nobody sees, whether those are of old, and its rotations."""

    slot: int
    idle: Flags
    settled: bool
    rotations: Rotations | None

    @property
    def moved(self) -> bool:
        """Attention may be another one though no row changed."""
        return not self.settled or self.rotations is not None


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
        empty = torch.zeros(len(self._parts), 0, rows, width, dtype=torch.float32, device="cpu")
        self._kept = {name: empty.clone() for name in KEPT}
        self._attention = [
            KeptAttention(heads=part.heads, scaling=part.scaling, rows=rows, width=width) for part in self._parts
        ]
        self._unseen: dict[int, Flags] = {}
        self._shares: Shares = {
            (block, site): LastShares() for block in range(len(self._parts)) for site in get_args(Site)
        }

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
        states = len(KEPT) * len(self._parts) * self.rows * self.width * 4
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
        """See BlockCache.run; in float32 whatever torch.autocast says, as what is kept.

        Raises:
            IndexError: a slot that is not there, or rows of another shape, which compiled passes would not notice.
        """
        if hidden.shape[1:] != (self.rows, self.width) or not all(0 <= slot < self.slots for slot in slots):
            raise IndexError(
                f"rows of {tuple(hidden.shape[1:])} in slots {list(slots)}; "
                f"accepted: ({self.rows}, {self.width}), slots below {self.slots}: reserve more"
            )
        views = self._views(slots, padding, rotations)
        walk = RowWalk(
            self._kept, self._shares, slots, hidden, forced=forced, changed=changed, padding=padding, gates=gates
        )
        with torch.autocast("cpu", enabled=False):
            for block, parts in enumerate(self._parts):
                self._run_block(block, parts, views, walk)
        return BlockRun(walk.hidden.view(hidden.shape), torch.from_numpy(walk.flops), walk.awake.view(forced.shape))

    def _run_block(self, block: int, parts: BlockParts, views: Sequence[_View], walk: RowWalk) -> None:
        """Rows of all views through one block."""
        of_attention, of_projection, of_mlp = parts.row_flops
        values = walk.take_normed(parts.norm_attention, block, "attention")
        walk.spend(of_attention)
        asked = walk.ask(block, "projection")
        # without a row that changed, there may still be one that is gone, or lies elsewhere
        if len(values) or any(view.moved for view in views) or any(asked.again):
            news = [part(values) for part in (parts.query, parts.key, parts.value)]
            values = walk.take_mixed(self._attend(block, views, walk, asked, news), asked, block)
            walk.spend(of_projection)
        walk.advance(parts.project(values) if len(values) else values, block, "projection")
        values = walk.take_normed(parts.norm_mlp, block, "mlp")
        walk.spend(of_mlp)
        walk.advance(parts.mlp(values) if len(values) else values, block, "mlp")

    def _attend(
        self, block: int, views: Sequence[_View], walk: RowWalk, asked: Asked, news: Sequence[torch.Tensor]
    ) -> Iterator[tuple[int, Mixed]]:
        """Attention of those views, by number, in which it may be another one, or the gate looks at it again.

        Args:
            block: number.
            views: of the call.
            walk: whose rows were picked, and whose operations are counted.
            asked: the gate behind.
            news: queries, keys and values of the rows that were picked, (n, width) each.
        """
        taken = walk.taken
        for number, (view, own) in enumerate(zip(views, walk.taken_by_view(), strict=True)):
            if own.start == own.stop and not view.moved and not asked.again[number]:
                continue
            mixed = self._attention[block].update(
                view.slot,
                taken[own] - number * self.rows,
                torch.stack([part[own] for part in news]),
                idle=view.idle,
                settled=view.settled,
                rotations=view.rotations,
            )
            walk.flops[number] += 4 * mixed.products * self.width
            yield number, mixed

    def _views(self, slots: Sequence[int], padding: torch.Tensor | None, rotations: Rotations | None) -> list[_View]:
        """The views of a call; what newly is a row that nobody sees is emptied."""
        views = []
        for number, slot in enumerate(slots):
            idle = np.empty(0, bool) if padding is None else padding[number].numpy()
            idle = idle if idle.any() else idle[:0]  # whoever else has padding in this call
            before = self._unseen.get(slot)
            settled = before is not None and np.array_equal(idle, before)
            if not settled:
                self._unseen[slot] = idle.copy()
                if len(idle):
                    for attention in self._attention:
                        attention.hide(slot, torch.from_numpy(idle))
            turns = None if rotations is None else (rotations[0][number, None], rotations[1][number, None])
            views.append(_View(slot, idle, settled, turns))
        return views


def _is_plain(norm: object) -> bool:
    """A layer norm that does what its numbers say."""
    if not isinstance(norm, nn.LayerNorm) or type(norm).forward is not nn.LayerNorm.forward:
        return False
    return norm.weight is not None and norm.bias is not None
