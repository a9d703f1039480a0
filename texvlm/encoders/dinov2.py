"""DINOv2, with and without registers: a learned position table, a class token, and register tokens.

Takes Dinov2Model, Dinov2ForImageClassification and Dinov2Backbone of transformers, and their namesakes
with registers. At other sizes than their own these models resize their table with a bicubic filter;
off the grid the default here is bilinear. On a uniform layout both agree at the native size; for the
model's own numbers at every size, pass `positions=bicubic`, or `bicubic_antialiased` with registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from texvlm.encoders.attention import Attention, check_takes_masks
from texvlm.encoders.base import side_by_side, square_side
from texvlm.encoders.block_encoder import BlockEncoder
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.pooling import mean_answers
from texvlm.encoders.positions import PositionMethod, look_up, table_of
from texvlm.encoders.statistics import IMAGENET, statistics_for


class DINOv2Encoder(BlockEncoder):
    """A DINOv2 of transformers, with its classifier where it has one. See Encoder for arguments and errors.

    `pooled` is the normed class token; with a classifier it is class token and mean token, which that
    reads, one behind the other.
    """

    inner_names: tuple[str, ...] = ("dinov2", "dinov2_with_registers")
    """Where a model keeps the one without its head."""

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str = "dinov2",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        positions: PositionMethod = "bilinear",
    ) -> None:
        body = self._body_of(model)
        check_takes_masks(body)
        patches = body.embeddings.patch_embeddings
        patch = square_side(patches.patch_size, what="patches")
        height, width = patches.image_size
        mean, std = statistics_for(body.config.num_channels, mean=mean, std=std, default=IMAGENET)
        super().__init__(
            model,
            name=name,
            patch=patch,
            width=body.config.hidden_size,
            native_grid=(height // patch, width // patch),
            mean=mean,
            std=std,
            prefix_tokens=1 + getattr(body.config, "num_register_tokens", 0),
            positions=positions,
        )
        table_of(self._entries[1:], self.native_grid)

    @classmethod
    def _body_of(cls, model: nn.Module) -> Any:
        return next((getattr(model, name) for name in cls.inner_names if hasattr(model, name)), model)

    @property
    def body(self) -> Any:
        """The model without its head."""
        return self._body_of(self.model)

    @property
    def _entries(self) -> torch.Tensor:
        """Positions of the class token and of every patch, (1 + rows * columns, width)."""
        return cast(torch.Tensor, self.body.embeddings.position_embeddings[0])

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """See Encoder."""
        return cast(torch.Tensor, self.body.embeddings.patch_embeddings(side_by_side(pixels)))[0]

    def positions(self, geometry: Geometry) -> torch.Tensor:
        """See Encoder."""
        return look_up(table_of(self._entries[1:], self.native_grid), geometry, method=self.position_method)

    def prefix(self) -> torch.Tensor:
        """See Encoder. Registers have no position."""
        embeddings = self.body.embeddings
        first = embeddings.cls_token + self._entries[:1]
        registers = getattr(embeddings, "register_tokens", None)
        return cast(torch.Tensor, first if registers is None else torch.cat([first, registers], dim=1))

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """See BlockEncoder."""
        return cast(Sequence[nn.Module], self.body.encoder.layer)

    def enter(self, hidden: torch.Tensor) -> torch.Tensor:
        """See BlockEncoder."""
        return cast(torch.Tensor, self.body.embeddings.dropout(hidden))

    def leave(self, hidden: torch.Tensor) -> torch.Tensor:
        """See BlockEncoder."""
        return cast(torch.Tensor, self.body.layernorm(hidden))

    def _answers(
        self, before: torch.Tensor, tokens: torch.Tensor, attention: Attention
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        pooled, regions = super()._answers(before, tokens, attention)
        if self.classifier is None or pooled is None:
            return pooled, regions
        mean, region_means = mean_answers(tokens, attention)
        pooled = torch.cat([pooled, mean], dim=-1)
        if regions is not None and region_means is not None:
            regions = torch.cat([regions, region_means], dim=-1)
        return pooled, regions
