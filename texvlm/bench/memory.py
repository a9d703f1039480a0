"""Memory over many frames, and the price of an unchanged one: nothing."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

import numpy as np

from texvlm.backends.base import Backend
from texvlm.bench.machine import rss_bytes
from texvlm.bench.report import MemoryRun
from texvlm.bench.scenes import changing, still
from texvlm.engine import Engine
from texvlm.fixation import MovingFixation

SAMPLES = 100
SHARE = 0.05


def run_memory(
    backend: Backend,
    size: tuple[int, int],
    *,
    frames: int,
    unchanged: int,
    tokens: int,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> MemoryRun:
    """Feed frames with 5 % of the tiles changed and a moving fixation; watch resident memory.

    Args:
        backend: open; closed by whoever opened it.
        size: (width, height).
        frames: changing frames; memory is read SAMPLES times, at even distances.
        unchanged: how often the last frame is then submitted again.
        tokens: budget of the quadtree.
        seed: of the frames.
        progress: called with the number of frames done, whenever memory is read.
    """
    every = max(1, frames // SAMPLES)
    path = MovingFixation()
    resident: list[int] = []
    with Engine(backend=backend, tokens=tokens) as engine:
        moving = changing(size, SHARE, "scattered", seed)
        for index in range(frames):
            engine.submit(next(moving))
            engine.tokens(path.at(index / 30))
            if (index + 1) % every == 0:
                resident.append(rss_bytes())
                if progress is not None:
                    progress(index + 1)
        frame = still(size, seed + 2)
        engine.submit(frame)
        engine.tokens()
        before = copy(engine.counters)
        for _ in range(unchanged):
            engine.submit(frame.copy())
            engine.tokens()
        spent = (engine.counters - before).as_dict()
    tenth = max(1, len(resident) // 10)
    growth = float(np.mean(resident[-tenth:]) - np.mean(resident[tenth : 2 * tenth] or resident[:tenth]))
    return MemoryRun(
        backend=backend.name,
        size=size,
        frames=frames,
        every=every,
        rss_mib=[round(count / 2**20, 2) for count in resident],
        growth_mib=round(growth / 2**20, 3),
        unchanged_frames=unchanged,
        unchanged_counters={name: spent[name] for name in ("bytes_uploaded", "texels_rebuilt", "tokens_sampled")},
    )
