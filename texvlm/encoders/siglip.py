"""SigLIP's picture side: a learned position table, no class token, an attention-pooling head.

Takes SiglipModel, SiglipVisionModel and SiglipForImageClassification of transformers. The head's one
query reads the tokens; padding is hidden from it, and each read-out is another query that reads the
tokens of its region. `pooled` and `regions` lie in the space of the text tower's answers, see
texvlm.encoders.similarity.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from texvlm.encoders.attention import check_takes_masks
from texvlm.encoders.base import side_by_side, square_side
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.pooling import mean_tokens
from texvlm.encoders.positions import PositionMethod, look_up, table_of
from texvlm.encoders.statistics import HALF, statistics_for
from texvlm.encoders.vision_tower import VisionTower, vision_body


class SiglipEncoder(VisionTower):
    """The picture side of a SigLIP of transformers. See Encoder for arguments and errors.

    Read-outs take part in the pooling head alone, whatever their `from_block`. `pooled` is the head's
    answer; None for a model without; of a SiglipForImageClassification it is the mean token, which is
    what its classifier reads.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str = "siglip",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        positions: PositionMethod = "bilinear",
    ) -> None:
        body = vision_body(model)
        check_takes_masks(body)
        config = body.config
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
            prefix_tokens=0,
            positions=positions,
        )
        table_of(self._entries, self.native_grid)

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """See Encoder."""
        return cast(torch.Tensor, self.body.embeddings.patch_embedding(side_by_side(pixels)))[0, :, 0].T

    def positions(self, geometry: Geometry) -> torch.Tensor:
        """See Encoder."""
        return look_up(table_of(self._entries, self.native_grid), geometry, method=self.position_method)

    def prefix(self) -> None:
        """There is none."""
        return None

    def leave(self, hidden: torch.Tensor) -> torch.Tensor:
        """See BlockEncoder."""
        return cast(torch.Tensor, self.body.post_layernorm(hidden))

    def pool_tokens(self, tokens: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor | None:
        """See Encoder. The head's own modules, with a mask, which its own forward does not take."""
        if self.classifier is not None:
            return mean_tokens(tokens, bias)
        if not self.body.use_head:
            return None
        head = self.body.head
        answers = 1 if bias is None else bias.shape[1]
        query = head.probe.expand(len(tokens), answers, -1)
        # torch wants one mask a head, the heads of a view beside each other
        mask = None if bias is None else bias.repeat_interleave(head.attention.num_heads, dim=0)
        read = head.attention(query, tokens, tokens, attn_mask=mask, need_weights=False)[0]
        return cast(torch.Tensor, read + head.mlp(head.layernorm(read)))
