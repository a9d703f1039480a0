"""One picture's data, copied out of the engine's memory: good for as long as somebody holds it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.engine import Engine
from texvlm.viewer.shown import Shown


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What pictures are drawn from, in any mode, on any thread.

    Attributes:
        frame: what the engine stores, (height, width, channels).
        shown: tokens, tiles and fixations, on the host.
        seen: for each client that pointed, the number of its newest move that this picture shows.
    """

    frame: NDArray[Any]
    shown: Shown
    seen: dict[int, int]


def take_snapshot(engine: Engine, shown: Shown, seen: dict[int, int]) -> Snapshot:
    """Copy a picture. On the engine's thread, before the session's next `advance`."""
    batch = shown.batch
    copied = replace(
        batch,
        pixels=batch.pixels.detach().to("cpu", copy=True),
        rows=batch.table.copy(),
        dirty=batch.dirty.detach().to("cpu", copy=True),
        sizes=batch.sizes.copy(),
    )
    shown = replace(shown, batch=copied, tiles=np.array(shown.tiles), fixations=np.array(shown.fixations))
    return Snapshot(engine.read_level(0), shown, dict(seen))
