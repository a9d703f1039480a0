"""Stage times of a CUDA device, by events: how long the device was at it, not how long the host waited."""

from __future__ import annotations

from texvlm.backends.cuda.api import Driver, Stream
from texvlm.profiling import TIMED_AT_ONCE, DeviceTimers


class CudaTimers(DeviceTimers):
    """Marks are timing events on the stream that a stage names, else on torch's current one.

    While a stream is captured into a graph nothing is timed: its events would not be those of a replay.
    """

    def __init__(self, driver: Driver, *, slots: int = TIMED_AT_ONCE, enabled: bool = True) -> None:
        super().__init__(slots=slots, enabled=enabled)
        self._driver = driver

    def _stream(self, place: Stream | None) -> Stream:
        return self._driver.current_stream() if place is None else place

    def _is_recorded(self, place: Stream | None) -> bool:
        return self._driver.is_capturing(self._stream(place))

    def _create(self) -> int:
        return self._driver.create_event(timing=True)

    def _destroy(self, mark: int) -> None:
        self._driver.destroy_event(mark)

    def _put(self, mark: int, place: Stream | None) -> None:
        self._driver.record(mark, self._stream(place))

    def _is_reached(self, mark: int) -> bool:
        return self._driver.is_done(mark)

    def _elapsed_ms(self, start: int, stop: int) -> float:
        return self._driver.elapsed_ms(start, stop)
