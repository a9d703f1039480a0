"""Training the helpers, and saying how good they are on frames that they have not seen.

Examples are pairs of frames of one clip, some frames apart: the earlier one stands for what was encoded
last. Both helpers are told next to what they replace, also where that is better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from texvlm.encoders import Encoder
from texvlm.video_models.delta import DeltaEncoder
from texvlm.video_models.examples import ClipExamples
from texvlm.video_models.frame_statistics import STATISTICS, frame_statistics
from texvlm.video_models.importance import FrameImportance, movement, rank_correlation
from texvlm.video_models.training import fit

LAGS = (1, 2, 4, 8)
"""Frames between the two of a pair: from the next frame to about a third of a second."""

BATCH = 256
"""Pairs of statistics in a step."""

NOISE = 0.005
"""Errors of stale features below this share of the features' variance are not worth learning from."""

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class ImportanceScore:
    """How well frames are put in the order of how far the answer moves, on pairs of one or more clips.

    Attributes:
        pairs: how many.
        helper: Spearman's rank correlation with the true movement.
        pixels: that of the plain mean change of pixels.
    """

    pairs: int
    helper: float
    pixels: float


@dataclass(frozen=True, slots=True)
class DeltaScore:
    """Cosine with what the full encoder says: of tokens and of the class token (1 without one).

    Attributes:
        pairs: how many.
        tokens, prefix: of the helper's features, mean.
        stale_tokens, stale_prefix: of the earlier frame's features, kept as they are.
        tokens_p1, stale_tokens_p1: the first percentile over tokens.
    """

    pairs: int
    tokens: float
    stale_tokens: float
    tokens_p1: float
    stale_tokens_p1: float
    prefix: float
    stale_prefix: float


def train_importance(
    clips: Sequence[ClipExamples], *, steps: int = 600, seed: int = 0, progress: Progress | None = None
) -> tuple[FrameImportance, list[float]]:
    """A predictor of how far class tokens move, and the loss of each step.

    Raises:
        ValueError: no pairs of frames.
    """
    pairs = [statistics_of(clip) for clip in clips]
    statistics, moved = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FrameImportance()
    model.fit_scale(statistics, moved)
    logs = moved.log()

    def loss(generator: torch.Generator) -> torch.Tensor:
        rows = torch.randint(len(statistics), (min(BATCH, len(statistics)),), generator=generator)
        return nn.functional.smooth_l1_loss(model.log_movement(statistics[rows]), logs[rows])

    return model, fit(model, loss, steps=steps, rate=5e-3, seed=seed, progress=progress)


def score_importance(model: FrameImportance, clips: Sequence[ClipExamples]) -> ImportanceScore:
    """See ImportanceScore."""
    pairs = [statistics_of(clip) for clip in clips]
    statistics, moved = (torch.cat(parts) for parts in zip(*pairs, strict=True))
    with torch.no_grad():
        guessed: NDArray[np.float32] = model(statistics).numpy()
    truth = moved.numpy()
    return ImportanceScore(
        len(truth), rank_correlation(guessed, truth), rank_correlation(statistics[:, 0].numpy(), truth)
    )


def statistics_of(clip: ClipExamples) -> tuple[torch.Tensor, torch.Tensor]:
    """Statistics of all pairs of a clip, (pairs, len(STATISTICS)), and how far the answer moves, (pairs,)."""
    then, now = _pairs(len(clip))
    found = [frame_statistics(clip.mips[n], clip.mips[t]) for t, n in zip(then, now, strict=True)]
    statistics = torch.from_numpy(np.stack(found)).reshape(-1, len(STATISTICS))
    return statistics, movement(clip.answers[now], clip.answers[then])


