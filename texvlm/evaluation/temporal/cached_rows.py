"""Some rows of a ViT against cached keys and values of the others: what the first experiment does.

The chosen tokens and the class token go through all blocks; in every block they write their keys and
values into a cache and attend to the whole cache. The other tokens keep the features that they have,
and never learn of the change.
"""

from __future__ import annotations

import torch

from texvlm.encoders import Encoder
from texvlm.encoders.attention import plan_attention
from texvlm.encoders.features import Features
from texvlm.encoders.geometry import Geometry
from texvlm.evaluation.temporal.methods import tensor_bytes
from texvlm.evaluation.temporal.vit_blocks import Block, PlainViT
from texvlm.tokens import TokenBatch


class CachedRows:
    """Caches of a batch of views, and the forward that fills them row by row.

    Args:
        encoder: a plain ViT.

    Attributes:
        vit: the encoder taken apart.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.vit = PlainViT(encoder)
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        self._states: torch.Tensor | None = None

    def run(self, batch: TokenBatch, stale: torch.Tensor) -> tuple[Features, int]:
        """Features of all tokens after encoding the stale ones; and the multiply-adds that took.

        A view without stale tokens costs nothing: its class token would come out as it is.

        Args:
            batch: the tokens of now.
            stale: bool, (views, tokens); every token but padding in the first call.
        """
        geometry = Geometry.of(batch)
        encoder, vit = self.vit.encoder, self.vit
        views, tokens = stale.shape
        if self._states is None:
            shape = (views, tokens + 1, encoder.width)
            self._states = batch.pixels.new_zeros(shape, dtype=encoder.dtype)
            self._keys = [torch.zeros_like(self._states) for _ in vit.blocks]
            self._values = [torch.zeros_like(self._states) for _ in vit.blocks]
        rows = torch.cat([stale.any(dim=1, keepdim=True), stale], dim=1)
        counts = rows.sum(dim=1)
        if counts.any():
            flat = rows.flatten().nonzero()[:, 0]
            hidden = self._embedded(batch, geometry, stale, flat)
            bias = plan_attention(geometry, prefix=1, dtype=hidden.dtype).hidden
            packing = _Packing(flat, counts, tokens + 1)
            for index, block in enumerate(vit.blocks):
                hidden = self._block(index, block, hidden, flat, packing, bias)
            self._states.flatten(0, 1).index_copy_(0, flat, vit.norm(hidden))
        seen = (~geometry.padding).sum(dim=1) + 1
        work = sum(
            vit.work.of(embedded=max(count - 1, 0), linear=count, asked=count, seen=among)
            for count, among in zip(counts.tolist(), seen.tolist(), strict=True)
        )
        states = self._states.clone()
        found = states[:, 1:].masked_fill_(geometry.padding[..., None], 0)
        features = Features.of(
            batch, found, padding=geometry.padding, prefix=states[:, :1], pooled=encoder.pool(states[:, 0])
        )
        return features, work

    def state_bytes(self) -> int:
        """Bytes of all caches."""
        return tensor_bytes(*self._keys, *self._values, self._states)

    def _embedded(self, batch: TokenBatch, geometry: Geometry, stale: torch.Tensor, flat: torch.Tensor) -> torch.Tensor:
        """Chosen rows, packed, (n, width)."""
        encoder = self.vit.encoder
        found = self.vit.embed(batch.pixels[stale]) + self.vit.positions(batch, geometry)[stale]
        hidden = found.new_empty(len(flat), encoder.width)
        is_class = flat % (stale.shape[1] + 1) == 0
        hidden[is_class] = encoder.prefix()[0]
        hidden[~is_class] = found
        return hidden

    def _block(
        self,
        index: int,
        block: Block,
        hidden: torch.Tensor,
        flat: torch.Tensor,
        packing: _Packing,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        keys, values = self._keys[index], self._values[index]
        normed = block.before(hidden)
        keys.flatten(0, 1).index_copy_(0, flat, block.key(normed))
        values.flatten(0, 1).index_copy_(0, flat, block.value(normed))
        query = packing.spread(block.query(normed))
        bias = None if bias is None else packing.active(bias)
        found = self.vit.attend(block, query, packing.active(keys), packing.active(values), bias)
        hidden = hidden + block.output(packing.pack(found))
        grown: torch.Tensor = hidden + block.mlp(block.after(hidden))
        return grown


class _Packing:
    """Rows of several views one after the other, and side by side where attention wants them so."""

    def __init__(self, flat: torch.Tensor, counts: torch.Tensor, rows: int) -> None:
        self._views = counts.nonzero()[:, 0]
        self._all = len(self._views) == len(counts)
        used = counts[self._views]
        self._most = int(used.max())
        starts = used.cumsum(0) - used
        self._view = torch.repeat_interleave(torch.arange(len(used), device=flat.device), used)
        self._slot = torch.arange(len(flat), device=flat.device) - starts[self._view]
        self._even = bool((used == self._most).all())

    def active(self, part: torch.Tensor) -> torch.Tensor:
        """The views that have rows, of something with a row a view."""
        return part if self._all else part[self._views]

    def spread(self, packed: torch.Tensor) -> torch.Tensor:
        """(n, width) -> (views, most, width); rows that stand for nothing are zero."""
        if self._even:
            return packed.view(len(self._views), self._most, -1)
        side = packed.new_zeros(len(self._views), self._most, packed.shape[1])
        side[self._view, self._slot] = packed
        return side

    def pack(self, side: torch.Tensor) -> torch.Tensor:
        """Back again."""
        return side.flatten(0, 1) if self._even else side[self._view, self._slot]
