"""Nearest frames across clips, by the cosine of what a model says of each frame as a whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import JsonValue

from texvlm.encode.job import Progress
from texvlm.encode.model import JobModel, same_features
from texvlm.encode.settings import EncodeSettings
from texvlm.encode.stream import stream_features
from texvlm.errors import ModelError, SourceError, StoreError
from texvlm.sources.images import IMAGE_SUFFIXES
from texvlm.store import open_features
from texvlm.store.meta import META_NAME

VIDEO_SUFFIXES = frozenset(
    [".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv"]
)
"""Endings of the files that are taken for videos when a whole folder is named."""


@dataclass(frozen=True, slots=True, eq=False)
class ClipAnswers:
    """What a model says of each frame of one input.

    Attributes:
        clip: the input.
        answers: of unit length, float32, (frames, width).
        frames: index of each, (frames,).
        times_s: presentation times, seconds, (frames,); NaN when unknown.
    """

    clip: str
    answers: torch.Tensor
    frames: NDArray[np.int64]
    times_s: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Match:
    """One frame that resembles the query.

    Attributes:
        clip: the input it is from.
        frame: its index among the frames that were encoded.
        time_s: its presentation time, seconds; None when unknown.
        similarity: cosine of its answer and the query's, -1..1.
    """

    clip: str
    frame: int
    time_s: float | None
    similarity: float


def answers_of(
    item: str,
    settings: EncodeSettings,
    model: JobModel,
    *,
    start_s: float = 0.0,
    progress: Callable[[Progress], None] | None = None,
) -> ClipAnswers:
    """What the model says of the frames of an input, or said when a folder of features was written.

    Args:
        item: an input, or a folder of features.
        settings: how an input is encoded; its own `input` does not count.
        model: loaded.
        start_s: frames before this time, seconds, are passed over.
        progress: called after each frame that is encoded.
    Raises:
        StoreError: a folder of features of another model.
        SourceError: the input cannot be read, or has no frame from `start_s` on.
        ModelError, ValueError: as `stream_features`, or the model gives no answer for a whole frame.
    """
    if (Path(item) / META_NAME).is_file():
        clip, answers, frames, times = _stored(Path(item), model)
        kept = np.isnan(times) | (times >= start_s)
        answers, frames, times = answers[torch.from_numpy(kept)], frames[kept], times[kept]
    else:
        clip, answers, frames, times = (
            item,
            *_encoded(settings.model_copy(update={"input": item}), model, start_s=start_s, progress=progress),
        )
    if not len(frames):
        raise SourceError(f"{item} has no frame at {start_s:g} s or later; choose an earlier time")
    return ClipAnswers(clip, torch.nn.functional.normalize(answers, dim=1), frames, times)


def nearest(query: ClipAnswers, clips: Iterable[ClipAnswers], *, top: int = 10, apart_s: float = 1.0) -> list[Match]:
    """Frames that resemble the first frame of the query most, the best first.

    Frames of one clip that lie closer together than `apart_s` count once, and those as close to the
    query itself not at all: neighbours in a video resemble each other, which says nothing.

    Args:
        query: its first frame is looked for.
        clips: where to look.
        top: how many.
        apart_s: seconds; frames without a time are never too close.
    Raises:
        ValueError: `top` is below 1, `apart_s` below 0.
    """
    if top < 1 or not apart_s >= 0:
        raise ValueError(f"top is {top} and apart_s {apart_s}; accepted: 1 or more, and 0 s or more")
    searched = list(clips)
    cosines = [(clip.answers @ query.answers[0]).clamp(-1, 1).numpy() for clip in searched]
    owners = np.repeat(np.arange(len(searched)), [len(each) for each in cosines])
    places = np.concatenate([np.arange(len(each)) for each in cosines] or [np.zeros(0, np.int64)])
    taken = {_place(query.clip): [float(query.times_s[0])]}  # an input may come twice, also from a folder of features
    found: list[Match] = []
    for best in np.argsort(-np.concatenate(cosines or [np.zeros(0)]), kind="stable"):
        clip, i = searched[owners[best]], int(places[best])
        time_s = float(clip.times_s[i])
        others = taken.setdefault(_place(clip.clip), [])
        if any(abs(time_s - other) < apart_s or time_s == other for other in others):
            continue
        others.append(time_s)
        known = None if np.isnan(time_s) else time_s
        found.append(Match(clip.clip, int(clip.frames[i]), known, float(cosines[owners[best]][i])))
        if len(found) == top:
            break
    return found


def clips_in(folder: str) -> list[str]:
    """Videos, pictures and folders of features in a folder, by name; of anything else, itself alone."""
    path = Path(folder)
    if not path.is_dir() or (path / META_NAME).is_file():
        return [folder]
    endings = VIDEO_SUFFIXES | IMAGE_SUFFIXES
    inside = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    found = [
        str(each)
        for each in inside
        if (each / META_NAME).is_file() or (each.is_file() and each.suffix.lower() in endings)
    ]
    if not found:
        raise SourceError(f"{folder} holds no video, picture or folder of features; name one that does")
    return found


def _encoded(
    settings: EncodeSettings, model: JobModel, *, start_s: float, progress: Callable[[Progress], None] | None
) -> tuple[torch.Tensor, NDArray[np.int64], NDArray[np.float64]]:
    """Answers, frame indices and times of an input."""
    answers: list[torch.Tensor] = []
    frames: list[int] = []
    times: list[float] = []
    for found in stream_features(settings, model, start_s=start_s, progress=progress):
        if found.features.pooled is None:
            raise ModelError(f"{model.encoder.name} gives no answer for a whole frame to compare; use another model")
        answers.append(found.features.pooled.float().cpu())
        frames.append(found.frame)
        times.append(np.nan if found.time_s is None else found.time_s)
    return (
        torch.cat(answers) if answers else torch.zeros(0, 1),
        np.array(frames, np.int64),
        np.array(times, np.float64),
    )


def _stored(folder: Path, model: JobModel) -> tuple[str, torch.Tensor, NDArray[np.int64], NDArray[np.float64]]:
    """Input, answers, frame indices and times of a folder of features."""
    with open_features(folder) as store:
        made_by = store.meta.model or {}
        if not same_features(made_by, model.facts):
            raise StoreError(
                f"{folder} holds features of {_named(made_by)}, which cannot be compared with those of "
                f"{_named(model.facts)}; encode it again"
            )
        answers, times = store.answers()
        return str(store.meta.settings.get("input", folder)), answers, np.arange(len(store)), times


def _named(facts: Mapping[str, JsonValue]) -> str:
    """A model in words, as far as its features depend on it."""
    return f"{facts.get('name')} (weights {str(facts.get('weights_sha256'))[:8]}, positions {facts.get('positions')})"


def _place(clip: str) -> str:
    """An input by where it is, so that two names of one file are the same."""
    path = Path(clip)
    return str(path.resolve()) if path.exists() else clip
