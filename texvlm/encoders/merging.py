"""Towers of vision-language models: they merge whole squares of tokens into the ones that a language model sees.

    tokens, in whole squares -> the tower's blocks, packed -> states -> the tower's merger -> visual tokens

A square holds merge x merge tokens of one size, row by row, as `MergeBlocks` and `make_layout(block=)`
place them. Positions count patches of the full-resolution frame: a token at the fovea is told what the
model's own processor would tell it, and coarse ones lie at fractions in between.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import nn

from texvlm.encoders.base import Encoder
from texvlm.encoders.features import Features
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.positions import Grid, PositionMethod
from texvlm.encoders.readout import Readout
from texvlm.layouts.table import PADDING_LAYER
from texvlm.tokens import TokenBatch


@dataclass(frozen=True, eq=False, repr=False)
class MergedFeatures(Features):
    """Features of a tower, and the visual tokens that its language model takes.

    Attributes:
        merged: visual tokens, (views, squares, language width), in the order of the batch; zero in padding.
        layers: more of the same shape, which the first blocks of the language model add (deepstack); empty
            for a tower without.
        square_padding: bool, (views, squares): the square holds no tokens.
        places: (row, column) of each square's centre, counted in squares of native patches, float32,
            (views, squares, 2); whole numbers for a uniform layout at full resolution.
        extent: (rows, columns) of such squares that each frame measures, float32, (views, 2).
    """

    merged: torch.Tensor
    layers: tuple[torch.Tensor, ...]
    square_padding: torch.Tensor
    places: torch.Tensor
    extent: torch.Tensor

    @property
    def counts(self) -> list[int]:
        """Visual tokens of each view. Waits for the device."""
        found: list[int] = (~self.square_padding).sum(1).tolist()
        return found

    def __repr__(self) -> str:
        return f"Merged{super().__repr__()[:-1]}, merged={tuple(self.merged.shape)})"


class MergingEncoder(Encoder):
    """A tower of a vision-language model; see Encoder for the arguments not named here.

    Args:
        merge: tokens along the side of a square that becomes one.
        grid: (rows, columns) of patches that every frame counts as, for positions; None for as many as
            it has at full resolution.

    Raises:
        ValueError: a grid that is not two numbers above 0.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str,
        patch: int,
        width: int,
        native_grid: Grid,
        mean: Sequence[float],
        std: Sequence[float],
        merge: int,
        grid: Grid | None = None,
        positions: PositionMethod = "bilinear",
    ) -> None:
        super().__init__(
            model,
            name=name,
            patch=patch,
            width=width,
            native_grid=native_grid,
            mean=mean,
            std=std,
            prefix_tokens=0,
            positions=positions,
        )
        if grid is not None and (len(grid) != 2 or min(grid) < 1):
            raise ValueError(f"grid is {grid}; give (rows, columns) of patches, each 1 or more, or None")
        self.merge = merge
        self.grid = grid

    @abstractmethod
    def merge_squares(self, states: torch.Tensor) -> Sequence[torch.Tensor]:
        """Visual tokens with the model's own merger, and those of further layers behind them.

        Args:
            states: what `run` gave for whole squares, (squares, merge**2, ...).
        Returns:
            Each (squares, language width).
        """

    def prefix(self) -> None:
        """None: a tower has no class token."""

    def states(self, tokens: torch.Tensor) -> torch.Tensor:
        """The last block's states, (views, tokens, width), of what `run` gave."""
        return tokens

    def forward(self, batch: TokenBatch, *, readout: Readout | None = None) -> MergedFeatures:
        """Features of a batch; see Encoder.

        Raises:
            ValueError: as Encoder; tokens that do not come in whole squares; or a read-out: a tower answers
                nothing by itself.
        """
        if readout is not None:
            raise ValueError(f"{self.name} gives no answers of its own to read out; leave readout away")
        features = super().forward(batch)
        geometry = Geometry.of(batch)
        padding = self.by_square(features.padding)[..., 0]
        kept = None if geometry.full else ~padding
        found = [
            spread(part, kept, padding) for part in self.merge_squares(pack(self.by_square(features.tokens), kept))
        ]
        base = {field.name: getattr(features, field.name) for field in fields(Features)}
        return MergedFeatures(
            **base | {"tokens": self.states(features.tokens)},
            merged=found[0],
            layers=tuple(found[1:]),
            square_padding=padding,
            # centres of squares first, then counted in squares: whole numbers stay whole
            places=(self.by_square(self.coordinates(geometry)).mean(dim=2) + 0.5) / self.merge - 0.5,
            extent=self.extent(geometry) / self.merge,
        )

    def __call__(self, batch: TokenBatch, *, readout: Readout | None = None) -> MergedFeatures:
        """See `forward`."""
        found = super().__call__(batch, readout=readout)
        assert isinstance(found, MergedFeatures)
        return found

    def compile(self, **options: Any) -> None:
        """Compile the tower's blocks, in place: lengths differ from call to call, blocks stay the same."""
        for block in self.blocks:
            block.compile(**options)

    @property
    @abstractmethod
    def blocks(self) -> nn.ModuleList:
        """The tower's own blocks."""

    def by_square(self, part: torch.Tensor) -> torch.Tensor:
        """(views, tokens, ...) as (views, squares, merge**2, ...)."""
        return part.reshape(len(part), -1, self.merge**2, *part.shape[2:])

    def extent(self, geometry: Geometry) -> torch.Tensor:
        """(rows, columns) of patches that each frame measures, float32, (views, 2)."""
        if self.grid is not None:
            return geometry.sizes.new_tensor(self.grid).expand(len(geometry.sizes), 2)
        return geometry.sizes.flip(-1) / self.patch

    def coordinates(self, geometry: Geometry) -> torch.Tensor:
        """(row, column) of each token, counted in patches, fractional, float32, (views, tokens, 2)."""
        # multiplied first, as in grid_coordinates: whole numbers stay whole
        return geometry.centres.flip(-1) * self.extent(geometry)[:, None] / geometry.sizes.flip(-1)[:, None] - 0.5

    def check(self, batch: TokenBatch) -> None:
        """ValueError, of one line, unless the batch is one that this encoder takes."""
        super().check(batch)
        check_squares(batch, self.merge, self.name)


