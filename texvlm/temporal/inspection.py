"""Inspection: a clip run through a TemporalEncoder, or through the change rule alone, as frames of a timeline."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from texvlm.drawing.timeline import TimelineFrame
from texvlm.encoders.base import Encoder
from texvlm.engine import Engine
from texvlm.errors import SourceError
from texvlm.frames import Frame
from texvlm.layouts.table import Table
from texvlm.layouts.uniform import UniformGrid
from texvlm.motion.field import MotionField
from texvlm.motion.source import MotionSource, moment_of
from texvlm.regions import TileMask
from texvlm.temporal.encoder import SMALLEST, TemporalEncoder
from texvlm.temporal.presets import settings_of
from texvlm.temporal.settings import TemporalSettings
from texvlm.temporal.shots import ShotWatch
from texvlm.temporal.small_pictures import LEAST, small_picture
from texvlm.temporal.source_memory import SourceMemory
from texvlm.temporal.temporal_reports import TemporalReport
from texvlm.temporal.token_cells import token_cells
from texvlm.temporal.transitions import Transition

TOKENS, PATCH = 280, 16
"""Tokens of a frame unless asked otherwise; pixels along a token's side where no model says."""

CELLS = 64
"""Cells along the longer side of the maps that show where tokens were encoded."""

SHOWN = 200
"""Texels along the longer side of the pictures that are kept for the strip, at most."""

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a clip's frames came to.

    Attributes:
        frames: in order, for texvlm.drawing.timeline.draw_timeline.
        preset: settings in force at the end, by name.
        tokens: of all frames.
        encoded: of them; without a model, those that were stale.
        flops_share: operations spent, of those of encoding all; None without a model.
        counters: of the TemporalEncoder; empty without a model.
    """

    frames: tuple[TimelineFrame, ...]
    preset: str
    tokens: int
    encoded: int
    flops_share: float | None
    counters: dict[str, object]


def inspect_clip(
    frames: Iterable[Frame],
    encoder: Encoder | None = None,
    *,
    preset: str | Path | TemporalSettings = "auto",
    tokens: int = TOKENS,
    motion: MotionSource | None = None,
    backend: str = "auto",
    progress: Progress | None = None,
) -> Inspection:
    """Run a clip and keep what happened.

    Args:
        frames: of the clip.
        encoder: None looks at pixels alone: what would have been stale, and no features.
        preset: see TemporalEncoder; without an encoder its change rule counts ("auto": as it begins).
        tokens: of a grid over each frame.
        motion: measured for each frame and shown; None for none.
        backend: of the engine.
        progress: told how many frames are done.
    Raises:
        ValueError: settings or a number of tokens that are not accepted.
        SourceError: there are no frames.
    """
    settings = settings_of(preset)
    patch = PATCH if encoder is None else encoder.patch
    temporal = None if encoder is None else TemporalEncoder(encoder, preset)
    pixels = None if temporal is not None else _Pixels(settings)
    found: list[TimelineFrame] = []
    spent = full = 0
    mean, std = (None, None) if encoder is None else (encoder.mean, encoder.std)
    with Engine(
        layout=UniformGrid(patch=patch, tokens=tokens), backend=backend, threshold=0, mean=mean, std=std
    ) as engine:
        for index, frame in enumerate(frames):
            tiles = engine.submit(frame).tiles
            field = None if motion is None else motion(moment_of(engine, frame=frame))
            if temporal is not None:
                shown, took = _encoded(temporal, engine, frame)
                spent, full = spent + took[0], full + took[1]
            else:
                assert pixels is not None
                shown = pixels.look(engine, frame)
            found.append(_with(shown, engine, frame, tiles=tiles, field=field))
            if progress is not None:
                progress(index + 1)
    if not found:
        raise SourceError("a clip without frames; give one with at least one")
    return Inspection(
        tuple(found),
        settings.name if temporal is None else temporal.settings(0).name,
        sum(frame.tokens or 0 for frame in found),
        sum(frame.encoded_tokens or 0 for frame in found),
        spent / full if full else None,
        {} if temporal is None else temporal.counters.as_dict(),
    )


class _Pixels:
    """Which tokens would be stale, by the change rule alone."""

    def __init__(self, settings: TemporalSettings) -> None:
        self._settings, self._rule = settings, settings.rule(moving=False)
        self._shots = ShotWatch()
        self._memory: SourceMemory | None = None

    def look(self, engine: Engine, frame: Frame) -> TimelineFrame:
        batch = engine.tokens()
        size = (int(batch.sizes[0, 0]), int(batch.sizes[0, 1]))
        transition = Transition("none", 0, 0)
        if self._settings.cut_bar is not None and min(size) >= LEAST:
            time_s = math.nan if frame.pts is None else frame.pts
            transition = self._shots.update(0, _small(engine), self._settings, time_s)
        pixels, table = batch.pixels[0], batch.table[0]
        if self._memory is None or not self._memory.fits(pixels) or transition.kind == "cut":
            self._memory = SourceMemory(pixels)
        pts = float(batch.pts[0])
        verdict = self._memory.judge(pixels, table, size, self._rule, pts=pts, std=None)
        self._memory.commit(verdict, pixels, table, size, pts)
        held = ~batch.is_padding[0]
        return TimelineFrame(
            encoded=_token_map(table, size, verdict.stale.cpu().numpy()),
            transition="" if transition.kind == "none" else transition.kind,
            tokens=int(held.sum()),
            encoded_tokens=int(verdict.stale.sum()),
            mean_age=float(verdict.ages[held].float().mean()),
            max_age=float(verdict.ages.max()),
            deviation=float(verdict.change.max()) / 255,
            bound=self._rule.threshold / 255,
        )


def _encoded(temporal: TemporalEncoder, engine: Engine, frame: Frame) -> tuple[TimelineFrame, tuple[int, int]]:
    """A frame through the encoder, and operations spent and in full."""
    out = temporal.step(engine, frames={0: frame})
    report = out.reports[0]
    assert isinstance(report, TemporalReport)
    size = (int(out.features.sizes[0, 0]), int(out.features.sizes[0, 1]))
    held = ~out.features.padding[0]
    rows = out.features.rows
    table = rows[0] if isinstance(rows, np.ndarray) else engine.plan()[0]
    shown = TimelineFrame(
        encoded=_token_map(table, size, report.encoded.cpu().numpy()),
        level=report.level,
        transition="" if report.transition == "none" else report.transition,
        tokens=report.tokens,
        encoded_tokens=report.tokens_encoded,
        mean_age=float(report.ages[held].float().mean()),
        max_age=float(report.oldest),
        deviation=report.worst_deviation / 255,
        bound=report.threshold / 255,
        spent_ms=report.time_ms,
        fell_back=bool(report.fell_back),
    )
    return shown, (report.flops, report.flops_full)


def _with(
    shown: TimelineFrame, engine: Engine, frame: Frame, *, tiles: TileMask, field: MotionField | None
) -> TimelineFrame:
    return replace(
        shown,
        time_s=frame.pts,
        picture=small_picture(engine, longest=SHOWN),
        size=engine.frame_size(),
        tiles=tiles,
        motion=field,
    )


def _small(engine: Engine) -> NDArray[np.generic]:
    """A picture to tell cuts by: of a small frame, the frame."""
    size = engine.frame_size()
    assert size is not None
    return small_picture(engine) if min(size) >= SMALLEST else engine.read_level(0)


def _token_map(table: Table, size: tuple[int, int], chosen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where some tokens of a view lie, (rows, columns) over the frame."""
    scale = CELLS / max(size)
    owner = token_cells(table, size=size, shape=(max(round(size[1] * scale), 1), max(round(size[0] * scale), 1)))
    found: NDArray[np.bool_] = np.append(chosen, False)[owner]
    return found
