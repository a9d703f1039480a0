"""Clips in, checkpoint out: what `texvlm train` does.

The last frames of every clip are held out and say what the helper is worth next to what it replaces; it
is written in any case, for its owner to judge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from texvlm.encoders import load as load_encoder
from texvlm.errors import SourceError
from texvlm.video_models.checkpoint import save_checkpoint
from texvlm.video_models.examples import ClipExamples, read_examples
from texvlm.video_models.head import check_at_least
from texvlm.video_models.helper_training import (
    LAGS,
    DeltaScore,
    ImportanceScore,
    score_delta,
    score_importance,
    train_delta,
    train_importance,
)

HELPERS = ("importance", "delta")
STEPS = {"importance": 600, "delta": 600}

HELD_OUT = 5
"""One frame of so many is held out, at the end of each clip."""

LEAST_FRAMES = HELD_OUT * (min(LAGS) + 1)
"""Frames of a clip for two to be held out, the fewest that hold a change."""

Tell = Callable[[str, int, int | None], None]


@dataclass(frozen=True, slots=True)
class TrainReport:
    """How a training went.

    Attributes:
        kind: of HELPERS.
        encoder: name of the model that gave the labels.
        clips: how many.
        frames: of all clips, held-out ones with them.
        weights: numbers that were learned.
        first_loss: mean of the first tenth of the steps.
        last_loss: mean of the last tenth.
        score: on the held-out frames.
    """

    kind: str
    encoder: str
    clips: int
    frames: int
    weights: int
    first_loss: float
    last_loss: float
    score: ImportanceScore | DeltaScore


def train_helper(
    kind: str,
    clips: Sequence[str],
    model: Path,
    out: Path,
    *,
    tokens: int | None = None,
    every: int = 1,
    frames: int | None = None,
    steps: int | None = None,
    seed: int = 0,
    tell: Tell = lambda what, done, total: None,
) -> TrainReport:
    """Train a helper for a model on clips and write its checkpoint.

    Args:
        kind: of HELPERS.
        clips: whatever `open_source` takes.
        model: folder of the model that gives the labels.
        out: the checkpoint; written whole or not at all.
        tokens: of the grid over each frame; None for as many as the model's own picture has.
        every: take each N-th frame.
        frames: so many of each clip at most.
        steps: of training; None for STEPS.
        seed: of all that is drawn.
        tell: called with what is done, how much of it, and of how much.
    Raises:
        ModelError: the model cannot be used.
        SourceError: a clip cannot be read, or is too short.
        ValueError: arguments that are not accepted; no such folder to write to.
    """
    if kind not in HELPERS:
        raise ValueError(f"helper {kind!r}; accepted: {', '.join(HELPERS)}")
    if not clips:
        raise ValueError("no clips to learn from; name one or more")
    if out.is_dir() or not out.parent.is_dir():
        raise ValueError(f"{out} cannot be written; give a file in a folder that is there")
    for name, value in (("steps", steps), ("frames", frames), ("tokens", tokens)):
        if value is not None:
            check_at_least(name, value, 1)
    check_at_least("seed", seed, 0)
    tell(f"loading {model}", 0, None)
    encoder = load_encoder(model)
    train: list[ClipExamples] = []
    held_out: list[ClipExamples] = []
    for clip in clips:
        name = Path(clip).name
        found = read_examples(
            clip,
            encoder,
            tokens=tokens,
            every=every,
            frames=frames,
            progress=lambda done, name=name: tell(f"encoding {name}", done, frames),  # type: ignore[misc]
        )
        if len(found) < LEAST_FRAMES:
            raise SourceError(f"{clip}: {len(found)} frames; training takes {LEAST_FRAMES} or more of each clip")
        end = len(found) - max(len(found) // HELD_OUT, min(LAGS) + 1)
        train.append(found.part(slice(0, end)))
        held_out.append(found.part(slice(end, None)))
    count = steps or STEPS[kind]

    def progress(done: int) -> None:
        tell(f"training {kind}", done, count)

    score: ImportanceScore | DeltaScore
    if kind == "importance":
        importance, losses = train_importance(train, steps=count, seed=seed, progress=progress)
        helper: torch.nn.Module = importance
        score = score_importance(importance, held_out)
    else:
        delta, losses = train_delta(train, encoder, steps=count, seed=seed, progress=progress)
        helper, score = delta, score_delta(delta, held_out, encoder)
    save_checkpoint(helper, out, encoder=encoder, notes={"seed": seed, "steps": count})
    tenth = max(len(losses) // 10, 1)
    return TrainReport(
        kind=kind,
        encoder=encoder.name,
        clips=len(clips),
        frames=sum(map(len, train)) + sum(map(len, held_out)),
        weights=sum(parameter.numel() for parameter in helper.parameters()),
        first_loss=sum(losses[:tenth]) / tenth,
        last_loss=sum(losses[-tenth:]) / tenth,
        score=score,
    )
