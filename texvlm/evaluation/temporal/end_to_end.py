"""From a coded frame to features: a method against a dense picture of 1024 x 1024, with ViT-B.

The dense way decodes, resizes the whole frame, normalises, cuts 4096 tokens and encodes them all, as
the benchmarks' baseline does; it is measured on a few frames, since each takes seconds and all cost the
same. Decoding is timed in both ways.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from texvlm.bench.baselines import DenseTokens
from texvlm.encoders import Encoder
from texvlm.encoders.untrained import untrained_vit
from texvlm.engine import Engine
from texvlm.evaluation.cost import DENSE_SIDE, MODELS, QUICK_MODELS
from texvlm.evaluation.report import Origin
from texvlm.evaluation.temporal.clips import Clip
from texvlm.evaluation.temporal.engines import open_engine
from texvlm.evaluation.temporal.methods import Guided, Method, Methods, Moment, choose
from texvlm.evaluation.temporal.peers import Full
from texvlm.evaluation.temporal.report import Dense, EndToEndPart, Way, shorten
from texvlm.evaluation.temporal.settings import TemporalSettings
from texvlm.frames import Frame
from texvlm.layouts import UniformGrid
from texvlm.tokens import TokenBatch

Tell = Callable[[str, int, int], None]

MODEL = "ViT-B"
KIND = "surveillance"
"""Of the clips; without any, the first clip."""

FRAMES = 60
"""Timed frames of a way, at most."""


def run_end_to_end(
    settings: TemporalSettings,
    origin: Origin,
    clips: Sequence[Clip],
    methods: Methods,
    *,
    guide: Encoder | None = None,
    tell: Tell,
) -> EndToEndPart:
    """Measure; a `guide` with trained weights says which rows pass, see Guided."""
    name = next(iter(QUICK_MODELS)) if settings.quick else MODEL
    shape = (QUICK_MODELS if settings.quick else MODELS)[name]
    encoder = untrained_vit(shape.width, shape.blocks, shape.heads, image=64 if settings.quick else 224)
    part = EndToEndPart(origin=origin, load_after=0.0, model=f"{name}, random weights", dense=[], rows=[])
    for clip in [clip for clip in clips if clip.kind == KIND] or clips[:1]:
        contestants: list[Method] = [Full(), *choose(methods, settings.methods)]
        tell(f"end-to-end: dense, {clip.name}", 0, len(contestants) + 1)
        dense = _dense(encoder, clip, settings)
        part.dense.append(dense)
        for index, method in enumerate(contestants, 1):
            tell(f"end-to-end: {method.name}, {clip.name}", index, len(contestants) + 1)
            part.rows.append(_way(encoder, clip, method, dense, settings, guide))
    return part


@dataclass(slots=True)
class _Stages:
    """Seconds of each stage, a number a frame."""

    decode: list[float] = field(default_factory=list)
    make: list[float] = field(default_factory=list)
    encode: list[float] = field(default_factory=list)

    def play(
        self,
        clip: Clip,
        frames: int,
        make: Callable[[Frame], TokenBatch],
        encode: Callable[..., object],
        rehearse: Callable[[TokenBatch], object] | None = None,
    ) -> None:
        """Play a clip; the first frame is not timed, nor is what is rehearsed."""
        playing = clip.open()
        with torch.inference_mode():
            for index in range(frames + 1):
                marks = [time.perf_counter()]
                frame = next(playing, None)
                if frame is None:
                    break
                marks.append(time.perf_counter())
                batch = make(frame)
                marks.append(time.perf_counter())
                if rehearse is not None:
                    rehearse(batch)
                start = time.perf_counter()
                encode(batch, index, frame)
                spent = [*np.diff(marks), time.perf_counter() - start]
                if index:
                    for stage, seconds in zip((self.decode, self.make, self.encode), spent, strict=True):
                        stage.append(float(seconds))

    def means_ms(self) -> dict[str, float]:
        """Mean of each stage and of the whole, milliseconds."""
        found = {
            f"{name}_ms": float(np.mean(part)) * 1e3
            for name, part in (("decode", self.decode), ("make", self.make), ("encode", self.encode))
        }
        return found | {"frame_ms": sum(found.values())}


def _dense(encoder: Encoder, clip: Clip, settings: TemporalSettings) -> Dense:
    side = 128 if settings.quick else DENSE_SIDE
    resized = DenseTokens(side, encoder.patch)
    with Engine(layout=UniformGrid(side=encoder.patch, patch=encoder.patch), backend="cpu") as engine:
        engine.submit(np.zeros((side, side, 3), np.uint8))
        geometry = engine.tokens()
    stages = _Stages()
    stages.play(
        clip,
        settings.dense_frames,
        lambda frame: replace(geometry, pixels=resized(frame.pixels)[None]),
        lambda batch, index, frame: encoder(batch),
    )
    row = Dense(
        clip=clip.name, side=side, tokens=geometry.pixels.shape[1], frames=len(stages.decode), **stages.means_ms()
    )
    shorten(row)
    return row


def _way(
    encoder: Encoder, clip: Clip, method: Method, dense: Dense, settings: TemporalSettings, guide: Encoder | None
) -> Way:
    """One method over the clip; decoding goes on in turns with it, as in a program."""
    layout = settings.layouts[0]
    size = next(clip.open()).size
    stages = _Stages()
    tokens = 0
    method.begin(encoder, 1)
    rehearse = None
    if guide is not None and isinstance(method, Guided):
        method.follow(encoder, guide)
        rehearse = method.rehearse
    with open_engine(settings, layout, size, encoder) as engine:

        def make(frame: Frame) -> TokenBatch:
            engine.submit(frame)
            return engine.tokens()

        def encode(batch: TokenBatch, index: int, frame: Frame) -> None:
            nonlocal tokens
            tokens = batch.pixels.shape[1]
            method.step(batch, Moment(index, (frame,), engine))

        stages.play(clip, min(FRAMES, settings.frames - 1), make, encode, rehearse)
    means = stages.means_ms()
    row = Way(
        clip=clip.name,
        kind=clip.kind,
        layout=layout,
        tokens=tokens,
        method=method.name,
        frames=len(stages.decode),
        faster_than_dense=dense.frame_ms / means["frame_ms"],
        **means,
    )
    shorten(row)
    return row
