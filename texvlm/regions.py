"""Change regions: tiles, masks of tiles, and the rectangles that cover them.

Sits between change detection and upload. Pure integers: no pixels, no device.
A tile is the unit of change: 16 x 16 texels of level 0. A tile mask is a bool array of shape
(rows, columns), True where a tile changed. A cover may grow (clean tiles may be added when a
limit asks for it); it never loses a dirty tile.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

TILE = 16
"""Texels along one side of a tile. 16 = 2**4, so a tile is exactly one texel of level 4."""

TileMask = NDArray[np.bool_]
"""Shape (rows, columns) of tiles, True = changed."""


@dataclass(frozen=True, slots=True)
class Rect:
    """Half-open rectangle [x0, x1) x [y0, y1), in tiles or in texels of one mip level."""

    x0: int
    y0: int
    x1: int
    y1: int

    def __post_init__(self) -> None:
        if not (0 <= self.x0 < self.x1 and 0 <= self.y0 < self.y1):
            raise ValueError(
                f"rectangle [{self.x0}, {self.x1}) x [{self.y0}, {self.y1}) is empty or negative; "
                "need 0 <= x0 < x1 and 0 <= y0 < y1"
            )

    @property
    def area(self) -> int:
        """Cells inside."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def union(self, other: Rect) -> Rect:
        """The smallest rectangle that holds both."""
        return Rect(
            min(self.x0, other.x0),
            min(self.y0, other.y0),
            max(self.x1, other.x1),
            max(self.y1, other.y1),
        )

    def scaled(self, factor: int) -> Rect:
        """The same region counted in cells that are `factor` times smaller (tiles to texels)."""
        return Rect(self.x0 * factor, self.y0 * factor, self.x1 * factor, self.y1 * factor)

    def parent(self) -> Rect:
        """The texels of the next coarser level that read from this one."""
        return Rect(self.x0 // 2, self.y0 // 2, -(-self.x1 // 2), -(-self.y1 // 2))


def tile_grid(size: tuple[int, int]) -> tuple[int, int]:
    """(columns, rows) of tiles that cover a frame of (width, height) texels; edge tiles may be partial."""
    width, height = size
    return -(-width // TILE), -(-height // TILE)


def rectangles(mask: TileMask, *, limit: int | None = None) -> list[Rect]:
    """Few rectangles, in tiles, that together hold every True cell of a mask.

    Runs of a row are joined; equal runs of consecutive rows are stacked. Without a limit the cover
    is exact: disjoint, and no clean tile inside. With a limit, neighbours in reading order are
    merged where that adds the fewest clean tiles until at most `limit` rectangles are left; these
    may overlap and hold clean tiles.

    Args:
        mask: bool, shape (rows, columns).
        limit: greatest number of rectangles, at least 1.
    Returns:
        Rectangles in tiles, in reading order; empty for an empty mask.
    Raises:
        ValueError: `mask` is not two-dimensional or `limit` is below 1.
    """
    if mask.ndim != 2:
        raise ValueError(f"a tile mask has shape (rows, columns), not {mask.shape}")
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}; at least one rectangle is needed")
    open_runs: dict[tuple[int, int], int] = {}
    found: list[Rect] = []
    for y, runs in enumerate(_runs(mask)):
        for run in [r for r in open_runs if r not in runs]:
            found.append(Rect(run[0], open_runs.pop(run), run[1], y))
        for run in runs:
            open_runs.setdefault(run, y)
    found.sort(key=lambda r: (r.y0, r.x0))
    return found if limit is None else _merge(found, limit)


def mask_of(rects: list[Rect], grid: tuple[int, int]) -> TileMask:
    """The tile mask of shape (rows, columns) that a cover stands for; `grid` is (columns, rows)."""
    columns, rows = grid
    mask = np.zeros((rows, columns), np.bool_)
    for rect in rects:
        mask[rect.y0 : rect.y1, rect.x0 : rect.x1] = True
    return mask


def texels_inside(tiles: TileMask, size: tuple[int, int]) -> int:
    """Level-0 texels of the masked tiles that lie inside a frame of (width, height)."""
    count = TILE * TILE * np.count_nonzero(tiles)
    over_x, over_y = -size[0] % TILE, -size[1] % TILE  # texels of the last column and row that lie outside
    count -= TILE * over_x * np.count_nonzero(tiles[:, -1]) + TILE * over_y * np.count_nonzero(tiles[-1])
    return int(count + over_x * over_y * int(tiles[-1, -1]))


def _runs(mask: TileMask) -> list[set[tuple[int, int]]]:
    """[start, stop) of each run of True, row by row, and an empty row at the end."""
    edges = np.diff(mask.astype(np.int8), axis=1, prepend=0, append=0)
    rows, starts = np.nonzero(edges == 1)
    stops = np.nonzero(edges == -1)[1]
    runs: list[set[tuple[int, int]]] = [set() for _ in range(len(mask) + 1)]
    for row, start, stop in zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True):
        runs[row].add((start, stop))
    return runs


def _merge(rects: list[Rect], limit: int) -> list[Rect]:
    """Join the pair of reading-order neighbours that wastes least, until few enough are left.

    A pair's waste changes only when one of the two grows, so a queue of pairs serves; an entry
    whose versions are out of date is dropped when it comes up.
    """
    count = len(rects)
    merged: list[Rect | None] = list(rects)
    before, after = list(range(-1, count - 1)), list(range(1, count + 1))
    version = [0] * count
    queue: list[tuple[int, int, int, int, int]] = []

    def offer(left: int, right: int) -> None:
        a, b = merged[left], merged[right]
        if a is not None and b is not None:
            heappush(queue, (a.union(b).area - a.area - b.area, left, right, version[left], version[right]))

    for left in range(count - 1):
        offer(left, left + 1)
    for _ in range(count - limit):
        while True:
            _, left, right, left_version, right_version = heappop(queue)
            a, b = merged[left], merged[right]
            if a is not None and b is not None and (left_version, right_version) == (version[left], version[right]):
                break
        merged[left], merged[right] = a.union(b), None
        version[left] += 1
        after[left] = after[right]
        if after[left] < count:
            before[after[left]] = left
            offer(left, after[left])
        if before[left] >= 0:
            offer(before[left], left)
    return [rect for rect in merged if rect is not None]
