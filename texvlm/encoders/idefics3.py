"""Idefics3 and SmolVLM: a SigLIP-like tower, and a connector that joins squares of tokens.

Takes the whole model of transformers, with or without its language head: the connector belongs to it. The
language model counts visual tokens like words, in the order of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from texvlm.encoders.attention import Attention, check_takes_masks, run_blocks
from texvlm.encoders.base import side_by_side, square_side
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.merging import MergingEncoder
from texvlm.encoders.positions import Grid, PositionMethod, look_up, table_of
from texvlm.encoders.statistics import HALF, statistics_for
from texvlm.errors import ModelError


class Idefics3Encoder(MergingEncoder):
    """The tower of an Idefics3 or SmolVLM model. See Encoder and MergingEncoder for arguments and errors.

    Raises:
        ModelError: a tower without its connector.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str = "idefics3",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        positions: PositionMethod = "bilinear",
        grid: Grid | None = None,
    ) -> None:
        body = _body_of(model)
        if not hasattr(body, "connector"):
            raise ModelError(f"{name} is a tower without the connector that merges its tokens; load the whole model")
        check_takes_masks(body.vision_model)
        config = body.vision_model.config
        patch, side = square_side(config.patch_size, what="patches"), square_side(config.image_size, what="pictures")
        mean, std = statistics_for(config.num_channels, mean=mean, std=std, default=HALF)
        super().__init__(
            model,
            name=name,
            patch=patch,
            width=config.hidden_size,
            native_grid=(side // patch, side // patch),
            mean=mean,
            std=std,
            merge=body.connector.scale_factor,
            grid=grid,
            positions=positions,
        )
        table_of(self._entries, self.native_grid)

    @property
    def body(self) -> Any:
        """The model without its language head."""
        return _body_of(self.model)

    @property
    def _entries(self) -> torch.Tensor:
        """Position of every patch, (rows * columns, width)."""
        return cast(torch.Tensor, self.body.vision_model.embeddings.position_embedding.weight)

    @property
    def blocks(self) -> nn.ModuleList:
        """See MergingEncoder."""
        return cast(nn.ModuleList, self.body.vision_model.encoder.layers)

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """See Encoder."""
        strip = self.body.vision_model.embeddings.patch_embedding(side_by_side(pixels))
        return cast(torch.Tensor, strip)[0, :, 0].T

    def positions(self, geometry: Geometry) -> torch.Tensor:
        """See Encoder."""
        return look_up(table_of(self._entries, self.native_grid), geometry, method=self.position_method)

    def run(self, hidden: torch.Tensor, geometry: Geometry, attention: Attention) -> torch.Tensor:
        """See Encoder."""
        return cast(torch.Tensor, self.body.vision_model.post_layernorm(run_blocks(self.blocks, hidden, attention)))

    def merge_squares(self, states: torch.Tensor) -> Sequence[torch.Tensor]:
        """See MergingEncoder: each square is handed to the connector as a picture of its own."""
        return [cast(torch.Tensor, self.body.connector(states))[:, 0]]


def _body_of(model: nn.Module) -> Any:
    return getattr(model, "model", model)
