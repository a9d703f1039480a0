"""What each block last computed for each row, and how a block is run on the rows that changed alone.

    norm -> [gate] -> query, key, value -> attention over all rows -> [gate] -> project -> +
    norm -> [gate] -> mlp -> +

Each module keeps what it last saw (its reference) and what it made of it. A row whose input moved little
from that reference keeps the old result; the reference stays, so small steps add up until they are
taken. Everything but attention works row by row, so rows of all views are computed together, packed.

Source:
    Dutson, Li and Gupta, Eventful Transformers, ICCV 2023. How attention is
    brought up to date is in texvlm.temporal.attention_cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention

from texvlm.temporal.attention_cache import SHARE, AttentionCache
from texvlm.temporal.block_parts import BlockParts
from texvlm.temporal.gates import GatePlan
from texvlm.temporal.row_gates import Place, RowGates, Taken, keep, row_gates

Rotations = tuple[torch.Tensor, torch.Tensor]
"""Cosine and sine for queries and keys of the last rows of each view, (views, 1, turned rows, head width) each."""

# What is kept of a row in each block: references of the three gates, and what was made of them.
_KEPT = ("seen", "query", "key", "value", "mixed", "attended", "normed", "passed")


class BlockRun(NamedTuple):
    """Rows behind the last block, (views, rows, width), and operations that each view took, (views,)."""

    hidden: torch.Tensor
    flops: torch.Tensor


class BlockCache:
    """Kept states of the blocks of one model, for any number of slots (sources) of the same number of rows.

    Args:
        parts: the blocks.
        rows: of each slot: prefix and tokens.
        width: numbers a row.
        dtype: of what is kept; half of float32's halves the memory.
        device: where it is kept.
        by_difference: bring attention up to date rather than compute it anew, where positions are added;
            None does so on CPUs, where arithmetic counts and not the number of calls.
    """

    def __init__(
        self,
        parts: Sequence[BlockParts],
        *,
        rows: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device,
        by_difference: bool | None = None,
    ) -> None:
        self._parts = tuple(parts)
        self.rows, self.width = rows, width
        self._dtype, self._device = dtype, device
        self._kept: list[dict[str, torch.Tensor]] = [{} for _ in self._parts]
        self._sums: list[AttentionCache] = []
        self._unseen: dict[int, torch.Tensor | None] = {}
        if device.type == "cpu" if by_difference is None else by_difference:
            self._sums = [AttentionCache(heads=part.heads, scaling=part.scaling) for part in self._parts]
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
        for sums in self._sums:
            sums.forget(slot)

    @property
    def slot_bytes(self) -> int:
        """Bytes kept for one slot."""
        states = len(self._parts) * len(_KEPT) * self.rows * self.width * self._dtype.itemsize
        unseen = max((0 if rows is None else rows.nbytes for rows in self._unseen.values()), default=0)
        return states + unseen + sum(sums.slot_bytes for sums in self._sums)

    @torch.no_grad()
    def run(
        self,
        hidden: torch.Tensor,
        slots: Sequence[int],
        *,
        forced: torch.Tensor,
        gates: GatePlan,
        padding: torch.Tensor | None = None,
        rotations: Rotations | None = None,
    ) -> BlockRun:
        """Run all blocks on views that each live in a slot.

        Args:
            hidden: what enters the first block, (views, rows, width).
            slots: slot of each view, all different; views of slots in a row are read without a copy.
            forced: bool, (views, rows): rows that every gate takes; all of a view that is new to its slot.
            gates: who else is taken.
            padding: bool, (views, rows): rows that nobody sees and nobody computes; None without.
            rotations: of the model's queries and keys, see BlockEncoder.rotations.
        Returns:
            All rows behind the last block, those that were not computed among them.
        """
        steps = row_gates(
            slots,
            self.rows,
            forced=forced if padding is None else forced & ~padding,
            padding=padding,
            gates=gates,
            dtypes={hidden.dtype, self._dtype},
        )
        hide = None
        if padding is not None:
            hide = torch.zeros_like(padding, dtype=hidden.dtype)
            hide = hide.masked_fill_(padding, torch.finfo(hidden.dtype).min)[:, None, None]
        settled = self._settle(slots, padding)
        flops = torch.zeros(len(slots), dtype=torch.float64, device=hidden.device)
        hidden = hidden.clone(memory_format=torch.contiguous_format)
        for block, (parts, kept) in enumerate(zip(self._parts, self._kept, strict=True)):
            of_attention, of_projection, of_mlp = parts.row_flops
            taken = steps.take_normed(hidden, parts.norm_attention, kept, "seen", block=block, site="attention")
            # without a row that changed, there may still be one that is gone, or lies elsewhere
            if taken is not None or rotations is not None or not all(settled):
                mixed, touched = self._mix(block, steps, slots, taken, hidden.dtype, padding, hide, rotations, settled)
                flops += touched
                if taken is not None:
                    flops += steps.count(taken) * of_attention
                if (taken := steps.take(mixed, kept, "mixed", block=block, site="projection")) is not None:
                    keep(kept["attended"], taken, parts.project(taken.values))
                    flops += steps.count(taken) * of_projection
            taken = steps.take_normed(hidden, parts.norm_mlp, kept, "normed", block=block, site="mlp", added="attended")
            if taken is not None:
                keep(kept["passed"], taken, parts.mlp(taken.values))
                flops += steps.count(taken) * of_mlp
            hidden += kept["passed"][steps.place]
        return BlockRun(hidden, flops)

    def _mix(
        self,
        block: int,
        steps: RowGates,
        slots: Sequence[int],
        taken: Taken | None,
        dtype: torch.dtype,
        padding: torch.Tensor | None,
        hide: torch.Tensor | None,
        rotations: Rotations | None,
        settled: Sequence[bool],
    ) -> tuple[torch.Tensor, torch.Tensor | int]:
        """Attention with what the rows taken ask and offer now, (views, rows, width), and the operations it took."""
        kept, parts = self._kept[block], self._parts[block]
        by_difference = bool(self._sums) and rotations is None
        if taken is None:
            taken = steps.none(self.width)
        before = {name: kept[name].flatten(0, 1)[taken.kept] for name in ("key", "value")} if by_difference else {}
        if len(taken.rows):
            for name, project in (("query", parts.query), ("key", parts.key), ("value", parts.value)):
                keep(kept[name], taken, project(taken.values))
        if by_difference:
            mixed, touched = self._catch_up(block, slots, padding, settled, steps.count(taken), taken.rows, before)
            return mixed.to(dtype), touched
        mixed = self._attend(parts, kept, steps.place, hide, rotations, dtype)
        return mixed, 4 * self.rows * self.rows * self.width

    def _settle(self, slots: Sequence[int], padding: torch.Tensor | None) -> list[bool]:
        """Whether the rows that nobody sees are those of the last call, for each view; what newly is one is emptied."""
        settled = []
        for view, slot in enumerate(slots):
            now, before = None if padding is None else padding[view], self._unseen.get(slot)
            known = slot in self._unseen
            same = known and (now is before or (now is not None and before is not None and torch.equal(now, before)))
            settled.append(same)
            if same:
                continue
            self._unseen[slot] = None if now is None else now.clone()
            if now is not None:  # a weight of zero times what is no number is no number
                for kept in self._kept:
                    kept["key"][slot, now] = 0
                    kept["value"][slot, now] = 0
        return settled

    def _catch_up(
        self,
        block: int,
        slots: Sequence[int],
        padding: torch.Tensor | None,
        settled: Sequence[bool],
        counts: torch.Tensor,
        taken: torch.Tensor,
        before: dict[str, torch.Tensor],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attention of all rows brought up to date, (views, rows, width), and the operations it took, (views,)."""
        kept, sums = self._kept[block], self._sums[block]
        ends = counts.cumsum(0).tolist()[:-1]
        mixed, touched = [], []
        changed = (taken % self.rows, before["key"], before["value"])
        parts = zip(*(torch.tensor_split(part, ends) for part in changed), strict=True)
        for view, (slot, (rows, key, value)) in enumerate(zip(slots, parts, strict=True)):
            states = (kept["query"][slot], kept["key"][slot], kept["value"][slot])
            hidden = None if padding is None else padding[view]
            if len(rows) > SHARE * self.rows:
                sums.forget(slot)  # with so much that is new, the fused kernel is cheaper than sums to go on from
                mixed.append(self._at_once(self._parts[block], *states, hidden))
                touched.append(4 * self.rows * self.rows * self.width)
                continue
            if settled[view]:
                mixed.append(sums.update(slot, *states, hidden, rows=rows, old_key=key, old_value=value))
            else:
                mixed.append(sums.renew(slot, *states, hidden))
            touched.append(4 * sums.products * self.width)
        return torch.stack(mixed), torch.tensor(touched, dtype=torch.float64, device=taken.device)

    def _at_once(
        self,
        parts: BlockParts,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        padding: torch.Tensor | None,
    ) -> torch.Tensor:
        """Attention of all rows of one view, (rows, width) each, keeping nothing."""
        q, k, v = (_heads(part.float()[None], parts.heads) for part in (query, key, value))
        seen = None if padding is None else ~padding[None, None, None]
        return scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=parts.scaling)[0].transpose(0, 1).flatten(1)

    def _attend(
        self,
        parts: BlockParts,
        kept: dict[str, torch.Tensor],
        place: Place,
        hide: torch.Tensor | None,
        rotations: Rotations | None,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """Attention of all rows, (views, rows, width), heads side by side."""
        query, key, value = (_heads(kept[name][place].to(dtype), parts.heads) for name in ("query", "key", "value"))
        if rotations is not None:  # kept unturned, because a token's place may change while it is kept
            query, key = turned(query, *rotations), turned(key, *rotations)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=hide, scale=parts.scaling)
        return mixed.transpose(1, 2).flatten(2)


def _heads(states: torch.Tensor, heads: int) -> torch.Tensor:
    """(views, heads, rows, head width) of (views, rows, width)."""
    views, rows, width = states.shape
    return states.view(views, rows, heads, width // heads).transpose(1, 2)


def turned(states: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotary positions on the last rows of (views, heads, rows, head width); rows before those stay.

    Source:
        Su et al., RoFormer, 2021, with the two halves of a head as the parts of each pair.
    """
    before = states.shape[-2] - cosine.shape[-2]
    prefix, tokens = states[..., :before, :], states[..., before:, :]
    first, second = tokens.chunk(2, dim=-1)
    return torch.cat([prefix, tokens * cosine + torch.cat([-second, first], dim=-1) * sine], dim=-2)
