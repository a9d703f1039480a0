"""Merge blocks: tokens in whole squares of 2 x 2 (or 3 x 3, 4 x 4), for models that merge such squares into one.

Vision-language models join neighbouring tokens before their language model sees them. Only a whole
square of equal tokens can be joined, so a layout for them places squares, and each is cut up at the end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from texvlm.layouts.base import Focus, Layout, check_count
from texvlm.layouts.table import PADDING_LAYER, Table, make_table


@dataclass(frozen=True, slots=True)
class MergeBlocks:
    """Any layout, each of whose squares becomes `block` x `block` tokens, side by side.

    The tokens of a square follow each other row by row; the squares keep the layout's order. A
    padding row becomes a square of padding rows. Counts are whole multiples of block**2.

    Attributes:
        layout: places the squares; its `patch` is that of a whole square, so `block` times a token's.
        block: tokens along a square's side.

    Raises:
        TypeError: `block` is no whole number.
        ValueError: `block` is below 1, or does not divide the layout's patch.
    """

    layout: Layout
    block: int = 2

    def __post_init__(self) -> None:
        check_count("block", self.block, unit=" of tokens")
        if self.layout.patch % self.block:
            raise ValueError(
                f"patch {self.layout.patch} of the layout is no multiple of block {self.block}; it is that of a whole "
                f"square: give patch={self.block} times a token's, or use make_layout(..., block={self.block})"
            )

    @property
    def patch(self) -> int:
        """Output pixels along one token side."""
        return self.layout.patch // self.block

    @property
    def tokens(self) -> int | None:
        """Rows of every table, or None when the count depends on the frame size."""
        squares = self.layout.tokens
        return None if squares is None else squares * self.block**2

    def plan(self, size: tuple[int, int], focus: Focus) -> Table:
        """The table, shape (squares * block**2,), layer 0; errors as the layout's."""
        squares = self.layout.plan(size, focus)
        row, column = np.divmod(np.arange(self.block**2), self.block)
        side = squares["side"].astype(np.float64)[:, None] / self.block
        x = squares["x"][:, None] + (column - (self.block - 1) / 2) * side
        y = squares["y"][:, None] + (row - (self.block - 1) / 2) * side
        region = np.repeat(squares["region"], self.block**2)
        table = make_table(x.ravel(), y.ravel(), np.repeat(side, self.block**2), size=size, region=region)
        table[np.repeat(squares["layer"] == PADDING_LAYER, self.block**2)] = (0, 0, 1, PADDING_LAYER, 0, 0)
        return table
