"""The motion field: where each patch of a frame was in the frame it is compared with.

Flow is backward: what is seen at x in the new frame was at x + flow(x) in the reference frame, in
level-0 texels. So a field says where to gather from, and content that moves right has a negative dx.
Whatever measures motion makes one of these; whatever uses motion takes one. NumPy only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

FlowArray = NDArray[np.float32]
"""(dx, dy) in level-0 texels along the last axis."""


@dataclass(frozen=True, slots=True, eq=False)
class MotionField:
    """Backward flow on a grid of cells that starts at the frame's top-left corner.

    Cell (row, column) has its centre at ((column + 0.5) * cell[0], (row + 0.5) * cell[1]). Cells of the
    last row and column may reach over the frame's edge, as the last texels of a mip level do. Arrays are
    the caller's: they are neither copied nor to be written afterwards.

    Attributes:
        flow: (rows, columns, 2), float32: (dx, dy), level-0 texels; finite, zero where nothing is known.
        valid: (rows, columns), bool: whether the flow there can be relied on.
        size: (width, height) of the frame, level-0 texels.
        cell: (width, height) of one cell, level-0 texels; need not be whole numbers.
        origin: what measured it: "dis", "blocks", "codec", "camera", "zero", ...
        error: (rows, columns), float32: mean absolute difference to the reference after moving it, of
            full scale; None where nobody compared.
    Raises:
        ValueError: shapes that do not fit, a flow or error that is not finite, cells that do not span the frame.
        TypeError: an array of another element type.
    """

    flow: FlowArray
    valid: NDArray[np.bool_]
    size: tuple[int, int]
    cell: tuple[float, float]
    origin: str
    error: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        flow, valid, error = self.flow, self.valid, self.error
        for name, array, dtype in (
            ("flow", flow, np.float32),
            ("valid", valid, np.bool_),
            ("error", error, np.float32),
        ):
            if array is not None and (not isinstance(array, np.ndarray) or array.dtype != dtype):
                seen = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                raise TypeError(f"{name} of a motion field is {seen}; accepted: an array of {np.dtype(dtype)}")
        if flow.ndim != 3 or flow.shape[2] != 2 or 0 in flow.shape:
            raise ValueError(f"flow of shape {flow.shape}; accepted: (rows, columns, 2) with at least one cell")
        for name, grid in (("valid", valid), ("error", error)):
            if grid is not None and grid.shape != flow.shape[:2]:
                raise ValueError(f"{name} of shape {grid.shape} for flow of {flow.shape}; accepted: {flow.shape[:2]}")
        if min(self.size) < 1 or not all(0 < side < math.inf for side in self.cell):
            raise ValueError(f"frame of {self.size} and cells of {self.cell}; accepted: sides above 0")
        spanned = grid_of(self.size, self.cell)
        if spanned != (self.columns, self.rows):
            raise ValueError(
                f"{self.columns} x {self.rows} cells of {self.cell[0]:g} x {self.cell[1]:g} texels for a frame of "
                f"{self.size[0]} x {self.size[1]}; it takes {spanned[0]} x {spanned[1]}"
            )
        if not np.isfinite(flow).all() or (error is not None and not np.isfinite(error).all()):
            raise ValueError("a motion field has flow or errors that are not finite; mark such cells invalid, with 0")

    @classmethod
    def zero(
        cls, size: tuple[int, int], *, cell: tuple[float, float] = (16, 16), valid: bool = True, origin: str = "zero"
    ) -> MotionField:
        """Nothing moved; or, with `valid` False, nothing is known."""
        columns, rows = grid_of(size, cell)
        return cls(np.zeros((rows, columns, 2), np.float32), np.full((rows, columns), valid), size, cell, origin)

    @property
    def rows(self) -> int:
        """Cells down."""
        return int(self.flow.shape[0])

    @property
    def columns(self) -> int:
        """Cells across."""
        return int(self.flow.shape[1])

    @property
    def valid_share(self) -> float:
        """Share of cells that can be relied on, 0..1."""
        return float(self.valid.mean())

    @property
    def speed(self) -> NDArray[np.float32]:
        """Length of the flow, (rows, columns), texels."""
        return np.hypot(self.flow[..., 0], self.flow[..., 1])

    def centres(self) -> NDArray[np.float32]:
        """Centres of the cells, (rows, columns, 2), level-0 texels."""
        x = (np.arange(self.columns, dtype=np.float32) + 0.5) * np.float32(self.cell[0])
        y = (np.arange(self.rows, dtype=np.float32) + 0.5) * np.float32(self.cell[1])
        return np.stack(np.meshgrid(x, y), axis=-1)

    def check_frame(self, size: tuple[int, int]) -> None:
        """ValueError unless the field is one of a frame of (width, height)."""
        if tuple(size) != tuple(self.size):
            raise ValueError(
                f"a motion field ({self.origin}) of a {self.size[0]} x {self.size[1]} frame for one of "
                f"{size[0]} x {size[1]}; give a field of this frame, or field.scaled({tuple(size)})"
            )

    def at(self, points: ArrayLike) -> tuple[FlowArray, NDArray[np.bool_]]:
        """Flow at any points of the frame, bilinear between the centres of valid cells.

        Args:
            points: (..., 2), (x, y) in level-0 texels.
        Returns:
            flow (..., 2), zero where it is not known, and whether it is known, (...): valid cells carry at
            least half of the weight, and the point lies in the frame.
        """
        places = np.asarray(points, np.float32)
        if places.ndim < 1 or places.shape[-1] != 2:
            raise ValueError(f"points of shape {places.shape}; accepted: (..., 2) of (x, y)")
        x, y = places[..., 0], places[..., 1]
        inside = (x >= 0) & (y >= 0) & (x <= self.size[0]) & (y <= self.size[1])  # False where not finite, too
        x, y = np.where(inside, x, 0), np.where(inside, y, 0)
        left, share_x = _between(x / np.float32(self.cell[0]), self.columns)
        top, share_y = _between(y / np.float32(self.cell[1]), self.rows)
        right, bottom = np.minimum(left + 1, self.columns - 1), np.minimum(top + 1, self.rows - 1)
        total = np.zeros(x.shape, np.float32)
        flow = np.zeros((*x.shape, 2), np.float32)
        for row, weight_y in ((top, 1 - share_y), (bottom, share_y)):
            for column, weight_x in ((left, 1 - share_x), (right, share_x)):
                weight = weight_x * weight_y * self.valid[row, column]
                total += weight
                flow += weight[..., None] * self.flow[row, column]
        known = inside & (total >= 0.5)
        flow /= np.maximum(total, np.float32(1e-12))[..., None]
        return np.where(known[..., None], flow, np.float32(0)), known

    def resampled(self, cell: tuple[float, float]) -> MotionField:
        """The field on cells of another size: means over valid cells where coarser, bilinear where finer.

        A coarser cell is valid where at least half of what it covers is. Errors are averaged in the same way.
        """
        if tuple(cell) == tuple(self.cell):
            return self
        columns, rows = grid_of(self.size, cell)
        down = _shares(self.rows, self.cell[1], rows, cell[1])
        across = _shares(self.columns, self.cell[0], columns, cell[0])

        def spread(values: NDArray[np.float32]) -> NDArray[np.float32]:
            return (down @ values @ across.T).astype(np.float32, copy=False)

        weight = spread(self.valid.astype(np.float32))
        valid = weight >= 0.5 - 1e-5  # sums of shares are rounded
        scale = np.where(valid, 1 / np.maximum(weight, np.float32(1e-12)), 0).astype(np.float32)
        flow = np.stack([spread(self.flow[..., k] * self.valid) * scale for k in (0, 1)], axis=-1)
        return MotionField(
            flow, valid, self.size, cell, self.origin, None if self.error is None else spread(self.error)
        )

    def scaled(self, size: tuple[int, int]) -> MotionField:
        """The same motion of the frame scaled to (width, height): cells and flow are scaled alike."""
        x, y = size[0] / self.size[0], size[1] / self.size[1]
        return replace(
            self,
            flow=self.flow * np.array([x, y], np.float32),
            size=(int(size[0]), int(size[1])),
            cell=(self.cell[0] * x, self.cell[1] * y),
        )

    def after(self, earlier: MotionField) -> MotionField:
        """This field carried on through the one of its reference frame: flow to the frame before that.

        Where the content was outside the reference frame, or its motion is not known there, it is not valid.

        Args:
            earlier: field of this one's reference frame, of the same frame size.
        """
        earlier.check_frame(self.size)
        further, known = earlier.at(self.centres() + self.flow)
        valid = self.valid & known
        return replace(self, flow=np.where(valid[..., None], self.flow + further, 0), valid=valid, error=None)

    def __repr__(self) -> str:
        return (
            f"MotionField({self.origin}, {self.columns} x {self.rows} cells of {self.cell[0]:g} x {self.cell[1]:g} "
            f"over {self.size[0]} x {self.size[1]}, {self.valid_share:.0%} valid, error "
            f"{'unknown' if self.error is None else f'{self.error.mean():.4f}'})"
        )


def grid_of(size: tuple[int, int], cell: tuple[float, float]) -> tuple[int, int]:
    """(columns, rows) of cells that span a frame; the last ones may reach over its edge."""
    columns, rows = (max(1, math.ceil(side / step - 1e-6)) for side, step in zip(size, cell, strict=True))
    return columns, rows


def _between(place: NDArray[np.float32], count: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The cell centre at or before a place counted in cells, and the share of the one after it; clamped at the ends."""
    place = np.clip(place - np.float32(0.5), 0, count - 1)
    first = np.floor(place)
    return first.astype(np.intp), place - first


def _shares(old: int, old_cell: float, new: int, new_cell: float) -> NDArray[np.float32]:
    """Weights of old cells in each new one along an axis, (new, old); rows sum to 1.

    Coarser cells take what they cover; finer ones lie between two centres.
    """
    if new_cell > old_cell:
        stops = np.arange(1, new + 1)[:, None] * new_cell, np.arange(1, old + 1) * old_cell
        starts = np.arange(new)[:, None] * new_cell, np.arange(old) * old_cell
        weights = np.clip(np.minimum(*stops) - np.maximum(*starts), 0, None)
    else:
        centres = np.clip((np.arange(new)[:, None] + 0.5) * new_cell / old_cell - 0.5, 0, old - 1)
        weights = np.clip(1 - np.abs(centres - np.arange(old)), 0, None)
    shares: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
