"""Features: what an encoder makes of a TokenBatch, with the geometry that they stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.layouts.table import Table
from texvlm.tokens import TokenBatch


@dataclass(frozen=True, eq=False)
class Features:
    """Features of one or several views.

    Attributes:
        tokens: (views, tokens, width), in the order of the batch; zero in padding rows.
        padding: bool, (views, tokens): the row holds no token.
        prefix: (views, k, width): class token, then registers; k is 0 for a model without.
        pooled: (views, pooled width): what the model answers for the whole view; None without.
        regions: (views, regions, pooled width): the same for each region of a Readout; None without one.
        rows: the batch's table, see TokenBatch.rows.
        sizes: (width, height) of each view's frame, int32, (views, 2).
        sources: source of each view, int32, (views,).
        pts: presentation time of each view's frame, seconds, float64, (views,); NaN when unknown.

    Raises:
        ValueError: shapes that disagree.
    """

    tokens: torch.Tensor
    padding: torch.Tensor
    prefix: torch.Tensor
    pooled: torch.Tensor | None
    regions: torch.Tensor | None
    rows: Table | torch.Tensor
    sizes: NDArray[np.int32]
    sources: NDArray[np.int32]
    pts: NDArray[np.float64]

    def __post_init__(self) -> None:
        lead = tuple(self.tokens.shape[:2])
        if self.tokens.ndim != 3 or tuple(self.padding.shape) != lead or tuple(self.rows.shape[:2]) != lead:
            raise ValueError(
                f"features {tuple(self.tokens.shape)}, padding {tuple(self.padding.shape)} and table "
                f"{tuple(self.rows.shape)} disagree; need (views, tokens, width)"
            )

    @classmethod
    def of(
        cls,
        batch: TokenBatch,
        tokens: torch.Tensor,
        *,
        padding: torch.Tensor | None = None,
        prefix: torch.Tensor | None = None,
        pooled: torch.Tensor | None = None,
        regions: torch.Tensor | None = None,
    ) -> Features:
        """Features of a batch, whose geometry they carry along."""
        return cls(
            tokens=tokens,
            padding=batch.is_padding if padding is None else padding,
            prefix=tokens[:, :0] if prefix is None else prefix,
            pooled=pooled,
            regions=regions,
            rows=batch.rows,
            sizes=batch.sizes,
            sources=batch.sources,
            pts=batch.pts,
        )

    def __len__(self) -> int:
        return int(self.tokens.shape[0])

    @property
    def width(self) -> int:
        """Numbers a token."""
        return int(self.tokens.shape[2])

    def check_finite(self) -> Features:
        """Itself, when every number is finite. Waits for the device.

        Raises:
            ValueError: a NaN or an infinity; names the part and the first view with one.
        """
        for name in ("tokens", "prefix", "pooled", "regions"):
            part: torch.Tensor | None = getattr(self, name)
            if part is None or bool(part.isfinite().all()):
                continue
            view = int((~part.isfinite().flatten(1).all(dim=1)).nonzero()[0, 0])
            raise ValueError(
                f"{name} of view {view} (source {self.sources[view]}) are not finite; look for NaN in the frame's "
                "pixels or the model's weights, or for overflow in float16"
            )
        return self

    def __repr__(self) -> str:
        parts = [f"tokens={tuple(self.tokens.shape)} {self.tokens.dtype} on {self.tokens.device}"]
        parts += [
            f"{name}={tuple(part.shape)}" for name in ("pooled", "regions") if (part := getattr(self, name)) is not None
        ]
        return f"Features({', '.join(parts)})"
