"""Views of a batch taken apart and features put together again, and a small picture from tokens alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool2d

from texvlm.encoders.features import Features
from texvlm.fixation.scene import FloatMap
from texvlm.temporal.small_pictures import LEAST, LONGEST
from texvlm.temporal.token_cells import NOBODY, token_cells
from texvlm.tokens import TokenBatch

PIXELS = 4
"""Pixels along a token's side that a picture is made from."""


def picked(batch: TokenBatch, views: Sequence[int]) -> TokenBatch:
    """Some views of a batch, in the order given; the batch itself for all of them in theirs."""
    chosen = list(views)
    if chosen == list(range(len(batch))):
        return batch
    return TokenBatch(
        batch.pixels[chosen],
        batch.rows[chosen],
        batch.dirty[chosen],
        batch.sizes[chosen],
        batch.sources[chosen],
        batch.pts[chosen],
    )


def joined_batches(batches: Sequence[TokenBatch]) -> TokenBatch:
    """Batches of as many tokens a view as one.

    Raises:
        ValueError: views of different numbers of tokens.
    """
    if len({batch.pixels.shape[1:] for batch in batches}) != 1:
        raise ValueError(
            f"views of {', '.join(str(batch.pixels.shape[1]) for batch in batches)} tokens; a batch takes views of one "
            "number: give the layout a count of tokens"
        )
    if len(batches) == 1:
        return batches[0]
    return TokenBatch(
        torch.cat([batch.pixels for batch in batches]),
        np.concatenate([batch.table for batch in batches]),
        torch.cat([batch.dirty for batch in batches]),
        np.concatenate([batch.sizes for batch in batches]),
        np.concatenate([batch.sources for batch in batches]),
        np.concatenate([batch.pts for batch in batches]),
    )


def joined_features(parts: Sequence[Features], order: Sequence[int]) -> Features:
    """Views of several features as one.

    Args:
        parts: of as many tokens a view, and of one type.
        order: which view of the parts, counted through all of them, comes at each place.
    """
    if len(parts) == 1 and list(order) == list(range(len(parts[0]))):
        return parts[0]
    found = {field.name: _joined([getattr(part, field.name) for part in parts], order) for field in fields(parts[0])}
    return replace(parts[0], **found)


def _joined(values: list[Any], order: Sequence[int]) -> Any:
    if any(value is None for value in values):
        return None
    first = values[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(values)[list(order)]
    if isinstance(first, tuple):
        return tuple(_joined(list(layer), order) for layer in zip(*values, strict=True))
    return np.concatenate(values)[list(order)]


def picture_of_tokens(batch: TokenBatch, view: int, *, mean: Sequence[float], std: Sequence[float]) -> FloatMap:
    """A small picture of a frame as one view's tokens show it, (height, width, channels), 0..1.

    For who has tokens and no frame. Where no token lies it is gray.

    Args:
        batch: any tokens.
        view: which view.
        mean: that floats were normalised with.
        std: likewise.
    """
    size = (int(batch.sizes[view, 0]), int(batch.sizes[view, 1]))
    scale = LONGEST / max(size)
    shape = (max(round(size[1] * scale), LEAST), max(round(size[0] * scale), LEAST))
    table = batch.table[view]
    owner = token_cells(table, size=size, shape=shape)
    row, column = np.indices(shape)
    token = np.maximum(owner, 0)
    side = table["side"][token]
    place = [
        ((where + 0.5) * extent / count - table[axis][token]) / side + 0.5
        for where, extent, count, axis in ((column, size[0], shape[1], "x"), (row, size[1], shape[0], "y"))
    ]
    x, y = (np.clip(along * PIXELS, 0, PIXELS - 1).astype(np.intp) for along in place)
    small = _small_pixels(batch.pixels[view], mean, std)
    picture = small[token, :, y, x]
    picture[owner == NOBODY] = 0.5
    return np.ascontiguousarray(picture)


def _small_pixels(pixels: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """(tokens, channels, PIXELS, PIXELS) of full scale 1."""
    small = adaptive_avg_pool2d(pixels.float(), PIXELS)
    if pixels.dtype == torch.uint8:
        small = small / 255
    else:
        scale, offset = (torch.tensor(values, device=small.device)[:, None, None] for values in (std, mean))
        small = small * scale + offset
    found: NDArray[np.float32] = small.clamp(0, 1).cpu().numpy()
    return found
