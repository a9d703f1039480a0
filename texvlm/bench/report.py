"""What a benchmark run hands back: plain records that go to JSON, and tables of them for printing.

Times are milliseconds of wall time, bytes are bytes, counts are per call unless the name says
otherwise. A ratio is (median of a baseline) / (median of texvlm), both from the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from texvlm.bench.machine import Machine

SCHEMA_VERSION = 1
OURS = "texvlm"
"""Name of texvlm's own timing in every case."""

Backend = Literal["cpu", "gl", "cuda"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Timing(_Record):
    """Wall time of one call, over many calls."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    calls: int

    @classmethod
    def of(cls, seconds: list[float]) -> Timing:
        """Summary of measured times, seconds."""
        p10, median, p90 = (round(float(q) * 1e3, 5) for q in np.percentile(seconds, [10, 50, 90]))
        return cls(median_ms=median, p10_ms=p10, p90_ms=p90, calls=len(seconds))


class Prediction(_Record):
    """What the counts say that a call should take, worked out before it is timed; see texvlm.bench.cost.

    `ms` is bytes_moved / (measured copy bandwidth) + the measured fixed cost of one call of texvlm.
    """

    bytes_moved: int
    operations: int
    ms: float


class Case(_Record):
    """One scenario at one size on one backend: texvlm and the baselines on the same frames."""

    bench: str
    name: str
    size: tuple[int, int]
    backend: str
    dtype: str = "float32"
    sources: int = 1
    fixations: int = 1
    tokens: int
    timings: dict[str, Timing]
    ratios: dict[str, float] = Field(default_factory=dict)
    stages_ms: dict[str, float] = Field(default_factory=dict)
    counters: dict[str, float] = Field(default_factory=dict)
    predictions: dict[str, Prediction] = Field(default_factory=dict)

    @property
    def ours(self) -> Timing:
        """The timing of texvlm itself."""
        return self.timings[OURS]


class MemoryRun(_Record):
    """Resident memory of the process over many frames, and what an unchanged frame costs."""

    backend: str
    size: tuple[int, int]
    frames: int
    every: int
    rss_mib: list[float]
    growth_mib: float
    growth_note: str = "mean of the last tenth of the samples less that of the second tenth"
    unchanged_frames: int
    unchanged_counters: dict[str, int]


class Clip(_Record):
    """One real clip with one way of moving the fixation; errors in 1/255, PSNR in dB."""

    clip: str
    backend: str
    fixation: str
    size: tuple[int, int]
    frames: int
    tokens: int
    uniform_tokens: int
    tiles_changed_share: float
    tokens_resampled: float
    ms: Timing
    decode_ms: Timing
    worst_error: float
    threshold: float
    psnr_near: float
    psnr_near_uniform: float
    psnr_away: float
    psnr_away_uniform: float


class BenchReport(_Record):
    """Everything one run measured, and where.

    `load_before` is the system's load average of the last minute: near 0 on an idle machine. Times of a run
    that started on a busy one mean little. `load_after` holds the run's own load.
    """

    schema_version: int = SCHEMA_VERSION
    machine: Machine
    commit: str
    command: str
    date: str
    threads: int
    load_before: float = 0.0
    load_after: float = 0.0
    bandwidth_gb_s: dict[str, float] = Field(default_factory=dict)
    agreement_255: dict[str, float] = Field(default_factory=dict)
    cases: list[Case] = Field(default_factory=list)
    memory: list[MemoryRun] = Field(default_factory=list)
    clips: list[Clip] = Field(default_factory=list)
    skipped: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text for printing."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def markdown(self) -> str:
        """The table as GitHub markdown."""
        lines = [self.columns, tuple("---" for _ in self.columns), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def tables(report: BenchReport) -> list[Table]:
    """One table for each bench that ran."""
    found = []
    for bench in dict.fromkeys(case.bench for case in report.cases):
        found.append(_case_table(bench, [case for case in report.cases if case.bench == bench]))
    if report.memory:
        found.append(_memory_table(report.memory))
    if report.clips:
        found.append(clip_table(report.clips))
    return found


def _case_table(bench: str, cases: list[Case]) -> Table:
    baselines = list(dict.fromkeys(name for case in cases for name in case.ratios))
    several = any((case.sources, case.fixations) != (1, 1) for case in cases)
    predicted = any(OURS in case.predictions for case in cases)
    columns: tuple[str, ...] = ("case", "size", "backend", "dtype", "ms", "p10..p90")
    columns += ("predicted ms",) if predicted else ()
    columns += ("sources x fixations",) if several else ()
    columns += (*(f"{name} ms (ratio)" for name in baselines), "tiles", "kB up", "tokens sampled")
    rows = []
    for case in cases:
        row = [case.name, _size(case.size), case.backend, case.dtype, f"{case.ours.median_ms:.3f}"]
        row.append(f"{case.ours.p10_ms:.3f}..{case.ours.p90_ms:.3f}")
        if predicted:
            row.append(f"{case.predictions[OURS].ms:.3f}" if OURS in case.predictions else "")
        if several:
            row.append(f"{case.sources} x {case.fixations}")
        for name in baselines:
            known = name in case.ratios
            row.append(f"{case.timings[name].median_ms:.2f} ({case.ratios[name]:.1f}x)" if known else "")
        counters = case.counters
        row += [f"{counters.get('tiles_dirty', 0):.0f}", f"{counters.get('bytes_uploaded', 0) / 1e3:.0f}"]
        row.append(f"{counters.get('tokens_sampled', 0):.0f}")
        rows.append(tuple(row))
    return Table(bench, columns, rows)


def _memory_table(runs: list[MemoryRun]) -> Table:
    columns = ("backend", "size", "frames", "RSS MiB first..last", "growth MiB", "unchanged frame: bytes, tokens")
    rows = [
        (
            run.backend,
            _size(run.size),
            str(run.frames),
            f"{run.rss_mib[0]:.1f}..{run.rss_mib[-1]:.1f}",
            f"{run.growth_mib:+.2f}",
            f"{run.unchanged_counters['bytes_uploaded']}, {run.unchanged_counters['tokens_sampled']}",
        )
        for run in runs
    ]
    return Table("memory", columns, rows)


def clip_table(clips: list[Clip]) -> Table:
    """The real-footage table."""
    columns = (
        "clip",
        "size",
        "frames",
        "fixation",
        "backend",
        "tiles changed",
        "tokens re-sampled",
        "ms a frame (p90)",
        "decode ms",
        "worst error /255",
        "PSNR near: ours, uniform",
        "PSNR away: ours, uniform",
    )
    rows = [
        (
            clip.clip,
            _size(clip.size),
            str(clip.frames),
            clip.fixation,
            clip.backend,
            f"{clip.tiles_changed_share:.1%}",
            f"{clip.tokens_resampled:.0f} of {clip.tokens}",
            f"{clip.ms.median_ms:.2f} ({clip.ms.p90_ms:.2f})",
            f"{clip.decode_ms.median_ms:.2f}",
            f"{clip.worst_error:.2f} <= {clip.threshold:g}",
            f"{clip.psnr_near:.1f}, {clip.psnr_near_uniform:.1f}",
            f"{clip.psnr_away:.1f}, {clip.psnr_away_uniform:.1f}",
        )
        for clip in clips
    ]
    return Table("footage", columns, rows)


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
