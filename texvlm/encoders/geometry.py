"""Where the tokens of a batch lie, as tensors on its device: all that positions and read-outs are made from."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from texvlm.layouts.table import PADDING_LAYER
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
    def of(cls, batch: TokenBatch, *, device: torch.device | None = None) -> Geometry:
        """The geometry of a batch, on the device of its pixels or another; does not wait for it.

        Padding rows get the centre (0, 0) and a side of 1, whatever the table holds there.
        """
        device = device or batch.pixels.device
        full = not isinstance(batch.rows, torch.Tensor) and not (batch.rows["layer"] == PADDING_LAYER).any()
        padding = batch.is_padding.to(device)
        return cls(
            centres=batch.centres.to(device).masked_fill(padding[..., None], 0),
            sides=batch.sides.to(device).masked_fill(padding, 1),
            valid=batch.valid.to(device).masked_fill(padding, 0),
            padding=padding,
            sizes=torch.as_tensor(batch.sizes, dtype=torch.float32).to(device),
            full=full,
        )

    @property
    def positions(self) -> torch.Tensor:
        """(u, v) of each token's centre, the frame spanning 0..1, (views, tokens, 2)."""
        return self.centres / self.sizes[:, None]
