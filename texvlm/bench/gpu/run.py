"""Running the GPU benchmark: one report of targets, floors, baselines and mapping costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from texvlm.backends.base import Filtering
from texvlm.backends.cuda.api import Driver
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.backends.cuda.compiler import NvrtcCompiler
from texvlm.backends.cuda.kernels import Compiler
from texvlm.backends.cuda.opening import open_driver
from texvlm.bench.gpu.device import bandwidths, describe_gpu, launch_us
from texvlm.bench.gpu.launches import LaunchLog
from texvlm.bench.gpu.maps import map_rows
from texvlm.bench.gpu.pictures import real_pictures
from texvlm.bench.gpu.report import GpuReport, GpuRow
from texvlm.bench.gpu.rivals import rival_rows
from texvlm.bench.gpu.steps import SOURCES, Device, frame_rows, ingest_rows, sample_rows
from texvlm.bench.gpu.timers import CudaTimer, Timer
from texvlm.bench.machine import load_average, probe_machine, source_commit
from texvlm.errors import BackendUnavailable, TexvlmError

Opener = Callable[[], tuple[Driver, Compiler]]
"""Opens a device: its calls, and a compiler for it."""


@dataclass(frozen=True, slots=True)
class GpuSettings:
    """What to run.

    Attributes:
        size: (width, height) of the frames.
        ring: frames in turn; an even number, together larger than the device's caches.
        tokens: budget of the quadtree.
        sources: of the row with many sources.
        rounds: timed rounds over the ring.
        large: bytes of the copy that tells the bandwidth.
        dense_side: of the dense baselines.
        map_side: of the textures that are mapped.
        data: folder of clips; one with frames of this size is used in place of the procedural scene.
        quick: what the report says of itself: times mean nothing.
        command: what the report names as the command that made it.
    """

    size: tuple[int, int] = (1920, 1080)
    ring: int = 16
    tokens: int = 268
    sources: int = SOURCES
    rounds: int = 40
    large: int = 1 << 30
    dense_side: int = 1024
    map_side: int = 1024
    data: Path | None = None
    quick: bool = False
    command: str = "texvlm bench --gpu"


QUICK = GpuSettings(
    size=(320, 192),
    ring=4,
    tokens=64,
    sources=3,
    rounds=2,
    large=1 << 20,
    dense_side=64,
    map_side=16,
    quick=True,
)
"""Tiny: only to see that all runs."""


def open_gpu() -> tuple[Driver, Compiler]:
    """Torch's current GPU. BackendUnavailable when there is none."""
    driver = open_driver()
    return driver, NvrtcCompiler(driver.info.architecture)


def run_gpu_bench(
    settings: GpuSettings,
    *,
    opener: Opener = open_gpu,
    timer: Timer | None = None,
    progress: Callable[[str, int, int | None], None] | None = None,
) -> GpuReport:
    """Measure, and report.

    Args:
        settings: what to run.
        opener: the device; tests bring another one.
        timer: measures; None for the device's events.
        progress: told what was measured last, and how many rows are done; how many there will be is not known.
    Raises:
        BackendUnavailable: there is no GPU.
        SourceError: `data` holds no clips.
    """
    tell = progress or (lambda what, done, total: None)
    load = load_average()
    driver, compiler = opener()
    timer = timer or CudaTimer(settings.rounds)
    pictures, name = real_pictures(settings.size, settings.ring, settings.data)
    rates = bandwidths(driver.device, timer, large=settings.large, frame=pictures[0].nbytes)
    report = GpuReport(
        machine=probe_machine(),
        gpu=describe_gpu(driver, compiler),
        commit=source_commit(),
        command=settings.command,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        quick=settings.quick,
        pictures=name,
        size=settings.size,
        load_before=load,
        bandwidth_gb_s=rates,
        launch_us=launch_us(driver.device, timer),
    )
    report.machine.gpu = report.gpu.name

    @contextmanager
    def device(filtering: Filtering) -> Iterator[Device]:
        driver, compiler = opener()
        log = LaunchLog(driver, compiler)
        backend = CudaBackend(driver, log, filtering=filtering)
        try:
            yield Device(
                backend,
                log,
                timer,
                driver.device,
                pictures,
                settings.tokens,
                rates["device"] * 1e9,
                rates["host_to_device"] * 1e9,
                report.launch_us,
                settings.sources,
            )
        finally:
            backend.close()

    def add(rows: Iterator[GpuRow]) -> None:
        for row in rows:
            report.rows.append(row)
            tell(row.name, len(report.rows), None)

    def measure(filtering: Filtering, part: str, rows: Callable[[Device], Iterator[GpuRow]]) -> None:
        try:
            with device(filtering) as opened:
                add(rows(opened))
        except Exception as error:  # the rest may still run, and what was measured is not lost
            report.failed[part] = f"{type(error).__name__}: {error}"

    measure("hardware", "ingest", ingest_rows)
    measure("hardware", "sample", sample_rows)
    measure("hardware", "frame to tokens", frame_rows)
    measure("hardware", "baselines", partial(rival_rows, side=settings.dense_side, report=report))
    measure("exact", "sample, exact filter", partial(sample_rows, exact=True))
    _measure_maps(report, settings, opener)
    report.gpu = describe_gpu(driver, compiler)  # now that clocks are up
    driver.close()
    return report


def _measure_maps(report: GpuReport, settings: GpuSettings, opener: Opener) -> None:
    """Map and unmap OpenGL textures; or why that cannot be."""
    driver, _ = opener()
    try:
        report.maps = map_rows(driver, side=settings.map_side, rounds=settings.rounds)
    except BackendUnavailable as refusal:
        report.skipped["map and unmap"] = str(refusal)
    except TexvlmError as error:
        report.failed["map and unmap"] = str(error)
    finally:
        driver.close()
