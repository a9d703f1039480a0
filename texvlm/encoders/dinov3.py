"""DINOv3: rotary positions at token centres, a class token, and register tokens.

Takes DINOv3ViTModel and DINOv3ViTBackbone of transformers. There is no position table: each block turns
queries and keys by the token's centre, the frame spanning -1..1 in both directions, so that any place
is as good as a grid's and a uniform layout equals the model's own forward at every size. The random
shifts of coordinates that the model makes in training are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from texvlm.encoders.base import side_by_side, square_side
from texvlm.encoders.block_encoder import BlockEncoder
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.positions import PositionMethod, rope_coordinates
from texvlm.encoders.statistics import IMAGENET, statistics_for

if TYPE_CHECKING:
    from transformers import DINOv3ViTModel


class DINOv3Encoder(BlockEncoder):
    """A DINOv3 ViT of transformers. See Encoder for arguments and errors; `positions` has no table to read."""

    def __init__(
        self,
        model: DINOv3ViTModel,
        *,
        name: str = "dinov3",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        positions: PositionMethod = "bilinear",
    ) -> None:
        config = model.config
        patch = square_side(config.patch_size, what="patches")
        size = config.image_size
        height, width = (size, size) if isinstance(size, int) else size
        mean, std = statistics_for(config.num_channels, mean=mean, std=std, default=IMAGENET)
        super().__init__(
            model,
            name=name,
            patch=patch,
            width=config.hidden_size,
            native_grid=(height // patch, width // patch),
            mean=mean,
            std=std,
            prefix_tokens=1 + config.num_register_tokens,
            positions=positions,
        )

    @property
    def body(self) -> DINOv3ViTModel:
        """The model."""
        return cast("DINOv3ViTModel", self.model)

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """See Encoder."""
        return cast(torch.Tensor, self.body.embeddings.patch_embeddings(side_by_side(pixels)))[0, :, 0].T

    def positions(self, geometry: Geometry) -> None:
        """Nothing is added: see `rotations`."""
        return None

    def prefix(self) -> torch.Tensor:
        """See Encoder."""
        embeddings = self.body.embeddings
        return torch.cat([embeddings.cls_token, embeddings.register_tokens], dim=1)

    def rotations(self, geometry: Geometry) -> tuple[torch.Tensor, torch.Tensor]:
        """See BlockEncoder: alike for all heads."""
        frequencies = self.body.rope_embeddings.inv_freq
        angles = 2 * math.pi * rope_coordinates(geometry)[..., None] * frequencies.float()
        angles = angles.flatten(-2).tile(2)[:, None]  # all of y, then all of x, then both again
        return angles.cos().to(self.dtype), angles.sin().to(self.dtype)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """See BlockEncoder."""
        return cast(Sequence[nn.Module], self.body.model.layer)

    def leave(self, hidden: torch.Tensor) -> torch.Tensor:
        """See BlockEncoder."""
        return cast(torch.Tensor, self.body.norm(hidden))
