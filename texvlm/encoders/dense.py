"""Token features on a dense grid: what heads made of convolutions read.

    features = encoder(batch)                        # tokens anywhere
    dense = scatter(features, (37, 37))              # (views, 37, 37, width)
    dense = scatter(later, (37, 37), onto=dense)     # tokens that changed replace what they cover

Each cell takes the mean, by area, of the tokens seen in it, where at each point the finest token that
holds it is seen: coarse tokens fill many cells, fine ones share one, and a crop hides the coarse grid
below it. The tokens of a uniform layout go to their cells as they are, to the bit.
"""

from __future__ import annotations

import numpy as np
import torch

from texvlm.encoders.features import Features
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.positions import Grid
from texvlm.layouts.base import check_count
from texvlm.layouts.table import PADDING_LAYER
from texvlm.tokens import TokenBatch


def scatter(features: Features, grid: Grid, *, onto: torch.Tensor | None = None, points: int = 4) -> torch.Tensor:
    """Features of tokens as a dense grid over each view's whole frame.

    Args:
        features: of tokens anywhere.
        grid: (rows, columns).
        onto: what stays where no token lies, (views, rows, columns, width), such as the grid of an
            earlier frame; None for the nearest token.
        points: along a cell's side: what tokens show is told apart to 1 / points of a cell.
    Returns:
        (views, rows, columns, width), in the type of the features. A view without any token is zero,
        or what it was.
    Raises:
        ValueError: a grid or a count below 1, or an `onto` of another shape.
    """
    rows, columns = grid
    for name, value in (("rows", rows), ("columns", columns), ("points", points)):
        check_count(name, value)
    tokens = features.tokens
    shape = (len(features), rows, columns, features.width)
    if onto is not None and tuple(onto.shape) != shape:
        raise ValueError(f"dense features of shape {tuple(onto.shape)}; these tokens go onto {shape}")
    geometry = _geometry_of(features)
    shares = cell_shares(geometry, grid, points=points)
    if onto is None:
        shares = shares + (1 - shares.sum(dim=-1, keepdim=True)) * _nearest(geometry, grid)
    dense = shares.to(tokens.dtype) @ tokens
    if onto is not None:
        dense = dense + (1 - shares.sum(dim=-1, keepdim=True)).to(tokens.dtype) * onto.to(tokens).flatten(1, 2)
    return dense.reshape(shape)


def cell_shares(geometry: Geometry, grid: Grid, *, points: int = 4) -> torch.Tensor:
    """The part of each cell in which each token is seen, float32, (views, rows * columns, tokens).

    A cell's parts sum to 1 where tokens cover it wholly, and to less where they do not.

    Args:
        geometry: of the tokens.
        grid: (rows, columns) of cells over the frame.
        points: along a cell's side, at which the tokens are looked up.
    """
    rows, columns = grid
    half = (geometry.sides / 2)[:, None]
    # what is not there has no side that could be the least: padding is seen nowhere
    sides = geometry.sides.masked_fill(geometry.padding, torch.inf)
    across = _points(geometry.sizes[:, 0], columns * points)
    down = _points(geometry.sizes[:, 1], rows * points)
    x, y = geometry.centres[:, None, :, 0], geometry.centres[:, None, :, 1]
    in_column = (across >= x - half) & (across < x + half)  # (views, points across, tokens)
    in_row = (down >= y - half) & (down < y + half)
    views, tokens = geometry.sides.shape

    def by_cell(found: torch.Tensor) -> torch.Tensor:
        """(views, points, columns * points) of a row of cells as (views, columns, points * points)."""
        return found.reshape(views, points, columns, points).transpose(1, 2).flatten(2)

    shares = []
    for row in torch.split(in_row, points, dim=1):  # a row of cells at a time: all at once would not fit
        holds = row[:, :, None] & in_column[:, None]
        side, seen = torch.where(holds, sides[:, None, None], torch.inf).min(dim=-1)
        seen, there = (by_cell(found) for found in (seen, side.isfinite()))
        empty = sides.new_zeros(views, columns, tokens)
        shares.append(empty.scatter_add(2, seen, there.to(sides.dtype)) / points**2)
    return torch.cat(shares, dim=1)


def changed_tokens(batch: TokenBatch) -> TokenBatch:
    """The tokens of a batch that are marked dirty, padded to the largest count of its views (at least 1).

    What an encoder makes of them differs from what it makes of the whole batch: they see each other
    and not the tokens left out. Where all are dirty, nothing differs. Waits for the device.
    """
    dirty = batch.dirty.cpu().numpy()
    kept = max(int(dirty.sum(axis=1).max(initial=0)), 1)
    order = np.argsort(~dirty, axis=1, kind="stable")[:, :kept]
    chosen = torch.from_numpy(order).to(batch.pixels.device)
    missing = ~np.take_along_axis(dirty, order, axis=1)
    rows = np.take_along_axis(batch.table, order, axis=1)
    rows["layer"][missing], rows["valid"][missing] = PADDING_LAYER, 0
    views = torch.arange(len(batch), device=chosen.device)[:, None]
    gone = torch.from_numpy(missing).to(chosen.device)
    pixels = batch.pixels[views, chosen].masked_fill(gone[..., None, None, None], 0)
    return TokenBatch(pixels, rows, ~gone, batch.sizes, batch.sources, batch.pts)


def _points(length: torch.Tensor, count: int) -> torch.Tensor:
    """Middles of `count` equal parts of each length (views,), (views, count, 1)."""
    parts = (torch.arange(count, dtype=length.dtype, device=length.device) + 0.5) / count
    return (length[:, None] * parts)[..., None]


def _nearest(geometry: Geometry, grid: Grid) -> torch.Tensor:
    """1 at the token whose centre is nearest to each cell's, (views, cells, tokens); all 0 without a token."""
    x, y = _points(geometry.sizes[:, 0], grid[1]), _points(geometry.sizes[:, 1], grid[0])
    squared_x = (x - geometry.centres[:, None, :, 0]).square()
    squared_y = (y - geometry.centres[:, None, :, 1]).square()
    distance = (squared_y[:, :, None] + squared_x[:, None]).flatten(1, 2)
    distance = distance.masked_fill(geometry.padding[:, None], torch.inf)
    least, token = distance.min(dim=-1, keepdim=True)
    return torch.zeros_like(distance).scatter(-1, token, least.isfinite().to(distance.dtype))


def _geometry_of(features: Features) -> Geometry:
    """Where the tokens of features lie: a batch whose pictures are the features has the same geometry."""
    pixels = features.tokens[..., None, None]
    parts = features.rows, features.padding, features.sizes, features.sources, features.pts
    return Geometry.of(TokenBatch(pixels, *parts))
