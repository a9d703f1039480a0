"""Where the time goes: stage times on the host and on the device, and ranges for Nsight Systems and for traces.

Ranges live in the `texvlm` domain, in the categories `decode`, `upload`, `mip`, `sample`, `map`, `write` and
`preview`. Messages are fixed strings and numbers travel as payloads. They go to NVTX, and to a listener
where there is one (texvlm.trace). Where nvtx is not installed or no profiler is attached, and nobody
listens, nothing is emitted and next to nothing is spent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import lru_cache
from time import perf_counter, perf_counter_ns
from typing import Any, Protocol

DOMAIN = "texvlm"
"""Name of the NVTX domain."""

_NOTHING = nullcontext()


@lru_cache
def _nvtx() -> Any:
    try:
        import nvtx
    except ImportError:  # an extra: `pip install "texvlm[profile]"`
        return None
    return nvtx


@lru_cache
def _domain() -> Any:
    """The domain that a profiler listens to, or None. Profilers attach before a process starts."""
    nvtx = _nvtx()
    if nvtx is None:
        return None
    domain = nvtx.get_domain(DOMAIN)
    # without a profiler nvtx gives a stand-in, which makes no attributes; calling it still costs a microsecond
    return None if domain.get_event_attributes(message="", category="upload") is None else domain


def is_available() -> bool:
    """Whether NVTX ranges are emitted once a profiler is attached."""
    return _nvtx() is not None


def profile_range(name: str, category: str, payload: int | None = None) -> AbstractContextManager[Any]:
    """A range around a piece of work; `payload` is a count of what is worked on."""
    domain, listener = _domain(), _listener
    if listener is not None:
        return _HeardRange(
            listener, name, category, payload, _NOTHING if domain is None else _Range(domain, name, category, payload)
        )
    return _NOTHING if domain is None else _Range(domain, name, category, payload)


class _Range:
    """The scope of one NVTX range."""

    __slots__ = ("_attributes", "_domain")

    def __init__(self, domain: Any, name: str, category: str, payload: int | None) -> None:
        self._domain = domain
        self._attributes = domain.get_event_attributes(message=name, category=category, payload=payload)

    def __enter__(self) -> None:
        self._domain.push_range(self._attributes)

    def __exit__(self, *error: Any) -> None:
        self._domain.pop_range()


# ---------------------------------------------------------------- listeners


class RangeListener(Protocol):
    """Hears of every range of the process when it has ended, on the thread that it was on."""

    def note(self, name: str, category: str, payload: int | None, start_ns: int, stop_ns: int) -> None:
        """One range; times of `time.perf_counter_ns`. Must not raise."""


_listener: RangeListener | None = None


@contextmanager
def listen(listener: RangeListener) -> Iterator[None]:
    """Let a listener hear every range, of all threads, that ends in the scope; it stands in for one before it."""
    global _listener
    before, _listener = _listener, listener
    try:
        yield
    finally:
        _listener = before


class _HeardRange:
    """The scope of one range that a listener hears of, and NVTX too where somebody is there."""

    __slots__ = ("_inner", "_listener", "_start", "_words")

    def __init__(
        self,
        listener: RangeListener,
        name: str,
        category: str,
        payload: int | None,
        inner: AbstractContextManager[Any] | _Range,
    ) -> None:
        self._listener, self._words, self._inner = listener, (name, category, payload), inner

    def __enter__(self) -> None:
        self._start = perf_counter_ns()
        self._inner.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._inner.__exit__(*error)
        self._listener.note(*self._words, self._start, perf_counter_ns())


# ---------------------------------------------------------------- on the host


class StageTimes:
    """Wall time of named stages: since the last `restart`, and since the beginning.

    Attributes:
        last_ms: milliseconds of each stage since the last `restart`; 0 for one that did not run.
        total_ms: milliseconds of each stage since the beginning.
    """

    def __init__(self, *names: str) -> None:
        self.last_ms = dict.fromkeys(names, 0.0)
        self.total_ms = dict.fromkeys(names, 0.0)

    def restart(self) -> None:
        """Begin a new round: every `last_ms` is 0 again."""
        self.last_ms = dict.fromkeys(self.total_ms, 0.0)

    def stage(self, name: str, category: str, payload: int | None = None) -> _Stage:
        """Time one stage, and show it to a profiler."""
        return _Stage(self, name, profile_range(name, category, payload))


class _Stage:
    """The scope of one stage. A class, not a generator: it is entered several times a frame."""

    __slots__ = ("_name", "_range", "_start", "_times")

    def __init__(self, times: StageTimes, name: str, range_: AbstractContextManager[Any]) -> None:
        self._times, self._name, self._range = times, name, range_

    def __enter__(self) -> None:
        self._start = perf_counter()
        self._range.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._range.__exit__(*error)
        spent = (perf_counter() - self._start) * 1e3
        self._times.last_ms[self._name] += spent
        self._times.total_ms[self._name] += spent


# ---------------------------------------------------------------- on the device

TIMED_AT_ONCE = 64
"""Stages of one device that may be under way at once and still be timed."""


class DeviceTimers(ABC):
    """Time that a device spends on named stages, learnt without ever waiting for it.

    Each run of a stage puts a mark on the device before and after its work. Marks that the device has
    reached are read by `poll`; the others stay for the next one. When all marks are under way, a run is
    counted in `untimed` instead of waiting for one.

    Attributes:
        enabled: False leaves the device without marks, which cost it a little.
        total_ms: milliseconds of all finished runs of each stage that `poll` has seen.
        last_ms: of the last one.
        runs: how many runs `total_ms` is of.
        untimed: runs of each stage that no marks were left for.
    """

    def __init__(self, *, slots: int = TIMED_AT_ONCE, enabled: bool = True) -> None:
        self.enabled = enabled
        self.total_ms: dict[str, float] = {}
        self.last_ms: dict[str, float] = {}
        self.runs: dict[str, int] = {}
        self.untimed: dict[str, int] = {}
        self._slots = slots
        self._made: list[tuple[int, int]] = []
        self._free: list[tuple[int, int]] = []
        self._under_way: deque[tuple[str, tuple[int, int]]] = deque()

    def stage(self, name: str, place: int | None = None) -> AbstractContextManager[Any]:
        """Time what is queued inside the scope.

        Args:
            name: of the stage.
            place: what the work is queued on, where the device has several such: a stream.
        """
        if not self.enabled or self._is_recorded(place):
            return _NOTHING
        pair = self._take()
        if pair is None:
            self.untimed[name] = self.untimed.get(name, 0) + 1
            return _NOTHING
        return _DeviceStage(self, name, pair, place)

    def poll(self) -> None:
        """Read the times of what is finished; never waits. Reads nothing while a graph is captured."""
        while self._under_way and not self._is_recorded(None):
            name, pair = self._under_way[0]
            if not self._is_reached(pair[1]):
                return
            self._under_way.popleft()
            self._free.append(pair)
            spent = self._elapsed_ms(*pair)
            self.last_ms[name] = spent
            self.total_ms[name] = self.total_ms.get(name, 0.0) + spent
            self.runs[name] = self.runs.get(name, 0) + 1

    def close(self) -> None:
        """Destroy the marks; times that were read stay."""
        self._free.clear()
        self._under_way.clear()
        with ExitStack() as steps:  # every one whatever fails
            while self._made:
                for mark in self._made.pop():
                    steps.callback(self._destroy, mark)

    def _take(self) -> tuple[int, int] | None:
        """Two marks that are free, or None."""
        if not self._free:
            self.poll()
        if not self._free:
            if len(self._made) == self._slots:
                return None
            start = self._create()
            try:
                self._made.append((start, self._create()))
            except BaseException:
                self._destroy(start)
                raise
            return self._made[-1]
        return self._free.pop()

    @abstractmethod
    def _is_recorded(self, place: int | None) -> bool:
        """Whether work there becomes a graph, whose marks would be reached many times or never."""

    @abstractmethod
    def _create(self) -> int:
        """A mark."""

    @abstractmethod
    def _destroy(self, mark: int) -> None:
        """Destroy it."""

    @abstractmethod
    def _put(self, mark: int, place: int | None) -> None:
        """Let the mark be reached when everything queued so far is done."""

    @abstractmethod
    def _is_reached(self, mark: int) -> bool:
        """Whether the device has reached it."""

    @abstractmethod
    def _elapsed_ms(self, start: int, stop: int) -> float:
        """Milliseconds between two marks that were reached."""


class _DeviceStage:
    """The scope of one run of a stage on the device."""

    __slots__ = ("_name", "_pair", "_place", "_timers")

    def __init__(self, timers: DeviceTimers, name: str, pair: tuple[int, int], place: int | None) -> None:
        self._timers, self._name, self._pair, self._place = timers, name, pair, place

    def __enter__(self) -> None:
        try:
            self._timers._put(self._pair[0], self._place)
        except BaseException:
            self._timers._free.append(self._pair)
            raise

    def __exit__(self, kind: type[BaseException] | None, *_: Any) -> None:
        if kind is not None:  # whatever failed may have lost the device: ask nothing more of it
            self._timers._free.append(self._pair)
            return
        try:
            self._timers._put(self._pair[1], self._place)
        except BaseException:
            self._timers._free.append(self._pair)
            raise
        self._timers._under_way.append((self._name, self._pair))
