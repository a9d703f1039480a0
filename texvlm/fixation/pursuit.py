"""Smooth pursuit: staying with a thing that moves, by block matching on a coarse mip level."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from texvlm.fixation.evidence import check_positive
from texvlm.fixation.look import Look, LookPolicy
from texvlm.fixation.scene import FloatMap, Scene
from texvlm.layouts.base import check_count

GRIP = 0.03
"""Slope (of full scale a texel, root of the mean square, along the direction where it is least) that can be matched."""

LOST = 0.5
"""Share of a block's own variance that may remain unexplained by the best match; the thing is lost beyond."""

INERTIA = 0.1
"""Share of a block's own variance that a match as far off as is searched is worse: of two alike, the expected one."""

LEARNING = 0.1
"""Share of each new picture in the remembered block: it follows slow changes, and does not drift off by roundings."""


@dataclass(slots=True, eq=False)
class Pursuit:
    """Follows what another policy first looked at.

    The block around the look is searched for in the next frame, near where its motion so far would
    bring it: sums of squared differences over whole texels of a coarse level, the middle of the block
    counting most, the least refined by a parabola. The block is the smallest of three that has slopes
    in both directions, so that neither the background nor a plain inside leads. One block, no rotation
    and no scale: enough to keep a fovea on a thing, not a tracker.
    When the match is bad, or leaves the frame, the other policy says where to look next.

    Attributes:
        start: gives the first look, and the next after a loss; it sees every frame.
        half: half of the middle block's side, texels of the level; the others are half and twice as large.
        search: how far from the expected place is searched, texels of the level.
        longest: texels along the frame's longer side at that level, at most.
    """

    start: LookPolicy
    half: int = 8
    search: int = 12
    longest: int = 480
    count: ClassVar[int] = 1
    _block: FloatMap | None = field(default=None, init=False, repr=False)
    _at: NDArray[np.float64] = field(default_factory=lambda: np.full(2, 0.5), init=False, repr=False)
    _motion: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2), init=False, repr=False)
    _size: tuple[int, int] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_count("half", self.half)
        check_count("search", self.search)
        check_positive("longest", self.longest, "texels")
        if self.start.count is None:
            raise ValueError(f"{self.start.name} gives a score map; pursuit starts from a fixation")

    @property
    def name(self) -> str:
        """Says what it started from."""
        return f"pursuit of {self.start.name}"

    def look(self, scene: Scene) -> Look:
        """See LookPolicy."""
        level = scene.mips.level_within(self.longest)
        picture, cell = scene.mips.gray(level), np.array(scene.mips.cell(level))
        proposed = self.start.look(scene)
        why = f"{self.name}: starts"
        if self._block is not None and self._size == scene.size:
            moved = self._match(picture, self._block, self._at / cell)
            landed = None if moved is None else self._at + moved * cell
            if moved is not None and landed is not None and ((landed >= 0) & (landed <= 1)).all():
                self._at, self._motion = landed, moved
                seen = _block_at(picture, landed / cell, self._block.shape[0] // 2)
                self._block = (1 - LEARNING) * self._block + LEARNING * seen
                return Look(self._at, why=f"{self.name}: {np.hypot(*moved):.1f} texels of level {level}")
            why = f"{self.name}: lost, starts again"
        self._at, self._motion = proposed.fixations[0].copy(), np.zeros(2)
        blocks = (
            _block_at(picture, self._at / cell, half) for half in (max(self.half // 2, 1), self.half, 2 * self.half)
        )
        # One that is flat, or a single edge, would be found in many places: the other policy leads until there is more.
        self._block = next((block for block in blocks if _grip(block) >= GRIP), None)
        self._size = scene.size
        return Look(self._at, why=why if self._block is not None else f"{proposed.why}, nothing to hold on to")

    def _match(self, picture: FloatMap, block: FloatMap, place: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """How far the block at `place` (x, y) moved, texels of the level; None when it is not found."""
        half = block.shape[0] // 2
        window = _block_at(picture, place + self._motion, half + self.search)
        tried = np.lib.stride_tricks.sliding_window_view(window, block.shape)
        weights = _bell(half)
        own = float((np.square(block - (block * weights).sum()) * weights).sum())
        off = np.square(np.arange(-self.search, self.search + 1) / self.search)
        error = np.tensordot(np.square(tried - block), weights, axes=2).astype(np.float64)
        error += INERTIA * own * (off[:, None] + off)
        row, column = np.unravel_index(int(error.argmin()), error.shape)
        fine = np.array([_lowest(error[row, :], int(column)), _lowest(error[:, column], int(row))])
        found: NDArray[np.float64] = self._motion + fine - self.search
        # judged between texels: half a texel off, a finely textured thing already looks like another
        left = float((np.square(_block_at(picture, place + found, half) - block) * weights).sum())
        return found if left <= LOST * own else None


def _bell(half: int) -> FloatMap:
    """Weights of a block's texels: a Gaussian that has fallen to 1/e^2 at the middle of each side; they sum to 1."""
    line = np.exp(-2 * np.square(np.arange(-half, half + 1) / half))
    weights: FloatMap = (np.outer(line, line) / line.sum() ** 2).astype(np.float32)
    return weights


def _block_at(picture: FloatMap, place: NDArray[np.float64], half: int) -> FloatMap:
    """The square around (x, y), bilinear, edges repeated; (2 * half + 1) on a side. Texel (0, 0) is centred at 0.5."""
    steps = np.arange(-half, half + 1) - 0.5
    rows, columns = picture.shape
    y, x = np.clip(place[1] + steps, 0, rows - 1), np.clip(place[0] + steps, 0, columns - 1)
    top, left = y.astype(np.intp), x.astype(np.intp)
    down, right = np.minimum(top + 1, rows - 1), np.minimum(left + 1, columns - 1)
    dy, dx = (y - top)[:, None].astype(np.float32), (x - left).astype(np.float32)
    upper = picture[top[:, None], left] * (1 - dx) + picture[top[:, None], right] * dx
    lower = picture[down[:, None], left] * (1 - dx) + picture[down[:, None], right] * dx
    block: FloatMap = upper * (1 - dy) + lower * dy
    return block


def _grip(block: FloatMap) -> float:
    """How well a block can be held: the root of the smaller eigenvalue of its weighted structure tensor.

    Source:
        Shi and Tomasi, Good features to track, CVPR 1994.
    """
    down, across = np.gradient(block)
    weights = _bell(block.shape[0] // 2)
    a, b, c = (float((weights * product).sum()) for product in (across * across, across * down, down * down))
    return float(np.sqrt(max((a + c) / 2 - np.hypot((a - c) / 2, b), 0.0)))


def _lowest(errors: NDArray[np.float64], at: int) -> float:
    """Where a parabola through three neighbouring values is lowest; the middle one at an edge or on the flat."""
    if not 0 < at < len(errors) - 1:
        return float(at)
    before, here, after = errors[at - 1 : at + 2]
    bend = before - 2 * here + after
    return at + (float(0.5 * (before - after) / bend) if bend > 0 else 0.0)
