"""Token gates in every block, at the same position: Eventful Transformers, written from the paper.

Dutson, Li, Gupta: Eventful Transformers: Leveraging Temporal Redundancy in Vision Transformers, ICCV 2023.
A gate remembers for each token the value that it last let through, and lets through the k tokens that
lie farthest from theirs (L2). What follows is computed for those; a buffer keeps it for the others. Gates
stand before the projections to queries, keys and values, before the output projection, and before the
MLP. The product of attention and values, which the paper may update by differences, is computed in full
from the buffers: that is exact, and with a few hundred tokens a small part of the work.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from texvlm.encoders import Encoder
from texvlm.encoders.attention import plan_attention
from texvlm.encoders.features import Features
from texvlm.encoders.geometry import Geometry
from texvlm.evaluation.temporal.methods import tensor_bytes
from texvlm.evaluation.temporal.vit_blocks import Block, PlainViT
from texvlm.tokens import TokenBatch


class TokenGate:
    """What it last let through, (views, rows, width); the class token always passes."""

    def __init__(self) -> None:
        self.last: torch.Tensor | None = None

    def select(self, values: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The rows that pass: (indices (views, count), values (views, count, width)).

        Args:
            values: of now, (views, rows, width).
            count: rows that pass; the first time all do.
        """
        views, rows, _ = values.shape
        if self.last is None or count >= rows:
            self.last = values.clone()
            return torch.arange(rows, device=values.device).expand(views, rows), values
        distance = (values - self.last).square().sum(dim=2)
        distance[:, 0] = torch.inf
        index = distance.topk(count, dim=1).indices
        chosen = values.gather(1, _wide(index, values))
        self.last.scatter_(1, _wide(index, values), chosen)
        return index, chosen


class RowBuffer:
    """Results of rows, kept until the row is computed again."""

    def __init__(self) -> None:
        self.rows: torch.Tensor | None = None

    def update(self, index: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
        """All rows, after putting `found` (views, count, width) where `index` says."""
        if self.rows is None:
            self.rows = found.clone()
        else:
            self.rows.scatter_(1, _wide(index, found), found)
        return self.rows


@dataclass(frozen=True, slots=True, eq=False)
class _Gated:
    """Gates and buffers of one block."""

    gates: tuple[TokenGate, TokenGate, TokenGate]
    buffers: tuple[RowBuffer, RowBuffer, RowBuffer, RowBuffer, RowBuffer]

    @classmethod
    def new(cls) -> _Gated:
        return cls(
            (TokenGate(), TokenGate(), TokenGate()),
            (RowBuffer(), RowBuffer(), RowBuffer(), RowBuffer(), RowBuffer()),
        )


class GatedBlocks:
    """A plain ViT with gates; state of a batch of views.

    Args:
        encoder: a plain ViT.
        share: of the rows that pass each gate, 0..1; 1 is the full forward.
    """

    def __init__(self, encoder: Encoder, share: float) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"a share of {share:g} of the tokens; give more than 0 and at most 1")
        self.vit = PlainViT(encoder)
        self._share = share
        self._state = [_Gated.new() for _ in self.vit.blocks]

    def run(self, batch: TokenBatch) -> tuple[Features, torch.Tensor, int]:
        """Features; which tokens passed the first gate, bool (views, tokens); and the multiply-adds spent."""
        geometry = Geometry.of(batch)
        encoder, vit = self.vit.encoder, self.vit
        views, tokens = batch.pixels.shape[:2]
        pixels = batch.pixels
        if not geometry.full:  # what padding holds is nobody's: it must not win a gate
            pixels = pixels.masked_fill(geometry.padding[..., None, None, None], 0)
        hidden = vit.embed(pixels.flatten(0, 1)).view(views, tokens, -1) + vit.positions(batch, geometry)
        hidden = torch.cat([encoder.prefix().expand(views, -1, -1), hidden], dim=1)
        bias = plan_attention(geometry, prefix=1, dtype=hidden.dtype).hidden
        first = self._state[0].gates[0].last is None
        count = tokens + 1 if first else max(1, round(self._share * (tokens + 1)))
        passed = torch.empty(0)
        for number, (block, state) in enumerate(zip(vit.blocks, self._state, strict=True)):
            hidden, index = self._block(block, state, hidden, count, bias)
            if number == 0:
                passed = hidden.new_zeros(views, tokens + 1, dtype=torch.bool).scatter_(1, index, True)[:, 1:]
        hidden = vit.norm(hidden)
        found = hidden[:, 1:].masked_fill(geometry.padding[..., None], 0)
        features = Features.of(
            batch, found, padding=geometry.padding, prefix=hidden[:, :1], pooled=encoder.pool(hidden[:, 0])
        )
        work = views * vit.work.of(embedded=tokens, linear=count, asked=tokens + 1, seen=tokens + 1)
        return features, passed & ~geometry.padding, work

    def state_bytes(self) -> int:
        """Bytes of gates and buffers."""
        gates = [gate.last for state in self._state for gate in state.gates]
        return tensor_bytes(*gates, *(buffer.rows for state in self._state for buffer in state.buffers))

    def _block(
        self, block: Block, state: _Gated, hidden: torch.Tensor, count: int, bias: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The block's rows, and what passed its first gate."""
        query, key, value, output, mlp = state.buffers
        passed, rows = state.gates[0].select(block.before(hidden), count)
        q, k, v = (
            buffer.update(passed, module(rows))
            for buffer, module in ((query, block.query), (key, block.key), (value, block.value))
        )
        index, rows = state.gates[1].select(self.vit.attend(block, q, k, v, bias), count)
        hidden = hidden + output.update(index, block.output(rows))
        index, rows = state.gates[2].select(block.after(hidden), count)
        return hidden + mlp.update(index, block.mlp(rows)), passed


def _wide(index: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Row indices (views, count) for gather and scatter over whole rows."""
    return index[..., None].expand(-1, -1, like.shape[2])
