"""Ranges as a file in the Chrome trace format: open it in chrome://tracing or ui.perfetto.dev.

The ranges are those that Nsight Systems sees (`profiling`), by thread, with their payloads. The file is
written as they come, and can be read also where the process ended before its time.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter_ns
from types import TracebackType
from typing import Any, Self

from texvlm.errors import StoreError
from texvlm.profiling import DOMAIN, listen

HELD = 512
"""Events held before they are written, so that a range costs no write."""


class Trace:
    """Owns a trace file while ranges go into it. From any thread.

    Args:
        path: the file; what was there is replaced.
    Raises:
        StoreError: it cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.events = 0
        self._start_ns = perf_counter_ns()
        self._lock = threading.Lock()
        self._held: list[str] = []
        self._threads: set[int] = set()
        self._error: OSError | None = None
        try:
            self._file = self.path.open("w", encoding="utf-8")
            self._file.write("[\n")
        except OSError as error:
            raise self._failed(error) from error
        self._hold({"name": "process_name", "ph": "M", "pid": os.getpid(), "args": {"name": DOMAIN}})

    def note(self, name: str, category: str, payload: int | None, start_ns: int, stop_ns: int) -> None:
        """A range that has ended; times of `time.perf_counter_ns`. A disk that is full is told by `close`."""
        thread = threading.get_native_id()
        event: dict[str, Any] = {
            "name": name,
            "cat": category,
            "ph": "X",
            "ts": (start_ns - self._start_ns) / 1e3,
            "dur": (stop_ns - start_ns) / 1e3,
            "pid": os.getpid(),
            "tid": thread,
        }
        if payload is not None:
            event["args"] = {"payload": payload}
        with self._lock:
            if thread not in self._threads:
                self._threads.add(thread)
                words = {"name": threading.current_thread().name}
                self._hold({"name": "thread_name", "ph": "M", "pid": os.getpid(), "tid": thread, "args": words})
            self._hold(event)
            self.events += 1
            if len(self._held) >= HELD:
                self._write()

    def close(self) -> None:
        """Finish the file. May be called twice. StoreError where anything could not be written."""
        with self._lock:
            if self._file.closed:
                return
            self._write()
            try:
                self._file.write("{}]\n")  # the last element may not be followed by a comma
                self._file.close()
            except OSError as error:
                self._error = self._error or error
            if self._error is not None:
                raise self._failed(self._error) from self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _hold(self, event: dict[str, Any]) -> None:
        self._held.append(json.dumps(event, separators=(",", ":")) + ",\n")

    def _write(self) -> None:
        held, self._held = self._held, []
        if self._error is not None or self._file.closed:
            return
        try:
            self._file.write("".join(held))
        except OSError as error:  # whoever is being traced is not disturbed
            self._error = error

    def _failed(self, error: OSError) -> StoreError:
        return StoreError(f"cannot write trace {self.path}: {error.strerror or error}; choose another place")


@contextmanager
def traced_to(path: str | os.PathLike[str] | None) -> Iterator[Trace | None]:
    """Every range of the scope, of all threads, goes into a file; None writes nothing.

    Raises:
        StoreError: the file cannot be written.
    """
    if path is None:
        yield None
        return
    with Trace(path) as trace, listen(trace):
        yield trace
