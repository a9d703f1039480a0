"""Temporal consistency: how much features or pictures change along the motion of their content."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from texvlm.motion.field import MotionField
from texvlm.temporal.quality.sequences import Mean, as_values, check_shape

Measure = Literal["cosine", "absolute"]


@dataclass(frozen=True, slots=True)
class Consistency:
    """Differences from frame to frame; smaller is steadier.

    Attributes:
        pairs: frames that were compared with the one before.
        mean: mean difference at the same place, of all tokens or texels.
        worst: largest one.
        moved_mean: mean difference along the motion, where it was known and stayed in the frame; None where no
            field was given.
        moved_worst: largest one, or None.
        covered: share of places that `moved_mean` speaks of.
    """

    pairs: int
    mean: float
    worst: float
    moved_mean: float | None
    moved_worst: float | None
    covered: float


class ConsistencyMeter:
    """Compares each frame with the one before, at the same place and along the motion.

    Warping error after Lai et al., Learning Blind Video Temporal Consistency, ECCV 2018, for maps of any
    values: pictures, or features of tokens on a grid. The value before is read bilinearly.

    Args:
        measure: "cosine" is 1 - cosine over the last axis, for features; "absolute" the mean absolute
            difference over it, for pictures.
    """

    def __init__(self, measure: Measure = "cosine") -> None:
        if measure not in get_args(Measure):
            raise ValueError(f"measure is {measure!r}; accepted: {', '.join(get_args(Measure))}")
        self._apart = _cosine_distance if measure == "cosine" else _absolute_distance
        self.reset()

    def reset(self) -> None:
        """Forget all."""
        self._before: NDArray[np.float32] | None = None
        self._still, self._moved, self._pairs, self._places = Mean(), Mean(), 0, 0

    def cut(self) -> None:
        """The next frame is compared with none: the shot changed. What was measured stays."""
        self._before = None

    def update(self, values: Any, *, motion: MotionField | None = None) -> None:
        """Take the next frame.

        Args:
            values: (tokens, d); or (rows, columns, d) over the frame, which motion needs.
            motion: this frame's field against the one before.
        Raises:
            ValueError, TypeError: values of another shape than before, or motion for values without a
                grid; nothing is taken.
        """
        now = as_values("values", values)
        if now.ndim not in (2, 3):
            raise ValueError(f"values of shape {now.shape}; accepted: (tokens, d) or (rows, columns, d)")
        if motion is not None and now.ndim != 3:
            raise ValueError(f"motion for values of shape {now.shape}; give (rows, columns, d) over the frame")
        check_shape("values", now.shape, None if self._before is None else self._before.shape)
        before, self._before = self._before, now
        if before is None:
            return
        self._pairs += 1
        self._still.add(self._apart(now, before))
        if motion is not None:
            moved, known = warped(before, motion)
            self._moved.add(self._apart(now, moved)[known])
            self._places += known.size

    def report(self) -> Consistency:
        """What was measured since the beginning."""
        known = self._places > 0
        return Consistency(
            self._pairs,
            self._still.mean,
            self._still.worst,
            self._moved.mean if known else None,
            self._moved.worst if known else None,
            self._moved.count / self._places if known else 0.0,
        )


def warped(before: NDArray[np.float32], motion: MotionField) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """A map over the reference frame, moved along a backward field to the new one.

    Args:
        before: (rows, columns, d), a grid that ends where the frame does.
        motion: of the new frame.
    Returns:
        The moved map, and where it is known, (rows, columns): the flow is valid and its end lies in the frame.
    """
    rows, columns = before.shape[:2]
    step = np.array([motion.size[0] / columns, motion.size[1] / rows])
    x, y = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    centres = np.stack([x, y], axis=-1) * step
    flow, known = motion.at(centres)
    ends = (centres + flow) / step
    known = known & (ends >= 0).all(axis=-1) & (ends <= [columns, rows]).all(axis=-1)
    places = np.clip(ends - 0.5, 0, [columns - 1, rows - 1])
    first = np.floor(places).astype(np.intp)
    part = (places - first).astype(np.float32)[..., None]
    (left, top), (right, bottom) = (
        np.moveaxis(first, -1, 0),
        np.moveaxis(np.minimum(first + 1, [columns - 1, rows - 1]), -1, 0),
    )
    upper = before[top, left] * (1 - part[..., 0, :]) + before[top, right] * part[..., 0, :]
    lower = before[bottom, left] * (1 - part[..., 0, :]) + before[bottom, right] * part[..., 0, :]
    return upper * (1 - part[..., 1, :]) + lower * part[..., 1, :], known


def _cosine_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """1 - cosine over the last axis; 0 for two zero vectors, 1 for one."""
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(a64, axis=-1) * np.linalg.norm(b64, axis=-1)
    same = (a64 == b64).all(axis=-1)
    cosine = np.divide((a64 * b64).sum(axis=-1), lengths, out=np.zeros_like(lengths), where=lengths > 0)
    distance: NDArray[np.float64] = np.where(same, 0.0, np.maximum(1 - cosine, 0))
    return distance


def _absolute_distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    distance: NDArray[np.float64] = np.abs(a - b).mean(axis=-1, dtype=np.float64)
    return distance
