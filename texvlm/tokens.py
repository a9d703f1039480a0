"""TokenBatch: what comes out. Pixels of every token, and the geometry that they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.layouts.table import PADDING_LAYER, TABLE_FIELDS, TOKEN_RECORD, Table, lod_of_side


@dataclass(frozen=True)
class TokenBatch:
    """Tokens of one or several views (a view is one source looked at with one focus).

    Attributes:
        pixels: (views, tokens, channels, patch, patch); uint8, float16 or float32.
        rows: TOKEN_RECORD, shape (views, tokens), see texvlm.layouts.table; or, where the tokens were
            planned on a device, its bits there: int32, (views, tokens, 6). `table` is either on the host.
        dirty: bool tensor, (views, tokens): the token differs, or may differ, from the one handed
            out for this view before: its texels or its place changed. Never set for a padding row,
            also where a token has become one.
        sizes: (width, height) of each view's frame, int32, (views, 2).
        sources: source of each view, int32, (views,).
        pts: presentation time of each view's frame, seconds, float64, (views,); NaN when unknown.
    """

    pixels: torch.Tensor
    rows: Table | torch.Tensor
    dirty: torch.Tensor
    sizes: NDArray[np.int32]
    sources: NDArray[np.int32]
    pts: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.rows.dtype not in (TOKEN_RECORD, torch.int32):
            raise TypeError(f"table of {self.rows.dtype}; it must be TOKEN_RECORD, or its bits as an int32 tensor")
        lead = tuple(self.pixels.shape[:2])
        if self.pixels.ndim != 5 or tuple(self.rows.shape[:2]) != lead or tuple(self.dirty.shape) != lead:
            raise ValueError(
                f"pixels {tuple(self.pixels.shape)}, table {tuple(self.rows.shape)} and dirty "
                f"{tuple(self.dirty.shape)} disagree; need (views, tokens, channels, patch, patch)"
            )

    def __len__(self) -> int:
        return int(self.pixels.shape[0])

    @cached_property
    def table(self) -> Table:
        """TOKEN_RECORD on the host, (views, tokens). Waits for the device where the tokens were planned there."""
        if isinstance(self.rows, torch.Tensor):
            bits = np.ascontiguousarray(self.rows.cpu().numpy())
            return bits.view(TOKEN_RECORD).reshape(bits.shape[:2])
        return self.rows

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
        if isinstance(self.rows, torch.Tensor):
            return (self.sides.double() / self.patch).log2().clamp_min(0).float()
        return torch.from_numpy(lod_of_side(self.rows["side"], patch=self.patch)).to(self.pixels.device)

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
        if isinstance(self.rows, torch.Tensor):
            column = self.rows[..., TABLE_FIELDS.index(name)].contiguous()
            return column.view(torch.float32) if TOKEN_RECORD[name] == np.float32 else column
        return torch.from_numpy(np.ascontiguousarray(self.rows[name])).to(self.pixels.device)
