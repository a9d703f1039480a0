"""The protocol of this package: a policy looks at a scene and answers with a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from texvlm.fixation.scene import Scene


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """Where to look in one frame, and why.

    Attributes:
        fixations: (u, v), the frame spanning 0..1, float64, (k, 2), k >= 1.
        weights: importance of each, > 0, (k,); only ratios matter.
        score: importance over the frame, >= 0, (rows, columns), for layouts that follow it instead of
            the fixations; or None.
        why: a few words for people, ASCII.
        map: what the choice was made from, >= 0, (rows, columns) over the frame, for pictures; or None.
    """

    fixations: NDArray[np.float64]
    weights: NDArray[np.float64] = field(default_factory=lambda: np.ones(1))
    score: NDArray[np.float32] | None = None
    why: str = ""
    map: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        points = np.array(self.fixations, np.float64)
        points = points[None] if points.ndim == 1 else points
        if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
            raise ValueError(f"fixations of a look have shape (k, 2) with k >= 1, not {points.shape}")
        if not np.isfinite(points).all():
            raise ValueError(f"a look at {points.tolist()} is not finite; give (u, v), the frame spans 0..1")
        weights = np.array(self.weights, np.float64)
        weights = np.full(len(points), weights[0]) if weights.shape == (1,) else weights
        if weights.shape != (len(points),):
            raise ValueError(f"{weights.size} weights for {len(points)} fixations of a look; give one each")
        check_weights(weights)
        object.__setattr__(self, "fixations", points)
        object.__setattr__(self, "weights", weights)
        if self.score is not None:
            object.__setattr__(self, "score", check_map("score map of a look", self.score))
        if self.map is not None:
            object.__setattr__(self, "map", check_map("map of a look", self.map))


class LookPolicy(Protocol):
    """Decides where to look in the frames of *one* source, in their order.

    What it remembers is its own; `Looker` makes one for each source. It sees nothing of later frames
    and depends on neither chance nor the clock on the wall, so that the same frames get the same looks.
    """

    @property
    def name(self) -> str:
        """What it is called in messages and pictures."""

    @property
    def count(self) -> int | None:
        """Fixations of every look; None when looks carry a score map instead."""

    def look(self, scene: Scene) -> Look:
        """Where to look in this frame."""


class LookArguments(TypedDict):
    """Keyword arguments of `Engine.tokens` and `Engine.plan`."""

    fixations: NDArray[np.float64]
    weights: NDArray[np.float64]
    score: NDArray[np.float32] | None


def engine_arguments(looks: Sequence[Look]) -> LookArguments:
    """Looks of several views as what `Engine.tokens` takes: `engine.tokens(**engine_arguments(looks))`.

    Raises:
        ValueError: looks that one call cannot serve: none, other numbers of fixations, or score maps
            of other shapes.
    """
    shapes = {(len(look.fixations), None if look.score is None else look.score.shape) for look in looks}
    if len(shapes) != 1:
        raise ValueError(
            f"{len(looks)} looks of {len(shapes)} shapes; one call serves looks of as many fixations, "
            "all with a score map of one shape or all without: make a call for each shape"
        )
    maps = [look.score for look in looks if look.score is not None]
    return LookArguments(
        fixations=np.stack([look.fixations for look in looks]),
        weights=np.stack([look.weights for look in looks]),
        score=np.stack(maps) if maps else None,
    )


def check_weights(weights: NDArray[np.float64]) -> None:
    """ValueError unless each weight is a finite number above 0."""
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        total = "; they sum to 0" if np.isfinite(weights).all() and not weights.any() else ""
        raise ValueError(f"weights are {weights.tolist()}{total}; each must be a finite number above 0")


def check_map(what: str, values: NDArray[Any]) -> NDArray[np.float32]:
    """A map as float32; ValueError unless it is (rows, columns) of finite numbers, 0 or above."""
    array = np.asarray(values)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{what} has shape {array.shape}; accepted: (rows, columns)")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{what} holds {array.dtype}; accepted: numbers")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not (np.isfinite(array).all() and (array >= 0).all()):
        raise ValueError(f"{what} holds a value that is negative or not finite; accepted: numbers of 0 and above")
    return array
