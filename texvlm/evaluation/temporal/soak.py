"""A long run of one method: does what it keeps stay flat, and the process with it?

Clips are played one after the other, again and again, at full speed, as one source that never begins anew: every seam
is a cut, often to another frame size. The quadtree gives as many tokens at any size.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import count, cycle

import numpy as np
import torch

from texvlm.bench.machine import rss_bytes
from texvlm.encoders import Encoder
from texvlm.evaluation.report import Origin, Record
from texvlm.evaluation.temporal.clips import Clip
from texvlm.evaluation.temporal.engines import open_engine
from texvlm.evaluation.temporal.methods import Method, Moment
from texvlm.evaluation.temporal.settings import TemporalSettings
from texvlm.frames import Frame

SAMPLES = 100


class Soak(Record):
    """What a long run kept.

    Attributes:
        origin: where it was run.
        method: which.
        frames: played.
        minutes: of video, at `rate` frames a second.
        every: frames between two samples.
        rss_mib: resident memory of the process.
        state_bytes: what the method says that it keeps.
        growth_mib: mean of the last tenth of `rss_mib` less that of the second tenth: buffers settle in the first.
        state_growth: largest of the last tenth of `state_bytes` less the largest of the second.
        encoded: share of tokens.
        ms: mean wall time a frame, decoding left out.
    """

    origin: Origin
    method: str
    frames: int
    minutes: float
    every: int
    rss_mib: list[float]
    state_bytes: list[int]
    growth_mib: float
    state_growth: int
    encoded: float
    ms: float


def run_soak(
    encoder: Encoder,
    method: Method,
    clips: Sequence[Clip],
    settings: TemporalSettings,
    origin: Origin,
    *,
    frames: int,
    rate: float = 25.0,
    progress: Callable[[int], None] | None = None,
) -> Soak:
    """Play so many frames.

    Args:
        encoder: what the method runs.
        method: begun once.
        clips: played in turns.
        settings: budget of the quadtree, threshold of the engine.
        origin: for the report.
        frames: how many; at least ten.
        rate: frames a second of the video that this would be.
        progress: told the number of frames done, whenever a sample is taken.
    Raises:
        ValueError: too few frames, or no clips.
    """
    if frames < 10 or not clips:
        raise ValueError(f"{frames} frames of {len(clips)} clips; give at least 10 frames of one")
    every = max(1, frames // SAMPLES)
    resident: list[float] = []
    kept: list[int] = []
    encoded = seen = 0
    spent = 0.0
    method.begin(encoder, 1)
    with open_engine(settings, "quadtree", (1, 1), encoder) as engine, torch.inference_mode():  # fits any size
        for index, frame in zip(range(frames), _endless(clips, rate), strict=False):
            start = time.perf_counter()
            engine.submit(frame)
            step = method.step(engine.tokens(), Moment(index, (frame,), engine))
            spent += time.perf_counter() - start
            encoded += int(step.encoded.sum())
            seen += step.encoded.size
            if (index + 1) % every == 0:
                resident.append(round(rss_bytes() / 2**20, 2))
                kept.append(method.state_bytes())
                if progress is not None:
                    progress(index + 1)
    tenth = max(1, len(resident) // 10)
    second, last = slice(tenth, 2 * tenth), slice(-tenth, None)
    return Soak(
        origin=origin,
        method=method.name,
        frames=frames,
        minutes=round(frames / rate / 60, 2),
        every=every,
        rss_mib=resident,
        state_bytes=kept,
        growth_mib=round(float(np.mean(resident[last]) - np.mean(resident[second])), 3),
        state_growth=max(kept[last]) - max(kept[second]),
        encoded=round(encoded / seen, 5),
        ms=round(spent / frames * 1e3, 3),
    )


def _endless(clips: Sequence[Clip], rate: float) -> Iterator[Frame]:
    """All clips, one after the other, again and again, at times that go on."""
    shown = count()
    for clip in cycle(clips):
        for frame in clip.open():
            yield replace(frame, pts=next(shown) / rate)
