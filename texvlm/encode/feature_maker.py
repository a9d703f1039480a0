"""Frames on their way through a model, several at a time."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from texvlm.encode.model import JobModel
from texvlm.encoders import Features
from texvlm.fixation import Look
from texvlm.layouts.base import Focus, Layout, to_texels
from texvlm.tokens import TokenBatch


class Made(NamedTuple):
    """One frame's tokens, and what the model made of them; one view each."""

    batch: TokenBatch
    features: Features


class FeatureMaker:
    """Gathers frames of like shape and encodes them together, in their order.

    The numbers of a frame depend, in their last bits, on how many others it is encoded with. So that
    a resume writes the bytes of a quiet run, frames gather from the beginning of a shard on, and never
    across its end: `room` says how many the shard still takes.

    Args:
        model: what encodes.
        batch: frames that are encoded together, at most.
    """

    def __init__(self, model: JobModel, *, batch: int) -> None:
        self._model, self.batch = model, batch
        self._waiting: list[TokenBatch] = []
        self._looks: list[Look] = []

    def fits(self, batch: TokenBatch) -> bool:
        """Whether a frame can be encoded with those that wait; if not, flush first."""
        return not self._waiting or self._waiting[-1].pixels.shape == batch.pixels.shape

    def add(self, batch: TokenBatch, look: Look, *, room: int) -> list[Made]:
        """One more frame, which owns its memory, and which `fits`.

        Args:
            batch: one view.
            look: where it was looked at.
            room: frames that may be encoded together with the ones that wait, these included.
        Returns:
            Frames that this completed, in order; mostly none.
        Raises:
            ValueError, ModelError: as JobModel.encode; what waited is dropped.
        """
        self._waiting.append(batch)
        self._looks.append(look)
        return self.flush() if len(self._waiting) >= min(self.batch, room) else []

    def flush(self) -> list[Made]:
        """Encode what waits; errors as `add`."""
        waiting, looks = self._waiting, self._looks
        self._waiting, self._looks = [], []
        if not waiting:
            return []
        features = self._model.encode(_side_by_side(waiting), looks)
        return [Made(batch, _view(features, i)) for i, batch in enumerate(waiting)]


def check_model(model: JobModel, layout: Layout, size: tuple[int, int], look: Look) -> None:
    """Encode a black frame of this (width, height), so that what cannot work fails before anything is written.

    Raises:
        ValueError, ModelError: as JobModel.encode.
    """
    table = layout.plan(size, Focus(to_texels(look.fixations, size), look.weights, look.score))[None]
    patch, channels = model.encoder.patch, len(model.encoder.mean)
    black = TokenBatch(
        pixels=torch.zeros(*table.shape, channels, patch, patch, device=model.encoder.device),
        rows=table,
        dirty=torch.ones(table.shape, dtype=torch.bool),
        sizes=np.array([size], np.int32),
        sources=np.zeros(1, np.int32),
        pts=np.zeros(1),
    )
    model.encode(black, [look])


def _side_by_side(batches: list[TokenBatch]) -> TokenBatch:
    """Frames of like shape as the views of one batch."""
    if len(batches) == 1:
        return batches[0]
    rows = [batch.rows for batch in batches]
    on_device = [part for part in rows if isinstance(part, torch.Tensor)]
    return TokenBatch(
        pixels=torch.cat([batch.pixels for batch in batches]),
        rows=torch.cat(on_device) if len(on_device) == len(rows) else np.concatenate([b.table for b in batches]),
        dirty=torch.cat([batch.dirty for batch in batches]),
        sizes=np.concatenate([batch.sizes for batch in batches]),
        sources=np.concatenate([batch.sources for batch in batches]),
        pts=np.concatenate([batch.pts for batch in batches]),
    )


def _view(features: Features, i: int) -> Features:
    """View `i` alone."""
    one = slice(i, i + 1)
    return Features(
        tokens=features.tokens[one],
        padding=features.padding[one],
        prefix=features.prefix[one],
        pooled=None if features.pooled is None else features.pooled[one],
        regions=None if features.regions is None else features.regions[one],
        rows=features.rows[one],
        sizes=features.sizes[one],
        sources=features.sources[one],
        pts=features.pts[one],
    )
