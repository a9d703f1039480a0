"""The thread rule of an engine: any thread, one call at a time, only in the process that made it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from texvlm.errors import BusyError, ClosedError


class CallGuard:
    """Lets one call in at a time and refuses, at once and by name, those that must not come in."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self.closed = False

    @property
    def forked(self) -> bool:
        """Whether this is a child of the process that made the engine."""
        return os.getpid() != self._pid

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """The scope of one call.

        Raises:
            ClosedError: after `close`, or in a forked child.
            BusyError: another thread's call is under way.
        """
        if self.forked:
            raise ClosedError(f"{name}: this engine was opened before a fork; open one in the child, or spawn")
        if not self._lock.acquire(blocking=False):
            raise BusyError(
                f"{name} was called while another call is under way in this engine; "
                "make one call at a time (with a lock, or an engine for each thread)"
            )
        try:
            if self.closed:
                raise ClosedError(f"{name}: this engine is closed; open a new one")
            yield
        finally:
            self._lock.release()
