"""What running the blocks on the rows that changed gives."""

from __future__ import annotations

from typing import NamedTuple

import torch


class BlockRun(NamedTuple):
    """Rows behind the last block, and what they took.

    Attributes:
        hidden: (views, rows, width).
        flops: operations that each view took, float64, (views,).
        fresh: bool, (views, rows): rows of `hidden` that hold something, the others being what they were; None for all.
    """

    hidden: torch.Tensor
    flops: torch.Tensor
    fresh: torch.Tensor | None = None
