"""Bicubic look-up of a position table: what models of this family do themselves at other sizes.

transformers resizes a learned table to the picture's grid with torch's bicubic filter, plain (ViT,
DINOv2, CLIP, SigLIP) or antialiased (DINOv2 with registers). The same filters, taken at each token's
centre, give any layout a position; on a uniform layout of any size they give the model's own table:

    load(folder, positions=bicubic)
"""

from __future__ import annotations

import torch

from texvlm.encoders.geometry import Geometry
from texvlm.encoders.positions import grid_coordinates

PLAIN, ANTIALIASED = -0.75, -0.5
"""The free parameter of the cubic, as torch chooses it for each of the two."""


def bicubic(table: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """The table at each token's centre through a cubic over 4 x 4 entries; edge entries go on for ever.

    Args:
        table: (rows, columns, width), floating point.
        geometry: of the tokens, on the table's device.
    Returns:
        (views, tokens, width), float32 or the table's own wider type.
    Source:
        torch.nn.functional.interpolate(mode="bicubic", align_corners=False).
    """
    row, column = grid_coordinates(geometry, (table.shape[0], table.shape[1])).unbind(-1)
    return _weighted(table, _taps(row, table.shape[0]), _taps(column, table.shape[1]))


def bicubic_antialiased(table: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """The same with a cubic that widens with tokens larger than a table cell, over the entries there are.

    Arguments and result as for `bicubic`.

    Source:
        torch.nn.functional.interpolate(mode="bicubic", align_corners=False, antialias=True).
    """
    rows, columns = table.shape[:2]
    row, column = grid_coordinates(geometry, (rows, columns)).unbind(-1)
    down = _wide_taps(row, geometry.sides * rows / geometry.sizes[:, None, 1], rows)
    across = _wide_taps(column, geometry.sides * columns / geometry.sizes[:, None, 0], columns)
    return _weighted(table, down, across)


def _taps(place: torch.Tensor, cells: int) -> torch.Tensor:
    """Weight of each of `cells` entries, (..., cells), of a cubic at `place`; taps beyond an end fall to it."""
    entries = place.floor()[..., None] + torch.arange(-1, 3, dtype=place.dtype, device=place.device)
    weights = _cubic(place[..., None] - entries, PLAIN)
    empty = weights.new_zeros(*place.shape, cells)
    return empty.scatter_add(-1, entries.clamp(0, cells - 1).long(), weights)


def _wide_taps(place: torch.Tensor, extent: torch.Tensor, cells: int) -> torch.Tensor:
    """The same of a cubic stretched to `extent` cells where that is more than one; taps beyond an end are left out."""
    place = place.clamp(-0.5, cells - 0.5)  # a token outside the frame, far from every entry
    entries = torch.arange(cells, dtype=place.dtype, device=place.device)
    weights = _cubic((place[..., None] - entries) / extent.clamp_min(1)[..., None], ANTIALIASED)
    return weights / weights.sum(dim=-1, keepdim=True)


def _cubic(distance: torch.Tensor, a: float) -> torch.Tensor:
    """Keys' cubic convolution kernel: 1 at 0, 0 at other whole distances and beyond 2."""
    x = distance.abs()
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return torch.where(x <= 1, near, torch.where(x < 2, far, 0.0))


def _weighted(table: torch.Tensor, down: torch.Tensor, across: torch.Tensor) -> torch.Tensor:
    """Sum over the table with separable weights (views, tokens, rows) and (views, tokens, columns)."""
    wide = torch.promote_types(table.dtype, torch.float32)
    shares = (down[..., :, None] * across[..., None, :]).flatten(-2)
    return shares.to(wide) @ table.flatten(0, 1).to(wide)
