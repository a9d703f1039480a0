"""Anchored grid: a uniform grid that lies wherever its content has gone, and still covers the whole frame.

Under a moving camera a grid that stays puts other content into every token in every frame. One that moves
along keeps each token on its content; only what enters the picture is new.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from texvlm.layouts.base import Focus, check_count, refuse_score
from texvlm.layouts.table import Table, make_table, pad_table
from texvlm.layouts.template import Template, fixed_template
from texvlm.pyramid import check_frame_size

MOST_ZOOM = math.sqrt(2)
"""A grid that follows a zoom scales its tokens by this much either way, before it is laid anew."""


@dataclass(frozen=True, slots=True)
class AnchoredGrid:
    """Squares of one side that cover the frame, with a corner of one of them at `origin`.

    Every table of one frame size has the same number of rows, wherever the origin lies: a grid out of
    step with the frame needs one more column and row than one in step, and padding rows fill up.
    Fixations are ignored.

    Attributes:
        patch: output pixels along one token side.
        side: texels along one token side; None for `patch`, or for what `tokens` asks for.
        tokens: rows of every table, or None; then the frame's size says.
        origin: (x, y) of a corner, level-0 texels, anywhere.
        scale: of the side, 1 / sqrt(2)..sqrt(2); other than 1 only with `zoom`.
        zoom: room is kept for grids scaled down by sqrt(2): about twice the rows.

    Raises:
        ValueError: both `side` and `tokens` are given, or a number is not accepted.
    """

    patch: int = 16
    side: int | None = None
    tokens: int | None = None
    origin: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    zoom: bool = False

    def __post_init__(self) -> None:
        check_count("patch", self.patch, unit=" of pixels")
        if self.side is not None and self.tokens is not None:
            raise ValueError(f"side {self.side} and tokens {self.tokens}: a grid takes one of them, not both")
        if self.side is not None:
            check_count("side", self.side, unit=" of texels")
        if self.tokens is not None:
            check_count("tokens", self.tokens)
        if not all(map(math.isfinite, self.origin)):
            raise ValueError(f"origin is {self.origin}; accepted: (x, y) in texels, finite")
        least = 1 / MOST_ZOOM if self.zoom else 1.0
        if not least - 1e-6 <= self.scale <= 1 / least + 1e-6:
            raise ValueError(f"scale is {self.scale}; accepted: 1 / sqrt(2) to sqrt(2) with zoom=True, and 1 without")

    def plan(self, size: tuple[int, int], focus: Focus) -> Table:
        """The table, layer 0, (tokens,), or (rows for this frame size,) where no number is given.

        Raises:
            ValueError: the frame is too small for so many tokens, or the focus has a score map.
        """
        refuse_score(focus, "anchored")
        return self._rows(size)

    def template(self, size: tuple[int, int]) -> Template:
        """See RigidLayout.

        Raises:
            ValueError: the frame is too small for so many tokens.
        """
        return fixed_template(self._rows(size))

    def side_in(self, size: tuple[int, int]) -> int:
        """Side of a token at scale 1 in a frame of (width, height), texels.

        Raises:
            ValueError: the frame is too small for so many tokens.
        """
        if self.tokens is None:
            return self.side or self.patch
        least = _count(size, max(size), zoom=self.zoom)
        if self.tokens < least:
            raise ValueError(f"{self.tokens} tokens are too few for a grid that moves; accepted: {least} or more")
        too_small, enough = 0, max(size)
        while enough - too_small > 1:
            middle = (too_small + enough) // 2
            if _count(size, middle, zoom=self.zoom) <= self.tokens:
                enough = middle
            else:
                too_small = middle
        return enough

    def _rows(self, size: tuple[int, int]) -> Table:
        check_frame_size(size)
        base = self.side_in(size)
        side = base * self.scale
        first = [_first(place, side) for place in self.origin]
        columns, rows = (
            max(1, math.ceil((extent - start) / side - 1e-9)) for extent, start in zip(size, first, strict=True)
        )
        row, column = np.divmod(np.arange(columns * rows), columns)
        table = make_table(first[0] + (column + 0.5) * side, first[1] + (row + 0.5) * side, side, size=size)
        return pad_table(table, self.tokens or _count(size, base, zoom=self.zoom))


def _first(place: float, side: float) -> float:
    """Where the first square starts along an axis: at the frame's edge or up to a side before it."""
    start = place % side
    return start - side if start > 0 else 0.0


def _count(size: tuple[int, int], side: int, *, zoom: bool) -> int:
    """Squares that a grid needs at most, wherever it lies."""
    smallest = side / MOST_ZOOM if zoom else side
    return math.prod(math.ceil(extent / smallest) + 1 for extent in size)
