"""Views: what one call of `Engine.tokens` asks for.

A view is one source looked at with one focus. `parse_views` turns the loose forms that a caller may
use into a list of them; `parse_device_views` does so for fixations that live on a device, `views_of` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from texvlm.layouts.base import Focus, to_texels


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


@dataclass(frozen=True, slots=True)
class DeviceViews:
    """Views whose fixations live on the device and stay there; the host never learns where they are.

    Attributes:
        sources: source of each view.
        fixations: (u, v), (views, k, 2), float32 or float64.
        weights: importance of each fixation, (views, k); None for equal ones.
    """

    sources: list[int]
    fixations: torch.Tensor
    weights: NDArray[np.float64] | None


def views_of(
    owns: Callable[[torch.Tensor], bool],
    fixations: ArrayLike | torch.Tensor,
    *,
    sources: int | Sequence[int] | None,
    weights: ArrayLike | None,
    score: ArrayLike | None,
    source_count: int,
) -> list[View] | DeviceViews:
    """What a call asks for; fixations that the backend `owns`, and so can read where they lie, stay there."""
    if isinstance(fixations, torch.Tensor) and owns(fixations):
        if score is not None:
            raise ValueError("a score map is followed on the host; leave out the fixations on the device")
        return parse_device_views(fixations, sources=sources, weights=weights, source_count=source_count)
    return parse_views(fixations, sources=sources, weights=weights, score=score, source_count=source_count)


def parse_views(
    fixations: ArrayLike | torch.Tensor,
    *,
    sources: int | Sequence[int] | None,
    weights: ArrayLike | None,
    score: ArrayLike | None,
    source_count: int,
) -> list[View]:
    """Views from the forms that `Engine.tokens` accepts.

    Args:
        fixations: (u, v) of shape (2,), (views, 2) or (views, k, 2); tensors are brought to the host.
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
    points = _on_host(fixations, np.float64)
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
    shares = np.ones(points.shape[1]) if weights is None else _on_host(weights, np.float64)
    if shares.ndim > 2 or shares.shape[-1:] != points.shape[1:2] or (shares.ndim == 2 and len(shares) != len(layers)):
        raise ValueError(f"weights of shape {shares.shape} for {len(layers)} views of {points.shape[1]} fixations")
    with np.errstate(over="ignore"):  # becomes infinite, which Focus refuses
        maps = None if score is None else _on_host(score, np.float32)
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


def parse_device_views(
    fixations: torch.Tensor,
    *,
    sources: int | Sequence[int] | None,
    weights: ArrayLike | None,
    source_count: int,
) -> DeviceViews:
    """Views from a tensor of fixations on the device; arguments and errors as in `parse_views`.

    Whether every value is finite cannot be told without waiting for the device: a view with one that
    is not gets padding rows only.
    """
    if not fixations.is_floating_point():
        raise TypeError(f"fixations of {fixations.dtype}; give floats: (u, v), where the frame spans 0..1")
    points = fixations.detach()
    points = points[None] if points.ndim == 1 else points
    points = points[:, None] if points.ndim == 2 else points
    if points.ndim != 3 or points.shape[2] != 2 or 0 in points.shape:
        raise ValueError(
            f"fixations of shape {tuple(fixations.shape)}: accepted are (2,), (views, 2) and (views, k, 2) of (u, v)"
        )
    layers = _parse_sources(sources, len(points), source_count)
    points = points.expand(len(layers), -1, -1).contiguous()
    shares = None
    if weights is not None:
        shares = _on_host(weights, np.float64)
        if shares.shape not in ((points.shape[1],), tuple(points.shape[:2])):
            raise ValueError(f"weights of shape {shares.shape} for {len(layers)} views of {points.shape[1]} fixations")
        if not (np.isfinite(shares).all() and (shares > 0).all()):
            raise ValueError(f"weights are {shares.tolist()}; each must be a finite number above 0")
        shares = np.ascontiguousarray(np.broadcast_to(shares, tuple(points.shape[:2])))
    return DeviceViews(layers, points, shares)


def _on_host(values: ArrayLike | torch.Tensor, dtype: type[np.floating[Any]]) -> NDArray[Any]:
    """A copy as an array; of a tensor on any device, of any element type, and whether it has gradients or not."""
    if isinstance(values, torch.Tensor):
        if values.is_meta:
            raise TypeError("a tensor on meta holds no values; give numbers")
        values = values.detach().to("cpu", torch.float64).numpy()
    return np.array(values, dtype)


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
