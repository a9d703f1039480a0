"""What the picture sides of two-tower models have in common: where the vision model is, and its position table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from texvlm.encoders.block_encoder import BlockEncoder


class VisionTower(BlockEncoder):
    """The picture side of a CLIP or SigLIP of transformers, whole or by itself."""

    @property
    def body(self) -> Any:
        """The vision model, without what stands behind it: projection, classifier, text tower."""
        return vision_body(self.model)

    @property
    def blocks(self) -> Sequence[nn.Module]:
        """See BlockEncoder."""
        return cast(Sequence[nn.Module], self.body.encoder.layers)

    @property
    def _entries(self) -> torch.Tensor:
        """The learned table, (entries, width): of every patch, after the class token's where there is one."""
        return cast(torch.Tensor, self.body.embeddings.position_embedding.weight)


def vision_body(model: nn.Module) -> Any:
    """The vision model inside a model of transformers, or the model itself."""
    return getattr(model, "vision_model", model)
