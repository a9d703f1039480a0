"""Stage times of an OpenGL device, by timer queries: how long the device was at it.

Every call needs the context current on the calling thread, `poll` and `close` too.
"""

from __future__ import annotations

import ctypes

from texvlm.backends import _gl_api as gl_names
from texvlm.backends._gl_api import GlApi
from texvlm.profiling import TIMED_AT_ONCE, DeviceTimers


class GlTimers(DeviceTimers):
    """Marks are timestamp queries: unlike elapsed-time queries they may nest, also in an application's own."""

    def __init__(self, gl: GlApi, *, slots: int = TIMED_AT_ONCE, enabled: bool = True) -> None:
        super().__init__(slots=slots, enabled=enabled)
        self._gl = gl

    def _is_recorded(self, place: int | None) -> bool:
        return False

    def _create(self) -> int:
        return self._gl.generate(self._gl.glCreateQueries, gl_names.TIMESTAMP)

    def _destroy(self, mark: int) -> None:
        self._gl.glDeleteQueries(1, ctypes.byref(ctypes.c_uint(mark)))

    def _put(self, mark: int, place: int | None) -> None:
        self._gl.glQueryCounter(mark, gl_names.TIMESTAMP)

    def _is_reached(self, mark: int) -> bool:
        reached = ctypes.c_int()
        self._gl.glGetQueryObjectiv(mark, gl_names.QUERY_RESULT_AVAILABLE, ctypes.byref(reached))
        return bool(reached.value)

    def _elapsed_ms(self, start: int, stop: int) -> float:
        return (self._nanoseconds(stop) - self._nanoseconds(start)) / 1e6

    def _nanoseconds(self, mark: int) -> int:
        """Device time at which a mark was reached."""
        value = ctypes.c_uint64()
        self._gl.glGetQueryObjectui64v(mark, gl_names.QUERY_RESULT, ctypes.byref(value))
        return value.value
