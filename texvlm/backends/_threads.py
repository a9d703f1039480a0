"""When a host kernel runs on all cores, and when on one.

Two threads halve a kernel's time on an idle machine. Beside a busy video decoder they multiply it:
the kernel ends only when its last thread got a core, and a time slice of the scheduler is longer
than the whole kernel. So each kernel keeps account of what it costs per element both ways, takes
the cheaper, and tries the other one now and then. Results do not depend on it.

Two more measures, for the same reason. Waiting threads sleep (OMP_WAIT_POLICY=passive, unless the
user set it; read by the OpenMP runtime when Numba loads it): threads that spin for the next kernel
starve the decoder, which made a 1080p clip six times slower here. And only one parallel region runs
at a time in a process: Numba's portable threading layer (`workqueue`, the only one that is always
there) aborts when two Python threads enter parallel regions together.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numba

SMALL_WORK = 100_000
"""Elements below which a kernel always runs on one thread: waking another takes longer than the work."""

TRY_EVERY = 64
"""Calls between two tries of the way that was dearer so far."""

MEMORY = 0.2
"""Share of the newest measurement in the running cost; five calls or so decide."""

_region = threading.RLock()


class ThreadAccount:
    """What one kernel costs on one thread and on all, and which it should take next."""

    def __init__(self) -> None:
        self._cost: dict[bool, float] = {}  # parallel? -> nanoseconds per element
        self._calls = 0

    def prefers_parallel(self, work: int) -> bool:
        """Whether the next call, of `work` elements, should run on all threads."""
        if work < SMALL_WORK or numba.config.NUMBA_NUM_THREADS == 1:
            return False
        self._calls += 1
        if len(self._cost) < 2:
            return True not in self._cost
        cheaper = self._cost[True] < self._cost[False]
        return not cheaper if self._calls % TRY_EVERY == 0 else cheaper

    def note(self, parallel: bool, work: int, nanoseconds: int) -> None:
        """Take a measurement into account; small work says nothing."""
        if work >= SMALL_WORK:
            cost = nanoseconds / work
            self._cost[parallel] = cost + (1 - MEMORY) * (self._cost.get(parallel, cost) - cost)

    @contextmanager
    def region(self, work: int) -> Iterator[None]:
        """The scope of one kernel call that touches about `work` elements."""
        with _region:
            parallel = self.prefers_parallel(work)
            before = numba.get_num_threads()
            wanted = before if parallel else 1
            if wanted != before:
                numba.set_num_threads(wanted)
            start = perf_counter_ns()
            try:
                yield
            finally:
                if wanted != before:
                    numba.set_num_threads(before)
            self.note(parallel, work, perf_counter_ns() - start)


def _renew_after_fork() -> None:
    """A forked child must not inherit a lock that another thread of its parent held."""
    global _region
    _region = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)
