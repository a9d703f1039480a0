"""Positions off the grid: what a model with a position table, or with rotary positions, is told about a token.

The frame spans the table, whatever their sizes and aspects: a token centred at (x, y) in a frame of
(width, height) lies at column `x * columns / width - 0.5` and row `y * rows / height - 0.5`, so a
uniform layout at the model's native size hits every entry exactly, to the bit. A table goes on beyond
its edge with its edge entries, as frames do.

Look-ups cost no training. Bilinear at the centre is the default; the area average says the same for
tokens up to a table cell and blurs over the cells that a larger token covers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from texvlm.encoders.geometry import Geometry

Grid = tuple[int, int]
"""(rows, columns) of a position table."""

PositionMethod = Literal["bilinear", "area"] | Callable[[torch.Tensor, Geometry], torch.Tensor]
"""How a table is read; a function takes (table (rows, columns, width), geometry) and returns (views, tokens, width)."""


def grid_coordinates(geometry: Geometry, grid: Grid) -> torch.Tensor:
    """(row, column) of each token in a table of (rows, columns), fractional, float32, (views, tokens, 2).

    Entry (0, 0) has its centre at 0; values run from -0.5 to rows - 0.5 inside the frame.
    """
    rows, columns = grid
    # multiplied first: one rounding, and none where the result is a half (a native grid)
    column = geometry.centres[..., 0] * columns / geometry.sizes[:, None, 0] - 0.5
    row = geometry.centres[..., 1] * rows / geometry.sizes[:, None, 1] - 0.5
    return torch.stack([row, column], dim=-1)


def rope_coordinates(geometry: Geometry) -> torch.Tensor:
    """(y, x) of each token's centre with the frame spanning -1..1, float32, (views, tokens, 2).

    Source:
        DINOv3's rotary positions: the centre of patch i of n lies at 2 * (i + 0.5) / n - 1.
    """
    return 2.0 * geometry.positions.flip(-1) - 1.0


def token_scales(geometry: Geometry, grid: Grid) -> torch.Tensor:
    """log2 of each token's side in native patches of the model, float32, (views, tokens).

    A native patch is what one of rows x columns equal cells of the frame measures (geometric mean of
    its sides): 0 for the model's own grid, -1 for tokens half as wide, +1 for twice as wide.
    """
    cells = geometry.sizes / torch.tensor([grid[1], grid[0]], dtype=torch.float32, device=geometry.sizes.device)
    return geometry.sides.log2() - cells.log2().mean(dim=-1)[:, None]


def interpolation_taps(geometry: Geometry, grid: Grid) -> tuple[torch.Tensor, torch.Tensor]:
    """The four table entries around each token's centre, and their bilinear weights.

    Returns:
        Row-major indices into the table, int64, (views, tokens, 4), in the order (top, left), (top,
        right), (bottom, left), (bottom, right); weights, float32, the same shape, each row summing to 1.
    """
    limits = torch.tensor([grid[0] - 1, grid[1] - 1], dtype=torch.float32, device=geometry.centres.device)
    place = torch.minimum(grid_coordinates(geometry, grid).clamp_min(0), limits)
    low = place.floor()
    high = torch.minimum(low + 1, limits).long()
    part = place - low
    (top, left), (bottom, right) = low.long().unbind(-1), high.unbind(-1)
    down, across = part.unbind(-1)
    columns = grid[1]
    indices = [top * columns + left, top * columns + right, bottom * columns + left, bottom * columns + right]
    weights = [(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across]
    return torch.stack(indices, dim=-1), torch.stack(weights, dim=-1)


def bilinear(table: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """The table at each token's centre, between its entries.

    Args:
        table: (rows, columns, width), floating point.
        geometry: of the tokens, on the table's device.
    Returns:
        (views, tokens, width), float32 or the table's own wider type; entries to the bit where a token
        lies on one.
    """
    indices, weights = interpolation_taps(geometry, (table.shape[0], table.shape[1]))
    entries = table.flatten(0, 1)[indices]
    return (entries * weights[..., None]).sum(dim=-2)


def area_average(table: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """The mean of the table over each token's square, an entry being constant over its cell.

    A token smaller than a cell is averaged over a cell's extent around its centre, which is exactly
    the bilinear look-up; so the method changes smoothly from one to the other as tokens grow.

    Args:
        table: (rows, columns, width), floating point.
        geometry: of the tokens, on the table's device.
    Returns:
        (views, tokens, width), float32 or the table's own wider type; an entry to the bit where a token
        covers its cell.
    """
    rows, columns = int(table.shape[0]), int(table.shape[1])
    place = grid_coordinates(geometry, (rows, columns))
    down = _cell_shares(place[..., 0], geometry.sides * rows / geometry.sizes[:, None, 1], rows)
    across = _cell_shares(place[..., 1], geometry.sides * columns / geometry.sizes[:, None, 0], columns)
    shares = (down[..., :, None] * across[..., None, :]).flatten(-2)
    entries = table.flatten(0, 1)
    wide = torch.promote_types(entries.dtype, torch.float32)
    return shares.to(wide) @ entries.to(wide)


def _cell_shares(centre: torch.Tensor, extent: torch.Tensor, cells: int) -> torch.Tensor:
    """Share of an interval that falls to each of `cells` unit cells, (..., cells); the outer cells go on for ever."""
    half = extent.clamp_min(1) / 2
    start, end = (centre + 0.5 - half)[..., None], (centre + 0.5 + half)[..., None]
    edges = torch.arange(cells + 1, dtype=centre.dtype, device=centre.device)
    edges[0], edges[-1] = -torch.inf, torch.inf
    overlap = (torch.minimum(end, edges[1:]) - torch.maximum(start, edges[:-1])).clamp_min(0)
    return overlap / (end - start)


def look_up(table: torch.Tensor, geometry: Geometry, *, method: PositionMethod = "bilinear") -> torch.Tensor:
    """Positions of each token, (views, tokens, width), read from a table (rows, columns, width).

    Raises:
        ValueError: an unknown method, or a function's result that has another shape; says what is accepted.
    """
    check_method(method)
    if not callable(method):
        return bilinear(table, geometry) if method == "bilinear" else area_average(table, geometry)
    positions = method(table, geometry)
    expected = (*geometry.sides.shape, table.shape[-1])
    if tuple(positions.shape) != expected:
        raise ValueError(f"positions of shape {tuple(positions.shape)}; the function must return {expected}")
    return positions


def check_method(method: object) -> None:
    """ValueError unless it says how a table is read."""
    if method not in ("bilinear", "area") and not callable(method):
        raise ValueError(f"positions {method!r}; accepted: bilinear, area, or a function of (table, geometry)")


def table_of(entries: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Entries (rows * columns, width) of a model as a table (rows, columns, width); shares memory.

    Raises:
        ValueError: the count does not fit the grid.
    """
    if entries.ndim != 2 or entries.shape[0] != grid[0] * grid[1]:
        raise ValueError(
            f"position table of shape {tuple(entries.shape)} for a grid of {grid[0]} x {grid[1]}; "
            f"it needs {grid[0] * grid[1]} entries: give the configuration that the weights were made with"
        )
    return entries.reshape(*grid, -1)


class ScaleEmbedding(nn.Module):
    """Tells a model how large each token is; adds nothing until trained.

    One vector per whole log2 of the side in native patches (see `token_scales`), mixed linearly in
    between; beyond the ends the last one holds. All start at zero, so a model that gets one is unchanged.

    Args:
        width: of the model.
        finest, coarsest: log2 of the smallest and largest side told apart, whole numbers.

    Raises:
        ValueError: the range is empty.
    """

    def __init__(self, width: int, *, finest: int = -4, coarsest: int = 3) -> None:
        super().__init__()
        if finest >= coarsest:
            raise ValueError(f"scales {finest}..{coarsest}; the coarsest lies above the finest")
        self.finest = finest
        self.weight = nn.Parameter(torch.zeros(coarsest - finest + 1, width))

    def forward(self, scales: torch.Tensor) -> torch.Tensor:
        """(views, tokens, width) from log2 scales, (views, tokens)."""
        place = (scales - self.finest).clamp(0, len(self.weight) - 1)
        low = place.floor().long().clamp_max(len(self.weight) - 2)
        part = (place - low)[..., None].to(self.weight.dtype)
        return self.weight[low] * (1 - part) + self.weight[low + 1] * part
