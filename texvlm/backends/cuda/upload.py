"""Small arrays on their way to the device: token tables, row lists, the parameters of views.

Each goes through a page-locked slot of a ring, so the copy is only queued. A slot is written again
when the copy out of it is done; the host waits for that only when it is a whole ring ahead.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from texvlm.backends.cuda.api import Driver, Stream
from texvlm.backends.cuda.pinned import PinnedBuffer

SLOTS = 8


@dataclass(frozen=True, slots=True)
class _Slot:
    """Page-locked memory, and the event after the copy that read it last."""

    memory: PinnedBuffer
    event: int


class Upload:
    """The ring. Owns its memory and events: close it when nothing queued reads them any more."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._slots: list[_Slot] = []
        self._next = 0

    def send(self, data: np.ndarray[Any, Any], stream: Stream) -> torch.Tensor:
        """A copy of the bytes on the device, uint8, (bytes,), for work queued on this stream.

        Raises:
            ValueError: the stream is being captured: a replay would copy what the slot holds by then.
        """
        if self._driver.is_capturing(stream):
            raise ValueError(
                "an array on the host cannot be part of a captured graph; give token tables and fixations as tensors "
                "on the device"
            )
        data = np.ascontiguousarray(data)
        target = torch.empty(data.nbytes, dtype=torch.uint8, device=self._driver.device)
        if data.nbytes:
            slot = self._next_slot()
            slot.memory.bytes(data.nbytes)[: data.nbytes] = data.reshape(-1).view(np.uint8)
            self._driver.copy(target.data_ptr(), slot.memory.address, data.nbytes, stream)
            self._driver.record(slot.event, stream)
        return target

    def close(self) -> None:
        """Free everything, waiting for copies under way. May be called twice."""
        with ExitStack() as steps:  # last step first, and every step whatever fails
            while self._slots:
                slot = self._slots.pop()
                steps.callback(self._driver.destroy_event, slot.event)
                steps.callback(slot.memory.close)
                steps.callback(self._driver.wait_on_host, slot.event)

    def _next_slot(self) -> _Slot:
        """The slot that was used longest ago, once the copy out of it is done."""
        if len(self._slots) < SLOTS:
            slot = _Slot(PinnedBuffer(self._driver), self._driver.create_event())
            self._slots.append(slot)
            return slot
        slot = self._slots[self._next]
        self._next = (self._next + 1) % SLOTS
        if not self._driver.is_done(slot.event):
            self._driver.wait_on_host(slot.event)
        return slot
