"""What lies on the device between calls and is asked for later: which tiles changed, and the tokens kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch

from texvlm.backends._checks import check_sample
from texvlm.backends.base import Normalisation, PendingTiles, Texture, TokenKeeper
from texvlm.backends.cuda.api import Driver, Stream
from texvlm.backends.cuda.arrays import CudaTexture
from texvlm.backends.cuda.ingest import Ingest
from texvlm.backends.cuda.launch import use_on_current_stream
from texvlm.backends.cuda.planner import Planner
from texvlm.backends.cuda.sampler import KeptTokens, Sampler
from texvlm.errors import ClosedError
from texvlm.layouts.table import Table
from texvlm.regions import TileMask

TOTALS = ("tiles_dirty", "bytes_uploaded", "texels_rebuilt", "tokens_sampled", "tokens_reused")
"""What the kernels count, in the order of their totals."""

Queue = Callable[..., AbstractContextManager[Stream]]
"""The scope of one call's work, and the stream for it; takes the name of a stage that is to be timed."""


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What makes launches, of one backend; `totals` is where they count."""

    driver: Driver
    ingest: Ingest
    planner: Planner
    sampler: Sampler
    totals: torch.Tensor


class DeviceTiles(PendingTiles):
    """Flags that a kernel has been asked to write."""

    def __init__(self, flags: torch.Tensor, queue: Queue) -> None:
        self._flags, self._queue = flags, queue
        self.shape = (int(flags.shape[0]), int(flags.shape[1]))

    def mask(self) -> TileMask:
        """See PendingTiles."""
        with self._queue():
            return to_mask(self._flags)


class CudaKeeper(TokenKeeper):
    """Tokens whose state lies on the device beside them."""

    def __init__(self, parts: Parts, queue: Queue, pixels: torch.Tensor) -> None:
        self.pixels = pixels
        self._parts, self._queue = parts, queue
        self._texture: Texture | None = None
        self._kept: KeptTokens | None = None
        self._used_on: Stream | None = None

    def refresh(self, texture: Texture, rows: Table | torch.Tensor, normalisation: Normalisation) -> torch.Tensor:
        """See TokenKeeper."""
        if not isinstance(texture.handle, CudaTexture):
            raise ClosedError("this texture was destroyed")
        if not isinstance(rows, torch.Tensor):
            check_sample(texture, rows, self.pixels)
        with self._queue("sample") as stream:
            if self._kept is None or self._texture is not texture:
                self._texture, self._kept = texture, KeptTokens.fresh(self.pixels)
                self._used_on = None
            if stream != self._used_on:
                self._used_on = stream
                use_on_current_stream(self.pixels, self._kept.rows, self._kept.sampled_at)
            return self._parts.sampler.resample(
                texture.handle, rows, self._kept, normalisation, stream=stream, totals=self._parts.totals
            )


def to_mask(flags: torch.Tensor) -> TileMask:
    """Flags on the device as a mask on the host. Waits for the device."""
    return flags.cpu().numpy().astype(np.bool_)
