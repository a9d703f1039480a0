"""TokenBatch: what comes out. Pixels of every token, and the geometry that they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.layouts.table import PADDING_LAYER, TOKEN_RECORD, Table, lod_of_side


@dataclass(frozen=True, slots=True)
class TokenBatch:
    """Tokens of one or several views (a view is one source looked at with one focus).

    Attributes:
        pixels: (views, tokens, channels, patch, patch); uint8, float16 or float32.
        table: TOKEN_RECORD, shape (views, tokens); see texvlm.layouts.table.
        dirty: bool tensor, (views, tokens): the token differs, or may differ, from the one handed
            out for this view before: its texels or its place changed. Never set for a padding row,
            also where a token has become one.
        sizes: (width, height) of each view's frame, int32, (views, 2).
        sources: source of each view, int32, (views,).
        pts: presentation time of each view's frame, seconds, float64, (views,); NaN when unknown.
    """

    pixels: torch.Tensor
    table: Table
    dirty: torch.Tensor
    sizes: NDArray[np.int32]
    sources: NDArray[np.int32]
    pts: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.table.dtype != TOKEN_RECORD:
            raise TypeError(f"table of {self.table.dtype}; it must be TOKEN_RECORD")
        lead = tuple(self.pixels.shape[:2])
        if self.pixels.ndim != 5 or self.table.shape != lead or tuple(self.dirty.shape) != lead:
            raise ValueError(
                f"pixels {tuple(self.pixels.shape)}, table {self.table.shape} and dirty "
                f"{tuple(self.dirty.shape)} disagree; need (views, tokens, channels, patch, patch)"
            )

    def __len__(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def patch(self) -> int:
        """Output pixels along one token side."""
        return int(self.pixels.shape[-1])

    @property
    def valid(self) -> torch.Tensor:
        """Fraction of each token's area inside its frame, float32, (views, tokens); 0 for padding."""
        return self._field("valid")

    @property
    def is_padding(self) -> torch.Tensor:
        """bool, (views, tokens): the row holds no token."""
        return self._field("layer") == PADDING_LAYER

    @property
    def centres(self) -> torch.Tensor:
        """(x, y) of each token, level-0 texels, float32, (views, tokens, 2)."""
        return torch.stack([self._field("x"), self._field("y")], dim=-1)

    @property
    def sides(self) -> torch.Tensor:
        """Side of each token, level-0 texels, float32, (views, tokens)."""
        return self._field("side")

    @property
    def lods(self) -> torch.Tensor:
        """LOD of each token, levels, float32, (views, tokens)."""
        return torch.from_numpy(lod_of_side(self.table["side"], patch=self.patch)).to(self.pixels.device)

    def flat(self) -> torch.Tensor:
        """Patch-major rows, (views, tokens, channels * patch * patch); a view, not a copy."""
        return self.pixels.flatten(2)

    def __dlpack__(self, **kwargs: Any) -> Any:
        """The pixels, for other frameworks; see the array API standard."""
        return self.pixels.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        """Device of the pixels."""
        return self.pixels.__dlpack_device__()

    def __repr__(self) -> str:
        return (
            f"TokenBatch(pixels={tuple(self.pixels.shape)} {self.pixels.dtype} on {self.pixels.device}, "
            f"dirty={int(self.dirty.sum())}/{self.dirty.numel()})"
        )

    def _field(self, name: str) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.table[name])).to(self.pixels.device)
