"""Sources made of arrays, with times of our choosing."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from texvlm.errors import SourceError
from texvlm.frames import Frame
from texvlm.sources.base import SourceInfo, SourceKind

SIZE = (96, 64)


def pixels(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A picture by its number: a smooth ground, a square that moves."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 40)], -1).astype(np.uint8)
    left = 5 * index % (width - 16)
    image[10:26, left : left + 16] = 240
    return image


class Film:
    """Frames with times; `gate` holds back all from `held` on, `failing` raises at the end."""

    def __init__(
        self,
        times: Sequence[float | None],
        *,
        kind: SourceKind = "video",
        rate: float | None = 10.0,
        held: int | None = None,
        failing: bool = False,
        size: tuple[int, int] = SIZE,
    ) -> None:
        self.info = SourceInfo("film", kind, size, len(times), rate, None)
        self.closed = False
        self.gate = threading.Event()
        self.dropped = 0
        self._times, self._held, self._failing = times, held, failing
        self._next = 0

    size = property(lambda self: self.info.size)
    frames = property(lambda self: self.info.frames)
    rate = property(lambda self: self.info.rate)

    def __iter__(self):
        return self

    def __next__(self) -> Frame:
        if self._held is not None and self._next >= self._held:
            self.gate.wait(5)
        if self.closed or self._next == len(self._times):
            if self._failing:
                raise SourceError("film: torn; splice it")
            raise StopIteration
        self._next += 1
        return Frame(pixels(self._next - 1, self.info.size), pts=self._times[self._next - 1])

    def describe(self):
        return {}

    def close(self) -> None:
        self.closed = True
        self.gate.set()
