"""What each block last computed for each row, and how a block is run on the rows that changed alone.

    norm -> [gate] -> query, key, value -> attention over all rows -> [gate] -> project -> +
    norm -> [gate] -> mlp -> +

Each module keeps what it last saw (its reference) and what it made of it. A row whose input moved little
from that reference keeps the old result; the reference stays, so small steps add up until they are
taken. Everything but attention works row by row, so rows of all views are computed together, packed.

This is the way for every device and element type; texvlm.temporal.compiled_cache has one for the CPU.

Source:
    Dutson, Li and Gupta, Eventful Transformers, ICCV 2023.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import scaled_dot_product_attention

from texvlm.temporal.block_parts import BlockParts
from texvlm.temporal.block_run import BlockRun
from texvlm.temporal.gates import GatePlan, gate_at
from texvlm.temporal.rotary import Rotations, turned
from texvlm.temporal.row_gates import LastShares, RowGates, keep

# What is kept of a row in each block: references of the three gates, and what was made of them.
_KEPT = ("seen", "query", "key", "value", "mixed", "attended", "normed", "passed")


class BlockCache:
    """Kept states of the blocks of one model, for any number of slots (sources) of the same number of rows.

    Args:
        parts: the blocks.
        rows: of each slot: prefix and tokens.
        width: numbers a row.
        dtype: of what is kept; half of float32's halves the memory.
        device: where it is kept.
    """

    def __init__(
        self, parts: Sequence[BlockParts], *, rows: int, width: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self._parts = tuple(parts)
        self.rows, self.width = rows, width
        self._dtype, self._device = dtype, device
        self._kept: list[dict[str, torch.Tensor]] = [{} for _ in self._parts]
        self._unseen: dict[int, torch.Tensor | None] = {}
        self._shares = [LastShares() for _ in self._parts]
        self.slots = 0

    def reserve(self, slots: int) -> None:
        """Room for as many slots; what is kept stays."""
        if slots <= self.slots:
            return
        for kept in self._kept:
            for name in _KEPT:
                if name in kept and len(kept[name]) >= slots:  # memory ran out in the midst of the last attempt
                    continue
                fresh = torch.zeros(slots, self.rows, self.width, dtype=self._dtype, device=self._device)
                if name in kept:
                    fresh[: len(kept[name])] = kept[name]
                kept[name] = fresh
        self.slots = slots

    def forget(self, slot: int) -> None:
        """Keep nothing of a slot but its room; all rows of its next view are to be forced."""
        self._unseen.pop(slot, None)

    @property
    def slot_bytes(self) -> int:
        """Bytes kept for one slot."""
        states = len(self._parts) * len(_KEPT) * self.rows * self.width * self._dtype.itemsize
        unseen = max((0 if rows is None else rows.nbytes for rows in self._unseen.values()), default=0)
        return states + unseen

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
        """Run all blocks on views that each live in a slot.

        Args:
            hidden: what enters the first block, (views, rows, width).
            slots: slot of each view, all different; views of slots in a row are read without a copy.
            forced: bool, (views, rows): rows that every gate takes; all of a view that is new to its slot, and those
                that nobody saw in the slot's last call and somebody sees now.
            gates: who else is taken.
            changed: bool, (views, rows): rows of `hidden` that are not what they were in the slot's last call,
                at least; None for all. The others may be left out of what is given back.
            padding: bool, (views, rows): rows that nobody sees and nobody computes; None without.
            rotations: of the model's queries and keys, see BlockEncoder.rotations.
        """
        steps = RowGates(slots, self.rows, forced=forced if padding is None else forced & ~padding, padding=padding)
        hide = None
        if padding is not None:
            hide = torch.zeros_like(padding, dtype=hidden.dtype)
            hide = hide.masked_fill_(padding, torch.finfo(hidden.dtype).min)[:, None, None]
        settled = self._settle(slots, padding)
        flops = torch.zeros(len(slots), dtype=torch.float64, device=hidden.device)
        hidden = hidden.clone(memory_format=torch.contiguous_format)
        for block, (parts, kept) in enumerate(zip(self._parts, self._kept, strict=True)):
            of_attention, of_projection, of_mlp = parts.row_flops
            taken = steps.take(parts.norm_attention(hidden), kept, "seen", gate_at(gates, block, "attention"))
            gate = gate_at(gates, block, "projection")
            again = any(self._shares[block].look_again(gate, slots))
            # without a row that changed, there may still be one that is gone, or lies elsewhere
            if taken is not None or rotations is not None or not settled or again:
                if taken is not None:
                    for name, project in (("query", parts.query), ("key", parts.key), ("value", parts.value)):
                        keep(kept[name], taken, project(taken.values))
                    flops += steps.count(taken) * of_attention
                states = (kept[name][steps.place].to(hidden.dtype) for name in ("query", "key", "value"))
                mixed = _attention(parts, *states, hide=hide, rotations=rotations)
                flops += 4 * self.rows * self.rows * self.width
                if (taken := steps.take(mixed, kept, "mixed", gate)) is not None:
                    keep(kept["attended"], taken, parts.project(taken.values))
                    flops += steps.count(taken) * of_projection
            hidden += kept["attended"][steps.place]
            taken = steps.take(parts.norm_mlp(hidden), kept, "normed", gate_at(gates, block, "mlp"))
            if taken is not None:
                keep(kept["passed"], taken, parts.mlp(taken.values))
                flops += steps.count(taken) * of_mlp
            hidden += kept["passed"][steps.place]
        return BlockRun(hidden, flops)

    def _settle(self, slots: Sequence[int], padding: torch.Tensor | None) -> bool:
        """Whether the rows that nobody sees are those of the last call; what newly is one is emptied."""
        settled = True
        some = [False] * len(slots) if padding is None else padding.any(dim=1).tolist()
        for view, slot in enumerate(slots):
            # a view without any is one without, whoever else has padding in this call
            now = padding[view] if padding is not None and some[view] else None
            before = self._unseen.get(slot)
            known = slot in self._unseen
            if known and (now is before or (now is not None and before is not None and torch.equal(now, before))):
                continue
            settled = False
            self._unseen[slot] = None if now is None else now.clone()
            if now is not None:  # a weight of zero times what is no number is no number
                for kept in self._kept:
                    kept["key"][slot, now] = 0
                    kept["value"][slot, now] = 0
        return settled


def _attention(
    parts: BlockParts,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    hide: torch.Tensor | None,
    rotations: Rotations | None,
) -> torch.Tensor:
    """Attention of all rows, (views, rows, width) each, heads side by side."""
    query, key, value = (_heads(states, parts.heads) for states in (query, key, value))
    if rotations is not None:  # kept unturned, because a token's place may change while it is kept
        query, key = turned(query, *rotations), turned(key, *rotations)
    mixed = scaled_dot_product_attention(query, key, value, attn_mask=hide, scale=parts.scaling)
    return mixed.transpose(1, 2).flatten(2)


def _heads(states: torch.Tensor, heads: int) -> torch.Tensor:
    """(views, heads, rows, head width) of (views, rows, width)."""
    views, rows, width = states.shape
    return states.view(views, rows, heads, width // heads).transpose(1, 2)
