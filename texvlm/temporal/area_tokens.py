"""Tokens whose pixels are means of areas, wherever they lie: what a grid that moves with its content needs.

A pixel of a token is sampled from the mip level on which a texel is as large as the pixel. Texels lie where
the frame begins, not where the content is; so when a grid moves by a part of such a texel, along with its content,
the content between texels comes out otherwise. Sampled from finer levels and averaged, it does not: a mean of
n neighbouring samples, each between two texels, is the mean over the area from the first to the last. With texels of
level 0 a grid that moved with its content by whole texels gives the same pixels, to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn.functional import avg_pool2d

from texvlm.engine import Engine
from texvlm.layouts.base import Focus, Layout, to_texels
from texvlm.layouts.subdivided import Subdivided
from texvlm.layouts.table import PADDING_LAYER
from texvlm.tokens import TokenBatch

MOST_PARTS = 8
"""Parts along a token's side, at most: from there on what lies between two texels is too little to matter."""


def parts_for(side: float, patch: int) -> int:
    """Parts along a token's side of which each reads level 0, or as fine a level as `MOST_PARTS` allows.

    Args:
        side: of the token, level-0 texels.
        patch: pixels along it.
    """
    parts = 1
    while 2 * parts * patch <= side and parts < MOST_PARTS:
        parts *= 2
    return parts


def tokens_of(engine: Engine, fixations: ArrayLike, *, sources: Sequence[int], layout: Layout | None) -> TokenBatch:
    """Engine.tokens, or area_tokens where the layout is Subdivided."""
    if isinstance(layout, Subdivided):
        return area_tokens(engine, fixations, sources=sources, layout=layout)
    return engine.tokens(fixations, sources=sources, layout=layout)


def area_tokens(engine: Engine, fixations: ArrayLike, *, sources: Sequence[int], layout: Subdivided) -> TokenBatch:
    """As Engine.tokens of the whole tokens, with pixels that are means over their parts.

    Takes parts * parts times the samples, and the engine keeps as many for the next call.

    Args:
        engine: holds the frames.
        fixations: (sources, 2).
        sources: a view of each.
        layout: of the parts; see `parts_for`.
    """
    points, parts = np.asarray(fixations, np.float64), layout.parts
    batch = engine.tokens(points, sources=sources, layout=layout)
    rows = []
    for view, (source, point) in enumerate(zip(sources, points, strict=True)):
        size = (int(batch.sizes[view, 0]), int(batch.sizes[view, 1]))
        table = layout.layout.plan(size, Focus(to_texels(point[None], size)))
        table["layer"][table["layer"] != PADDING_LAYER] = source
        rows.append(table)
    views, _, channels, patch, _ = batch.pixels.shape
    tokens = len(rows[0])
    squares = batch.pixels.view(views, tokens, parts, parts, channels, patch, patch)
    large = squares.permute(0, 1, 4, 2, 5, 3, 6).reshape(views * tokens, channels, parts * patch, parts * patch)
    pixels = _means(large, parts).view(views, tokens, channels, patch, patch)
    return replace(batch, pixels=pixels, rows=np.stack(rows), dirty=batch.dirty.view(views, tokens, -1).any(dim=-1))


def _means(pixels: torch.Tensor, parts: int) -> torch.Tensor:
    if pixels.dtype == torch.uint8:
        return avg_pool2d(pixels.float(), parts).add_(0.5).floor_().to(torch.uint8)
    return avg_pool2d(pixels, parts)
