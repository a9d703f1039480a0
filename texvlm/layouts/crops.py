"""One low-resolution grid over the whole frame, plus a fine square crop around each fixation.

The form that crop-based VLMs know: context once, detail where it is asked for. Every texel of the
frame is in exactly one global token; crops repeat some of them at higher resolution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from texvlm.layouts.base import Focus, check_count, is_finite, refuse_score, require_fixations
from texvlm.layouts.table import Table, pad_table
from texvlm.layouts.template import Template, fixed_template, place
from texvlm.layouts.uniform import grid_rows, side_for_count
from texvlm.pyramid import check_frame_size


@dataclass(frozen=True, slots=True)
class GlobalAndCrops:
    """Global rows first (region 0, padded to exactly `global_tokens`), then each crop (1..fixations).

    Attributes:
        global_tokens: rows of the global grid; its side is the least whole number of texels that
            needs no more squares than that.
        crop_grid: tokens along one crop side; a crop has crop_grid**2 tokens.
        patch: output pixels along one token side.
        crop_side: texels along one crop side; None for crop_grid * patch, native resolution.
        fixations: fixations, and so crops, served at once.
        keep_inside: move a crop by what it reaches over the frame's edge. Along an axis on which
            the frame is too small for it, the crop is centred on the frame. False leaves crops
            centred on their fixations; `valid` then tells what is outside.

    Raises:
        ValueError: a value is out of range.
    """

    global_tokens: int = 147
    crop_grid: int = 11
    patch: int = 16
    crop_side: float | None = None
    fixations: int = 1
    keep_inside: bool = True

    def __post_init__(self) -> None:
        check_count("global_tokens", self.global_tokens)
        check_count("crop_grid", self.crop_grid)
        check_count("patch", self.patch, unit=" of pixels")
        check_count("fixations", self.fixations)
        if self.crop_side is not None and not (is_finite(self.crop_side) and self.crop_side > 0):
            raise ValueError(f"crop_side is {self.crop_side!r}; it is a finite number of texels above 0")

    @property
    def tokens(self) -> int:
        """Rows of every table: the global ones and those of all crops."""
        return self.global_tokens + self.fixations * self.crop_grid**2

    def plan(self, size: tuple[int, int], focus: Focus) -> Table:
        """The table, shape (tokens,), layer 0.

        Raises:
            ValueError: the frame has fewer texels than `global_tokens`, the focus has a score map,
                or another number of fixations.
        """
        check_frame_size(size)
        refuse_score(focus, "crops")
        require_fixations(focus, self.fixations, "crops")
        return place(self.template(size), size, focus.fixations)

    def template(self, size: tuple[int, int]) -> Template:
        """See RigidLayout.

        Raises:
            ValueError: the frame has fewer texels than `global_tokens`.
        """
        whole = fixed_template(pad_table(grid_rows(size, side_for_count(size, self.global_tokens)), self.global_tokens))
        crop_side = self.crop_side or float(self.crop_grid * self.patch)
        side = crop_side / self.crop_grid
        cells = self.crop_grid**2
        row, column = np.divmod(np.arange(cells), self.crop_grid)
        crop = (np.stack([column, row], axis=1) + 0.5) * side - crop_side / 2
        served = np.repeat(np.arange(self.fixations, dtype=np.int32), cells)
        return Template(
            np.concatenate([whole.offset, np.tile(crop, (self.fixations, 1))]),
            np.concatenate([whole.side, np.full(len(served), side)]),
            np.concatenate([whole.region, served + 1]),
            np.concatenate([whole.anchor, served]),
            crop_side / 2 if self.keep_inside else None,
        )


def split_budget(tokens: int, fixations: int) -> tuple[int, int]:
    """(global_tokens, crop_grid) that spend a budget: about half of it on the crops, all of it in total.

    Raises:
        ValueError: the budget has no room for one global token and one token per crop.
    """
    if tokens <= fixations:
        raise ValueError(f"{tokens} tokens cannot hold a global grid and {fixations} crops; ask for {fixations + 1}")
    crop_grid = max(1, math.isqrt(tokens // 2 // fixations))
    return tokens - fixations * crop_grid**2, crop_grid
