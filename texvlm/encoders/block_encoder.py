"""Encoders that are a row of transformer blocks: what stands before, between and behind them, said apart.

Whoever runs the blocks otherwise than one after the other over all tokens, such as texvlm.temporal,
finds here all that there is to know.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import nn

from texvlm.encoders.attention import Attention, run_blocks
from texvlm.encoders.base import Encoder
from texvlm.encoders.geometry import Geometry


class BlockEncoder(Encoder):
    """An Encoder whose `run` is `leave(blocks(enter(hidden)))`. See Encoder for arguments and errors."""

    @property
    @abstractmethod
    def blocks(self) -> Sequence[nn.Module]:
        """The model's own blocks, in order, each called as `block(hidden, attention_mask=...)`."""

    def enter(self, hidden: torch.Tensor) -> torch.Tensor:
        """What happens to (..., rows, width) before the first block, row by row."""
        return hidden

    def leave(self, hidden: torch.Tensor) -> torch.Tensor:
        """What happens to (..., rows, width) behind the last block, row by row."""
        return hidden

    def rotations(self, geometry: Geometry) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Cosine and sine by which blocks turn the tokens' queries and keys, (views, 1, tokens, head width) each.

        None for a model whose positions are added.
        """
        return None

    def run(self, hidden: torch.Tensor, geometry: Geometry, attention: Attention) -> torch.Tensor:
        """See Encoder."""
        turned = self.rotations(geometry)
        arguments = {} if turned is None else {"position_embeddings": turned}
        return self.leave(run_blocks(self.blocks, self.enter(hidden), attention, **arguments))
