"""Page-locked host memory that grows."""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from texvlm.backends.cuda.api import Driver


class PinnedBuffer:
    """Page-locked memory, allocated with the first use and anew when more is asked for.

    Attributes:
        address: of its first byte; 0 before there is any.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._memory: NDArray[np.uint8] = np.empty(0, np.uint8)
        self.address = 0

    def bytes(self, size: int) -> NDArray[np.uint8]:
        """At least `size` bytes; what they held before may be lost. Nothing queued may still read them."""
        if size > self._memory.size:
            rounded = 1 << (size - 1).bit_length()
            address, old = self._driver.allocate_pinned(rounded), self.address
            self.address = address
            self._memory = np.ctypeslib.as_array((ctypes.c_uint8 * rounded).from_address(address))
            if old:
                self._driver.free_pinned(old)
        return self._memory

    def close(self) -> None:
        """Free it. Nothing queued may still read it."""
        address, self.address = self.address, 0
        self._memory = np.empty(0, np.uint8)
        if address:
            self._driver.free_pinned(address)
