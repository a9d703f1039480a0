"""Nested square rings around the fixation: fine tokens inside, coarser ones further out.

Ring i is a square grid of `grids[i]` x `grids[i]` tokens of side `strides[i] * patch`, less the
square that the rings inside it already cover. The constructor proves that every ring's grid lines
pass around the inner square, so the rings are an exact partition of their own square field.

The field moves with the fixation, to fractions of a texel, so every token keeps its offset from
the fixation: what a model with one learned position per token index needs. Tokens may leave the
frame (`valid` tells), and what lies outside the field is not seen: a partition of the field, not of
the frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from texvlm.layouts.base import Focus, check_count, refuse_score, require_fixations
from texvlm.layouts.table import Table
from texvlm.layouts.template import Template, place
from texvlm.pyramid import check_frame_size

RING_PRESETS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    # Segment This Thing (Meta, 2025), field 1280
    "rings-172-1280": ((1, 2, 4, 6, 8), (4, 4, 6, 8, 10)),
    # Look, Focus, Act (Chuang et al., 2025), field 288
    "rings-20-288": ((1, 2, 6), (2, 3, 3)),
    # field 1024
    "rings-172": ((1, 2, 4, 8), (4, 8, 8, 8)),
    "rings-208": ((1, 2, 4, 8), (8, 8, 8, 8)),
    "rings-268": ((1, 2, 4, 8), (12, 8, 8, 8)),
}
"""Name -> (strides, grids). The numbers in the names are tokens, and texels of field with 16-px patches."""


@dataclass(frozen=True, slots=True)
class Rings:
    """Rings of tokens around each fixation, ring by ring from the inside, each row by row.

    Attributes:
        strides: token side of each ring, in patches at scale 1, ascending.
        grids: tokens along the side of each ring's square.
        patch: output pixels along one token side.
        scale: factor on every side; "frame" makes the field as wide as the frame's longer side.
        fixations: fixations served at once, each with all the rings; `region` is its index.

    Raises:
        ValueError: the rings do not nest into a partition; names the first that does not.
    """

    strides: tuple[int, ...] = RING_PRESETS["rings-268"][0]
    grids: tuple[int, ...] = RING_PRESETS["rings-268"][1]
    patch: int = 16
    scale: float | Literal["frame"] = 1.0
    fixations: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "strides", tuple(self.strides))
        object.__setattr__(self, "grids", tuple(self.grids))
        check_count("patch", self.patch, unit=" of pixels")
        check_count("fixations", self.fixations)
        if isinstance(self.scale, str):
            if self.scale != "frame":
                raise ValueError(f"scale is {self.scale!r}; accepted: a number above 0, or 'frame'")
        elif not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"scale is {self.scale}; accepted: a number above 0, or 'frame'")
        _prove_nesting(self.strides, self.grids)

    @property
    def tokens(self) -> int:
        """Rows of every table: those of one fixation times the fixations."""
        return len(_offsets(self.strides, self.grids)) * self.fixations

    @property
    def field_texels(self) -> int:
        """Side of the square field at scale 1, texels."""
        return self.strides[-1] * self.grids[-1] * self.patch

    def plan(self, size: tuple[int, int], focus: Focus) -> Table:
        """The table, shape (tokens,), layer 0; the rows of one fixation follow each other.

        Raises:
            ValueError: the focus has a score map, or another number of fixations.
        """
        check_frame_size(size)
        refuse_score(focus, "rings")
        require_fixations(focus, self.fixations, "rings")
        return place(self.template(size), size, focus.fixations)

    def template(self, size: tuple[int, int]) -> Template:
        """See RigidLayout."""
        scale = max(size) / self.field_texels if self.scale == "frame" else self.scale
        offsets = np.tile(_offsets(self.strides, self.grids) * (self.patch * scale), (self.fixations, 1))
        region = np.repeat(np.arange(self.fixations, dtype=np.int32), len(offsets) // self.fixations)
        return Template(offsets[:, :2], offsets[:, 2], region, region)


def _prove_nesting(strides: tuple[int, ...], grids: tuple[int, ...]) -> None:
    """ValueError unless the inner square of every ring is whole tokens wide and centred on its grid."""
    if len(strides) != len(grids) or not strides:
        raise ValueError(f"{len(strides)} strides and {len(grids)} grids; give one of each per ring, at least one")
    for name, values in (("stride", strides), ("grid", grids)):
        for value in values:
            check_count(name, value)
    for i in range(1, len(strides)):
        if strides[i] <= strides[i - 1]:
            raise ValueError(f"ring {i} has stride {strides[i]} after {strides[i - 1]}; strides ascend outwards")
        inner = strides[i - 1] * grids[i - 1]
        hole, rest = divmod(inner, strides[i])
        if rest or hole >= grids[i] or (grids[i] - hole) % 2:
            raise ValueError(
                f"ring {i} (stride {strides[i]}, grid {grids[i]}) does not close around the inner square of "
                f"{inner} patches: that must be a multiple of the stride, and leave as many tokens on each side"
            )


@lru_cache(maxsize=64)
def _offsets(strides: tuple[int, ...], grids: tuple[int, ...]) -> NDArray[np.float64]:
    """(dx, dy, side) of each token in patches, from the fixation; read-only, shape (tokens, 3)."""
    rings = []
    inner = 0
    for stride, grid in zip(strides, grids, strict=True):
        centres = (np.arange(grid) + 0.5 - grid / 2) * stride
        dy, dx = (a.ravel() for a in np.meshgrid(centres, centres, indexing="ij"))
        outside = np.maximum(np.abs(dx), np.abs(dy)) > inner / 2
        rings.append(np.stack([dx, dy, np.full(dx.shape, float(stride))], axis=1)[outside])
        inner = stride * grid
    offsets = np.concatenate(rings)
    offsets.setflags(write=False)
    return offsets
