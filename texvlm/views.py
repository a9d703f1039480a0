"""Views: what one call of `Engine.tokens` asks for, and the tokens kept from the last time it asked.

A view is one source looked at with one focus. `parse_views` turns the loose forms that a caller may
use into a list of them; `KeptTokens` keeps the pixels last handed out for a set of sources, so that
the next call samples only the tokens whose place or texels changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import index

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from texvlm.layouts.base import Focus, to_texels
from texvlm.layouts.table import Table


@dataclass(frozen=True, slots=True)
class View:
    """One source and where to look in it, still in (u, v); independent of the frame's size. Owns its arrays."""

    source: int
    fixations: NDArray[np.float64]  # (k, 2), u and v
    weights: NDArray[np.float64]  # (k,)
    score: NDArray[np.float32] | None  # (rows, columns)

    def focus(self, size: tuple[int, int]) -> Focus:
        """The same in level-0 texels of a frame of (width, height)."""
        return Focus(to_texels(self.fixations, size), self.weights, self.score)

    def same_focus(self, other: View) -> bool:
        """Whether both look at the same places with the same importance."""
        return self is other or (
            np.array_equal(self.fixations, other.fixations)
            and np.array_equal(self.weights, other.weights)
            and (self.score is None) == (other.score is None)
            and (self.score is None or other.score is None or np.array_equal(self.score, other.score))
        )


@dataclass(slots=True)
class KeptTokens:
    """Tokens kept for one set of views.

    Attributes:
        views: what was asked.
        sizes: (width, height) of each view's frame when its rows were planned.
        table: (views, tokens).
        pixels: (views * tokens, channels, patch, patch), in the backend's memory.
        seen: engine clock at which these pixels were right.
    """

    views: list[View]
    sizes: list[tuple[int, int]]
    table: Table
    pixels: torch.Tensor
    seen: int


def parse_views(
    fixations: ArrayLike,
    *,
    sources: int | Sequence[int] | None,
    weights: ArrayLike | None,
    score: ArrayLike | None,
    source_count: int,
) -> list[View]:
    """Views from the forms that `Engine.tokens` accepts.

    Args:
        fixations: (u, v) of shape (2,), (views, 2) or (views, k, 2).
        sources: source of each view; one for all; or None: source 0 where there is one source,
            else view i looks at source i, and one fixation serves every source.
        weights: (k,) for all views or (views, k); None for equal weights.
        score: (rows, columns) for all views or (views, rows, columns); None for none.
        source_count: sources of the engine.
    Raises:
        ValueError: shapes that do not fit together, a value that is not finite, no such source.
        TypeError: a source that is no whole number.
    """
    # Copies: a caller may write the next gaze or score map into the same array, and views are compared later.
    points = np.asarray(fixations, np.float64).copy()
    if points.ndim == 1:
        points = points[None]
    if points.ndim == 2:
        points = points[:, None]
    if points.ndim != 3 or points.shape[2] != 2 or 0 in points.shape:
        raise ValueError(
            f"fixations of shape {np.shape(fixations)}: accepted are (2,), (views, 2) and (views, k, 2) of (u, v)"
        )
    if not np.isfinite(points).all():
        u, v = points[~np.isfinite(points).all(axis=2)][0]
        raise ValueError(f"fixation ({u}, {v}) is not finite; give (u, v), where the frame spans 0..1")
    layers = _parse_sources(sources, len(points), source_count)
    points = np.broadcast_to(points, (len(layers), *points.shape[1:]))
    shares = np.ones(points.shape[1]) if weights is None else np.asarray(weights, np.float64).copy()
    if shares.ndim > 2 or shares.shape[-1:] != points.shape[1:2] or (shares.ndim == 2 and len(shares) != len(layers)):
        raise ValueError(f"weights of shape {shares.shape} for {len(layers)} views of {points.shape[1]} fixations")
    with np.errstate(over="ignore"):  # becomes infinite, which Focus refuses
        maps = None if score is None else np.asarray(score, np.float32).copy()
    if maps is not None and (maps.ndim not in (2, 3) or (maps.ndim == 3 and len(maps) != len(layers))):
        raise ValueError(
            f"score of shape {maps.shape}: accepted are (rows, columns) and ({len(layers)}, rows, columns)"
        )
    return [
        View(
            layer,
            points[i],
            shares[i] if shares.ndim == 2 else shares,
            None if maps is None else maps[i] if maps.ndim == 3 else maps,
        )
        for i, layer in enumerate(layers)
    ]


def _parse_sources(sources: int | Sequence[int] | None, views: int, source_count: int) -> list[int]:
    """One source a view."""
    if sources is None:
        if source_count == 1:
            return [0] * views
        if views not in (1, source_count):
            raise ValueError(f"{views} fixations for {source_count} sources; say which with sources=")
        return list(range(source_count))
    listed = [int(sources)] * views if isinstance(sources, int | np.integer) else [index(s) for s in sources]
    if views not in (1, len(listed)) or not listed:
        raise ValueError(f"{views} fixations for {len(listed)} sources; give one fixation, or one a source")
    for source in listed:
        if not 0 <= source < source_count:
            raise ValueError(f"source {source}; this engine has 0..{source_count - 1}")
    return listed
