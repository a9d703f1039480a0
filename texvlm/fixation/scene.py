"""What a look policy sees: one frame of one source, read where it is resident and small.

Coarse mip levels stand for the picture, so that a look costs what a few thousand texels cost,
whatever the frame's size. A level is read when a policy first asks for it, once for all policies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from texvlm.pyramid import TextureSpec, level_size
from texvlm.regions import TileMask

FloatMap = NDArray[np.float32]

NOMINAL_STEP_S = 1 / 25
"""Seconds between two frames where a source knows no times."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Rec. 601 weights of R, G, B."""


class FrameReport(Protocol):
    """What is known of how a frame was taken; `texvlm.SubmitReport` is one."""

    @property
    def tiles(self) -> TileMask:
        """Tiles that changed, bool, (rows, columns)."""


class Resident(Protocol):
    """Who holds the frame; `texvlm.Engine` is one."""

    @property
    def spec(self) -> TextureSpec | None:
        """Shape of the texture array."""

    def frame_size(self, source: int = 0) -> tuple[int, int] | None:
        """(width, height) of a source's frame."""

    def read_level(self, level: int = 0, *, source: int = 0) -> NDArray[np.generic]:
        """One mip level, (height, width, channels)."""


@dataclass(frozen=True, slots=True)
class GazePoint:
    """Where an eye or a pointer was on the frame, at one moment. What an eye tracker gives: texvlm.gaze.GazeSample.

    Attributes:
        time_s: when, on the clock of the frames.
        u: across the frame, 0..1 inside.
        v: down.
        valid: False in a blink, or where the tracker lost the eye; u and v then count for nothing.
    """

    time_s: float
    u: float
    v: float
    valid: bool = True


GazeSample = GazePoint
"""Its former name."""


class Mips:
    """The resident levels of one frame as pictures in 0..1; each is read once.

    Args:
        read: a level as the engine stores it, (height, width, channels), uint8 or float.
        size: (width, height) of the frame.
        levels: how many there are.
    """

    def __init__(self, read: Callable[[int], NDArray[Any]], size: tuple[int, int], levels: int) -> None:
        self.size, self.levels = size, levels
        self._read = read
        self._colour: dict[int, FloatMap] = {}
        self._gray: dict[int, FloatMap] = {}

    def level_within(self, longest: int) -> int:
        """The finest level whose longer side has at most so many texels; the coarsest where none has."""
        for level in range(self.levels):
            if max(level_size(self.size, level)) <= longest:
                return level
        return self.levels - 1

    def colour(self, level: int) -> FloatMap:
        """A level as RGB, (height, width, 3); gray is repeated, alpha left out. Not to be written."""
        if level not in self._colour:
            texels = self._read(level)
            scale = 1 / 255 if texels.dtype == np.uint8 else 1.0
            picture = np.multiply(texels[..., :3], scale, dtype=np.float32)
            self._colour[level] = np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
        return self._colour[level]

    def gray(self, level: int) -> FloatMap:
        """A level's luma, (height, width). Not to be written."""
        if level not in self._gray:
            self._gray[level] = (self.colour(level) @ _LUMA).astype(np.float32, copy=False)
        return self._gray[level]

    def cell(self, level: int) -> tuple[float, float]:
        """What a texel of a level spans of the frame, along (u, v)."""
        return 2**level / self.size[0], 2**level / self.size[1]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One frame, as a look policy is asked about it.

    Attributes:
        source: which source.
        size: (width, height) of the frame, texels.
        mips: its resident levels.
        time_s: when it is shown; None where the source knows no times.
        report: what changed with it; None where nobody says.
        gaze: samples since the frame before, oldest first.
        attention: importance over the frame as the model saw it before, (rows, columns), >= 0; see
            `texvlm.fixation.token_map` for attention to tokens.
        features: whatever a user's own policy wants from the model; none of texvlm's reads it.
    """

    source: int
    size: tuple[int, int]
    mips: Mips
    time_s: float | None = None
    report: FrameReport | None = None
    gaze: tuple[GazePoint, ...] = ()
    attention: NDArray[np.floating[Any]] | None = None
    features: object | None = None


def scene_of(
    engine: Resident,
    source: int = 0,
    *,
    time_s: float | None = None,
    report: FrameReport | None = None,
    gaze: Sequence[GazePoint] = (),
    attention: NDArray[np.floating[Any]] | None = None,
    features: object | None = None,
) -> Scene:
    """The frame of a source that an engine holds; see `Scene`. Good until the source's next frame.

    Raises:
        ValueError: the source has no frame yet.
    """
    size, spec = engine.frame_size(source), engine.spec
    if size is None or spec is None:
        raise ValueError(f"source {source} has no frame yet; submit one first")
    mips = Mips(lambda level: engine.read_level(level, source=source), size, spec.levels)
    return Scene(source, size, mips, time_s, report, tuple(gaze), attention, features)


class Clock:
    """Seconds since a policy first looked; never back, also where times are unknown, repeated or broken."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._last: float | None = None
        self._started = False

    def tick(self, time_s: float | None) -> float:
        """Go on to a frame's time; an unknown or earlier one counts as a nominal step."""
        known = time_s if time_s is not None and math.isfinite(time_s) else None
        if self._started:
            forward = known is not None and self._last is not None and known >= self._last
            self.now_s += known - self._last if forward else NOMINAL_STEP_S  # type: ignore[operator]
        self._started, self._last = True, known
        return self.now_s
