"""Timing on a device, and without one.

Three times answer three questions. `gpu`: how long is the device at it? Calls are captured into one
graph, so that the host's speed plays no part. `stream`: how long when calls are queued one after the
other, as a program does that never waits? `wall`: how long until a caller has the result?
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from texvlm.bench.report import Timing
from texvlm.errors import TexvlmError

Call = Callable[[], object]

WARMUP = 5
"""Untimed rounds: kernels are compiled, memory is allocated, clocks go up."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Times of one call; None for what was not, or could not be, measured."""

    wall: Timing
    queue: Timing | None = None
    stream: Timing | None = None
    gpu: Timing | None = None
    refusal: str = ""
    """Why the calls could not be captured, where they should have been."""


class Timer(ABC):
    """Measures calls. A round is each of the calls once, in order."""

    @abstractmethod
    def measure(self, calls: Sequence[Call], *, capture: bool = True) -> Measured:
        """Time calls that do the same on different data.

        Args:
            calls: they queue work on torch's current stream, and keep what they need alive.
            capture: whether they may become part of a graph.
        """

    @abstractmethod
    def graphed(self, call: Call) -> Call:
        """A call that replays what `call` queues."""

    @abstractmethod
    def copy_bytes_per_s(self, source: torch.Tensor, target: torch.Tensor, moved: int) -> float:
        """Bandwidth of a copy that moves so many bytes."""


class CudaTimer(Timer):
    """Times torch's current device by its events.

    Args:
        rounds: timed rounds.
    """

    def __init__(self, rounds: int = 40) -> None:
        self._rounds = rounds

    def measure(self, calls: Sequence[Call], *, capture: bool = True) -> Measured:
        """See Timer."""
        for _ in range(WARMUP):
            _all(calls)
        torch.cuda.synchronize()
        wall, queue = self._on_host(calls)
        stream = self._between_events(lambda: _all(calls), len(calls))
        if not capture:
            return Measured(wall, queue, stream)
        try:
            replay = self.graphed(lambda: _all(calls))
        except (RuntimeError, TexvlmError) as error:  # the other times stand
            return Measured(wall, queue, stream, refusal=str(error).splitlines()[0])
        return Measured(wall, queue, stream, self._between_events(replay, len(calls)))

    def graphed(self, call: Call) -> Call:
        """See Timer."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            call()
        return graph.replay

    def copy_bytes_per_s(self, source: torch.Tensor, target: torch.Tensor, moved: int) -> float:
        """See Timer."""

        def copy() -> None:
            target.copy_(source, non_blocking=True)

        for _ in range(WARMUP):
            copy()
        return moved / (self._between_events(copy, 1).p10_ms / 1e3)

    def _on_host(self, calls: Sequence[Call]) -> tuple[Timing, Timing]:
        """Time until the device is done, and until the call returns."""
        wall, queue = [], []
        for _ in range(self._rounds):
            for call in calls:
                start = time.perf_counter()
                call()
                queue.append(time.perf_counter() - start)
                torch.cuda.synchronize()
                wall.append(time.perf_counter() - start)
        return Timing.of(wall), Timing.of(queue)

    def _between_events(self, work: Call, count: int) -> Timing:
        """Device time of `work`, over so many calls."""
        spent = []
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        for round_ in range(WARMUP + self._rounds):
            start.record()
            work()
            stop.record()
            stop.synchronize()
            if round_ >= WARMUP:
                spent.append(start.elapsed_time(stop) / 1e3 / count)
        return Timing.of(spent)


class HostTimer(Timer):
    """Times calls that are done when they return, on the host: for the tests of what is measured here."""

    def __init__(self, rounds: int = 2) -> None:
        self._rounds = rounds

    def measure(self, calls: Sequence[Call], *, capture: bool = True) -> Measured:
        """See Timer."""
        _all(calls)
        spent = []
        for _ in range(self._rounds):
            for call in calls:
                start = time.perf_counter()
                call()
                spent.append(time.perf_counter() - start)
        return Measured(Timing.of(spent))

    def graphed(self, call: Call) -> Call:
        """See Timer."""
        return call

    def copy_bytes_per_s(self, source: torch.Tensor, target: torch.Tensor, moved: int) -> float:
        """See Timer."""
        target.copy_(source)
        start = time.perf_counter()
        target.copy_(source)
        return moved / (time.perf_counter() - start)


def _all(calls: Sequence[Call]) -> None:
    for call in calls:
        call()
