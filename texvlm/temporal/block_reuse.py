"""Levels L2 and L3: rows that did not change keep what each block made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from texvlm.encoders.attention import plan_attention
from texvlm.encoders.base import Encoded
from texvlm.encoders.block_encoder import BlockEncoder
from texvlm.encoders.geometry import Geometry
from texvlm.temporal.block_cache import BlockCache
from texvlm.temporal.block_parts import parts_of, token_flops
from texvlm.temporal.gates import GatePlan
from texvlm.temporal.source_memory import Verdict


@dataclass(frozen=True, slots=True, eq=False)
class ReuseRun:
    """Encoded tensors of the views, and floating-point operations that each took, float64, (views,)."""

    encoded: Encoded
    flops: torch.Tensor


class BlockReuse:
    """Kept embeddings, block states and outputs of any number of sources, each in a slot.

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
        self._cache: BlockCache | None = None
        self._slots: dict[int, int] = {}
        self._embedded = self._placed = self._left = torch.empty(0)

    @property
    def sources(self) -> frozenset[int]:
        """Sources of which something is kept."""
        return frozenset(self._slots)

    def forget(self, source: int) -> None:
        """Give a source's slot to the next one."""
        self._slots.pop(source, None)

    @property
    def slot_bytes(self) -> int:
        """Bytes kept for a source."""
        if self._cache is None:
            return 0
        rest = (self._embedded, self._placed, self._left)
        return self._cache.slot_bytes + sum(kept.nbytes // max(len(kept), 1) for kept in rest)

    @torch.no_grad()
    def encode(
        self, pixels: torch.Tensor, geometry: Geometry, sources: Sequence[int], verdicts: Sequence[Verdict]
    ) -> ReuseRun:
        """Encode what the verdicts say, reuse the rest.

        A source in whose midst something fails is forgotten.

        Args:
            pixels: (views, tokens, channels, patch, patch).
            geometry: of the views.
            sources: of the views, all different; of a new one all tokens are stale and due.
            verdicts: of the views.
        """
        new = [source not in self._slots for source in sources]
        self._reserve(sources, pixels.shape[1])
        try:
            return self._encode(pixels, geometry, sources, verdicts, new)
        except BaseException:
            for source in sources:
                self.forget(source)
            raise

    def _encode(
        self,
        pixels: torch.Tensor,
        geometry: Geometry,
        sources: Sequence[int],
        verdicts: Sequence[Verdict],
        new: Sequence[bool],
    ) -> ReuseRun:
        encoder, cache = self._encoder, self._cache
        assert cache is not None
        views, tokens = pixels.shape[:2]
        prefix = encoder.prefix_tokens
        slots = torch.tensor([self._slots[source] for source in sources], device=pixels.device)
        stale = torch.stack([verdict.stale for verdict in verdicts])
        order = torch.stack([verdict.order for verdict in verdicts])
        view, row = stale.nonzero(as_tuple=True)
        if len(view):
            fresh = encoder.embed(encoder.normalise(pixels[view, row]))
            self._embedded[slots[view], order[view, row]] = fresh.to(self._embedded.dtype)
        flops = torch.bincount(view, minlength=views).double() * token_flops(encoder)
        self._place(geometry, slots, order, [v.replaced or fresh for v, fresh in zip(verdicts, new, strict=True)])

        touched = stale.any(dim=1).tolist()
        running = [
            number for number, verdict in enumerate(verdicts) if new[number] or touched[number] or verdict.replaced
        ]
        if running:
            chosen = torch.tensor(running, device=pixels.device)
            hidden = self._embedded[slots[chosen]] + self._placed[slots[chosen]]
            forced = torch.zeros(len(running), prefix + tokens, dtype=torch.bool, device=pixels.device)
            forced[:, :prefix] = True  # few, and what most callers read
            due = torch.stack([verdicts[number].due for number in running])
            forced[:, prefix:].scatter_(1, order[chosen], due)
            forced |= torch.tensor([new[number] for number in running], device=pixels.device)[:, None]
            start = encoder.prefix()
            if start is not None:
                hidden = torch.cat([start.expand(len(running), -1, -1).to(hidden.dtype), hidden], dim=1)
            run = cache.run(
                encoder.enter(hidden),
                [self._slots[sources[number]] for number in running],
                forced=forced,
                gates=self._gates,
                padding=None if geometry.full else self._padding(geometry, order, chosen),
                rotations=self._rotations(geometry, order, chosen),
                settled=[not (new[number] or verdicts[number].replaced) for number in running],
            )
            self._left[slots[chosen]] = run.hidden.to(self._left.dtype)
            flops[chosen] += run.flops
        left = self._left[slots]
        rows = torch.cat([torch.arange(prefix, device=order.device).expand(views, -1), prefix + order], dim=1)
        hidden = encoder.leave(left.gather(1, rows[..., None].expand(-1, -1, left.shape[-1])))
        attention = plan_attention(geometry, prefix=prefix, dtype=hidden.dtype)
        return ReuseRun(encoder.read(hidden, geometry, attention), flops)

    def _reserve(self, sources: Sequence[int], tokens: int) -> None:
        """Slots for these sources, in a cache for as many tokens; another count starts anew for all."""
        encoder = self._encoder
        rows = encoder.prefix_tokens + tokens
        if self._cache is None or self._cache.rows != rows:
            self._slots.clear()
            self._cache = BlockCache(
                self._parts, rows=rows, width=encoder.width, dtype=self._dtype or encoder.dtype, device=encoder.device
            )
            of_tokens = torch.zeros(0, tokens, encoder.width, dtype=encoder.dtype, device=encoder.device)
            self._embedded, self._placed = of_tokens, of_tokens.clone()
            self._left = torch.zeros(0, rows, encoder.width, dtype=encoder.dtype, device=encoder.device)
        for source in sources:
            if source not in self._slots:
                taken = set(self._slots.values())
                self._slots[source] = next(slot for slot in range(len(taken) + 1) if slot not in taken)
        wanted = max(self._slots.values()) + 1
        if wanted > self._cache.slots:
            self._cache.reserve(wanted)
            self._embedded, self._placed, self._left = (
                torch.cat([kept, kept.new_zeros(wanted - len(kept), *kept.shape[1:])])
                for kept in (self._embedded, self._placed, self._left)
            )

    def _place(self, geometry: Geometry, slots: torch.Tensor, order: torch.Tensor, anew: Sequence[bool]) -> None:
        """Work out again what is added to the tokens of views whose table is another."""
        views = [number for number, wanted in enumerate(anew) if wanted]
        if not views:
            return
        placed = torch.zeros(len(views), *self._placed.shape[1:], dtype=self._placed.dtype, device=order.device)
        for added in self._encoder.placement(_views(geometry, views)):
            placed += added.to(placed.dtype)
        self._placed[slots[views][:, None], order[views]] = placed

    def _padding(self, geometry: Geometry, order: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Bool, (views, rows): rows without a token, in the order in which they are kept."""
        padding = geometry.padding[chosen]
        kept = torch.zeros_like(padding).scatter_(1, order[chosen], padding)
        return torch.cat([kept.new_zeros(len(kept), self._encoder.prefix_tokens), kept], dim=1)

    def _rotations(
        self, geometry: Geometry, order: torch.Tensor, chosen: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        turns = self._encoder.rotations(_views(geometry, chosen.tolist()))
        if turns is None:
            return None
        where = order[chosen][:, None, :, None]
        cosine, sine = (torch.zeros_like(turn).scatter(2, where.expand_as(turn), turn) for turn in turns)
        return cosine, sine


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
