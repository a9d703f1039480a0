"""What must wait until kernels that are queued have run: the end of objects that they use, of memory that was lent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import ExitStack

from texvlm.backends.cuda.api import Driver, Stream


class Deferred:
    """Actions, each done some time after what was queued before it, in their order. Nothing waits but `close`."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._waiting: deque[tuple[int, Callable[[], object]]] = deque()

    def add(self, action: Callable[[], object], stream: Stream) -> None:
        """Do it after what is queued on the stream; and now those whose time has come.

        If the stream cannot be marked, it is waited for and the action done, and the error goes on.
        """
        with ExitStack() as unless_marked:
            unless_marked.callback(action)
            unless_marked.callback(self._driver.synchronize, stream)
            event = self._driver.create_event()
            unless_marked.callback(self._driver.destroy_event, event)
            self._driver.record(event, stream)
            unless_marked.pop_all()
        self._waiting.append((event, action))
        while self._waiting and self._driver.is_done(self._waiting[0][0]):
            self._do_first()

    def close(self) -> None:
        """Do all, waiting for the device."""
        while self._waiting:
            self._driver.wait_on_host(self._waiting[0][0])
            self._do_first()

    def _do_first(self) -> None:
        event, action = self._waiting.popleft()
        with ExitStack() as steps:  # last step first, and every step whatever fails
            steps.callback(action)
            steps.callback(self._driver.destroy_event, event)
