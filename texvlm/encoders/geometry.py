"""Where the tokens of a batch lie, as tensors on its device: all that positions and read-outs are made from."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from texvlm.tokens import TokenBatch


@dataclass(frozen=True, slots=True)
class Geometry:
    """Geometry of (views, tokens); float32 unless said otherwise, all on one device.

    Attributes:
        centres: (x, y) of each token, level-0 texels, (views, tokens, 2).
        sides: side of each token, level-0 texels, (views, tokens).
        valid: fraction of each token's area inside its frame, (views, tokens).
        padding: bool, (views, tokens): the row holds no token.
        sizes: (width, height) of each view's frame, texels, (views, 2).
        full: known without asking the device: no row is padding. Attention then needs no mask.
    """

    centres: torch.Tensor
    sides: torch.Tensor
    valid: torch.Tensor
    padding: torch.Tensor
    sizes: torch.Tensor
    full: bool

    @classmethod
    def of(cls, batch: TokenBatch) -> Geometry:
        """The geometry of a batch, on the device of its pixels; does not wait for it."""
        planned_on_host = not isinstance(batch.rows, torch.Tensor)
        padding = batch.is_padding
        return cls(
            centres=batch.centres,
            sides=batch.sides,
            valid=batch.valid,
            padding=padding,
            sizes=torch.as_tensor(batch.sizes, dtype=torch.float32).to(batch.pixels.device),
            full=planned_on_host and not (batch.table["layer"] < 0).any(),
        )

    @property
    def positions(self) -> torch.Tensor:
        """(u, v) of each token's centre, the frame spanning 0..1, (views, tokens, 2)."""
        return self.centres / self.sizes[:, None]
