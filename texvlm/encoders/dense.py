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
from numpy.typing import NDArray

from texvlm.encoders.features import Features
from texvlm.encoders.positions import Grid
from texvlm.layouts.base import check_count
from texvlm.layouts.table import PADDING_LAYER, Table
from texvlm.tokens import TokenBatch


def scatter(features: Features, grid: Grid, *, onto: torch.Tensor | None = None, points: int = 4) -> torch.Tensor:
    """Features of tokens as a dense grid over each view's whole frame. Waits for a device that planned the tokens.

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
    table = _table_of(features)
    shares = torch.from_numpy(cell_shares(table, features.sizes, grid, points=points)).to(tokens)
    rest = 1 - shares.sum(dim=-1, keepdim=True)
    if onto is None:
        shares = shares + rest * torch.from_numpy(_nearest(table, features.sizes, grid)).to(tokens)
        return (shares @ tokens).reshape(shape)
    return (shares @ tokens + rest * onto.to(tokens).flatten(1, 2)).reshape(shape)


def cell_shares(table: Table, sizes: NDArray[np.int32], grid: Grid, *, points: int = 4) -> NDArray[np.float32]:
    """The part of each cell in which each token is seen, (views, rows * columns, tokens).

    A cell's parts sum to 1 where tokens cover it wholly, and to less where they do not.

    Args:
        table: TOKEN_RECORD, (views, tokens).
        sizes: (width, height) of each view's frame, (views, 2).
        grid: (rows, columns) of cells over the frame.
        points: along a cell's side, at which the tokens are looked up.
    """
    rows, columns = grid
    views, tokens = table.shape
    cell = np.add.outer(np.arange(rows * points) // points * columns, np.arange(columns * points) // points)
    shares = np.zeros((views, rows * columns, tokens), np.float32)
    for view, (row, size) in enumerate(zip(table, sizes, strict=True)):
        left, right = _points_held(row["x"], row["side"], int(size[0]), columns * points)
        top, bottom = _points_held(row["y"], row["side"], int(size[1]), rows * points)
        seen = np.full(cell.shape, -1)
        coarse_to_fine = np.argsort(-row["side"], kind="stable")
        for token in coarse_to_fine[row["layer"][coarse_to_fine] != PADDING_LAYER]:  # the finest is painted last
            seen[top[token] : bottom[token], left[token] : right[token]] = token
        there = seen >= 0
        np.add.at(shares[view], (cell[there], seen[there]), np.float32(1 / points**2))
    return shares


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


def _points_held(
    centre: NDArray[np.float32], side: NDArray[np.float32], length: int, points: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last but one of the middles of equal parts of 0..length that lie in each interval."""
    low, high = (
        np.clip(np.ceil((centre.astype(np.float64) + half) * points / length - 0.5), 0, points).astype(np.int64)
        for half in (-side / 2, side / 2)
    )
    return low, high


def _nearest(table: Table, sizes: NDArray[np.int32], grid: Grid) -> NDArray[np.float32]:
    """1 at the token whose centre is nearest to each cell's, (views, cells, tokens); all 0 without a token."""
    rows, columns = grid
    row, column = (part.ravel() for part in np.mgrid[:rows, :columns])
    x = (column + 0.5) * sizes[:, :1] / columns
    y = (row + 0.5) * sizes[:, 1:] / rows
    squared = (x[..., None] - table["x"][:, None]) ** 2 + (y[..., None] - table["y"][:, None]) ** 2
    squared[np.broadcast_to((table["layer"] == PADDING_LAYER)[:, None], squared.shape)] = np.inf
    nearest = squared.argmin(axis=-1)[..., None]
    chosen = np.zeros(squared.shape, np.float32)
    np.put_along_axis(chosen, nearest, np.isfinite(np.take_along_axis(squared, nearest, axis=-1)), axis=-1)
    return chosen


def _table_of(features: Features) -> Table:
    """The table of features on the host: that of a batch whose pictures they are."""
    parts = features.rows, features.padding, features.sizes, features.sources, features.pts
    return TokenBatch(features.tokens[..., None, None], *parts).table
