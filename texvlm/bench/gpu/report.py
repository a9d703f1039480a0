"""What a GPU run hands back: plain records that go to JSON.

Times are milliseconds, as in `texvlm.bench.report`; targets and floors are microseconds, as the table of
targets states them. Bytes and counts are per call.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from texvlm.bench.machine import Machine
from texvlm.bench.report import Timing

GPU_SCHEMA_VERSION = 1

Metric = Literal["gpu", "stream", "wall"]
"""Which of a row's times is held against its target."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Gpu(_Record):
    """The device, and how it was running."""

    name: str
    architecture: str
    memory_gib: float
    multiprocessors: int
    l2_mib: float
    cuda_driver: str
    driver: str | None = None
    torch_cuda: str | None = None
    bindings: str | None = None
    compiler: str | None = None
    clocks: dict[str, str] = Field(default_factory=dict)
    emulated: bool = False


class Launched(_Record):
    """One kernel launch of a call.

    `registers`, `spill_bytes` and `shared_bytes` are the assembler's report; `warps` is how many of a
    multiprocessor's `most_warps` fit by registers and block size; `waves` is blocks over those that run at once.
    """

    kernel: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    registers: int | None = None
    spill_bytes: int | None = None
    shared_bytes: int | None = None
    warps: int | None = None
    most_warps: int | None = None
    waves: float | None = None


class GpuRow(_Record):
    """One thing that was timed.

    Attributes:
        name: what.
        texvlm: False for a baseline.
        note: what a reader must know about how it was set up.
        target_us: from the table of targets; None where there is none.
        published: the claim to beat, in words.
        metric: which time is held against the target.
        gpu: of the device: calls captured into one graph, between two events, over their number.
        stream: of the device: calls queued one by one, between two events, over their number.
        wall: of the host: one call, until the device is done.
        queue: of the host: one call, until it returns.
        bytes_moved: read and written by the algorithm, each once.
        floor_us: bytes_moved over the copy bandwidth of this run.
        launches: of texvlm's own kernels, by one call.
        counters: work of one call.
        reached_us: the time held against the target.
        ratio: reached_us over target_us.
        why: where a target is missed: what the counts explain of it.
    """

    name: str
    texvlm: bool = True
    note: str = ""
    target_us: float | None = None
    published: str | None = None
    metric: Metric = "gpu"
    gpu: Timing | None = None
    stream: Timing | None = None
    wall: Timing
    queue: Timing | None = None
    bytes_moved: int
    floor_us: float
    launches: list[Launched] = Field(default_factory=list)
    counters: dict[str, float] = Field(default_factory=dict)
    reached_us: float
    ratio: float | None = None
    why: str = ""

    @property
    def missed(self) -> bool:
        """It has a target, and takes longer."""
        return self.ratio is not None and self.ratio > 1


class MapRow(_Record):
    """Mapping and unmapping OpenGL textures: all in one call, and one call for each."""

    textures: int
    one_call: Timing
    call_each: Timing
    drawn_between: Timing
    """All in one call, with OpenGL work on every texture just before."""


class GpuReport(_Record):
    """Everything one run measured, and where."""

    schema_version: int = GPU_SCHEMA_VERSION
    kind: Literal["gpu"] = "gpu"
    machine: Machine
    gpu: Gpu
    commit: str
    command: str
    date: str
    quick: bool = False
    pictures: str = ""
    size: tuple[int, int] = (0, 0)
    load_before: float = 0.0
    bandwidth_gb_s: dict[str, float] = Field(default_factory=dict)
    launch_us: float = 0.0
    agreement_255: dict[str, float] = Field(default_factory=dict)
    rows: list[GpuRow] = Field(default_factory=list)
    maps: list[MapRow] = Field(default_factory=list)
    skipped: dict[str, str] = Field(default_factory=dict)
    failed: dict[str, str] = Field(default_factory=dict)
    """Parts that broke, and how; what was measured before stands."""
