"""Host frames on their way to the device: a ring of page-locked buffers, copied on a stream of its own.

A frame in ordinary memory is copied into page-locked memory band by band, and each band starts for the
device as soon as it is there, so the two copies overlap; the caller may write its frame again when `bring`
returns. A frame that is page-locked already is read where it lies: `wait` tells when that is over.
Two frames may be under way while a third is being computed on; only a fourth waits on the host.

A transfer that fails is waited for, so that nothing of it reads or writes memory that is used again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from texvlm.backends.cuda.api import Driver, Stream
from texvlm.backends.cuda.pinned import PinnedBuffer
from texvlm.profiling import profile_range

SLOTS = 3
"""Frames under way at once."""

BAND_BYTES = 1 << 20
"""Bytes copied to page-locked memory before their transfer starts: large enough that starting one costs
little, small enough that the first starts soon."""

ALIGNMENT = 256
"""Of each plane in device memory: that of an allocation, so that kernels may load whole words."""


@dataclass(slots=True, eq=False)
class _Slot:
    """One frame under way."""

    arrived: int  # event: the device has the frame, and host memory is free again
    consumed: int  # event: kernels have read the device's copy
    pinned: PinnedBuffer
    device: torch.Tensor | None = None
    lent: list[NDArray[np.generic]] = field(default_factory=list)  # the caller's own memory that is being read


class Staging:
    """Brings host arrays to the device."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._next = 0
        with ExitStack() as unless_made:
            self._copies = driver.create_stream()
            unless_made.callback(driver.destroy_stream, self._copies)
            events = []
            for _ in range(2 * SLOTS):
                events.append(driver.create_event())
                unless_made.callback(driver.destroy_event, events[-1])
            unless_made.pop_all()
        self._slots = [_Slot(*pair, PinnedBuffer(driver)) for pair in zip(events[::2], events[1::2], strict=True)]

    @contextmanager
    def bring(self, planes: Sequence[ArrayLike], stream: Stream) -> Iterator[list[torch.Tensor]]:
        """Device copies of arrays, of their shapes and element types, to be read on `stream` inside the scope.

        Their memory is used again later: nothing queued after the scope may read them.
        """
        arrays = [np.ascontiguousarray(plane) for plane in planes]
        starts = [0]
        for plane in arrays:
            starts.append(aligned(starts[-1] + plane.nbytes))

        def transfer(slot: _Slot, target: int) -> None:
            for plane, start in zip(arrays, starts[:-1], strict=True):
                self._transfer(plane, slot, target, start, starts[-1])

        with self._sent(starts[-1], stream, transfer) as data:
            yield [_shaped(data[start:], plane) for plane, start in zip(arrays, starts[:-1], strict=True)]

    @contextmanager
    def send(self, size: int, fill: Callable[[NDArray[np.uint8]], None], stream: Stream) -> Iterator[torch.Tensor]:
        """Bytes that `fill` writes into page-locked memory, uint8, (size,), on the device after one copy.

        To be read as those of `bring`.
        """

        def transfer(slot: _Slot, target: int) -> None:
            fill(slot.pinned.bytes(size)[:size])
            self._driver.copy(target, slot.pinned.address, size, self._copies)

        with self._sent(size, stream, transfer) as data:
            yield data

    def wait(self) -> None:
        """Wait on the host until page-locked frames of the caller's are no longer read."""
        for slot in self._slots:
            if slot.lent:
                self._driver.wait_on_host(slot.arrived)
                slot.lent.clear()

    def close(self) -> None:
        """Free everything, when nothing reads it any more."""
        with ExitStack() as steps:  # last step first, and every step whatever fails
            steps.callback(self._driver.destroy_stream, self._copies)
            for slot in self._slots:
                steps.callback(slot.pinned.close)
                for event in (slot.consumed, slot.arrived):
                    steps.callback(self._driver.destroy_event, event)
                steps.callback(self._driver.wait_on_host, slot.consumed)
            steps.callback(self._driver.synchronize, self._copies)
        self._slots.clear()

    @contextmanager
    def _sent(self, size: int, stream: Stream, transfer: Callable[[_Slot, int], None]) -> Iterator[torch.Tensor]:
        """The next slot's device memory, with what `transfer` queues to its address."""
        driver, slot = self._driver, self._slots[self._next]
        self._next = (self._next + 1) % SLOTS
        driver.wait_on_host(slot.arrived)  # its host memory is being read until then
        slot.lent.clear()
        data = self._memory(slot, size)
        driver.wait(self._copies, slot.consumed)
        try:
            with profile_range("copy to device", "upload", size):
                transfer(slot, data.data_ptr())
            driver.record(slot.arrived, self._copies)
        except BaseException:
            driver.synchronize(self._copies)
            slot.lent.clear()
            raise
        driver.wait(stream, slot.arrived)
        try:
            yield data
        finally:
            driver.record(slot.consumed, stream)

    def _memory(self, slot: _Slot, size: int) -> torch.Tensor:
        """The slot's memory on the device, made larger where it must be."""
        if slot.device is None or slot.device.numel() < size:
            driver, before = self._driver, 0 if slot.device is None else slot.device.numel()
            driver.wait_on_host(slot.consumed)
            # some to spare: what is sent of a frame varies
            made = torch.empty(max(size, before * 3 // 2), dtype=torch.uint8, device=driver.device)
            # torch may give this memory to the copies before what it held on the current stream is done with
            driver.record(slot.consumed, driver.current_stream())
            slot.device = made
        return slot.device

    def _transfer(self, plane: NDArray[np.generic], slot: _Slot, target: int, start: int, total: int) -> None:
        """Queue the copy of one array to the slot's device memory, `start` bytes into the `total` of this frame."""
        source = plane.ctypes.data
        if self._driver.is_pinned(source):
            slot.lent.append(plane)
            self._driver.copy(target + start, source, plane.nbytes, self._copies)
            return
        flat = plane.reshape(-1).view(np.uint8)
        pinned = slot.pinned.bytes(total)
        for first in range(start, start + flat.size, BAND_BYTES):
            band = flat[first - start : first - start + BAND_BYTES]
            np.copyto(pinned[first : first + band.size], band)
            self._driver.copy(target + first, slot.pinned.address + first, band.size, self._copies)


def aligned(size: int) -> int:
    """The next multiple of ALIGNMENT."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _shaped(data: torch.Tensor, like: NDArray[np.generic]) -> torch.Tensor:
    """The first bytes on the device seen as an array of this shape and element type."""
    dtype = {"uint8": torch.uint8, "uint16": torch.uint16, "float32": torch.float32}[like.dtype.name]
    return data[: like.nbytes].view(dtype).view(like.shape)
