"""Content anchors: where a grid of tokens has to lie so that each token keeps its content under a moving camera.

    camera motion of each frame -> where the grid's corner went -> AnchoredGrid + the grid's own motion

The grid's own motion is what level L3 is told: it says exactly which token of the last table each token is.
Whether its content is really the same is judged by pixels, as always.

A model with absolute positions sees a grid that moves as one whose every token changed, if only a little. So
the places that the model is told are held, and lag behind or run ahead of the true ones by no more than a part
of a token: in between, what did not change is not computed. Who sees the features is told the true places.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from texvlm.layouts.anchored import MOST_ZOOM, AnchoredGrid
from texvlm.layouts.table import PADDING_LAYER, Table
from texvlm.motion.camera import CameraMotion
from texvlm.motion.field import MotionField, grid_of

DEAD_BAND = 1 / 64
"""Sides: what the camera moved by is saved up to this before the grid moves, so that it rests with the camera."""

LAG = 1 / 4
"""Sides by which places that the model is told may differ from the true ones, unless asked otherwise.

A shift of all places by as much left cosines of 0.994 (tokens) and 0.999 (class token) on a photo with a ViT-Ti; half a
side 0.983 and 0.998. A shift of the content inside its tokens by a thirty-second of a side left 0.970 and 0.995.
"""

MOST_TURN = 1 / 4
"""Sides by which a frame's corner may turn around the middle; a grid does not turn."""


@dataclass(frozen=True, slots=True, eq=False)
class AnchorStep:
    """Where the tokens of one frame go.

    Attributes:
        layout: to plan this frame's tokens with.
        side: of a token at scale 1, texels.
        told_origin: of the grid whose places the model is told.
        motion: of the grid, backward, to the last frame's; None where the grid stays, or is laid anew.
        told_motion: the same of the places that the model is told; None where they stay, too.
        moving: the grid moved along.
        anew: the grid was laid anew, so that no token has a predecessor.
    """

    layout: AnchoredGrid
    side: int
    told_origin: tuple[float, float]
    motion: MotionField | None = None
    told_motion: MotionField | None = None
    moving: bool = False
    anew: bool = False

    @property
    def lag(self) -> tuple[float, float]:
        """True places less those that the model is told, (x, y), texels."""
        (x, y), (told_x, told_y) = self.layout.origin, self.told_origin
        return x - told_x, y - told_y

    def told(self, table: Table) -> Table:
        """The table with the places that the model is told: to the bit those of the last frame, unless they moved.

        Args:
            table: of this frame, made with `layout`.
        """
        told = table.copy()
        side = self.side * self.layout.scale
        held = table["layer"] != PADDING_LAYER
        for axis, corner, origin in zip(("x", "y"), self.layout.origin, self.told_origin, strict=True):
            number = np.round((table[axis][held].astype(np.float64) - corner) / side - 0.5)
            told[axis][held] = origin + (number + 0.5) * side
        return told

    def settled(self) -> AnchorStep:
        """The step with the model told the true places."""
        return replace(self, told_origin=self.layout.origin)


@dataclass(slots=True, eq=False)
class _Anchor:
    size: tuple[int, int]
    corner: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    told: tuple[float, float] = (0.0, 0.0)
    pending: tuple[float, float, float] = (0.0, 0.0, 1.0)


