"""The pieces of a plain ViT's blocks, for methods that run some of its rows only.

The modules are the model's own; what is here only says in which order they act, so that a method may
stop between them. `rows` are the class token and the tokens, in that order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name everybody knows it by)
from torch import nn

from texvlm.encoders import Encoder
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.vit import ViTEncoder
from texvlm.errors import ModelError
from texvlm.layouts.table import Table
from texvlm.tokens import TokenBatch


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One block: x + output(attention(query, key, value of before(x))), then x + mlp(after(x))."""

    before: nn.Module
    query: nn.Module
    key: nn.Module
    value: nn.Module
    output: nn.Module
    after: nn.Module
    mlp: nn.Module
    heads: int


@dataclass(frozen=True, slots=True)
class Work:
    """Multiply-adds of a plain ViT whose MLP is four times as wide; norms, softmax and activations left out.

    Attributes:
        width: numbers a token.
        blocks: how many.
        inputs: numbers of one token's picture.
    """

    width: int
    blocks: int
    inputs: int

    def of(self, *, embedded: int, linear: int, asked: int, seen: int) -> int:
        """Of one view.

        Args:
            embedded: tokens whose pixels are embedded.
            linear: rows that go through a block's projections and MLP.
            asked: rows whose attention is computed.
            seen: rows that each of them attends to.
        """
        d = self.width
        return embedded * self.inputs * d + self.blocks * (12 * linear * d * d + 2 * asked * seen * d)

    def full(self, tokens: int) -> int:
        """Of the whole view: every token, and the class token."""
        return self.of(embedded=tokens, linear=tokens + 1, asked=tokens + 1, seen=tokens + 1)


class PlainViT:
    """A ViTEncoder taken apart; what it does is the encoder's own forward.

    Args:
        encoder: of ViTModel or ViTForImageClassification, without a scale embedding.

    Raises:
        ModelError: another kind of encoder.
    """

    def __init__(self, encoder: Encoder) -> None:
        if not isinstance(encoder, ViTEncoder) or encoder.scale is not None:
            raise ModelError(f"{encoder.name} is no plain ViT, which the methods compared here are written for")
        self.encoder = encoder
        config: Any = encoder.body.config
        self.blocks = [_pieces(layer, config.num_attention_heads) for layer in cast(Any, encoder.body.layers)]
        self.norm = cast(nn.Module, encoder.body.layernorm)
        self.work = Work(encoder.width, len(self.blocks), config.num_channels * encoder.patch**2)
        self._table: Table | None = None
        self._positions: torch.Tensor | None = None

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, width) of n token pictures, without positions."""
        return self.encoder.embed(self.encoder.normalise(pixels))

    def positions(self, batch: TokenBatch, geometry: Geometry) -> torch.Tensor:
        """(views, tokens, width); looked up only where the table is another one than the last."""
        if self._positions is None or self._table is None or not np.array_equal(self._table, batch.table):
            self._positions, self._table = self.encoder.positions(geometry), batch.table
        return self._positions

    def attend(
        self, block: Block, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, hidden: torch.Tensor | None
    ) -> torch.Tensor:
        """Attention before the output projection.

        Args:
            block: whose heads.
            query: (views, asked, width).
            key: (views, rows, width).
            value: the same.
            hidden: bias over the rows, (views, 1, 1, rows), or None.
        Returns:
            (views, asked, width).
        """
        q, k, v = (part.view(*part.shape[:2], block.heads, -1).transpose(1, 2) for part in (query, key, value))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=hidden).transpose(1, 2).flatten(2)


def _pieces(layer: Any, heads: int) -> Block:
    attention = layer.attention
    return Block(
        before=layer.layernorm_before,
        query=attention.q_proj,
        key=attention.k_proj,
        value=attention.v_proj,
        output=attention.o_proj,
        after=layer.layernorm_after,
        mlp=layer.mlp,
        heads=heads,
    )
