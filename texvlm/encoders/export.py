"""Export: tokens for someone else's runtime, as a BatchFeature of transformers.

`model_inputs` gives pixels in the form that a model's own forward takes, so that a stock model, here or
on a server, runs on them. `embeddings` gives finished visual tokens, for a server that takes those. Both carry
the geometry of every token, since grids of whole patches can only say where uniform tokens lie.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from texvlm.encoders.base import Encoder
from texvlm.encoders.geometry import Geometry
from texvlm.encoders.merging import MergedFeatures, MergingEncoder, pack
from texvlm.encoders.naflex import NaFlexEncoder
from texvlm.encoders.qwen2_5_vl import QwenTower
from texvlm.errors import ModelError
from texvlm.layouts.table import PADDING_LAYER, Table
from texvlm.tokens import TokenBatch

if TYPE_CHECKING:
    from transformers import BatchFeature

GEOMETRY_FIELDS = ("x", "y", "side", "valid", "region", "width", "height")
"""Columns of `token_geometry`: those of the token table, level-0 texels, and the frame's size."""


def model_inputs(encoder: Encoder, batch: TokenBatch) -> BatchFeature:
    """A batch as the model's own forward takes it, normalised.

    Every export holds token_geometry, float32, (..., 7), see GEOMETRY_FIELDS, and on_grid, bool, (views,):
    the view is a uniform grid, so that the model's own positions say where its tokens lie.

    For NaFlex: pixel_values (views, tokens, patch * patch * channels), pixel_attention_mask, int32, (views,
    tokens), spatial_shapes (rows, columns), int64, (views, 2); off the grid (1, tokens), which fits the count
    and says nothing of places.

    For Qwen towers: pixel_values (n, channels * frames * patch * patch), views one after the other,
    image_grid_thw, int64, (views, 3); and, prefixed `image_`, all by which the model's own
    `get_image_features` places them: position_ids, cu_seqlens, and window or interpolation tables. Off the
    grid image_grid_thw is one row of squares, which fits the count and says nothing of places.

    Raises:
        ModelError: a family whose own forward takes whole pictures only.
        ValueError: a batch that the encoder does not take.
    """
    from transformers import BatchFeature

    encoder.check(batch)
    geometry = Geometry.of(batch)
    pixels = encoder.normalise(batch.pixels)
    if isinstance(encoder, NaFlexEncoder):
        shapes = [grid_of(rows, size, 1) for rows, size in zip(batch.table, batch.sizes, strict=True)]
        counts = (batch.table["layer"] != PADDING_LAYER).sum(1)
        grids = [shape or (1, int(count)) for shape, count in zip(shapes, counts, strict=True)]
        blank = geometry.padding[..., None]
        return BatchFeature(
            {
                "pixel_values": encoder.rows(pixels).masked_fill(blank, 0),
                "pixel_attention_mask": (~geometry.padding).to(torch.int32),
                "spatial_shapes": torch.tensor(grids).to(pixels.device),
                "token_geometry": _geometry(batch).masked_fill(blank, 0),
                "on_grid": torch.tensor([shape is not None for shape in shapes]),
            }
        )
    if isinstance(encoder, QwenTower):
        kept = None if geometry.full else ~geometry.padding
        placed = encoder.arguments(geometry)
        return BatchFeature(
            {
                "pixel_values": encoder.rows(pack(pixels, kept)),
                "token_geometry": pack(_geometry(batch), kept),
                **_grids(encoder, batch.table, batch.sizes),
                **{f"image_{name}": part for name, part in placed.items()},
            }
        )
    raise ModelError(
        f"{encoder.name} takes whole pictures only, so tokens cannot be given to its own forward; export its embeddings"
    )