class ContentAnchor:
    """Follows the content of any number of sources with a grid for each.

    Only shift, and zoom where the grid keeps room for it, are followed. A frame whose cells do not agree on
    one camera motion leaves the grid where it is.

    Args:
        grid: the grid at rest.
        least_share: of the cells that must move with the camera, 0..1.
        lag: sides by which places that the model is told may differ from the true ones; 0 for none.
    """

    def __init__(self, grid: AnchoredGrid, *, least_share: float = 0.5, lag: float = LAG) -> None:
        if not 0 <= lag < math.inf:
            raise ValueError(f"lag is {lag}; accepted: sides, 0 or above")
        if not 0 <= least_share <= 1:
            raise ValueError(f"least_share is {least_share}; accepted: a share, 0..1")
        self.grid, self._lag = grid, lag
        self._least_share = least_share
        self._anchors: dict[int, _Anchor] = {}

    @property
    def sources(self) -> frozenset[int]:
        """Sources that are followed."""
        return frozenset(self._anchors)

    def reset(self, source: int) -> None:
        """Lay the grid of a source anew, as after a cut. Unknown ones are no error."""
        self._anchors.pop(source, None)

    def settle(self, source: int) -> None:
        """The model is told the true places of a source's tokens again, as where all of them are encoded."""
        if source in self._anchors:
            self._anchors[source].told = self._anchors[source].corner

    def place(self, source: int, size: tuple[int, int], camera: CameraMotion | None = None) -> AnchorStep:
        """Where the tokens of a source's next frame go.

        Args:
            source: which source.
            size: (width, height) of the frame; another one than before lays the grid anew.
            camera: motion from this frame back to the last; None where it is not known.
        Raises:
            ValueError: camera motion of another frame size, or a grid that does not fit the frame.
        """
        side = self.grid.side_in(size)
        if camera is not None:
            camera.residual.check_frame(size)
        anchor = self._anchors.get(source)
        if anchor is None or anchor.size != size:
            return self._laid_anew(source, size, side)
        step = None if camera is None else self._followed(camera, size, side)
        if step is None:
            anchor.pending = (0.0, 0.0, 1.0)
            return self._resting(anchor, side)
        x, y, grown = _after(anchor.pending, step)
        if max(abs(x), abs(y)) <= DEAD_BAND * side and abs(grown - 1) * max(size) / 2 <= DEAD_BAND * side:
            anchor.pending = (x, y, grown)
            return self._resting(anchor, side)
        anchor.pending = (0.0, 0.0, 1.0)
        # content at p of the last frame is at p * grown + (x, y) of this one
        anchor.corner = (anchor.corner[0] * grown + x, anchor.corner[1] * grown + y)
        anchor.scale *= grown
        if not 1 / MOST_ZOOM <= anchor.scale <= MOST_ZOOM:
            return replace(self._laid_anew(source, size, side), moving=True)
        motion = _grid_motion(size, side, x, y, grown)
        told = _told_corner(anchor, (x, y), self._lag * side) if grown == 1 else anchor.corner
        told_motion = None
        if told != anchor.told:
            told_x, told_y = (new - old * grown for new, old in zip(told, anchor.told, strict=True))
            told_motion = _grid_motion(size, side, told_x, told_y, grown)
            anchor.told = told
        return replace(self._resting(anchor, side), motion=motion, told_motion=told_motion, moving=True)

    def _laid_anew(self, source: int, size: tuple[int, int], side: int) -> AnchorStep:
        grid = self.grid
        self._anchors[source] = _Anchor(size, grid.origin, grid.scale, grid.origin)
        return AnchorStep(grid, side, grid.origin, anew=True)

    def _resting(self, anchor: _Anchor, side: int) -> AnchorStep:
        return AnchorStep(self._grid_at(anchor), side, anchor.told)

    def _grid_at(self, anchor: _Anchor) -> AnchoredGrid:
        return replace(self.grid, origin=anchor.corner, scale=anchor.scale)

    def _followed(self, camera: CameraMotion, size: tuple[int, int], side: int) -> tuple[float, float, float] | None:
        """(x, y, growth) by which content moved since the last frame; None for a motion that no grid follows."""
        if camera.kind == "unknown" or camera.share < self._least_share:
            return None
        matrix = camera.matrix
        linear = matrix[:2, :2]
        if (
            abs(np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1])) * np.hypot(*size) / 2
            > MOST_TURN * side
        ):
            return None
        shrunk = float(np.sqrt(abs(np.linalg.det(linear))))
        middle = np.array([size[0] / 2, size[1] / 2])
        # the frame's middle is where a shift fits best, whatever else the camera did
        came_from = middle + camera.at(middle[None])[0]
        if not self.grid.zoom or shrunk <= 0:
            x, y = middle - came_from
            return float(x), float(y), 1.0
        grown = 1 / shrunk
        x, y = middle - grown * came_from
        return float(x), float(y), grown


def _told_corner(anchor: _Anchor, step: tuple[float, float], most: float) -> tuple[float, float]:
    """The corner that the model is told: where it is while that is near enough; else ahead of the motion."""
    if all(abs(true - told) <= most for true, told in zip(anchor.corner, anchor.told, strict=True)):
        return anchor.told
    fastest = max(map(abs, step)) or 1.0
    return anchor.corner[0] + most * step[0] / fastest, anchor.corner[1] + most * step[1] / fastest


def _after(first: tuple[float, float, float], then: tuple[float, float, float]) -> tuple[float, float, float]:
    """One motion of content, p -> p * grown + (x, y), after another."""
    x, y, grown = then
    return first[0] * grown + x, first[1] * grown + y, first[2] * grown


def _grid_motion(size: tuple[int, int], side: float, x: float, y: float, grown: float) -> MotionField:
    """Backward flow of the grid: where each place of this frame was in the last one, valid all over the frame."""
    cell = (float(side), float(side))
    columns, rows = grid_of(size, cell)
    places = np.stack(np.meshgrid((np.arange(columns) + 0.5) * side, (np.arange(rows) + 0.5) * side), axis=-1)
    flow = ((places - (x, y)) / grown - places).astype(np.float32)
    return MotionField(flow, np.ones((rows, columns), np.bool_), size, cell, "anchor")
