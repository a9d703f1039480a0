"""Rates, stage times and latencies of a viewing session."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from time import perf_counter

WINDOW_S = 1.0
"""Rates are counted over the last second."""

MEMORY = 31
"""Pictures of which a stage's median is taken: about the last second."""

LATENCIES = 10_000
"""Latest moves whose latencies are kept."""


class Rate:
    """Events a second, of late."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=1000)

    def note(self, now_s: float) -> None:
        """One more."""
        self._times.append(now_s)

    def per_s(self, now_s: float) -> float:
        """How many a second until now."""
        while self._times and self._times[0] < now_s - WINDOW_S:
            self._times.popleft()
        if len(self._times) < 2:
            return float(len(self._times))
        return (len(self._times) - 1) / max(now_s - self._times[0], 1e-6)


class StageMedians:
    """What stages take of late, milliseconds: medians, which one slow picture does not move."""

    def __init__(self) -> None:
        self._last_ms: dict[str, deque[float]] = {}
        self._totals: dict[str, float] = {}

    @property
    def median_ms(self) -> dict[str, float]:
        """Of each stage that ran in most of the latest rounds."""
        medians = {name: median(times) for name, times in self._last_ms.items()}
        return {name: ms for name, ms in medians.items() if ms > 0}

    def note(self, name: str, ms: float) -> None:
        """A stage ran, or with 0 did not."""
        self._last_ms.setdefault(name, deque(maxlen=MEMORY)).append(ms)

    def note_totals(self, totals_ms: Mapping[str, float]) -> None:
        """Times of stages since the beginning, as an engine keeps them; one that stood still did not run."""
        for name, total in totals_ms.items():
            self.note(name, total - self._totals.get(name, 0.0))
        self._totals = dict(totals_ms)

    def restart_totals(self) -> None:
        """The next totals begin at 0: another engine."""
        self._totals = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what runs in the scope."""
        start = perf_counter()
        yield
        self.note(name, 1e3 * (perf_counter() - start))
