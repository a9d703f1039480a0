"""Where the time goes: stage times for reports, and NVTX ranges for Nsight Systems.

Ranges live in the `texvlm` domain, in the categories `decode`, `upload`, `mip`, `sample`, `write` and
`preview`. Messages are fixed strings and numbers travel as payloads. Where nvtx is not installed
nothing is emitted.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from time import perf_counter
from typing import Any

_NOTHING = nullcontext()


@lru_cache
def _nvtx() -> Any:
    try:
        import nvtx
    except ImportError:  # an extra: `pip install "texvlm[profile]"`
        return None
    return nvtx


def is_available() -> bool:
    """Whether NVTX ranges are emitted."""
    return _nvtx() is not None


def profile_range(name: str, category: str, payload: int | None = None) -> AbstractContextManager[Any]:
    """A range around a piece of work; `payload` is a count of what is worked on."""
    nvtx = _nvtx()
    if nvtx is None:
        return _NOTHING
    return nvtx.annotate(message=name, domain="texvlm", category=category, payload=payload)  # type: ignore[no-any-return]


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
