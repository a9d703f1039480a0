"""ViT: the plain vision transformer with a learned position table and a class token.

Takes ViTModel and ViTForImageClassification of transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from texvlm.encoders.base import side_by_side, square_side
from texvlm.encoders.block_encoder import BlockEncoder
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.positions import PositionMethod, look_up, table_of
from texvlm.encoders.statistics import HALF, statistics_for

if TYPE_CHECKING:
    from transformers import ViTForImageClassification, ViTModel


class ViTEncoder(BlockEncoder):
    """A ViT of transformers, with its classifier where it has one. See Encoder for arguments and errors."""

    def __init__(
        self,
        model: ViTModel | ViTForImageClassification,
        *,
        name: str = "vit",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        positions: PositionMethod = "bilinear",
    ) -> None:
        body = _body_of(model)
        patches = body.embeddings.patch_embeddings
        patch = square_side(patches.patch_size, what="patches")
        height, width = patches.image_size
        mean, std = statistics_for(body.config.num_channels, mean=mean, std=std, default=HALF)
        super().__init__(
            model,
            name=name,
            patch=patch,
            width=body.config.hidden_size,
            native_grid=(height // patch, width // patch),
            mean=mean,
            std=std,
            positions=positions,
        )
        table_of(self._entries[1:], self.native_grid)

    @property
    def body(self) -> ViTModel:
        """The model without its classifier."""
        return _body_of(self.model)

    @property
    def _entries(self) -> torch.Tensor:
        """Positions of the class token and of every patch, (1 + rows * columns, width)."""
        return self.body.embeddings.position_embeddings[0]

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """See Encoder."""
        return cast(torch.Tensor, self.body.embeddings.patch_embeddings(side_by_side(pixels)))[0]

    def positions(self, geometry: Geometry) -> torch.Tensor:
        """See Encoder."""
        return look_up(table_of(self._entries[1:], self.native_grid), geometry, method=self.position_method)

    def prefix(self) -> torch.Tensor:
        """See Encoder."""
        return self.body.embeddings.cls_token + self._entries[:1]

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """See BlockEncoder."""
        return cast(Sequence[nn.Module], self.body.layers)

    def enter(self, hidden: torch.Tensor) -> torch.Tensor:
        """See BlockEncoder."""
        return cast(torch.Tensor, self.body.embeddings.dropout(hidden))

    def leave(self, hidden: torch.Tensor) -> torch.Tensor:
        """See BlockEncoder."""
        return cast(torch.Tensor, self.body.layernorm(hidden))

    def pool(self, states: torch.Tensor) -> torch.Tensor:
        """See Encoder: through the pooler where the model has one."""
        pooler = self.body.pooler
        if pooler is None:
            return states
        return cast(torch.Tensor, pooler(states.flatten(0, -2)[:, None])).reshape(*states.shape[:-1], -1)


def _body_of(model: object) -> ViTModel:
    return cast("ViTModel", getattr(model, "vit", model))
