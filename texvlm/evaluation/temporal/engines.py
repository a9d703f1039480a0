"""The engine that all parts sample with: exact frames, the model's own normalisation, no padding."""

from __future__ import annotations

from texvlm.encoders import Encoder
from texvlm.engine import Engine
from texvlm.evaluation.temporal.settings import TemporalSettings


def open_engine(
    settings: TemporalSettings, layout: str, size: tuple[int, int], encoder: Encoder, *, sources: int = 1
) -> Engine:
    """An engine for frames of one size; close it.

    Args:
        settings: budgets and threshold.
        layout: of LAYOUTS.
        size: (width, height).
        encoder: whose patch and statistics.
        sources: how many.
    """
    return Engine(
        layout=settings.layout(layout, size, encoder.patch),
        sources=sources,
        backend="cpu",
        threshold=settings.threshold,
        mean=encoder.mean,
        std=encoder.std,
    )
