"""Each token of a layout as a square of smaller ones, which read finer mip levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from texvlm.layouts.base import Focus, Layout, check_count
from texvlm.layouts.table import PADDING_LAYER, Table, make_table, pad_table


@dataclass(frozen=True, slots=True)
class Subdivided:
    """`parts` x `parts` rows for every row of a layout, row by row of the square; padding stays padding.

    Attributes:
        layout: gives the whole tokens.
        parts: along each side.

    Raises:
        ValueError: no part.
    """

    layout: Layout
    parts: int

    def __post_init__(self) -> None:
        check_count("parts", self.parts)

    @property
    def patch(self) -> int:
        """Of the layout: each part has as many pixels as a whole token."""
        return self.layout.patch

    @property
    def tokens(self) -> int | None:
        """See Layout."""
        return None if self.layout.tokens is None else self.layout.tokens * self.parts * self.parts

    def plan(self, size: tuple[int, int], focus: Focus) -> Table:
        """The table, (tokens * parts * parts,). See Layout for arguments and errors."""
        whole = self.layout.plan(size, focus)
        held = whole["layer"] != PADDING_LAYER
        last = int(held.sum())
        if not held[:last].all():
            raise ValueError("padding rows before others; a layout that is subdivided has them last")
        side = whole["side"][:last].astype(np.float64)[:, None] / self.parts
        steps = np.indices((self.parts, self.parts)).reshape(2, -1) - (self.parts - 1) / 2
        y, x = (
            (whole[axis][:last].astype(np.float64)[:, None] + along * side).ravel()
            for axis, along in zip(("y", "x"), steps, strict=True)
        )
        of_each = self.parts * self.parts
        table = make_table(
            x, y, np.repeat(side.ravel(), of_each), size=size, region=np.repeat(whole["region"][:last], of_each)
        )
        return pad_table(table, len(whole) * of_each)
