"""Where frames from host memory are compared with what is resident: on the host or on the device.

On the host, what is resident is kept there a second time, and only the tiles that changed cross the
bus. On the device, every frame crosses it whole. Which is the faster depends on the machine, on how much
of a picture changes, and on whether the caller's frame is page-locked, so that the device can read it
without another copy. Bytes and three measured rates decide; `Rates` has the formula.

The decision of a layer stands for DECIDE_EVERY frames and is given up only for one that is clearly
cheaper: going over to the host costs a read-back of the layer. What is stored is the same either way.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Literal, get_args

import numpy as np
import torch

from texvlm.backends._detect import detect_tiles
from texvlm.backends.cuda.api import Driver
from texvlm.backends.cuda.pinned import PinnedBuffer

HostDetection = Literal["auto", "host", "device"]
"""Who compares frames from host memory; "auto" measures and decides."""

Side = Literal["host", "device"]

DECIDE_EVERY = 32
"""Compared frames of a layer for which a decision stands."""

CLEARLY = 0.8
"""The other side must cost less than this share of the present one."""

ASSUMED_SHARE = 0.2
"""Of tiles that change from frame to frame, before anything is known of a source."""

MEMORY = 0.1
"""Share of the newest frame in the running share of dirty tiles: about ten frames count."""

_SIDE = 1024
"""Of the square RGB frame that is measured with: 3 MiB, like a real one larger than the nearest caches."""

_TRIES = 8
"""Of each measurement; the best counts. The first ones load kernels and try threads."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What a machine does in a second, bytes.

    Attributes:
        compare: of a frame with what is resident, on the host.
        copy: into page-locked memory, on the host.
        bus: from page-locked memory to the device.
    """

    compare: float
    copy: float
    bus: float

    def seconds_on_device(self, size: int, *, pinned: bool) -> float:
        """Estimated time to bring in a frame of so many bytes that is compared on the device.

        All of it crosses the bus, while it is copied into page-locked memory band by band, unless it is there
        already (`pinned`): the slower of the two counts.
        """
        return size / (self.bus if pinned else min(self.bus, self.copy))

    def seconds_on_host(self, size: int, *, share: float) -> float:
        """The same for one compared on the host, of whose tiles this share, 0..1, is dirty.

        All of it is compared; what is dirty is copied twice, into the mirror and into page-locked memory,
        and then crosses the bus. The kernels that follow take about as long either way and are left out.
        """
        return size / self.compare + share * size * (2 / self.copy + 1 / self.bus)


@dataclass(slots=True)
class LayerRecord:
    """What is known of one layer's frames.

    Attributes:
        side: where they are compared; None before the first one.
        share: running share of dirty tiles, 0..1.
        frames: compared since the decision.
        size: bytes of a frame.
    """

    side: Side | None = None
    share: float = ASSUMED_SHARE
    frames: int = 0
    size: int = 0

    def note(self, share: float) -> None:
        """Take the share of dirty tiles of one more frame into account."""
        self.share += MEMORY * (share - self.share)


class HostPolicy:
    """Decides for each layer. Time comes in only through `measure`.

    Attributes:
        detection: what was asked for.
        rates: as measured; None before they were needed.
    """

    def __init__(self, detection: HostDetection = "auto", *, measure: Callable[[Driver], Rates] | None = None) -> None:
        """A policy of one backend.

        Args:
            detection: "host" or "device" for always there, "auto" to decide by rates.
            measure: gives the rates when the first frame arrives; None to measure. It may wait for the device.
        Raises:
            ValueError: no such detection.
        """
        if detection not in get_args(HostDetection):
            accepted = ", ".join(map(repr, get_args(HostDetection)))
            raise ValueError(f"detect_host_frames is {detection!r}; accepted: {accepted}")
        self.detection = detection
        self.rates: Rates | None = None
        self._measure = measure or measure_rates

    @classmethod
    def of(cls, wanted: HostDetection | HostPolicy) -> HostPolicy:
        """The policy itself, or one for what is wanted."""
        return wanted if isinstance(wanted, HostPolicy) else cls(wanted)

    def choose(self, record: LayerRecord, driver: Driver, *, size: int, is_pinned: Callable[[], bool]) -> Side:
        """Where the next frame of a layer is compared; noted in its record.

        Args:
            record: of the layer.
            driver: what is measured, the first time.
            size: of the frame, bytes.
            is_pinned: tells whether the device can read the frame where it lies; asked only to decide.
        """
        record.side = side = self._decide(record, driver, size, is_pinned)
        return side

    def _decide(self, record: LayerRecord, driver: Driver, size: int, is_pinned: Callable[[], bool]) -> Side:
        if self.detection != "auto":
            return self.detection
        if self.rates is None:
            self.rates = self._measure(driver)
        known = record.side if size == record.size else None
        record.size, record.frames = size, record.frames + 1
        if known is not None and record.frames <= DECIDE_EVERY:
            return known
        record.frames = 1
        host = self.rates.seconds_on_host(size, share=record.share)
        device = self.rates.seconds_on_device(size, pinned=is_pinned())
        if known == "host":
            return "device" if device < CLEARLY * host else "host"
        if known == "device":
            return "host" if host < CLEARLY * device else "device"
        return "host" if host < device else "device"

    def describe(self) -> dict[str, object]:
        """What was asked for, and the rates in GB/s where they were needed; for reports."""
        rates = None if self.rates is None else {name: rate / 1e9 for name, rate in asdict(self.rates).items()}
        return {"detection": self.detection, "rates_gb_s": rates}


def measure_rates(driver: Driver) -> Rates:
    """The rates of this machine, in some milliseconds. Waits for the device, and must not be called in a capture."""
    stored = np.ones((_SIDE, _SIDE, 3), np.uint8)  # zeros would all lie in one page
    frame = stored.copy()
    compare = min(_timed(lambda: detect_tiles(stored, frame, 0)) for _ in range(_TRIES))
    with ExitStack() as steps:
        pinned, stream = PinnedBuffer(driver), driver.create_stream()
        steps.callback(pinned.close)
        steps.callback(driver.destroy_stream, stream)
        events = []
        for _ in range(2):
            events.append(driver.create_event(timing=True))
            steps.callback(driver.destroy_event, events[-1])
        steps.callback(driver.synchronize, stream)
        memory = pinned.bytes(frame.nbytes)[: frame.nbytes]
        flat = frame.reshape(-1)
        copy = min(_timed(lambda: np.copyto(memory, flat)) for _ in range(_TRIES))
        there = torch.empty(frame.nbytes, dtype=torch.uint8, device=driver.device)
        driver.synchronize(driver.current_stream())  # torch may have given memory that work there still reads
        bus = min(_transfer_seconds(driver, there, pinned.address, stream, events) for _ in range(_TRIES))
    return Rates(*(frame.nbytes / max(seconds, 1e-9) for seconds in (compare, copy, bus)))


def _timed(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def _transfer_seconds(driver: Driver, there: torch.Tensor, here: int, stream: int, events: list[int]) -> float:
    """Of one copy to the device, by its own clock."""
    driver.record(events[0], stream)
    driver.copy(there.data_ptr(), here, there.numel(), stream)
    driver.record(events[1], stream)
    driver.wait_on_host(events[1])
    return driver.elapsed_ms(*events) / 1000
