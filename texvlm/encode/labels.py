"""What a classifier sees in each frame: the labels of a model's own head."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from texvlm.encode.job import Progress
from texvlm.encode.model import JobModel
from texvlm.encode.settings import EncodeSettings
from texvlm.encode.stream import stream_features
from texvlm.encoders import Encoder


@dataclass(frozen=True, slots=True)
class Label:
    """One class and its probability, 0..1."""

    name: str
    probability: float


@dataclass(frozen=True, slots=True)
class FrameLabels:
    """What a classifier says of one frame.

    Attributes:
        frame: index of the frame among those that the settings hand out.
        time_s: presentation time, seconds; None when unknown.
        whole: labels of the whole frame, the most probable first.
        fixations: the same for what lies around each fixation; empty without a read-out.
    """

    frame: int
    time_s: float | None
    whole: tuple[Label, ...]
    fixations: tuple[tuple[Label, ...], ...]


def classify(
    settings: EncodeSettings,
    model: JobModel,
    *,
    top: int = 5,
    names: Mapping[int, str] | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Iterator[FrameLabels]:
    """Labels of each frame of an input.

    Args:
        settings: as for `encode`, with a model.
        model: that model, loaded.
        top: labels of each frame.
        names: of the classes; None for those of the model's configuration.
        progress: called after each frame.
        stop: asked after each frame; True ends after the frames that were begun.
    Raises:
        ModelError: the model has no classifier.
        ValueError: `top` is below 1; or, like other errors, as `stream_features`.
    """
    if top < 1:
        raise ValueError(f"top is {top}; at least 1 label is shown")
    words = model.encoder.labels if names is None else names
    for found in stream_features(settings, model, progress=progress, stop=stop):
        with torch.inference_mode():
            whole = model.encoder.classify(found.features)[0]
            regions = found.features.regions
            around = [] if regions is None else list(model.encoder.classify(regions)[0])
        yield FrameLabels(
            found.frame, found.time_s, _best(whole, words, top), tuple(_best(logits, words, top) for logits in around)
        )


def read_labels(path: str | Path, encoder: Encoder) -> dict[int, str]:
    """Names of a model's classes from a file: a line for each, or a JSON list or object by number.

    Raises:
        OSError: the file cannot be read.
        ValueError: it names another number of classes than the model has.
    """
    text = Path(path).read_text(encoding="utf-8")
    try:
        content = json.loads(text)
    except ValueError:
        content = text.splitlines()
    if isinstance(content, list):
        content = dict(enumerate(content))
    try:
        names = {int(number): str(name).strip() for number, name in dict(content).items()}
    except (TypeError, ValueError):
        raise ValueError(
            f"{path} names no classes; accepted: a line for each, a JSON list, or {{number: name}}"
        ) from None
    if encoder.labels and names.keys() != encoder.labels.keys():
        raise ValueError(
            f"{path} names {len(names)} classes, and {encoder.name} has {len(encoder.labels)}; give each one"
        )
    return names


def _best(logits: torch.Tensor, names: Mapping[int, str], top: int) -> tuple[Label, ...]:
    """The most probable classes of logits (labels,)."""
    probabilities, classes = logits.float().softmax(-1).topk(min(top, logits.shape[-1]))
    return tuple(
        Label(names.get(number, f"class {number}"), probability)
        for number, probability in zip(classes.tolist(), probabilities.tolist(), strict=True)
    )
