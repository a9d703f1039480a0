"""What a layout is: a frozen description that turns (frame size, where to look) into a token table."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from texvlm.layouts.table import Table


@dataclass(frozen=True)
class Focus:
    """Where to look in one frame: weighted fixations, or a score map, or both left at their defaults.

    Attributes:
        fixations: (x, y) in level-0 texels, float64, shape (k, 2), k >= 1; may lie outside the frame.
        weights: importance of each fixation, > 0, shape (k,); only ratios matter.
        score: importance map over the whole frame, >= 0, shape (rows, columns) of any size,
            or None. Layouts that can follow it use it instead of the fixations.
    """

    fixations: NDArray[np.float64]
    weights: NDArray[np.float64] = field(default_factory=lambda: np.ones(1))
    score: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        points = self.fixations
        if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
            raise ValueError(f"fixations have shape (k, 2) with k >= 1, not {points.shape}")
        if not np.isfinite(points).all():
            bad = points[~np.isfinite(points).all(axis=1)][0]
            raise ValueError(f"fixation ({bad[0]}, {bad[1]}) is not finite; give numbers")
        if self.weights.shape == (1,) and len(points) > 1:
            object.__setattr__(self, "weights", np.full(len(points), self.weights[0]))
        if self.weights.shape != (len(points),):
            raise ValueError(f"{len(self.weights)} weights for {len(points)} fixations; give one each")
        if not (np.isfinite(self.weights).all() and (self.weights > 0).all()):
            raise ValueError(f"weights are {self.weights.tolist()}; each must be a finite number above 0")
        if self.score is not None:
            if self.score.ndim != 2 or self.score.size == 0:
                raise ValueError(f"a score map has shape (rows, columns), not {self.score.shape}")
            if not (np.isfinite(self.score).all() and (self.score >= 0).all()):
                raise ValueError("a score map holds finite numbers, 0 or above")


FARTHEST = 2.0**20
"""Frames away, beyond which a fixation is brought nearer: every layout is long flat there, and products stay finite."""


def to_texels(fixations: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Fixations (u, v), finite, the frame spanning 0..1, as (x, y) in level-0 texels of a (width, height) frame."""
    texels: NDArray[np.float64] = np.clip(fixations, -FARTHEST, FARTHEST) * np.asarray(size, np.float64)
    return texels


class Layout(Protocol):
    """Turns a frame size and a focus into a table with a fixed number of rows.

    Implementations are frozen dataclasses: hashable, cheap to make, compared by value. They import
    NumPy only (the quadtree's kernel is Numba) and never see pixels.
    """

    @property
    def patch(self) -> int:
        """Output pixels along one token side."""

    @property
    def tokens(self) -> int | None:
        """Rows of every table, or None when the count depends on the frame size."""

    def plan(self, size: tuple[int, int], focus: Focus) -> Table:
        """The token table, shape (n,), layer 0, for a frame of (width, height) texels.

        Raises:
            ValueError: the layout cannot serve this frame or focus (too many tokens for so small a
                frame, a score map given to rings); says what it can.
        """


def check_count(name: str, value: int, *, unit: str = "") -> None:
    """TypeError unless a value is an integer, ValueError unless it is at least 1."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; it is a whole number{unit}, 1 or more") from None
    if number < 1:
        raise ValueError(f"{name} is {number}; at least 1 is needed")


def is_finite(value: object) -> bool:
    """Whether a value is a number, and neither infinite nor NaN."""
    return isinstance(value, int | float | np.number) and math.isfinite(value)


def refuse_score(focus: Focus, layout: str) -> None:
    """ValueError when a focus has a score map that the layout cannot follow."""
    if focus.score is not None:
        raise ValueError(f"the {layout} layout cannot follow a score map; quadtree can")


def require_fixations(focus: Focus, count: int, layout: str) -> None:
    """ValueError unless a focus has as many fixations as the layout was made for."""
    given = len(focus.fixations)
    if given == count:
        return
    if layout in ("rings", "crops"):
        raise ValueError(
            f"this {layout} layout serves {count} fixation{'s' * (count > 1)}, not {given}; make it with "
            f"fixations={given}, or use quadtree, which shares its tokens between any number"
        )
    raise ValueError(
        f"the {layout} layout serves 1 fixation, not {given}; rings and crops serve several, "
        "quadtree shares its tokens between any number"
    )
