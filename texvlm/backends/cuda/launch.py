"""A kernel launch that is ready to be queued: now, or as a node of a captured graph later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from texvlm.backends.cuda.api import Stream
from texvlm.backends.cuda.kernels import Dim, Kernel


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """A kernel, its grid and its arguments. Holds addresses, not tensors: keep those alive.

    Attributes:
        kernel: which.
        grid: blocks.
        block: threads of each.
        arguments: the kernel's record, shape (1,).
    """

    kernel: Kernel
    grid: Dim
    block: Dim
    arguments: np.ndarray[Any, Any]

    def queue(self, stream: Stream) -> None:
        """Queue it; a grid without blocks does nothing."""
        if 0 not in self.grid:
            self.kernel.launch(self.grid, self.block, self.arguments, stream)
