"""Streams, events, capture and graphs of the emulated device.

Work runs when it is submitted. With `late` streams, work on every stream but the default one runs only
when somebody waits for it: a copy whose event nobody waited for has then not happened, and memory that
is used again too early shows.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter

from cuda_host.account import Account
from cuda_host.program import Dim

DEFAULT_STREAM = 0


@dataclass(frozen=True, slots=True)
class KernelWork:
    """A launch, with a copy of its arguments."""

    kernel: int
    grid: Dim
    block: Dim
    arguments: bytes


@dataclass(frozen=True, slots=True)
class CopyWork:
    """A copy; addresses, not contents."""

    target: int
    source: int
    size: int


Work = KernelWork | CopyWork


@dataclass(slots=True, eq=False)
class Capture:
    """What is being recorded.

    Attributes:
        origin: the stream on which it began.
        thread: the thread that began it.
        works: in the order in which they were queued.
        forked: streams that joined through an event and have not been waited for since.
    """

    origin: int
    thread: int
    works: list[Work] = field(default_factory=list)
    forked: set[int] = field(default_factory=set)
    ended: bool = False


@dataclass(slots=True, eq=False)
class _Stream:
    pending: deque[tuple[Callable[[], None], Work | None]] = field(default_factory=deque)
    capture: Capture | None = None


@dataclass(slots=True, eq=False)
class _Event:
    timing: bool
    stream: int = DEFAULT_STREAM
    recorded: int = 0  # times it was recorded
    reached: int = 0  # of these, the last one that was reached
    time: float = 0.0
    capture: Capture | None = None


@dataclass(slots=True, eq=False)
class _Executable:
    graph: int
    works: dict[int, Work]  # by node


class Streams:
    """Everything that is queued."""

    def __init__(self, account: Account, run: Callable[[Work], None], *, late: bool) -> None:
        self._account = account
        self._run = run
        self._late = late
        account.add("stream", _Stream(), owned=False, handle=DEFAULT_STREAM)

    # ------------------------------------------------------------------ streams

    def create(self) -> int:
        """A new stream."""
        return self._account.add("stream", _Stream())

    def destroy(self, stream: int) -> None:
        """End a stream; its work is done first."""
        if self._of(stream).capture is not None:
            raise self._account.misuse("the stream is capturing")
        self._drain(stream)
        self._account.remove(stream, "stream")

    def submit(self, stream: int, work: Work) -> None:
        """Run it, queue it, or record it."""
        capture = self._of(stream).capture
        if capture is not None:
            capture.works.append(work)
            if stream != capture.origin:
                capture.forked.add(stream)
        else:
            self._queue(stream, lambda: self._run(work), work)

    def synchronize(self, stream: int) -> None:
        """Do everything that is queued."""
        self._drain(stream)

    def _of(self, stream: int) -> _Stream:
        return self._account.get(stream, "stream")  # type: ignore[no-any-return]

    def _queue(self, stream: int, run: Callable[[], None], work: Work | None = None) -> None:
        if self._late and stream != DEFAULT_STREAM:
            self._of(stream).pending.append((run, work))
        else:
            run()

    def _drain(self, stream: int, until: Callable[[], bool] = lambda: False) -> None:
        pending = self._of(stream).pending
        while pending and not until():
            run, _ = pending.popleft()
            run()

    def uses(self, start: int, end: int) -> bool:
        """Whether a queued copy that is not done reads or writes the host memory from start to end."""
        queued = [work for stream in self._account.alive("stream").values() for _, work in stream.pending]
        copies = [work for work in queued if isinstance(work, CopyWork)]
        return any(
            address < end and start < address + work.size for work in copies for address in (work.source, work.target)
        )

    # ------------------------------------------------------------------ events

    def create_event(self, *, timing: bool) -> int:
        """A new event."""
        return self._account.add("event", _Event(timing))

    def record(self, event: int, stream: int) -> None:
        """Mark what is queued so far."""
        mark, capture = self._event(event), self._of(stream).capture
        mark.stream, mark.capture = stream, capture
        if capture is None:
            mark.recorded += 1
            turn = mark.recorded

            def reach() -> None:
                mark.reached, mark.time = max(mark.reached, turn), perf_counter()

            self._queue(stream, reach)

    def wait(self, stream: int, event: int) -> None:
        """Order later work after the event; joins a capture, or leaves its fork."""
        mark, waiting = self._event(event), self._of(stream)
        if mark.capture is not None:
            if mark.capture.ended:
                raise self._account.misuse("the event was recorded in a capture that has ended")
            if waiting.capture not in (None, mark.capture):
                raise self._account.misuse("the event was recorded in another capture")
            if stream != mark.capture.origin and waiting.capture is None:
                mark.capture.forked.add(stream)
            mark.capture.forked.discard(mark.stream)
            waiting.capture = mark.capture
        elif waiting.capture is not None:
            raise self._account.misuse("a capturing stream waits for an event that was recorded outside the capture")
        else:
            turn, source = mark.recorded, mark.stream
            self._queue(stream, lambda: self._drain(source, lambda: mark.reached >= turn))

    def is_done(self, event: int) -> bool:
        """Whether the last record was reached."""
        mark = self._event(event)
        return mark.reached >= mark.recorded

    def wait_on_host(self, event: int) -> None:
        """Do what is queued before it."""
        mark = self._event(event)
        turn = mark.recorded
        if mark.reached < turn:  # else its stream may be gone: an event outlives it
            self._drain(mark.stream, lambda: mark.reached >= turn)

    def elapsed_ms(self, start: int, stop: int) -> float:
        """Host time between two marks."""
        marks = [self._event(event) for event in (start, stop)]
        if not all(mark.timing and mark.recorded and mark.reached == mark.recorded for mark in marks):
            raise self._account.misuse("both events must keep time, be recorded, and be reached")
        return (marks[1].time - marks[0].time) * 1000

    def _event(self, event: int) -> _Event:
        return self._account.get(event, "event")  # type: ignore[no-any-return]

    # ------------------------------------------------------------------ capture

    def is_capturing(self, stream: int) -> bool:
        """Whether work on it is recorded."""
        return self._of(stream).capture is not None

    def captures_here(self) -> bool:
        """Whether this thread has begun a capture and not ended it."""
        captures = (stream.capture for stream in self._account.alive("stream").values())
        return any(capture is not None and capture.thread == threading.get_ident() for capture in captures)

    def begin_capture(self, stream: int) -> None:
        """Record instead of running."""
        if stream == DEFAULT_STREAM:
            raise self._account.misuse("the legacy default stream cannot be captured; use one of create_stream")
        if self._of(stream).capture is not None:
            raise self._account.misuse("the stream is capturing already")
        self._of(stream).capture = Capture(stream, threading.get_ident())

    def end_capture(self, stream: int) -> int:
        """The graph of what was recorded."""
        capture = self._of(stream).capture
        if capture is None or capture.origin != stream:
            raise self._account.misuse("no capture began on this stream")
        capture.ended = True
        for other in self._account.alive("stream").values():
            if other.capture is capture:
                other.capture = None
        if capture.forked:
            raise self._account.misuse(f"streams {sorted(capture.forked)} joined the capture and were not joined back")
        nodes = {self._account.add("node", work, owned=False): work for work in capture.works}
        return self._account.add("graph", nodes)

    # ------------------------------------------------------------------ graphs

    def kernel_nodes(self, graph: int) -> list[int]:
        """Nodes that launch kernels, in order."""
        nodes = self._account.get(graph, "graph")
        return [node for node, work in nodes.items() if isinstance(work, KernelWork)]

    def instantiate(self, graph: int) -> int:
        """A copy that can be launched."""
        return self._account.add("executable", _Executable(graph, dict(self._account.get(graph, "graph"))))

    def set_arguments(self, executable: int, node: int, work: KernelWork) -> None:
        """Other arguments for one node of later launches."""
        target: _Executable = self._account.get(executable, "executable")
        self._account.get(node, "node")  # ends with its graph
        if not isinstance(target.works.get(node), KernelWork):
            raise self._account.misuse(f"node {node:#x} is no kernel node of the executable graph's own graph")
        target.works[node] = replace(work)

    def launch_graph(self, executable: int, stream: int) -> None:
        """Run, or queue, every node in order."""
        if self._of(stream).capture is not None:
            raise self._account.misuse("a graph cannot be launched on a capturing stream")
        works = list(self._account.get(executable, "executable").works.values())

        def run() -> None:
            for work in works:
                self._run(work)

        self._queue(stream, run)

    def destroy_graph(self, graph: int) -> None:
        """End a graph and its nodes."""
        for node in self._account.remove(graph, "graph"):
            self._account.expire(node)
