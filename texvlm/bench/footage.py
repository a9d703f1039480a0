"""Real clips: what changes, what is sampled again, what it costs, and how close the tokens are.

Every frame is checked against a fresh engine that takes the same frame whole: no token may differ by
more than the threshold. Quality is that of the picture reconstructed from tokens alone, near the
fixation (within 5 degrees) and away from it, next to a uniform grid with as many tokens or fewer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from texvlm.backends.base import Backend
from texvlm.bench.report import Clip, Timing
from texvlm.drawing.reconstruct import reconstruct
from texvlm.engine import Engine
from texvlm.engine_options import DEFAULT_THRESHOLD
from texvlm.errors import SourceError
from texvlm.fixation import FixationPath, FixedFixation, MovingFixation
from texvlm.frames import Frame
from texvlm.layouts import UniformGrid
from texvlm.sources import open_source
from texvlm.visual_field import VisualField

SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi")
PATHS: dict[str, FixationPath] = {"centre": FixedFixation(), "moving": MovingFixation()}
NEAR_DEG = 5.0
PICTURES = 10
"""Frames of a clip that are reconstructed, at even distances: a picture costs far more than its tokens."""


def clips_of(folder: Path) -> list[Path]:
    """Video files of a folder, by name; SourceError when there is none."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise SourceError(f"{folder} holds no video; looked for {', '.join(SUFFIXES)}")
    return found


def run_clip(
    backend: Backend,
    path: Path,
    fixation: str,
    *,
    tokens: int,
    frames: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Clip:
    """Measure one clip with the fixation at rest or moving.

    Args:
        backend: open; closed by whoever opened it.
        path: the video file.
        fixation: a key of PATHS.
        tokens: budget of the quadtree.
        frames: stop after so many; None for all.
        progress: called with the number of frames done.
    """
    decoding: list[float] = []
    spent: list[float] = []
    changed: list[float] = []
    sampled: list[int] = []
    quality = _Quality(backend, tokens)
    worst = 0.0
    with open_source(path) as source, Engine(tokens=tokens, backend=backend) as engine:
        total = min(frames or 1 << 62, source.frames or PICTURES)
        every = max(1, total // PICTURES)
        for index, frame in enumerate(_timed(iter(source), decoding)):
            point = PATHS[fixation].at(frame.pts)
            before = engine.counters.tokens_sampled
            start = time.perf_counter()
            report = engine.submit(frame)
            batch = engine.tokens(point)
            spent.append(time.perf_counter() - start)
            changed.append(report.tiles_dirty / report.tiles_total)
            sampled.append(engine.counters.tokens_sampled - before)
            with Engine(layout=engine.layout, backend=backend) as fresh:
                fresh.submit(frame)
                whole = fresh.tokens(point).pixels.numpy()
            # in NumPy: threads that torch woke would spin into the next frame's time
            worst = max(worst, float(np.abs(whole - batch.pixels.numpy()).max()) * 255)
            if index % every == every // 2 or total == 1:
                quality.add(frame, point, reconstruct(batch))
            if progress is not None:
                progress(index + 1)
            if index + 1 == frames:
                break
        near, near_uniform, away, away_uniform = quality.psnr()
        return Clip(
            clip=path.name,
            backend=backend.name,
            fixation=fixation,
            size=frame.size,
            frames=len(spent),
            tokens=batch.table.size,
            uniform_tokens=quality.uniform_tokens,
            tiles_changed_share=round(float(np.mean(changed[1:] or changed)), 5),
            tokens_resampled=round(float(np.mean(sampled[1:] or sampled)), 2),
            ms=Timing.of(spent[1:] or spent),
            decode_ms=Timing.of(decoding),
            worst_error=round(worst, 4),
            threshold=DEFAULT_THRESHOLD * 255,
            psnr_near=near,
            psnr_near_uniform=near_uniform,
            psnr_away=away,
            psnr_away_uniform=away_uniform,
        )


def _timed(frames: Iterator[Frame], seconds: list[float]) -> Iterator[Frame]:
    """The frames, with the time that each took to decode."""
    while True:
        start = time.perf_counter()
        frame = next(frames, None)
        if frame is None:
            return
        seconds.append(time.perf_counter() - start)
        yield frame


class _Quality:
    """Squared errors near and away from the fixation, of foveated and of uniform tokens."""

    def __init__(self, backend: Backend, tokens: int) -> None:
        self._backend = backend
        self._uniform = UniformGrid(tokens=tokens)
        self._errors = np.zeros((2, 2))  # (near, away) x (ours, uniform)
        self._counts = np.zeros(2)
        self.uniform_tokens = 0

    def add(self, frame: Frame, point: tuple[float, float], picture: NDArray[np.uint8]) -> None:
        """Compare one frame with its reconstruction, and with that of uniform tokens."""
        width, height = frame.size
        with Engine(layout=self._uniform, backend=self._backend) as engine:
            engine.submit(frame)
            batch = engine.tokens()
        self.uniform_tokens = int((~batch.is_padding).sum())
        x, y = np.arange(width) + 0.5 - point[0] * width, np.arange(height) + 0.5 - point[1] * height
        near = np.hypot(x[None, :], y[:, None]) <= VisualField(frame.size).radius_texels(NEAR_DEG)
        for which, shown in enumerate((picture, reconstruct(batch))):
            squares = np.square(shown.astype(np.float32) - frame.pixels).sum(axis=2)
            near_sum = float(squares[near].sum(dtype=np.float64))
            self._errors[:, which] += near_sum, float(squares.sum(dtype=np.float64)) - near_sum
        inside = np.count_nonzero(near)
        self._counts += 3 * inside, 3 * (near.size - inside)

    def psnr(self) -> tuple[float, ...]:
        """Near ours, near uniform, away ours, away uniform, over all frames added; dB."""
        mean = np.maximum(self._errors / np.maximum(self._counts, 1)[:, None], 1e-6)
        return tuple(round(float(db), 2) for db in (10 * np.log10(255**2 / mean)).ravel())