def train_delta(
    clips: Sequence[ClipExamples],
    encoder: Encoder,
    *,
    steps: int = 600,
    views: int = 8,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[DeltaEncoder, list[float]]:
    """A delta encoder for an encoder's features, and the loss of each step: about 1 is what stale features have.

    Args:
        clips: examples of that encoder.
        encoder: gives widths and the normalisation of pixels.
        steps: how many.
        views: pairs of frames in a step, of one clip.
        seed: of weights and of what is drawn.
        progress: called with the number of steps done.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = DeltaEncoder(encoder.width, clips[0].pixels[0, 0].numel())
    pairs = [_pairs(len(clip)) for clip in clips]
    kept = [~clip.padding for clip in clips]

    def loss(generator: torch.Generator) -> torch.Tensor:
        at = int(torch.randint(len(clips), (), generator=generator))
        clip, (then, now) = clips[at], pairs[at]
        drawn = torch.randint(len(then), (views,), generator=generator)
        t, n = then[drawn], now[drawn]
        padding = clip.padding.expand(views, -1)
        tokens, prefix = model(clip.tokens[t], clip.prefix[t], *_pixels(clip, encoder, n, t), padding=padding)
        wrong = _relative(tokens, clip.tokens[n], clip.tokens[t], rows=kept[at])
        if not prefix.shape[1]:
            return wrong
        return (wrong + _relative(prefix, clip.prefix[n], clip.prefix[t])) / 2

    return model, fit(model, loss, steps=steps, rate=2e-3, seed=seed, progress=progress)


def score_delta(
    model: DeltaEncoder, clips: Sequence[ClipExamples], encoder: Encoder, *, lags: Sequence[int] = LAGS
) -> DeltaScore:
    """See DeltaScore; pairs are so many frames apart."""
    found: list[list[torch.Tensor]] = []
    for clip in clips:
        kept = ~clip.padding
        for then, now in zip(*_pairs(len(clip), lags), strict=True):
            t, n = then[None], now[None]
            pixels = _pixels(clip, encoder, n, t)
            with torch.no_grad():
                tokens, prefix = model(clip.tokens[t], clip.prefix[t], *pixels, padding=clip.padding[None])
            found.append(
                [
                    _cosine(tokens[:, kept], clip.tokens[n][:, kept]),
                    _cosine(clip.tokens[t][:, kept], clip.tokens[n][:, kept]),
                    _cosine(prefix[:, :1], clip.prefix[n][:, :1]),
                    _cosine(clip.prefix[t][:, :1], clip.prefix[n][:, :1]),
                ]
            )
    made, stale, answers, stale_answers = (torch.cat(parts) for parts in zip(*found, strict=True))
    return DeltaScore(
        pairs=len(found),
        tokens=float(made.mean()),
        stale_tokens=float(stale.mean()),
        tokens_p1=float(np.quantile(made.numpy(), 0.01)),
        stale_tokens_p1=float(np.quantile(stale.numpy(), 0.01)),
        prefix=float(answers.mean()) if len(answers) else 1.0,
        stale_prefix=float(stale_answers.mean()) if len(stale_answers) else 1.0,
    )


def _pairs(frames: int, lags: Sequence[int] = LAGS) -> tuple[torch.Tensor, torch.Tensor]:
    """(then, now) of all pairs that are one of the lags apart."""
    then = [frame for lag in lags for frame in range(frames - lag)]
    now = [frame + lag for lag in lags for frame in range(frames - lag)]
    if not then:
        raise ValueError(f"{frames} frames hold no pair {min(lags)} apart; take more of them")
    return torch.tensor(then), torch.tensor(now)


def _pixels(
    clip: ClipExamples, encoder: Encoder, now: torch.Tensor, then: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised pixels of frames now and then, in 32 bits."""
    return encoder.normalise(clip.pixels[now]).float(), encoder.normalise(clip.pixels[then]).float()


def _relative(
    made: torch.Tensor, wanted: torch.Tensor, stale: torch.Tensor, *, rows: torch.Tensor | None = None
) -> torch.Tensor:
    """Squared error over that of stale features, pair by pair, so that a cut does not drown the rest; a mean."""
    wrong, before = (made - wanted).square(), (stale - wanted).square()
    if rows is not None:
        wrong, before = wrong[:, rows], before[:, rows]
    return (wrong.mean(dim=(1, 2)) / (before.mean(dim=(1, 2)) + NOISE * wanted.var())).mean()


def _cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return nn.functional.cosine_similarity(a, b, dim=-1).flatten()
