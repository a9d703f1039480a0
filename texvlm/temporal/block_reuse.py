"""Levels L2 and L3: rows that did not change keep what each block made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import torch

from texvlm.encoders.attention import plan_attention
from texvlm.encoders.base import Encoded
from texvlm.encoders.block_encoder import BlockEncoder
from texvlm.encoders.geometry import Geometry
from texvlm.temporal.block_cache import BlockCache
from texvlm.temporal.block_parts import BlockParts, parts_of, token_flops
from texvlm.temporal.block_run import BlockRun
from texvlm.temporal.compiled_cache import CompiledBlockCache, can_compile
from texvlm.temporal.gates import GatePlan
from texvlm.temporal.rotary import Rotations
from texvlm.temporal.source_memory import Verdict


@dataclass(frozen=True, slots=True, eq=False)
class ReuseRun:
    """Encoded tensors of the views, and floating-point operations that each took, float64, (views,)."""

    encoded: Encoded
    flops: torch.Tensor


class BlockReuse:
    """Kept embeddings, block states and outputs of any number of sources, with as many tokens as each likes.

    Args:
        encoder: whose blocks are run.
        gates: which rows each of their modules computes again.
        dtype: of what is kept in the blocks; the encoder's where None.

    Raises:
        ModelError: see parts_of.
    """

    def __init__(self, encoder: BlockEncoder, *, gates: GatePlan, dtype: torch.dtype | None = None) -> None:
        self._encoder = encoder
        self._parts = parts_of(encoder)
        self._gates = gates
        self._dtype = dtype
        self._rooms: dict[tuple[int, torch.device, torch.dtype], _Room] = {}

    @property
    def sources(self) -> frozenset[int]:
        """Sources of which something is kept."""
        return frozenset(source for room in self._rooms.values() for source in room.slots)

    def forget(self, source: int) -> None:
        """Give a source's slot to the next one."""
        for room in self._rooms.values():
            room.forget(source)

    def bytes_of(self, source: int) -> int:
        """Bytes kept for a source."""
        return next((room.slot_bytes for room in self._rooms.values() if source in room.slots), 0)

    @torch.no_grad()
    def encode(
        self, pixels: torch.Tensor, geometry: Geometry, sources: Sequence[int], verdicts: Sequence[Verdict]
    ) -> ReuseRun:
        """Encode what the verdicts say, reuse the rest; of views in which nothing changed no module is run.

        A source in whose midst something fails is forgotten.

        Args:
            pixels: (views, tokens, channels, patch, patch).
            geometry: of the views.
            sources: of the views, all different; of a new one all tokens are stale and due.
            verdicts: of the views.
        """
        try:
            room = self._room(pixels.shape[1])
            for other in self._rooms.values():
                for source in sources:
                    if other is not room:
                        other.forget(source)
            new = [source not in room.slots for source in sources]
            room.admit(sources)
            return self._encode(room, pixels, geometry, sources, verdicts, new)
        except BaseException:
            for source in sources:
                self.forget(source)
            raise

    def _encode(
        self,
        room: _Room,
        pixels: torch.Tensor,
        geometry: Geometry,
        sources: Sequence[int],
        verdicts: Sequence[Verdict],
        new: Sequence[bool],
    ) -> ReuseRun:
        encoder = self._encoder
        views = len(sources)
        slots = torch.tensor([room.slots[source] for source in sources], device=pixels.device)
        stale = torch.stack([verdict.stale for verdict in verdicts])
        order = torch.stack([verdict.order for verdict in verdicts])
        view, row = stale.nonzero(as_tuple=True)
        if len(view):
            fresh = encoder.embed(encoder.normalise(pixels[view, row]))
            room.embedded[slots[view], order[view, row]] = fresh.to(room.embedded.dtype)
        flops = torch.bincount(view, minlength=views).double() * token_flops(encoder)
        changed = torch.zeros(views, encoder.prefix_tokens + stale.shape[1], dtype=torch.bool, device=stale.device)
        changed[view, encoder.prefix_tokens + order[view, row]] = True
        anew = [v.replaced or fresh for v, fresh in zip(verdicts, new, strict=True)]
        self._place(room, geometry, slots, order, anew, changed)

        touched = stale.any(dim=1).tolist()
        running = [number for number in range(views) if new[number] or touched[number] or verdicts[number].replaced]
        if running:
            run = self._run(room, geometry, [sources[number] for number in running], verdicts, running, new, changed)
            flops[torch.tensor(running, device=flops.device)] += run.flops
        prefix = room.left[slots, : encoder.prefix_tokens]
        tokens = room.left[slots[:, None], encoder.prefix_tokens + order]
        tokens = tokens.masked_fill(geometry.padding[..., None], 0)
        pooled = None if room.pooled is None else room.pooled[slots]
        return ReuseRun(Encoded(tokens, prefix, pooled, None), flops)

    def _run(
        self,
        room: _Room,
        geometry: Geometry,
        sources: Sequence[int],
        verdicts: Sequence[Verdict],
        running: Sequence[int],
        new: Sequence[bool],
        changed: torch.Tensor,
    ) -> BlockRun:
        """The blocks and what stands behind them, on the views that changed; what comes out is kept."""
        encoder = self._encoder
        prefix, tokens = encoder.prefix_tokens, room.embedded.shape[1]
        geometry = _views(geometry, running)
        slots = torch.tensor([room.slots[source] for source in sources], device=room.embedded.device)
        order = torch.stack([verdicts[number].order for number in running])
        hidden = room.embedded[slots] + room.placed[slots]
        forced = torch.zeros(len(running), prefix + tokens, dtype=torch.bool, device=hidden.device)
        forced[:, :prefix] = True  # few, and what most callers read
        forced[:, prefix:].scatter_(1, order, torch.stack([verdicts[number].due for number in running]))
        forced |= torch.tensor([new[number] for number in running], device=hidden.device)[:, None]
        start = encoder.prefix()
        if start is not None:
            hidden = torch.cat([start.expand(len(running), -1, -1).to(hidden.dtype), hidden], dim=1)
        run = room.cache.run(
            encoder.enter(hidden),
            slots.tolist(),
            forced=forced,
            gates=self._gates,
            changed=changed[list(running)],
            padding=None if geometry.full else self._padding(geometry, order),
            rotations=self._rotations(geometry, order),
        )
        if run.fresh is None:
            room.left[slots] = encoder.leave(run.hidden)
        else:
            view, row = run.fresh.nonzero(as_tuple=True)
            room.left[slots[view], row] = encoder.leave(run.hidden[view, row])
        left = room.left[slots]
        rows = torch.cat([torch.arange(prefix, device=order.device).expand(len(order), -1), prefix + order], dim=1)
        behind = left.gather(1, rows[..., None].expand(-1, -1, left.shape[-1]))
        pooled = encoder.read(behind, geometry, plan_attention(geometry, prefix=prefix, dtype=left.dtype)).pooled
        if pooled is not None:
            room.keep_pooled(slots, pooled)
        return run

    def _room(self, tokens: int) -> _Room:
        """For sources of as many tokens. A new one takes the memory of those that nobody uses any more."""
        encoder = self._encoder
        kind = (tokens, encoder.device, encoder.dtype)
        if kind not in self._rooms:
            self._rooms = {other: room for other, room in self._rooms.items() if room.slots}
            self._rooms[kind] = _Room(encoder, self._parts, tokens=tokens, dtype=self._dtype or encoder.dtype)
        return self._rooms[kind]

    def _place(
        self,
        room: _Room,
        geometry: Geometry,
        slots: torch.Tensor,
        order: torch.Tensor,
        anew: Sequence[bool],
        changed: torch.Tensor,
    ) -> None:
        """Work out again what is added to the tokens of views whose tokens lie or are kept elsewhere.

        Rows to which something else is added are noted in `changed`, (all views, rows), in the order in which they
        are kept.
        """
        views = [number for number, wanted in enumerate(anew) if wanted]
        if not views:
            return
        placed = torch.zeros(len(views), *room.placed.shape[1:], dtype=room.placed.dtype, device=order.device)
        for added in self._encoder.placement(_views(geometry, views)):
            placed += added.to(placed.dtype)
        where = slots[views][:, None], order[views]
        moved = (room.placed[where] != placed).any(dim=-1)
        room.placed[where] = placed
        view, row = moved.nonzero(as_tuple=True)
        view = torch.tensor(views, device=view.device)[view]
        changed[view, self._encoder.prefix_tokens + order[view, row]] = True

    def _padding(self, geometry: Geometry, order: torch.Tensor) -> torch.Tensor:
        """Bool, (views, rows): rows without a token, in the order in which they are kept."""
        kept = torch.zeros_like(geometry.padding).scatter_(1, order, geometry.padding)
        return torch.cat([kept.new_zeros(len(kept), self._encoder.prefix_tokens), kept], dim=1)

    def _rotations(self, geometry: Geometry, order: torch.Tensor) -> Rotations | None:
        turns = self._encoder.rotations(geometry)
        if turns is None:
            return None
        where = order[:, None, :, None]
        cosine, sine = (torch.zeros_like(turn).scatter(2, where.expand_as(turn), turn) for turn in turns)
        return cosine, sine


