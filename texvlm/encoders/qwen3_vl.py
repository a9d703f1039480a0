"""Qwen3-VL: a tower of packed tokens with a position table, rotary positions, and deepstack layers.

Takes the model with or without its language part, or the tower alone, of transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import nn

from texvlm.encoders.attention import Attention
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.merging import pack, spread
from texvlm.encoders.positions import Grid, PositionMethod, look_up, table_of
from texvlm.encoders.qwen2_5_vl import QwenTower, tower_of
from texvlm.encoders.statistics import HALF


class Qwen3VLEncoder(QwenTower):
    """The tower of Qwen3-VL. See Encoder and MergingEncoder for arguments and errors.

    With `positions="bilinear"` the table is read as the model itself does: the outer tokens of a frame lie
    on the outer entries. Other methods read it as elsewhere, its cells spanning the frame.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        name: str = "qwen3_vl",
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        positions: PositionMethod = "bilinear",
        grid: Grid | None = None,
    ) -> None:
        tower = tower_of(model)
        side = tower.num_grid_per_side
        super().__init__(
            model,
            name=name,
            native_grid=(side, side),
            mean=mean,
            std=std,
            statistics=HALF,
            positions=positions,
            grid=grid,
        )
        table_of(tower.pos_embed.weight, self.native_grid)

    def positions(self, geometry: Geometry) -> torch.Tensor:
        """See Encoder."""
        entries = cast(torch.Tensor, self.tower.pos_embed.weight)
        if self.position_method != "bilinear":
            return look_up(table_of(entries, self.native_grid), geometry, method=self.position_method)
        indices, weights = self.taps(geometry)
        return (entries[indices] * weights[..., None]).sum(dim=-2)

    def taps(self, geometry: Geometry) -> tuple[torch.Tensor, torch.Tensor]:
        """The four entries around each token and their weights, (views, tokens, 4) each.

        Source:
            the model's own look-up, which puts token i of n at entry i * (side - 1) / (n - 1).
        """
        last = self.native_grid[0] - 1
        steps = (self.extent(geometry) - 1).clamp_min(1)
        place = (self.coordinates(geometry) * last / steps[:, None]).clamp(0, last)
        low = place.floor()
        part = place - low
        top, left = low.long().unbind(-1)
        bottom, right = (low + 1).clamp_max(last).long().unbind(-1)
        down, across = part.unbind(-1)
        columns = self.native_grid[1]
        indices = [top * columns + left, top * columns + right, bottom * columns + left, bottom * columns + right]
        weights = [(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across]
        return torch.stack(indices, dim=-1), torch.stack(weights, dim=-1)

    def arguments(self, geometry: Geometry) -> dict[str, torch.Tensor]:
        """See QwenTower; with the entries of the position table that each token takes, and their weights."""
        kept = None if geometry.full else ~geometry.padding
        indices, weights = self.taps(geometry)
        return super().arguments(geometry) | {
            "interp_indices": pack(indices, kept),
            "interp_weights": pack(weights, kept),
        }

    def run(self, hidden: torch.Tensor, geometry: Geometry, attention: Attention) -> torch.Tensor:
        """See Encoder; behind the last block's states, along the width, those of each deepstack block."""
        tower = self.tower
        kept = None if geometry.full else ~geometry.padding
        given = super().arguments(geometry)
        packed = pack(hidden, kept)
        rotary = tower.rotary_pos_emb(packed, given["position_ids"])
        tapped = {}
        for number, block in enumerate(tower.blocks):
            packed = block(packed, cu_seqlens=given["cu_seqlens"], position_embeddings=rotary)
            if number in tower.deepstack_visual_indexes:
                tapped[number] = packed
        deep = [tapped[number] for number in tower.deepstack_visual_indexes]
        return spread(torch.cat([packed, *deep], dim=-1), kept, geometry.padding)

    def states(self, tokens: torch.Tensor) -> torch.Tensor:
        """See MergingEncoder."""
        return tokens[..., : self.width]

    def merge_squares(self, states: torch.Tensor) -> Sequence[torch.Tensor]:
        """See MergingEncoder: the merger's, and those of the merger of each deepstack block."""
        tower = self.tower
        parts = torch.split(states.flatten(0, 1), self.width, dim=-1)
        mergers = [tower.merger, *tower.deepstack_merger_list]
        return [merger(part.contiguous()) for merger, part in zip(mergers, parts, strict=True)]
