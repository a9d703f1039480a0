"""Host frames on their way to the device: a ring of page-locked buffers, copied on a stream of its own.

A frame in ordinary memory is copied into page-locked memory band by band, and each band starts for the
device as soon as it is there, so the two copies overlap; the caller may write its frame again when `bring`
returns. A frame that is page-locked already is read where it lies: `wait` tells when that is over.
Two frames may be under way while a third is being computed on; only a fourth waits on the host.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

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


class Staging:
    """Brings host arrays to the device."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._copies = driver.create_stream()
        self._slots = [_Slot(driver.create_event(), driver.create_event(), PinnedBuffer(driver)) for _ in range(SLOTS)]
        self._next = 0
        self._borrowed: _Slot | None = None  # its frame is read from the caller's own memory

    @contextmanager
    def bring(self, planes: Sequence[ArrayLike], stream: Stream) -> Iterator[list[torch.Tensor]]:
        """Device copies of arrays, of their shapes and element types, to be read on `stream` inside the scope.

        Their memory is used again later: nothing queued after the scope may read them.
        """
        arrays = [np.ascontiguousarray(plane) for plane in planes]
        slot = self._slots[self._next]
        self._next = (self._next + 1) % SLOTS
        driver = self._driver
        starts = [0]
        for plane in arrays:
            starts.append(-(-(starts[-1] + plane.nbytes) // ALIGNMENT) * ALIGNMENT)
        driver.wait_on_host(slot.arrived)  # its page-locked memory is being read until then
        if slot.device is None or slot.device.numel() < starts[-1]:
            driver.wait_on_host(slot.consumed)
            slot.device = torch.empty(starts[-1], dtype=torch.uint8, device=driver.device)
            # torch may give this memory to the copies before what it held on the current stream is done with
            driver.record(slot.consumed, driver.current_stream())
        driver.wait(self._copies, slot.consumed)
        with profile_range("copy to device", "upload", sum(plane.nbytes for plane in arrays)):
            for plane, start in zip(arrays, starts[:-1], strict=True):
                self._transfer(plane, slot, start, starts[-1])
        driver.record(slot.arrived, self._copies)
        driver.wait(stream, slot.arrived)
        try:
            yield [_shaped(slot.device[start:], plane) for plane, start in zip(arrays, starts[:-1], strict=True)]
        finally:
            driver.record(slot.consumed, stream)

    def wait(self) -> None:
        """Wait on the host until page-locked frames of the caller's are no longer read."""
        if self._borrowed is not None:
            self._driver.wait_on_host(self._borrowed.arrived)
            self._borrowed = None

    def close(self) -> None:
        """Free everything, when nothing reads it any more."""
        self._driver.synchronize(self._copies)
        for slot in self._slots:
            self._driver.wait_on_host(slot.consumed)
            self._driver.destroy_event(slot.arrived)
            self._driver.destroy_event(slot.consumed)
            slot.pinned.close()
            slot.device = None
        self._slots.clear()
        self._driver.destroy_stream(self._copies)

    def _transfer(self, plane: NDArray[np.generic], slot: _Slot, start: int, total: int) -> None:
        """Queue the copy of one array to the slot's device memory, `start` bytes into the `total` of this frame."""
        assert slot.device is not None, "made before"
        target = slot.device.data_ptr() + start
        source = plane.ctypes.data
        if self._driver.is_pinned(source):
            self._driver.copy(target, source, plane.nbytes, self._copies)
            self._borrowed = slot
            return
        flat = plane.reshape(-1).view(np.uint8)
        pinned = slot.pinned.bytes(total)
        for first in range(0, flat.size, BAND_BYTES):
            band = flat[first : first + BAND_BYTES]
            np.copyto(pinned[start + first : start + first + band.size], band)
            self._driver.copy(target + first, slot.pinned.address + start + first, band.size, self._copies)


def _shaped(data: torch.Tensor, like: NDArray[np.generic]) -> torch.Tensor:
    """The first bytes on the device seen as an array of this shape and element type."""
    dtype = {"uint8": torch.uint8, "uint16": torch.uint16, "float32": torch.float32}[like.dtype.name]
    return data[: like.nbytes].view(dtype).view(like.shape)
