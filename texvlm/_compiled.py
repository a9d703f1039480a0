"""Numba with the defaults of this package: compiled once, kept on disk, without the GIL."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from numba import njit

_log = logging.getLogger("texvlm")


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorator: a kernel kept in Numba's disk cache, or in memory alone where no folder can be written.

    Numba looks for a writable folder beside the source, then in the user's cache folder, unless
    NUMBA_CACHE_DIR names one. A container with a read-only installation and no home has none.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return njit(cache=True, nogil=True, **options)(function)
        except RuntimeError as refusal:
            _log.info("%s is compiled anew in every process: %s", function.__name__, refusal)
            return njit(nogil=True, **options)(function)

    return decorate
