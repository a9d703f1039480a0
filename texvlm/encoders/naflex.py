"""SigLIP 2 NaFlex: any number of tokens of any aspect, a position table, and a pooling head.

Takes Siglip2Model, Siglip2VisionModel and Siglip2ForImageClassification of transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from texvlm.encoders.attention import check_takes_masks
from texvlm.encoders.base import square_side
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.pooling import mean_tokens
from texvlm.encoders.positions import PositionMethod, look_up, table_of
from texvlm.encoders.statistics import HALF, statistics_for
from texvlm.encoders.vision_tower import VisionTower, vision_body


class NaFlexEncoder(VisionTower):
    """A NaFlex tower of SigLIP 2, with its pooling head or classifier. See Encoder for arguments and errors.

    With `positions="bilinear"` the table is read as the model's own resizing does, so that every uniform
    layout over whole patches, of any size and aspect, gives the model's own forward.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str = "naflex",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        positions: PositionMethod = "bilinear",
    ) -> None:
        body = vision_body(model)
        check_takes_masks(body)
        side = body.embeddings.position_embedding_size
        mean, std = statistics_for(body.config.num_channels, mean=mean, std=std, default=HALF)
        super().__init__(
            model,
            name=name,
            patch=square_side(body.config.patch_size, what="patches"),
            width=body.config.hidden_size,
            native_grid=(side, side),
            mean=mean,
            std=std,
            prefix_tokens=0,
            positions=positions,
        )
        table_of(self._entries, self.native_grid)

    def rows(self, pixels: torch.Tensor) -> torch.Tensor:
        """(..., patch * patch * channels) of token pictures (..., channels, patch, patch): the channel runs fastest."""
        return pixels.movedim(-3, -1).flatten(-3)

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """See Encoder."""
        return cast(torch.Tensor, self.body.embeddings.patch_embedding(self.rows(pixels)))

    def positions(self, geometry: Geometry) -> torch.Tensor:
        """See Encoder."""
        table = table_of(self._entries, self.native_grid)
        return look_up(table, geometry, method=resized if self.position_method == "bilinear" else self.position_method)

    def prefix(self) -> None:
        """None: the head asks with a query of its own."""

    def leave(self, hidden: torch.Tensor) -> torch.Tensor:
        """See BlockEncoder."""
        return cast(torch.Tensor, self.body.post_layernorm(hidden))

    def pool_tokens(self, tokens: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor | None:
        """See Encoder: the head's answers; the mean of the tokens for a classifier, which has no head."""
        views = tokens.shape[0]
        if self.classifier is not None:
            return mean_tokens(tokens, bias)
        if not self.body.use_head:
            return None
        if bias is None:
            return cast(torch.Tensor, self.body.head(tokens))[:, None]
        answers = bias.shape[1]
        # one picture an answer: the head takes a mask, but asks with one query only
        asked = self.body.head(tokens.repeat_interleave(answers, dim=0), bias.flatten(0, 1)[:, None, None])
        return cast(torch.Tensor, asked).view(views, answers, -1)


def resized(table: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """The table at each token, through a triangle as wide as the token, and no narrower than an entry.

    For tokens up to an entry's cell this is the bilinear look-up. A uniform layout gives the table as
    torch's antialiased bilinear interpolation resizes it to that grid.

    Args:
        table: (rows, columns, width).
        geometry: of the tokens, on the table's device.
    Returns:
        (views, tokens, width), float32 or the table's own wider type.
    """
    rows, columns = table.shape[0], table.shape[1]
    width, height = geometry.sizes[:, None].unbind(-1)
    down = _triangle(geometry.centres[..., 1] * rows / height, geometry.sides * rows / height, rows)
    across = _triangle(geometry.centres[..., 0] * columns / width, geometry.sides * columns / width, columns)
    wide = torch.promote_types(table.dtype, torch.float32)
    shares = (down[..., :, None] * across[..., None, :]).flatten(-2)
    return shares.to(wide) @ table.flatten(0, 1).to(wide)


def _triangle(centre: torch.Tensor, extent: torch.Tensor, cells: int) -> torch.Tensor:
    """Share of each of `cells` unit cells in a triangle of a half-width of `extent`, (..., cells); they sum to 1."""
    reach = extent.clamp_min(1)
    middles = torch.arange(cells, device=centre.device) + 0.5
    # within the table: a token beyond it is told what the outermost cell is
    inside = torch.minimum(centre.clamp_min(0.5), centre.new_tensor(cells - 0.5))
    weights = (1 - (middles - inside[..., None]).abs() / reach[..., None]).clamp_min(0)
    return weights / weights.sum(dim=-1, keepdim=True)
