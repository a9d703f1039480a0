"""One parallel Numba region at a time in a process.

Numba's portable threading layer (`workqueue`, the only one that is always there) aborts the process
when two Python threads enter parallel regions together. Every kernel here uses all cores anyway, so
engines on different threads take turns, kernel by kernel.
"""

from __future__ import annotations

import os
import threading
from contextlib import AbstractContextManager

_region: AbstractContextManager[object] = threading.RLock()


def parallel_region() -> AbstractContextManager[object]:
    """To be held while a parallel kernel runs; re-entrant, so that a verb may hold it for several."""
    return _region


def _renew_after_fork() -> None:
    """A forked child must not inherit a lock that another thread of its parent held."""
    global _region
    _region = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_after_fork)