class _Room:
    """What is kept of sources of as many tokens each, in slots.

    `embedded` and `placed` are in the order in which tokens are kept, as are the rows of `left`, which came out
    last; `pooled` is what the model answered, None where it does not.
    """

    def __init__(self, encoder: BlockEncoder, parts: Sequence[BlockParts], *, tokens: int, dtype: torch.dtype) -> None:
        rows, width, device = encoder.prefix_tokens + tokens, encoder.width, encoder.device
        self.slots: dict[int, int] = {}
        self.cache: BlockCache | CompiledBlockCache
        if can_compile(parts, dtypes={dtype, encoder.dtype}, device=device):
            self.cache = CompiledBlockCache(parts, rows=rows, width=width)
        else:
            self.cache = BlockCache(parts, rows=rows, width=width, dtype=dtype, device=device)
        self.embedded = torch.zeros(0, tokens, width, dtype=encoder.dtype, device=device)
        self.placed = self.embedded.clone()
        self.left = torch.zeros(0, rows, width, dtype=encoder.dtype, device=device)
        self.pooled: torch.Tensor | None = None

    @property
    def slot_bytes(self) -> int:
        """Bytes kept for each source."""
        kept = [part for part in (self.embedded, self.placed, self.left, self.pooled) if part is not None]
        return self.cache.slot_bytes + sum(part.nbytes // max(len(part), 1) for part in kept)

    def forget(self, source: int) -> None:
        """Give a source's slot to the next one."""
        slot = self.slots.pop(source, None)
        if slot is not None:
            self.cache.forget(slot)

    def admit(self, sources: Sequence[int]) -> None:
        """Give each source a slot, the first that is free."""
        taken = set(self.slots.values())
        free = (slot for slot in count() if slot not in taken)
        found = {source: self.slots[source] if source in self.slots else next(free) for source in sources}
        wanted = max(*found.values(), self.cache.slots - 1) + 1
        self.cache.reserve(wanted)
        self.embedded, self.placed, self.left = (
            _grown(part, wanted) for part in (self.embedded, self.placed, self.left)
        )
        if self.pooled is not None:
            self.pooled = _grown(self.pooled, wanted)
        self.slots |= found

    def keep_pooled(self, slots: torch.Tensor, pooled: torch.Tensor) -> None:
        """What the model answered for the views in some slots, (views, pooled width)."""
        if self.pooled is None:
            self.pooled = pooled.new_zeros(len(self.left), *pooled.shape[1:])
        self.pooled[slots] = pooled


def _grown(kept: torch.Tensor, slots: int) -> torch.Tensor:
    return torch.cat([kept, kept.new_zeros(slots - len(kept), *kept.shape[1:])]) if slots > len(kept) else kept


def _views(geometry: Geometry, views: Sequence[int]) -> Geometry:
    """Some of the views."""
    picked = list(views)
    return Geometry(
        centres=geometry.centres[picked],
        sides=geometry.sides[picked],
        valid=geometry.valid[picked],
        padding=geometry.padding[picked],
        sizes=geometry.sizes[picked],
        full=geometry.full,
    )
