"""Running benchmarks: which there are, at which sizes, and one report of them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numba
import torch
from pydantic import BaseModel, ConfigDict, Field

from texvlm.backends import open_backend
from texvlm.backends.base import Backend
from texvlm.bench.baselines import agreement
from texvlm.bench.footage import PATHS, clips_of, run_clip
from texvlm.bench.machine import load_average, probe_machine, source_commit
from texvlm.bench.memory import run_memory
from texvlm.bench.report import BenchReport
from texvlm.bench.scenarios import Bench, Scenario, run_fixations, run_scenario
from texvlm.bench.scenes import still
from texvlm.bench.timing import copy_bandwidth
from texvlm.engine import Engine
from texvlm.errors import BackendUnavailable

BENCHES = {
    "changes": "5 % of the tiles changed, everything changed, nothing changed; against all baselines",
    "sizes": "the same at 720p, 4K and 8K",
    "fixation": "a new fixation on a resident frame, 720p to 8K",
    "views": "1, 4, 16 fixations that share a budget, as many views, as many sources",
    "memory": "resident memory over many frames; what an unchanged frame moves",
    "footage": "every clip of a folder: changes, times, errors, quality",
}
"""Names that `BenchSettings.benches` accepts, with what they measure."""

P720, P1080, P1440, P2160, P4320 = (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160), (7680, 4320)
SMALL = (320, 180)
MEMORY_SIZE = (640, 360)

Progress = Callable[[str, int, int], None]
"""Called with what is under way, how many steps are done, and how many there are."""


class BenchSettings(BaseModel):
    """What to run.

    Attributes:
        benches: keys of BENCHES, in the order wanted; empty for all that can run.
        backends: backends to measure; one that is not there is named in the report's `skipped`.
        tokens: budget of the quadtree.
        rounds: timed calls of a scenario at 1080p; fewer on larger frames.
        quick: tiny frames and few rounds, to see that everything runs; the times mean nothing.
        data: folder of clips for the footage bench; None leaves it out.
        frames: stop after so many frames of a clip; None for all.
        memory_frames: frames of the memory bench.
        threads: of torch, OpenCV and Numba alike; None for as many as there are cores.
        seed: of all synthetic frames.
        command: what the report names as the command that made it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    benches: tuple[str, ...] = ()
    backends: tuple[str, ...] = ("cpu", "gl")
    tokens: int = Field(default=268, ge=4)
    rounds: int = Field(default=60, ge=1)
    quick: bool = False
    data: Path | None = None
    frames: int | None = Field(default=None, ge=1)
    memory_frames: int = Field(default=10_000, ge=10)
    threads: int | None = Field(default=None, ge=1)
    seed: int = 0
    command: str = "texvlm bench"


def run_benchmarks(settings: BenchSettings, *, progress: Progress | None = None) -> BenchReport:
    """Run benchmarks and report.

    Args:
        settings: what to run.
        progress: told about each step.
    Raises:
        ValueError: a bench that does not exist, or footage asked for without a folder.
        SourceError: the folder holds no clips.
        BackendUnavailable: none of the backends can be had.
    """
    benches = _chosen(settings)
    tell = progress or (lambda what, done, total: None)
    machine = probe_machine()
    report = BenchReport(
        machine=machine,
        commit=source_commit(),
        command=settings.command,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        threads=settings.threads or machine.cores,
        load_before=load_average(),
    )
    with _threads(report.threads):
        report.bandwidth_gb_s = _bandwidths(settings)
        for name in settings.backends:
            try:
                backend = open_backend(name).backend
            except BackendUnavailable as refusal:
                report.skipped[name] = str(refusal)
                continue
            try:
                _run_backend(backend, benches, settings, report, tell)
            finally:
                backend.close()
    report.load_after = load_average()
    if len(report.skipped) == len(settings.backends):
        raise BackendUnavailable("; ".join(f"{name}: {reason}" for name, reason in report.skipped.items()))
    return report


def _chosen(settings: BenchSettings) -> tuple[str, ...]:
    """The benches to run, checked."""
    for name in settings.benches:
        if name not in BENCHES:
            raise ValueError(f"bench {name!r}; accepted: {', '.join(BENCHES)}")
    if "footage" in settings.benches and settings.data is None:
        raise ValueError("the footage bench needs a folder of clips; give one with `data`")
    everything = tuple(name for name in BENCHES if name != "footage" or settings.data is not None)
    return settings.benches or everything


