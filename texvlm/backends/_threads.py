"""When a host kernel runs on all cores, and when on one.

Two threads halve a kernel's time on an idle machine. Beside a busy video decoder they multiply it:
the kernel ends only when its last thread got a core, and a time slice of the scheduler is longer
than the whole kernel. So each kernel keeps account of what it costs per element both ways, takes
the cheaper, and tries the other one now and then. Results do not depend on it.

Two more measures, for the same reason. Waiting threads sleep (OMP_WAIT_POLICY, unless the user set it;
read by the OpenMP runtime when Numba loads it): threads that spin for milliseconds starve a decoder
that works beside them. GNU's runtime may spin for some tens of microseconds
first (GOMP_SPINCOUNT): the next kernel of the same frame then finds its threads awake. And only one
parallel region runs at a time in a process: Numba's portable threading layer (`workqueue`, the only
one that is always there) aborts when two Python threads enter parallel regions together.
"""

from __future__ import annotations

import os
import threading
from time import perf_counter_ns

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ["OMP_WAIT_POLICY"] = "passive"
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import numba

SMALL_WORK = 100_000
"""Elements below which a kernel always runs on one thread: waking another takes longer than the work."""

TRY_EVERY = 64
"""Calls between two tries of the way that was dearer so far."""

FIRST_TRIES = 6
"""Calls that take turns at first; the very first ones load or compile the kernel and wake threads."""

MEMORY = 0.2
"""Share of a dearer measurement in the running cost; five calls or so decide. A cheaper one counts at
once: nothing but the kernel makes a call fast, and many things make it slow."""

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
        if self._calls <= FIRST_TRIES or len(self._cost) < 2:
            return self._calls % 2 == 1
        cheaper = self._cost[True] < self._cost[False]
        return not cheaper if self._calls % TRY_EVERY == 0 else cheaper

    def note(self, parallel: bool, work: int, nanoseconds: int) -> None:
        """Take a measurement into account; small work says nothing."""
        if work >= SMALL_WORK:
            cost = nanoseconds / work
            known = self._cost.get(parallel, cost)
            self._cost[parallel] = min(cost, known + MEMORY * (cost - known))

    def region(self, work: int) -> KernelCall:
        """The scope of one kernel call that touches about `work` elements."""
        return KernelCall(self, work)


class KernelCall:
    """The scope of one kernel call: alone in its process, on as many threads as its account says.

    Attributes:
        work: elements touched; may be corrected inside the scope, when more is known.
    """

    __slots__ = ("_account", "_before", "_parallel", "_start", "_threads", "work")

    def __init__(self, account: ThreadAccount, work: int) -> None:
        self._account = account
        self.work = work

    def __enter__(self) -> KernelCall:
        _region.acquire()
        self._parallel = self._account.prefers_parallel(self.work)
        self._before = numba.get_num_threads()
        self._threads = self._before if self._parallel else 1
        if self._threads != self._before:
            numba.set_num_threads(self._threads)
        self._start = perf_counter_ns()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        spent = perf_counter_ns() - self._start
        if self._threads != self._before:
            numba.set_num_threads(self._before)
        if kind is None:
            self._account.note(self._parallel, self.work, spent)
        _region.release()


def _renew_after_fork() -> None:
    """A forked child must not inherit a lock that another thread of its parent held."""
    global _region
    _region = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)