def check_squares(batch: TokenBatch, merge: int, name: str) -> None:
    """ValueError unless tokens come in whole squares, row by row. Waits for a device that planned them."""
    remedy = f"sample with make_layout(..., block={merge}) or MergeBlocks(layout, {merge})"
    table = batch.table
    if table.shape[1] % merge**2:
        raise ValueError(f"{table.shape[1]} tokens a view; {name} merges whole squares of {merge} x {merge}: {remedy}")
    squares = table.reshape(len(table), -1, merge**2)
    x, y, side = (squares[field].astype(np.float64) for field in ("x", "y", "side"))
    row, column = np.divmod(np.arange(merge**2), merge)
    near = 0.01 * side[..., :1]
    is_padding = squares["layer"] == PADDING_LAYER
    whole = (
        (np.abs(x - x[..., :1] - column * side[..., :1]) <= near)
        & (np.abs(y - y[..., :1] - row * side[..., :1]) <= near)
        & (np.abs(side - side[..., :1]) <= near)
    )
    fits = np.where(is_padding[..., :1], is_padding, whole & ~is_padding)
    if not fits.all():
        view, square, token = np.argwhere(~fits)[0]
        raise ValueError(
            f"token {square * merge**2 + token} of view {view} is not in its place in a square of {merge} x {merge}, "
            f"which {name} merges: {remedy}"
        )


def pack(part: torch.Tensor, kept: torch.Tensor | None) -> torch.Tensor:
    """(views, rows, ...) as (n, ...), rows that are not kept left out; shares memory where all are."""
    return part.flatten(0, 1) if kept is None else part[kept]


def spread(packed: torch.Tensor, kept: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    """(n, ...) back as (views, rows, ...) of `like`, zero in rows that were not kept."""
    if kept is None:
        return packed.view(*like.shape[:2], *packed.shape[1:])
    found = packed.new_zeros(*like.shape[:2], *packed.shape[1:])
    found[kept] = packed
    return found


def cu_seqlens(lengths: torch.Tensor) -> torch.Tensor:
    """Where each of the sequences begins and the last one ends, int32; empty sequences are left out."""
    ends = nn.functional.pad(lengths[lengths > 0].cumsum(0), (1, 0))
    return ends.to(torch.int32)
