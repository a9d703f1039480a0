"""The quadtree, the default layout: an exact partition of the frame within a token budget.

Squares are split best-first, most deserving first, until the budget is spent; touching squares
differ in side by a factor of two at most. What a square deserves follows from one or more weighted
fixations or from a score map, so the same budget serves any of them, wherever they lie.

Every side is patch * 2**k and every square lies at a multiple of its own side from (0, 0). With
patch-sized or larger sides, each output pixel then falls exactly on the centre of a texel of mip
level k: sampling is a copy, and equal to the area mean.

Counts: a split inside the frame adds 3 tokens, one at a border that cuts half of the square off
adds 1. Most frames can therefore be cut into exactly `tokens` squares. Where the frame's sides are
whole multiples of large squares (1024 x 768, say), every practical count has the same residue
modulo 3, and one or two padding rows make up the rest; `Quadtree.reachable_counts` tells.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from texvlm.layouts.base import Focus, check_count, is_finite
from texvlm.layouts.table import Table, make_table, pad_table
from texvlm.pyramid import check_frame_size
from texvlm.visual_field import VisualField, check_e2, check_fov

UNLIMITED_LEVEL = 62  # above the root of any frame
NO_SCORE = np.zeros((0, 0))


@dataclass(frozen=True, slots=True)
class Quadtree:
    """Exactly `tokens` rows that cover every texel of any frame once; see the module.

    A square's priority is the number of tokens it deserves: its area times the density
    sum_i weight_i / (e_i + e2)**2, with e_i the eccentricity of its texel nearest to fixation i; or
    its share of the score map's mass. Squares of equal priority are split largest first, so a map
    of zeros gives a uniform layout. Rows are in Morton (depth-first) order; `region` is the fixation that
    adds most to the square's density, 0 with a score map. Squares that reach over the right or
    bottom edge have `valid` below 1.

    Attributes:
        tokens: rows of every table, at least 1.
        patch: output pixels along one token side.
        fov_deg: field of view across the frame's longer side, degrees.
        e2_deg: eccentricity at which tokens are twice as wide as at the fixation, degrees.
        min_side: least side, texels, >= 1; rounded up to patch * 2**k. None for `patch`: no token
            is magnified.
        max_side: greatest side, texels; rounded down to patch * 2**k. None for no limit. Larger
            squares are split before any other.
        small_frames: what to do with a frame that has fewer squares of the least side than `tokens`:
            "refuse" it, or "pad": take all of them and fill up with padding rows.

    Raises:
        ValueError: a value is out of range, or no side lies between `min_side` and `max_side`.
    """

    tokens: int = 268
    patch: int = 16
    fov_deg: float = 60.0
    e2_deg: float = 2.0
    min_side: float | None = None
    max_side: float | None = None
    small_frames: Literal["refuse", "pad"] = "refuse"

    def __post_init__(self) -> None:
        check_count("tokens", self.tokens)
        check_count("patch", self.patch, unit=" of pixels")
        check_fov(self.fov_deg)
        check_e2(self.e2_deg)
        if self.small_frames not in ("refuse", "pad"):
            raise ValueError(f"small_frames is {self.small_frames!r}; accepted: 'refuse', 'pad'")
        for name, side in (("min_side", self.min_side), ("max_side", self.max_side)):
            if side is not None and not (is_finite(side) and side >= 1):
                raise ValueError(f"{name} is {side!r}; it is a finite number of texels, 1 or more")
        if self.max_level < 0:
            raise ValueError(
                f"no side patch * 2**k with patch {self.patch} lies between min_side {self.least_side:g} "
                f"and max_side {self.max_side:g}; widen the range"
            )

    @property
    def least_side(self) -> float:
        """The smallest side a token can have, texels."""
        if self.min_side is None:
            return float(self.patch)
        return _side_at(self.patch, self.min_side, math.ceil)

    @property
    def max_level(self) -> int:
        """log2 of the greatest side in units of the least one; larger squares are split before all others."""
        if self.max_side is None:
            return UNLIMITED_LEVEL
        return round(math.log2(_side_at(self.patch, self.max_side, math.floor) / self.least_side))

    def plan(self, size: tuple[int, int], focus: Focus) -> Table:
        """The table, shape (tokens,), layer 0; up to two padding rows at its end, more for a small frame.

        Raises:
            ValueError: the frame has fewer squares of the least side than `tokens` and is not to be
                padded, or more of the greatest; names the limit.
        """
        # Here, not above: importing texvlm must not load Numba.
        from texvlm.layouts._quadtree_kernel import grow
        from texvlm.layouts._quadtree_tree import View, integral_image

        field = VisualField(size, self.fov_deg)
        unit = self.least_side
        cells = self.check_budget(size)
        view = View(
            cells[0],
            cells[1],
            unit,
            float(size[0]),
            float(size[1]),
            self.max_level,
            np.ascontiguousarray(focus.fixations, np.float64),
            np.ascontiguousarray(focus.weights / focus.weights.max(), np.float64),
            field.focal_texels,
            float(self.e2_deg),
            NO_SCORE if focus.score is None else integral_image(np.ascontiguousarray(focus.score, np.float64)),
        )
        x, y, side, region = grow(view, min(self.tokens, cells[0] * cells[1]))
        table = make_table(x, y, side, size=size, region=region)
        return table if len(table) == self.tokens else pad_table(table, self.tokens)

    def counts(self, size: tuple[int, int]) -> tuple[int, int]:
        """(least, greatest) count that this layout's sides allow for a frame of (width, height)."""
        check_frame_size(size)
        columns, rows = _cells(size, self.least_side)
        if self.max_side is None:
            return 1, columns * rows
        widest = _cells(size, self.least_side * 2**self.max_level)
        return widest[0] * widest[1], columns * rows

    def reachable_counts(self, size: tuple[int, int], *, up_to: int) -> list[int]:
        """Counts up to `up_to` for which a plan with a central fixation needs no padding row.

        Other fixations give the same counts, but for rare ones next to the limits. Where the frame's
        sides are whole multiples of large squares the counts go in steps of 3.
        """
        least, greatest = self.counts(size)
        centre = Focus(np.array([[size[0] / 2, size[1] / 2]]))
        candidates = range(least, min(greatest, up_to) + 1)
        return [n for n in candidates if replace(self, tokens=n).plan(size, centre)["layer"][-1] == 0]

    def check_budget(self, size: tuple[int, int]) -> tuple[int, int]:
        """(columns, rows) of least squares; ValueError when they or the greatest do not allow `tokens`; see `plan`."""
        unit = self.least_side
        columns, rows = _cells(size, unit)
        if self.tokens > columns * rows and self.small_frames == "refuse":
            raise ValueError(
                f"{self.tokens} tokens are more than a {size[0]} x {size[1]} frame has squares of {unit:g} texels; "
                f"the greatest count is {columns * rows}: ask for fewer, or a smaller min_side"
            )
        if self.max_side is not None:
            least, _ = self.counts(size)
            if self.tokens < least:
                raise ValueError(
                    f"{self.tokens} tokens cannot cover a {size[0]} x {size[1]} frame with max_side {self.max_side:g}; "
                    f"the least count is {least}: ask for more, or a larger max_side"
                )
        return columns, rows


def _side_at(patch: int, side: float, rounding: Callable[[float], int]) -> float:
    """The side patch * 2**k next to `side`."""
    return patch * 2.0 ** rounding(math.log2(side / patch))


def _cells(size: tuple[int, int], side: float) -> tuple[int, int]:
    """(columns, rows) of squares of one side that meet a frame."""
    return math.ceil(size[0] / side), math.ceil(size[1] / side)
