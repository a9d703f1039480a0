"""Views of a batch taken apart, and features put together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch

from texvlm.encoders.features import Features
from texvlm.tokens import TokenBatch


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
