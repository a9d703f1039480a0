"""Scenes for look policies: frames in a real engine on the cpu, seen through `scene_of`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm import Engine
from texvlm.fixation import Look, LookPolicy, Scene, scene_of

SIZE = (320, 192)
RATE = 30.0


def plain(size: tuple[int, int] = SIZE, gray: int = 90) -> NDArray[np.uint8]:
    return np.full((size[1], size[0], 3), gray, np.uint8)


def with_square(
    centre: tuple[float, float],
    *,
    side: int = 24,
    colour: Sequence[int] = (240, 240, 240),
    size: tuple[int, int] = SIZE,
) -> NDArray[np.uint8]:
    """A plain frame with a square around (x, y)."""
    frame = plain(size)
    x, y = (round(c - side / 2) for c in centre)
    frame[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)] = colour
    return frame


def scenes_of(frames: Sequence[NDArray[Any]], *, rate: float | None = RATE, **more: Any) -> Iterator[Scene]:
    """Each frame as a scene of one cpu engine; good until the next one is asked for."""
    with Engine(backend="cpu", threshold=0) as engine:
        for i, frame in enumerate(frames):
            report = engine.submit(frame)
            yield scene_of(engine, time_s=None if rate is None else i / rate, report=report, **more)


def looks_of(policy: LookPolicy, frames: Sequence[NDArray[Any]], **more: Any) -> list[Look]:
    return [policy.look(scene) for scene in scenes_of(frames, **more)]


def places(looks: Sequence[Look]) -> NDArray[np.float64]:
    """First fixation of each look, (n, 2)."""
    return np.array([look.fixations[0] for look in looks])


def uv(x: float, y: float, size: tuple[int, int] = SIZE) -> tuple[float, float]:
    return x / size[0], y / size[1]
