"""Uniform grid: equal squares over the whole frame. The baseline, and a model's native layout."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from texvlm.layouts.base import Focus, check_count, refuse_score
from texvlm.layouts.table import Table, make_table, pad_table
from texvlm.layouts.template import Template, fixed_template
from texvlm.pyramid import check_frame_size


@dataclass(frozen=True, slots=True)
class UniformGrid:
    """Squares from the top-left corner on, row by row; the last ones may reach over the edge.

    Either the side is given and the count follows from the frame, or the count is given and the
    side is the least whole number of texels for which the frame needs no more squares than that;
    padding rows then fill up to exactly `tokens`. Fixations are ignored: a grid looks everywhere.

    Attributes:
        patch: output pixels along one token side.
        side: texels along one token side, whole; None for `patch` (native resolution), or for the
            side that `tokens` asks for.
        tokens: rows of every table, or None.

    Raises:
        ValueError: both `side` and `tokens` are given, or one is below 1.
    """

    patch: int = 16
    side: int | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        check_count("patch", self.patch, unit=" of pixels")
        if self.side is not None and self.tokens is not None:
            raise ValueError(f"side {self.side} and tokens {self.tokens}: a grid takes one of them, not both")
        if self.side is not None:
            check_count("side", self.side, unit=" of texels")
        if self.tokens is not None:
            check_count("tokens", self.tokens)

    def plan(self, size: tuple[int, int], focus: Focus) -> Table:
        """The table, layer 0: shape (tokens,), or (squares that meet the frame,) when a side is given.

        Raises:
            ValueError: the frame has fewer texels than `tokens`, or the focus has a score map.
        """
        refuse_score(focus, "uniform")
        return self._rows(size)

    def template(self, size: tuple[int, int]) -> Template:
        """See RigidLayout.

        Raises:
            ValueError: the frame has fewer texels than `tokens`.
        """
        return fixed_template(self._rows(size))

    def _rows(self, size: tuple[int, int]) -> Table:
        """The table, whatever is looked at."""
        check_frame_size(size)
        if self.tokens is None:
            return grid_rows(size, self.side or self.patch)
        return pad_table(grid_rows(size, side_for_count(size, self.tokens)), self.tokens)


def side_for_count(size: tuple[int, int], tokens: int) -> int:
    """Least whole side, texels, for which ceil(width / side) * ceil(height / side) <= tokens.

    Raises:
        ValueError: the frame has fewer texels than `tokens`; names the greatest count.
    """
    width, height = size
    if tokens > width * height:
        raise ValueError(
            f"{tokens} tokens are more than a {width} x {height} frame has texels; the greatest count is "
            f"{width * height}"
        )
    too_small, enough = 0, max(size)  # the count never grows with the side, so halving finds the least
    while enough - too_small > 1:
        side = (too_small + enough) // 2
        if -(-width // side) * -(-height // side) <= tokens:
            enough = side
        else:
            too_small = side
    return enough


def grid_rows(size: tuple[int, int], side: int) -> Table:
    """Squares of one side that cover a frame of (width, height), row-major from (0, 0)."""
    columns, rows = -(-size[0] // side), -(-size[1] // side)
    row, column = np.divmod(np.arange(columns * rows), columns)
    return make_table((column + 0.5) * side, (row + 0.5) * side, side, size=size)
