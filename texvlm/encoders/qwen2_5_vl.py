"""Qwen2.5-VL: a tower of packed tokens, most of whose blocks attend within windows.

Takes the model with or without its language part, or the tower alone, of transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn

from texvlm.encoders.attention import Attention
from texvlm.encoders.base import square_side
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.merging import MergingEncoder, cu_seqlens, pack, spread
from texvlm.encoders.positions import Grid, PositionMethod
from texvlm.encoders.statistics import OPENAI_CLIP, Statistics, statistics_for

NATIVE_GRID = (32, 32)
"""The tower has no size of its own; this one is offered, four windows along each side of a published model."""


class QwenTower(MergingEncoder):
    """What the vision towers of Qwen share: patches over two frames, packed attention, rotary positions.

    A still frame is given twice, as the model's own processor does.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str,
        native_grid: Grid,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
        statistics: Statistics,
        positions: PositionMethod = "bilinear",
        grid: Grid | None = None,
    ) -> None:
        tower = tower_of(model)
        mean, std = statistics_for(tower.config.in_channels, mean=mean, std=std, default=statistics)
        super().__init__(
            model,
            name=name,
            patch=square_side(tower.config.patch_size, what="patches"),
            width=tower.config.hidden_size,
            native_grid=native_grid,
            mean=mean,
            std=std,
            merge=tower.spatial_merge_size,
            grid=grid,
            positions=positions,
        )

    @property
    def tower(self) -> Any:
        """The vision tower."""
        return tower_of(self.model)

    @property
    def blocks(self) -> nn.ModuleList:
        """See MergingEncoder."""
        return cast(nn.ModuleList, self.tower.blocks)

    def rows(self, pixels: torch.Tensor) -> torch.Tensor:
        """(n, channels * frames * patch * patch) of n token pictures, each given for all frames of a patch."""
        frames = self.tower.patch_embed.temporal_patch_size
        return pixels[:, :, None].expand(-1, -1, frames, -1, -1).flatten(1)

    def embed(self, pixels: torch.Tensor) -> torch.Tensor:
        """See Encoder."""
        return cast(torch.Tensor, self.tower.patch_embed(self.rows(pixels)))

    def arguments(self, geometry: Geometry) -> dict[str, torch.Tensor]:
        """Keywords by which the tower's own forward takes tokens off its grid; rows as `pack` leaves them."""
        kept = None if geometry.full else ~geometry.padding
        return {
            "position_ids": pack(self.coordinates(geometry), kept),
            "cu_seqlens": cu_seqlens((~geometry.padding).sum(1)),
        }


class Qwen25VLEncoder(QwenTower):
    """The tower of Qwen2.5-VL. See Encoder and MergingEncoder for arguments and errors.

    Windows hold the squares of one size that share a cell as wide as the model's window is in squares
    of that size. On a uniform layout these are the model's own; elsewhere, neighbours of one size meet in
    windows, and all sizes meet in the blocks of full attention.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str = "qwen2_5_vl",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        positions: PositionMethod = "bilinear",
        grid: Grid | None = None,
    ) -> None:
        super().__init__(
            model,
            name=name,
            native_grid=NATIVE_GRID,
            mean=mean,
            std=std,
            statistics=OPENAI_CLIP,
            positions=positions,
            grid=grid,
        )

    def positions(self, geometry: Geometry) -> None:
        """None: positions are rotary."""

    def arguments(self, geometry: Geometry) -> dict[str, torch.Tensor]:
        """See QwenTower; with the order of squares in windows, and where windows begin."""
        order, counts = self.windows(geometry)
        return super().arguments(geometry) | {
            "window_index": order,
            "cu_window_seqlens": cu_seqlens(counts * self.merge**2),
        }

    def windows(self, geometry: Geometry) -> tuple[torch.Tensor, torch.Tensor]:
        """Squares sorted by window, int64, (n,), as packed; and the squares of each window, (windows,)."""
        kept = None if geometry.full else ~self.by_square(geometry.padding)[..., 0]
        tower = self.tower
        along = tower.window_size // tower.spatial_merge_size // tower.patch_size
        centres = self.by_square(geometry.centres).mean(dim=2)
        sides = self.by_square(geometry.sides)[..., 0] * self.merge
        least = torch.where(self.by_square(geometry.padding)[..., 0], torch.inf, sides).amin(dim=1, keepdim=True)
        level = (sides / least).log2().round()
        cells = (centres / (along * least * level.exp2())[..., None]).floor()
        view = torch.arange(len(sides), device=sides.device)[:, None].expand_as(sides)
        keys = pack(torch.stack([view, level, cells[..., 1], cells[..., 0]], dim=-1), kept)
        _, window, counts = torch.unique(keys, dim=0, return_inverse=True, return_counts=True)
        return torch.argsort(window, stable=True), counts

    def run(self, hidden: torch.Tensor, geometry: Geometry, attention: Attention) -> torch.Tensor:
        """See Encoder."""
        tower = self.tower
        kept = None if geometry.full else ~geometry.padding
        given = self.arguments(geometry)
        order = given["window_index"]

        def in_windows(rows: torch.Tensor, order: torch.Tensor = order) -> torch.Tensor:
            return cast(torch.Tensor, tower.permute_input_for_window_attn(rows, order, seq_len=len(rows)))

        packed = in_windows(pack(hidden, kept))
        rotary = tuple(in_windows(part) for part in tower.rotary_pos_emb(packed, given["position_ids"]))
        for number, block in enumerate(tower.blocks):
            within = "cu_seqlens" if number in tower.fullatt_block_indexes else "cu_window_seqlens"
            packed = block(packed, cu_seqlens=given[within], position_embeddings=rotary)
        return spread(in_windows(packed, torch.argsort(order)), kept, geometry.padding)

    def merge_squares(self, states: torch.Tensor) -> Sequence[torch.Tensor]:
        """See MergingEncoder."""
        return [self.tower.merger(states.flatten(0, 1))]


def tower_of(model: nn.Module) -> Any:
    """The vision tower of a whole model, of one without its head, or of a tower."""
    body = getattr(model, "model", model)
    return getattr(body, "visual", body)
