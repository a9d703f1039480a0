"""Score maps: how much each place of a frame is worth a look, and the places that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.fixation.look import check_map
from texvlm.layouts.table import PADDING_LAYER, Table

FLOOR = 0.1
"""A peak below this share of the highest one is none."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoreMap:
    """Importance of each cell of a grid over a frame.

    The grid starts at the frame's top-left corner; cells of a mip level may reach over its right and
    bottom edges.

    Attributes:
        values: >= 0, finite, float32, (rows, columns).
        cell: what a cell spans of the frame, along (u, v).
    """

    values: NDArray[np.float32]
    cell: tuple[float, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", check_map("score map", self.values))

    @classmethod
    def over_frame_of(cls, values: NDArray[Any]) -> ScoreMap:
        """A map whose grid ends where the frame does; ValueError or TypeError as in `check_map`."""
        checked = check_map("score map", values)
        return cls(checked, (1 / checked.shape[1], 1 / checked.shape[0]))

    def centres(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The u of each column and the v of each row; those of cells that are cut off lie inside the frame."""
        rows, columns = self.values.shape
        edges = (np.minimum(np.arange(n + 1) * step, 1) for n, step in zip((columns, rows), self.cell, strict=True))
        u, v = ((edge[1:] + edge[:-1]) / 2 for edge in edges)
        return u, v

    def over_frame(self) -> NDArray[np.float32]:
        """The values on a grid of the same shape that ends where the frame does, nearest neighbour."""
        rows, columns = self.values.shape
        across = np.minimum((np.arange(columns) + 0.5) / columns / self.cell[0], columns - 1).astype(np.intp)
        down = np.minimum((np.arange(rows) + 0.5) / rows / self.cell[1], rows - 1).astype(np.intp)
        picked: NDArray[np.float32] = self.values[down[:, None], across]
        return picked

    def distances(self, point: tuple[float, float], size: tuple[int, int]) -> NDArray[np.float64]:
        """Distance of each cell's centre from (u, v), in longer sides of a (width, height) frame, (rows, columns)."""
        u, v = self.centres()
        longer = max(size)
        return np.hypot((u - point[0]) * size[0] / longer, (v - point[1])[:, None] * size[1] / longer)

    def times(self, factor: NDArray[np.floating[Any]]) -> ScoreMap:
        """The same grid with each value multiplied."""
        return ScoreMap((self.values * factor).astype(np.float32), self.cell)


@dataclass(frozen=True, slots=True)
class Peak:
    """A place that stands out: (u, v), and how high it is."""

    u: float
    v: float
    height: float


@dataclass(frozen=True, slots=True)
class Region:
    """A box of a frame and what it is worth.

    Attributes:
        box: (u0, v0, u1, v1), the frame spanning 0..1.
        importance: > 0; only ratios matter.
    """

    box: tuple[float, float, float, float]
    importance: float = 1.0

    def __post_init__(self) -> None:
        u0, v0, u1, v1 = self.box
        if not (np.isfinite(self.box).all() and u0 < u1 and v0 < v1 and u0 < 1 and v0 < 1 and u1 > 0 and v1 > 0):
            raise ValueError(f"region {self.box}: accepted: u0,v0,u1,v1 with u0 < u1 and v0 < v1, inside 0..1 in part")
        if not (np.isfinite(self.importance) and self.importance > 0):
            raise ValueError(f"importance of a region is {self.importance}; accepted: a finite number above 0")

    @property
    def centre(self) -> tuple[float, float]:
        """(u, v) of its middle."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


def find_peaks(score: ScoreMap, count: int, *, spacing: float, size: tuple[int, int]) -> list[Peak]:
    """The highest places, highest first, at least `spacing` apart; fewer than `count` where there are no more.

    Args:
        score: the map; a flat or empty one has no peak but, where it is above 0, its first cell.
        count: at most so many.
        spacing: in longer sides of the frame.
        size: (width, height) of the frame.
    """
    values = score.values.astype(np.float64)
    u, v = score.centres()
    # a blob of neighbours is one blob, also where cells are larger than the spacing
    reach = max(spacing, 1.5 * max(side * step for side, step in zip(size, score.cell, strict=True)) / max(size))
    found: list[Peak] = []
    for _ in range(count):
        row, column = np.unravel_index(int(values.argmax()), values.shape)
        height = float(values[row, column])
        if height <= 0 or (found and height < FLOOR * found[0].height):
            break
        # A blob's middle, not the first of its equal cells.
        near = (values >= 0.7 * height) & (score.distances((float(u[column]), float(v[row])), size) < reach)
        blob = np.where(_connected(near, int(row), int(column)), values, 0)
        at_u = float((blob.sum(axis=0) * u).sum() / blob.sum())
        at_v = float((blob.sum(axis=1) * v).sum() / blob.sum())
        found.append(Peak(at_u, at_v, height))
        values[score.distances((at_u, at_v), size) < spacing] = 0
        values[row, column] = 0
    return found


def region_around(score: ScoreMap, peak: Peak, *, share: float = 0.5) -> Region:
    """The box around a peak: connected cells of at least `share` of its height; importance is the height."""
    u, v = score.centres()
    column, row = int(np.abs(u - peak.u).argmin()), int(np.abs(v - peak.v).argmin())
    high = score.values >= share * min(peak.height, float(score.values[row, column]) or peak.height)
    inside = _connected(high, row, column)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    (du, dv) = score.cell
    return Region(
        (
            float(columns[0] * du),
            float(rows[0] * dv),
            min(float((columns[-1] + 1) * du), 1.0),
            min(float((rows[-1] + 1) * dv), 1.0),
        ),
        peak.height,
    )


def region_map(regions: list[Region], *, size: tuple[int, int], surround: float, longest: int = 96) -> ScoreMap:
    """A map whose mass in each region is its share of the tokens; a quadtree follows it in steps of four.

    Args:
        regions: one or more; where they overlap both count.
        size: (width, height) of the frame.
        surround: share that is spread over the whole frame, 0..1.
        longest: cells along the frame's longer side.
    Raises:
        ValueError: no region, or a surround that is not in 0..1.
    """
    if not regions:
        raise ValueError("the list of regions is empty; give one or more")
    if not 0 <= surround <= 1:
        raise ValueError(f"surround is {surround}; accepted: a share, 0..1")
    columns, rows = (max(1, round(side / max(size) * longest)) for side in size)
    total = sum(region.importance for region in regions)
    values = np.full((rows, columns), surround / (rows * columns))
    for region in regions:
        u0, v0, u1, v1 = region.box
        cover = np.outer(_overlap(rows, v0, v1), _overlap(columns, u0, u1))
        values += (1 - surround) * region.importance / total * cover / cover.sum()
    return ScoreMap.over_frame_of(values)


def token_map(values: NDArray[np.floating[Any]], table: Table, size: tuple[int, int], *, longest: int = 96) -> ScoreMap:
    """Values of tokens, such as a model's attention to each, spread over the squares that they stand for.

    Args:
        values: >= 0, (n,), one for each row of the table; those of padding rows are left out.
        table: TOKEN_RECORD, (n,).
        size: (width, height) of the frame, texels.
        longest: cells along the frame's longer side.
    Raises:
        ValueError: not one value a row, or one that is negative or not finite.
    """
    values = np.asarray(values, np.float64)
    if values.shape != table.shape or table.ndim != 1:
        raise ValueError(f"values of shape {values.shape} for a table of {table.shape}; give one value a row, (n,)")
    columns, rows = (max(1, round(side / max(size) * longest)) for side in size)
    painted = np.zeros((rows, columns))
    for row, value in zip(table, values, strict=True):
        if row["layer"] == PADDING_LAYER or value == 0:
            continue
        half = row["side"] / 2
        across = _overlap(columns, (row["x"] - half) / size[0], (row["x"] + half) / size[0])
        down = _overlap(rows, (row["y"] - half) / size[1], (row["y"] + half) / size[1])
        left, right = _extent(across)
        top, bottom = _extent(down)
        cover = np.outer(down[top:bottom], across[left:right])
        if cover.sum() > 0:
            painted[top:bottom, left:right] += value * cover / cover.sum()
    return ScoreMap.over_frame_of(painted)


def blurred(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means of 3 x 3 cells, edges repeated."""
    padded = np.pad(values, 1, mode="edge")
    down = padded[:-2] + padded[1:-1] + padded[2:]
    mean: NDArray[np.float32] = ((down[:, :-2] + down[:, 1:-1] + down[:, 2:]) / 9).astype(np.float32)
    return mean


def upsampled(coarse: NDArray[np.float32], factor: int, shape: tuple[int, int]) -> NDArray[np.float32]:
    """A coarser mip level at the texels of a finer one, bilinear, edges repeated.

    Args:
        coarse: (rows, columns) or with channels.
        factor: texels of the finer level along one of the coarser.
        shape: (rows, columns) of the finer level.
    """
    fine = coarse
    for axis in (0, 1):
        place = np.clip((np.arange(shape[axis]) + 0.5) / factor - 0.5, 0, fine.shape[axis] - 1)
        low = place.astype(np.intp)
        part = (place - low).astype(np.float32)
        part = part.reshape([-1 if k == axis else 1 for k in range(fine.ndim)])
        fine = (
            np.take(fine, low, axis) * (1 - part)
            + np.take(fine, np.minimum(low + 1, fine.shape[axis] - 1), axis) * part
        )
    return fine


def _connected(cells: NDArray[np.bool_], row: int, column: int) -> NDArray[np.bool_]:
    """Those of the cells that hang together with one of them, which counts in any case."""
    cells = cells.copy()
    cells[row, column] = True
    inside = np.zeros_like(cells)
    inside[row, column] = True
    across, down = _run_numbers(cells), _run_numbers(cells.T).T
    while True:  # a whole run at a time: as many rounds as the shape has corners, not cells
        known = int(inside.sum())
        for runs in (across, down):
            reached = np.zeros(int(runs.max()) + 1, np.bool_)
            reached[runs[inside]] = True
            inside = reached[runs] & cells
        if int(inside.sum()) == known:
            return inside


def _run_numbers(cells: NDArray[np.bool_]) -> NDArray[np.int64]:
    """A number for each run of cells along a row; the empty cell before a run has it too."""
    rows, columns = cells.shape
    numbers: NDArray[np.int64] = (~cells).cumsum(axis=1) + np.arange(rows)[:, None] * (columns + 1)
    return numbers


def _overlap(cells: int, start: float, end: float) -> NDArray[np.float64]:
    """How much of each of `cells` equal parts of 0..1 lies between start and end, 0..1."""
    edges = np.arange(cells + 1) / cells
    cover: NDArray[np.float64] = np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], start), 0, None) * cells
    return cover


def _extent(cover: NDArray[np.float64]) -> tuple[int, int]:
    """First and last-plus-one of the parts that are covered; (0, 0) for none."""
    inside = np.flatnonzero(cover)
    return (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (0, 0)
