"""CLIP's picture side: a learned position table, a class token, a norm before the blocks, a projection behind.

Takes CLIPModel, CLIPVisionModel, CLIPVisionModelWithProjection and CLIPForImageClassification of
transformers. With a projection, `pooled` and `regions` lie in the space of the text tower's answers,
see texvlm.encoders.similarity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from texvlm.encoders.attention import Attention, check_takes_masks
from texvlm.encoders.base import side_by_side, square_side
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.pooling import mean_answers
from texvlm.encoders.positions import PositionMethod, look_up, table_of
from texvlm.encoders.statistics import OPENAI_CLIP, statistics_for
from texvlm.encoders.vision_tower import VisionTower, vision_body


class CLIPEncoder(VisionTower):
    """The picture side of a CLIP of transformers. See Encoder for arguments and errors.

    `pooled` is what the model answers: the normed class token, projected where the model projects; of
    a CLIPForImageClassification the mean token, which is what its classifier reads.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str = "clip",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        positions: PositionMethod = "bilinear",
    ) -> None:
        body = vision_body(model)
        check_takes_masks(body)
        config = body.config
        patch, side = square_side(config.patch_size, what="patches"), square_side(config.image_size, what="pictures")
        mean, std = statistics_for(config.num_channels, mean=mean, std=std, default=OPENAI_CLIP)
        super().__init__(
            model,
            name=name,
            patch=patch,
            width=config.hidden_size,
            native_grid=(side // patch, side // patch),
            mean=mean,
            std=std,
            positions=positions,
        )
        table_of(self._entries[1:], self.native_grid)

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """See Encoder."""
        return cast(torch.Tensor, self.body.embeddings.patch_embedding(side_by_side(pixels)))[0, :, 0].T

    def positions(self, geometry: Geometry) -> torch.Tensor:
        """See Encoder."""
        return look_up(table_of(self._entries[1:], self.native_grid), geometry, method=self.position_method)

    def prefix(self) -> torch.Tensor:
        """See Encoder."""
        return cast(torch.Tensor, self.body.embeddings.class_embedding + self._entries[:1])[None]

    def enter(self, hidden: torch.Tensor) -> torch.Tensor:
        """See BlockEncoder. The model gives its tokens as the last block leaves them, without a norm."""
        return cast(torch.Tensor, self.body.pre_layrnorm(hidden))

    def pool(self, states: torch.Tensor) -> torch.Tensor:
        """See Encoder."""
        projection = getattr(self.model, "visual_projection", None)
        normed = cast(torch.Tensor, self.body.post_layernorm(states))
        return normed if projection is None else cast(torch.Tensor, projection(normed))

    def _answers(
        self, before: torch.Tensor, tokens: torch.Tensor, attention: Attention
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        if self.classifier is None:
            return super()._answers(before, tokens, attention)
        return mean_answers(tokens, attention)
