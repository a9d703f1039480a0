"""Tuning: which threshold and gates a clip needs for a wanted cosine, found by trying them against the full forward."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
import torch

from texvlm.encoders.base import Encoder
from texvlm.encoders.features import Features
from texvlm.engine import Engine
from texvlm.errors import SourceError
from texvlm.frames import Frame
from texvlm.layouts.uniform import UniformGrid
from texvlm.temporal.encoder import TemporalEncoder
from texvlm.temporal.exact_check import agreement
from texvlm.temporal.presets import settings_of
from texvlm.temporal.settings import TemporalSettings
from texvlm.tokens import TokenBatch

THRESHOLDS, GATES = (0.25, 0.5, 1.0, 2.0), (0.04, 0.08, 0.15)
"""Tried unless asked otherwise: steps of 255, and shares."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One pair of settings on the whole clip.

    Attributes:
        threshold: steps of 255.
        gate: share.
        flops_share: operations spent, of those of encoding all.
        encoded_share: tokens encoded, of all.
        class_cosine: mean over the frames.
        token_cosine: likewise, of each frame's mean over its tokens.
        worst_frames: 1st percentile over the frames of the token cosine.
    """

    threshold: float
    gate: float
    flops_share: float
    encoded_share: float
    class_cosine: float
    token_cosine: float
    worst_frames: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was tried, and what is proposed.

    Attributes:
        frames: of the clip.
        target: token cosine that was wanted.
        trials: every pair, the cheapest first.
        chosen: the cheapest that reaches the target; the most faithful where none does.
        reached: whether it does.
        settings: with the chosen threshold and gate.
    """

    frames: int
    target: float
    trials: tuple[Trial, ...]
    chosen: Trial
    reached: bool
    settings: TemporalSettings


def tune(
    frames: Iterable[Frame],
    encoder: Encoder,
    *,
    target: float = 0.99,
    preset: str | TemporalSettings = "auto",
    thresholds: Sequence[float] = THRESHOLDS,
    gates: Sequence[float] = GATES,
    tokens: int = 280,
    backend: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Tuning:
    """Try every pair of a threshold and a gate on a clip.

    Args:
        frames: of the clip; their tokens are kept in memory.
        encoder: a BlockEncoder, in eval mode.
        target: token cosine, mean over the frames, that is wanted.
        preset: where the other settings come from.
        thresholds: steps of 255.
        gates: shares.
        tokens: of a grid over each frame.
        backend: of the engine.
        progress: told how many passes over the clip are done, and of how many.
    Raises:
        ValueError: a target or number that is not accepted.
        SourceError: fewer than two frames.
        ModelError: an encoder whose blocks cannot be taken apart.
    """
    if not 0 < target < 1:
        raise ValueError(f"target is {target}; accepted: a cosine between 0 and 1")
    if not thresholds or not gates:
        raise ValueError("nothing to try; give at least one threshold and one gate")
    base = replace(settings_of(preset), name="tuned", check_every=None, target_cosine=None, deadline_ms=None)
    tried = [replace(base, threshold=threshold, gate=gate) for threshold in thresholds for gate in gates]
    batches, exact = _exact(frames, encoder, tokens, backend)
    if len(batches) < 2:
        raise SourceError(f"{len(batches)} frames; tuning takes a clip of 2 or more")
    trials = []
    for number, settings in enumerate(tried):
        trials.append(_trial(batches, exact, encoder, settings))
        if progress is not None:
            progress(number + 1, len(tried))
    trials.sort(key=lambda trial: (trial.flops_share, -trial.token_cosine))
    good = [trial for trial in trials if trial.token_cosine >= target]
    chosen = good[0] if good else max(trials, key=lambda trial: trial.token_cosine)
    settings = replace(base, threshold=chosen.threshold, gate=chosen.gate)
    return Tuning(len(batches), target, tuple(trials), chosen, bool(good), settings)


def _exact(
    frames: Iterable[Frame], encoder: Encoder, tokens: int, backend: str
) -> tuple[list[TokenBatch], list[Features]]:
    """Tokens of each frame, and what the full forward makes of them."""
    batches: list[TokenBatch] = []
    found: list[Features] = []
    layout = UniformGrid(patch=encoder.patch, tokens=tokens)
    with Engine(layout=layout, backend=backend, threshold=0, mean=encoder.mean, std=encoder.std) as engine:
        for frame in frames:
            engine.submit(frame)
            batches.append(engine.tokens())
            with torch.no_grad():
                found.append(encoder(batches[-1]))
    return batches, found


def _trial(
    batches: Sequence[TokenBatch], exact: Sequence[Features], encoder: Encoder, settings: TemporalSettings
) -> Trial:
    temporal = TemporalEncoder(encoder, settings)
    spent = full = encoded = tokens = 0
    checks = []
    for batch, wanted in zip(batches, exact, strict=True):
        out = temporal(batch)
        checks.append(agreement(out.features, wanted))
        report = out.reports[0]
        spent, full = spent + report.flops, full + report.flops_full
        encoded, tokens = encoded + report.tokens_encoded, tokens + report.tokens
    return Trial(
        settings.threshold,
        settings.gate,
        spent / max(full, 1),
        encoded / max(tokens, 1),
        fmean(check.class_token for check in checks),
        fmean(check.tokens for check in checks),
        float(np.quantile([check.tokens for check in checks], 0.01)),
    )