def _run_backend(
    backend: Backend, benches: tuple[str, ...], settings: BenchSettings, report: BenchReport, tell: Progress
) -> None:
    """Everything that one backend is measured on."""
    if backend.name == "gl":
        report.machine.gl = str(backend.describe().get("renderer", "unknown"))
    bench = Bench(
        backend,
        settings.tokens if not settings.quick else min(settings.tokens, 64),
        3 if settings.quick else settings.rounds,
        settings.seed,
        report.bandwidth_gb_s["frame"] * 1e9,
    )
    bench.prepare()
    frame = still(SMALL if settings.quick else P1080, settings.seed)
    with Engine(tokens=bench.tokens, backend=backend) as engine:
        engine.submit(frame)
        report.agreement_255[backend.name] = round(agreement(engine, frame), 4)
    for name in benches:
        steps = list(_steps(name, bench, settings, report))
        for index, (label, step) in enumerate(steps):
            tell(f"{name}, {backend.name}: {label}", index, len(steps))
            step()
        tell(f"{name}, {backend.name}", len(steps), len(steps))


def _steps(
    name: str, bench: Bench, settings: BenchSettings, report: BenchReport
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The steps of one bench: a label, and what to do."""
    quick = settings.quick
    if name == "fixation":
        for size in (SMALL, (640, 360)) if quick else (P720, P1080, P1440, P2160, P4320):
            yield f"{size[0]}x{size[1]}", partial(_keep, report.cases, run_fixations, bench, size)
    elif name == "memory":
        size, frames, unchanged = (SMALL, 40, 3) if quick else (MEMORY_SIZE, settings.memory_frames, 100)

        options = {"frames": frames, "unchanged": unchanged, "tokens": bench.tokens, "seed": settings.seed}
        yield f"{frames} frames", partial(_keep, report.memory, run_memory, bench.backend, size, **options)
    elif name == "footage" and settings.data is not None:
        limit = 4 if quick else settings.frames
        for path in clips_of(settings.data):
            for fixation in PATHS:
                measure = partial(run_clip, bench.backend, path, fixation, tokens=bench.tokens, frames=limit)
                yield f"{path.name}, {fixation}", partial(_keep, report.clips, measure)
    else:
        for scenario in _scenarios(name, quick):
            label = f"{scenario.name}, {scenario.size[0]}x{scenario.size[1]}"
            yield label, partial(_keep, report.cases, run_scenario, bench, scenario)


def _keep(where: list[Any], measure: Callable[..., Any], *given: Any, **options: Any) -> None:
    """Measure, and add the result to a part of the report."""
    where.append(measure(*given, **options))


def _scenarios(name: str, quick: bool) -> Iterator[Scenario]:
    """The scenarios of the benches that are made of them."""
    size = SMALL if quick else P1080
    if name == "changes":
        for dtype in (torch.float32, torch.uint8):
            yield Scenario(name, "5 % scattered", size, 0.05, "scattered", dtype=dtype)
            yield Scenario(name, "5 % clustered", size, 0.05, "clustered", dtype=dtype)
            yield Scenario(name, "cold", size, 1.0, dtype=dtype)
            yield Scenario(name, "unchanged", size, 0.0, dtype=dtype)
    elif name == "sizes":
        for other in ((320, 240),) if quick else (P720, P2160, P4320):
            yield Scenario(name, "5 % scattered", other, 0.05, "scattered")
            yield Scenario(name, "5 % clustered", other, 0.05, "clustered")
            yield Scenario(name, "cold", other, 1.0)
    elif name == "views":
        for fixations in (1, 4, 16):
            case = f"{fixations} fixations"
            yield Scenario(name, case, size, 0.05, "clustered", fixations=fixations, baselines=False)
        for views in (4, 16):
            yield Scenario(name, f"{views} views", size, 0.05, "clustered", views=views, baselines=False)
        for sources in (1, 4, 16):
            yield Scenario(name, f"{sources} sources", size, 0.05, "clustered", sources=sources, baselines=False)


def _bandwidths(settings: BenchSettings) -> dict[str, float]:
    """Copy bandwidth, GB/s, for arrays of the size of a 1080p frame and for arrays beyond any cache."""
    frame = P1080[0] * P1080[1] * 3
    found = {"frame": copy_bandwidth(frame), "large": copy_bandwidth(frame if settings.quick else 256 << 20)}
    return {name: round(rate / 1e9, 2) for name, rate in found.items()}


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """The same number of threads for torch, OpenCV and Numba; put back afterwards."""
    before = torch.get_num_threads(), cv2.getNumThreads(), numba.get_num_threads()
    torch.set_num_threads(count)
    cv2.setNumThreads(count)
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
        numba.set_num_threads(before[2])