def embeddings(encoder: MergingEncoder, features: MergedFeatures) -> BatchFeature:
    """Visual tokens for a server that takes precomputed embeddings, views one after the other.

    Holds image_embeds, (n, language width), the layers of a deepstack model behind each other along the
    width, as such servers take them; image_counts, int64, (views,): visual tokens of each; image_grid_thw,
    int64, (views, 3), and on_grid, as `model_inputs`; places, float32, (n, 2), and extent, (views, 2), see
    MergedFeatures; token_geometry, float32, (n, 7): GEOMETRY_FIELDS of whole squares.
    """
    from transformers import BatchFeature

    kept = None if not bool(features.square_padding.any()) else ~features.square_padding
    table = _host_table(features)
    return BatchFeature(
        {
            "image_embeds": pack(torch.cat([features.merged, *features.layers], dim=-1), kept),
            "image_counts": torch.tensor(features.counts),
            "places": pack(features.places, kept),
            "extent": features.extent,
            "token_geometry": pack(_square_geometry(table, features.sizes, encoder.merge), _on_host(kept)),
            **_grids(encoder, table, features.sizes),
        }
    )


def grid_of(rows: Table, size: np.ndarray, block: int) -> tuple[int, int] | None:
    """(rows, columns) of a view's tokens where they are a uniform grid over its frame, in reading order of squares.

    Args:
        rows: of one view, (tokens,); padding rows at its end are left out.
        size: (width, height) of the frame, texels.
        block: tokens along a square's side; 1 for reading order of tokens.
    """
    held = rows[rows["layer"] != PADDING_LAYER]
    side = float(held["side"][0]) * block if len(held) else 1.0
    columns, lines = (int(np.ceil(extent / side)) for extent in size)
    if columns * lines * block**2 != len(held) or (rows["layer"][: len(held)] == PADDING_LAYER).any():
        return None
    square, within = np.divmod(np.arange(len(held)), block**2)
    column = square % columns * block + within % block
    line = square // columns * block + within // block
    side /= block
    near = 0.01 * side
    there = (np.abs(held["x"] - (column + 0.5) * side) <= near) & (np.abs(held["y"] - (line + 0.5) * side) <= near)
    return (lines * block, columns * block) if (there & (np.abs(held["side"] - side) <= near)).all() else None


def _grids(encoder: MergingEncoder, table: Table, sizes: np.ndarray) -> dict[str, torch.Tensor]:
    """image_grid_thw and on_grid of every view."""
    merge = encoder.merge
    found = [grid_of(rows, size, merge) for rows, size in zip(table, sizes, strict=True)]
    counts = (table["layer"] != PADDING_LAYER).sum(1)
    grids = [grid or (merge, int(count) // merge) for grid, count in zip(found, counts, strict=True)]
    return {
        "image_grid_thw": torch.tensor([(1, *grid) for grid in grids]).to(encoder.device),
        "on_grid": torch.tensor([grid is not None for grid in found]),
    }


def _geometry(batch: TokenBatch) -> torch.Tensor:
    """GEOMETRY_FIELDS, float32, (views, tokens, 7), on the device of the pixels."""
    return torch.from_numpy(_columns(batch.table, batch.sizes)).to(batch.pixels.device)


def _square_geometry(table: Table, sizes: np.ndarray, merge: int) -> torch.Tensor:
    """GEOMETRY_FIELDS of squares, float32, (views, squares, 7), on the host."""
    parts = _columns(table, sizes).reshape(len(table), -1, merge**2, len(GEOMETRY_FIELDS))
    squares = parts.mean(axis=2)
    squares[..., GEOMETRY_FIELDS.index("side")] *= merge
    return torch.from_numpy(squares)


def _columns(table: Table, sizes: np.ndarray) -> np.ndarray:
    fields = [table[name].astype(np.float32) for name in GEOMETRY_FIELDS[:5]]
    frame = np.broadcast_to(sizes.astype(np.float32)[:, None], (*table.shape, 2))
    return np.concatenate([np.stack(fields, axis=-1), frame], axis=-1)


def _host_table(features: MergedFeatures) -> Table:
    from texvlm.layouts.table import TOKEN_RECORD

    if not isinstance(features.rows, torch.Tensor):
        return features.rows
    bits = np.ascontiguousarray(features.rows.cpu().numpy())
    return bits.view(TOKEN_RECORD).reshape(bits.shape[:2])


def _on_host(kept: torch.Tensor | None) -> torch.Tensor | None:
    return None if kept is None else kept.cpu()
