"""A kernel launch that is ready to be queued: now, or as a node of a captured graph later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from texvlm.backends.cuda.api import Stream
from texvlm.backends.cuda.kernels import Dim, Kernel


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """A kernel with its arguments, ready to be queued or put in a graph.

    Attributes:
        kernel: what runs.
        grid: blocks.
        block: threads of one.
        arguments: the kernel's record, shape (1,).
        memory: what must live until it is queued; as part of a graph, as long as the graph.
    """

    kernel: Kernel
    grid: Dim
    block: Dim
    arguments: np.ndarray[Any, Any]
    memory: tuple[torch.Tensor, ...] = ()

    def run(self, stream: Stream) -> None:
        """Queue it; a grid without blocks does nothing."""
        if 0 not in self.grid:
            self.kernel.launch(self.grid, self.block, self.arguments, stream)


def use_on_current_stream(*tensors: torch.Tensor) -> None:
    """Let torch hand out the memory of dropped tensors only when its current stream is done with them, too.

    By itself it waits for nothing but the stream that they were made on.
    """
    for tensor in tensors:
        if tensor.is_cuda:
            tensor.record_stream(torch.cuda.current_stream(tensor.device))
