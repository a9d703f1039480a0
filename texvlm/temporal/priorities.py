"""Priorities: where a frame differs from what was looked at, coarse differences before fine ones.

    resident mip level  ->  difference from the one last looked at  ->  its means, level by level
                            ->  weighted sum, motion, age  ->  ScoreMap  ->  fixations, or a quadtree

A coarse texel differs only where a whole area does, so coarse levels weigh more: noise and flutter of
fine detail cancel there, an object that came or left does not. One level is read; coarser ones are
its means by construction of the pyramid.

The reference is what was last *looked at*, place by place, never the frame before: a slow fade adds
up until it counts. Who looks says so (`look_at`); or, with `commit="changed"`, each place that counted
as changed was looked at, and the change fades from the map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from texvlm.fixation.evidence import check_positive
from texvlm.fixation.scene import Clock, FloatMap, Scene
from texvlm.fixation.score_map import ScoreMap, upsampled
from texvlm.layouts.base import check_count
from texvlm.motion.field import MotionField

Commit = Literal["changed", "told"]

FAST = 0.02
"""Flow, in longer sides of the frame, that counts in full."""


def level_means(finest: FloatMap, levels: int) -> list[FloatMap]:
    """The finest level and coarser ones, each texel the mean of four; edges repeated.

    Args:
        finest: (rows, columns, channels); may be a signed difference.
        levels: how many in all; fewer come back once a level is a single texel.
    """
    found = [finest]
    while len(found) < levels and max(found[-1].shape[:2]) > 1:
        fine = found[-1]
        even = np.pad(fine, ((0, fine.shape[0] % 2), (0, fine.shape[1] % 2), (0, 0)), mode="edge")
        total: FloatMap = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
        found.append(total * np.float32(0.25))
    return found


def combined_difference(difference: FloatMap, weights: Sequence[float], *, noise: float) -> FloatMap:
    """Magnitudes of a difference on several levels as one map on the finest.

    Args:
        difference: signed, of full scale, (rows, columns, channels).
        weights: of each level, fine to coarse.
        noise: what a difference must exceed to count, of full scale; halved from level to level, as the
            mean of four independent errors is.
    Returns:
        (rows, columns), 0..1: weighted mean over the levels of the channel that differs most.
    """
    means = level_means(difference, len(weights))
    shape = (difference.shape[0], difference.shape[1])
    total = np.zeros(shape, np.float32)
    for level, (mean, weight) in enumerate(zip(means, weights, strict=False)):
        apart = np.maximum(np.abs(mean).max(axis=2) - np.float32(noise / 2**level), 0)
        total += np.float32(weight) * upsampled(apart, 2**level, shape)
    return total / np.float32(sum(weights[: len(means)]))


@dataclass(slots=True, eq=False)
class _Memory:
    """What is remembered of one source."""

    size: tuple[int, int]
    level: int  # whose texels the maps have
    seen: FloatMap  # what was last looked at, (rows, columns, 3)
    latest: FloatMap
    since_s: NDArray[np.float64]  # when each cell was last looked at
    heat: FloatMap
    clock: Clock


@dataclass(slots=True, eq=False)
class Priorities:
    """Evidence from hierarchical differencing; keeps its sources apart.

    The first frame of a source, and the first one of another size, is where it starts: an empty map.

    Attributes:
        levels: levels that are compared.
        longest: texels along the frame's longer side on the finest of them, at most.
        weights: of each level, fine to coarse, > 0; empty for 1, 2, 4, ...
        noise: of full scale, see `combined_difference`.
        commit: "told": a place counts until `look_at` names it. "changed": it was looked at as soon as it
            counted, then fades; what most of the frame does (a cut, a moving camera) is no priority.
        decay_s: with "changed", seconds until a difference counts 1/e.
        motion_weight: what motion of FAST or more against the frame's median motion adds, where
            `score` is given a field.
        age_weight: what `age_s` without a look adds, with "told".
        age_s: seconds.
    """

    name: ClassVar[str] = "priorities"
    levels: int = 4
    longest: int = 160
    weights: tuple[float, ...] = ()
    noise: float = 1.5 / 255
    commit: Commit = "changed"
    decay_s: float = 0.4
    motion_weight: float = 0.0
    age_weight: float = 0.0
    age_s: float = 5.0
    _memories: dict[int, _Memory] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        check_count("levels", self.levels)
        check_positive("longest", self.longest, "texels")
        check_positive("decay_s", self.decay_s, "seconds")
        check_positive("age_s", self.age_s, "seconds")
        for name in ("noise", "motion_weight", "age_weight"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; accepted: a finite number of 0 or above")
        if self.weights and (len(self.weights) != self.levels or not all(0 < w < math.inf for w in self.weights)):
            raise ValueError(f"weights are {self.weights} for {self.levels} levels; give each one above 0, fine first")
        if self.commit not in get_args(Commit):
            raise ValueError(f"commit is {self.commit!r}; accepted: {', '.join(get_args(Commit))}")
        if self.age_weight and self.commit != "told":
            raise ValueError('ages are known only where looks are told; give commit="told" with age_weight')

    def score(self, scene: Scene, *, motion: MotionField | None = None) -> ScoreMap:
        """How much each place differs from what was looked at, on the finest level's texels.

        Args:
            scene: the frame.
            motion: of this frame against the one before, where known.
        Raises:
            ValueError: a field of another frame size; nothing is remembered of this frame.
        """
        if motion is not None:
            motion.check_frame(scene.size)
        level = scene.mips.level_within(self.longest)
        picture = scene.mips.colour(level)
        memory = self._memories.get(scene.source)
        if memory is None or memory.size != scene.size:
            memory = _begun(scene.size, level, picture)
            self._memories[scene.source] = memory
        before = memory.clock.now_s
        passed = memory.clock.tick(scene.time_s) - before
        memory.latest = picture
        weights = self.weights or tuple(2.0**k for k in range(self.levels))
        fresh = combined_difference(picture - memory.seen, weights, noise=self.noise)
        if self.commit == "changed":
            _look_at(memory, fresh > 0)
            fresh = np.maximum(fresh - np.median(fresh), 0)
            memory.heat = np.maximum(memory.heat * np.float32(math.exp(-passed / self.decay_s)), fresh)
            fresh = memory.heat
        score = fresh.astype(np.float32, copy=True)
        cell = scene.mips.cell(level)
        if motion is not None and self.motion_weight:
            score += np.float32(self.motion_weight) * _own_motion(motion, cell, score.shape)
        if self.age_weight:
            age = np.minimum((memory.clock.now_s - memory.since_s) / self.age_s, 1)
            score += (self.age_weight * age).astype(np.float32)
        return ScoreMap(score, cell)

    def look_at(self, source: int = 0, *, places: NDArray[np.bool_] | None = None) -> None:
        """Tell that places of a source's latest frame were looked at; they count again when they differ anew.

        Args:
            source: which source.
            places: (rows, columns) over the frame, any shape (see `token_cells`); None for all of it.
        Raises:
            ValueError: no frame of this source was scored yet, or places of another kind.
        """
        memory = self._memories.get(source)
        if memory is None:
            raise ValueError(f"source {source} has no frame that could have been looked at; score one first")
        shape = memory.latest.shape[:2]
        if places is None:
            looked = np.ones(shape, np.bool_)
        elif places.ndim == 2 and places.size and places.dtype == np.bool_:
            # over the frame proper: cells of a mip level reach over its edge, those of `places` do not
            columns, rows = (side / 2**memory.level for side in memory.size)
            down = np.minimum((np.arange(shape[0]) + 0.5) / rows * places.shape[0], places.shape[0] - 1)
            across = np.minimum((np.arange(shape[1]) + 0.5) / columns * places.shape[1], places.shape[1] - 1)
            looked = places[down.astype(int)[:, None], across.astype(int)]
        else:
            raise ValueError(f"places of {places.dtype}, shape {places.shape}; accepted: bool, (rows, columns)")
        _look_at(memory, looked)

    def reset(self, source: int | None = None) -> None:
        """Forget a source, which starts anew with its next frame; None for all."""
        if source is None:
            self._memories.clear()
        else:
            self._memories.pop(source, None)


def _begun(size: tuple[int, int], level: int, picture: FloatMap) -> _Memory:
    shape = picture.shape[:2]
    return _Memory(size, level, picture, picture, np.zeros(shape), np.zeros(shape, np.float32), Clock())


def _look_at(memory: _Memory, looked: NDArray[np.bool_]) -> None:
    """Where looked at, the latest picture becomes the reference."""
    memory.seen = np.where(looked[..., None], memory.latest, memory.seen)
    memory.since_s = np.where(looked, memory.clock.now_s, memory.since_s)


def _own_motion(motion: MotionField, cell: tuple[float, float], shape: tuple[int, ...]) -> FloatMap:
    """Motion against the frame's median, 0..1 with 1 at FAST, at cells of (u, v); 0 where it is not known."""
    if not motion.valid.any():
        return np.zeros(shape, np.float32)
    width, height = motion.size
    x = np.minimum((np.arange(shape[1]) + 0.5) * cell[0] * width, width)
    y = np.minimum((np.arange(shape[0]) + 0.5) * cell[1] * height, height)
    flow, known = motion.at(np.stack(np.meshgrid(x, y), axis=-1))
    apart = flow - np.median(motion.flow[motion.valid], axis=0)
    speed = np.hypot(apart[..., 0], apart[..., 1]) / (FAST * max(motion.size))
    own: FloatMap = (np.minimum(speed, 1) * known).astype(np.float32)
    return own
