"""The procedural scene: a video that needs no file, the same for the same seed on every machine.

Two shots (a street, a screen full of text) with things that move at several speeds, and by name: a
camera pan, sensor noise, hard cuts. Layers are painted once; a frame is one copy and a few blits.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.errors import SourceError
from texvlm.frames import Frame
from texvlm.sources._desk import desk
from texvlm.sources._sketch import Mover, Shot, Sketch
from texvlm.sources._street import street
from texvlm.sources.base import Source, SourceInfo, describe_info

DEFAULT_SIZE = (1280, 720)
DEFAULT_FRAMES = 120
DEFAULT_RATE = 30.0

_NOISE_LIMIT = 10
"""Largest noise, levels. Layers keep this distance from 0 and 255, so that adding noise cannot wrap."""

_NOISE_SIGMA = 2.5
"""Standard deviation of the sensor noise, levels: an indoor webcam's, as measured on compressed clips."""

_NOISE_STEPS = (61, 67)
"""Primes: offsets (i * 37 mod 61, i * 53 mod 67) into one noise plane repeat after 4087 frames only."""


@dataclass(frozen=True, slots=True)
class SceneKind:
    """What a named scene does.

    Attributes:
        moving: things move; otherwise every frame is the same.
        pan: the camera pans to and fro.
        noise: every frame has its own sensor noise.
        cut_s: seconds between hard cuts; 0 for none, -1 for one in the middle.
    """

    moving: bool = True
    pan: bool = False
    noise: bool = False
    cut_s: float = 0.0


SCENES = {
    "demo": SceneKind(cut_s=-1),
    "static": SceneKind(moving=False),
    "pan": SceneKind(pan=True),
    "noise": SceneKind(noise=True),
    "cut": SceneKind(cut_s=1.0),
}
"""Scenes by name."""


@dataclass(frozen=True, slots=True)
class _Sprite:
    """A mover ready to blit: colours times coverage, and 1 - coverage, both in 1/256 units."""

    mover: Mover
    colour: NDArray[np.uint16]
    remain: NDArray[np.uint16]


class SceneSource(Source):
    """Frames of the procedural scene; see `open_source`.

    Attributes:
        cuts: index of the first frame after each hard cut.
    """

    def __init__(
        self,
        name: str,
        kind: SceneKind,
        *,
        size: tuple[int, int] = DEFAULT_SIZE,
        channels: int = 3,
        every: int = 1,
        frames: int = DEFAULT_FRAMES,
        rate: float = DEFAULT_RATE,
        seed: int = 0,
    ) -> None:
        self._kind = kind
        self._size = size
        self._channels = channels
        self._step_s = 1 / rate
        self._indices = range(0, frames, every)
        step = frames if kind.cut_s == 0 else max(1, frames // 2 if kind.cut_s < 0 else round(kind.cut_s * rate))
        self._shot_frames = step
        self.cuts = tuple(range(step, frames, step))
        self._width = size[0] + (size[0] * 35 // 100 if kind.pan else 0)
        builders = (street, desk) if self.cuts else (street,)
        rngs = [np.random.default_rng((seed, i)) for i in range(3)]
        shots = [build(size, self._width, rng) for build, rng in zip(builders, rngs, strict=False)]
        self._layers = [(self._pixels(shot.background), self._sprites(shot)) for shot in shots]
        self._noise = self._noise_plane(rngs[2]) if kind.noise else None
        self._frames = self._render()
        self._info = SourceInfo(name, "scene", size, len(self._indices), rate / every, frames / rate)

    @property
    def info(self) -> SourceInfo:
        """Facts known at opening."""
        return self._info

    def __next__(self) -> Frame:
        return next(self._frames)

    def frame(self, index: int) -> Frame:
        """The frame with this index, counted without `every`; any order."""
        background, sprites = self._layers[self._shot(index)]
        width, height = self._size
        left = self._pan(index)
        pixels = background[:, left : left + width].copy()
        for sprite in sprites:
            self._blit(pixels, sprite, index, left)
        if self._noise is not None:
            y, x = (index * k % n for k, n in zip((37, 53), _NOISE_STEPS, strict=True))
            np.add(pixels, self._noise[y : y + height, x : x + width], out=pixels)
        return Frame(pixels, pts=index * self._step_s, kind="I" if index in (0, *self.cuts) else None)

    def boxes(self, index: int) -> NDArray[np.float64]:
        """(x0, y0, x1, y1) of each visible moving thing in a frame, texels, shape (n, 4), back to front."""
        found = []
        for sprite in self._layers[self._shot(index)][1]:
            box = self._place(sprite, index, self._pan(index))
            if box is not None:
                found.append(box[:4])
        return np.array(found, np.float64).reshape(-1, 4)

    def describe(self) -> dict[str, Any]:
        """Facts: the scene's own and what happens in it."""
        kind = self._kind
        return describe_info(self._info) | {
            "moving": kind.moving,
            "pan": kind.pan,
            "noise": kind.noise,
            "cuts": list(self.cuts),
        }

    def close(self) -> None:
        """End the iteration."""
        self._frames.close()

    def _render(self) -> Generator[Frame, None, None]:
        for index in self._indices:
            yield self.frame(index)

    def _shot(self, index: int) -> int:
        return index // self._shot_frames % len(self._layers)

    def _pan(self, index: int) -> int:
        """Left edge of the view in the background: to and fro at one speed, one way in 4 s."""
        margin = self._width - self._size[0]
        there = index * self._step_s / 4 % 2
        return round(margin * min(there, 2 - there))

    def _place(self, sprite: _Sprite, index: int, left: int) -> tuple[int, int, int, int, int, int] | None:
        """(x0, y0, x1, y1) in the frame and (x, y) of that corner in the sprite; None when hidden."""
        # Paths are written for 30 frames a second; other rates see the same motion in seconds.
        at = round(index * self._step_s * DEFAULT_RATE) if self._kind.moving else 0
        x, y = (round(v) for v in sprite.mover.path(at))
        wx0, wy0, wx1, wy1 = sprite.mover.window or (0, 0, self._width, self._size[1])
        height, width = sprite.remain.shape[:2]
        x0, y0 = max(x - left, wx0 - left, 0), max(y, wy0, 0)
        x1 = min(x - left + width, wx1 - left, self._size[0])
        y1 = min(y + height, wy1, self._size[1])
        return (x0, y0, x1, y1, x0 - x + left, y0 - y) if x0 < x1 and y0 < y1 else None

    def _blit(self, pixels: NDArray[np.uint8], sprite: _Sprite, index: int, left: int) -> None:
        place = self._place(sprite, index, left)
        if place is None:
            return
        x0, y0, x1, y1, sx, sy = place
        part = pixels[y0:y1, x0:x1]
        rows, columns = slice(sy, sy + y1 - y0), slice(sx, sx + x1 - x0)
        part[:] = (part * sprite.remain[rows, columns] + sprite.colour[rows, columns]) >> 8

    def _pixels(self, rgb: NDArray[np.floating]) -> NDArray[np.uint8]:
        """A painted picture as the bytes of a frame, clear of 0 and 255 by the noise limit."""
        levels = np.clip(rgb, _NOISE_LIMIT, 255 - _NOISE_LIMIT)
        if self._channels == 1:
            levels = (levels @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
        pixels = np.rint(levels).astype(np.uint8)
        if self._channels == 4:
            pixels = np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], -1)
        return np.ascontiguousarray(pixels)

    def _sprites(self, shot: Shot) -> list[_Sprite]:
        return [self._sprite(mover, mover.picture) for mover in shot.movers]

    def _sprite(self, mover: Mover, sketch: Sketch) -> _Sprite:
        # Repeated for every channel: broadcasting over an axis of three is slower.
        cover = np.repeat(np.rint(sketch.alpha * 256).astype(np.uint16)[..., None], self._channels, -1)
        straight = sketch.rgb / np.maximum(sketch.alpha, 1e-6)[..., None]
        return _Sprite(mover, self._pixels(straight) * cover, np.uint16(256) - cover)

    def _noise_plane(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Noise as two's complement bytes, a little larger than a frame; alpha has none."""
        width, height = self._size
        shape = (height + _NOISE_STEPS[0], width + _NOISE_STEPS[1], self._channels)
        levels = rng.standard_normal(shape, np.float32) * np.float32(_NOISE_SIGMA)
        noise: NDArray[np.uint8] = np.clip(np.rint(levels), -_NOISE_LIMIT, _NOISE_LIMIT).astype(np.int8).view(np.uint8)
        if self._channels == 4:
            noise[..., 3] = 0
        return noise


def open_scene(
    spec: str,
    *,
    channels: int = 3,
    every: int = 1,
    rate: float | None = None,
    frames: int | None = None,
    seed: int | None = None,
) -> SceneSource:
    """Open "scene", "scene:NAME", "scene:1920x1080" or "scene:NAME:1920x1080"; see `open_source`.

    Raises:
        SourceError: no scene has that name.
        ValueError: a size, rate, frame count or seed that is not accepted.
    """
    rate, frames = DEFAULT_RATE if rate is None else rate, DEFAULT_FRAMES if frames is None else frames
    seed = seed or 0
    if not 0 < rate < float("inf"):
        raise ValueError(f"rate is {rate}; accepted: frames per second above 0")
    if frames < 1:
        raise ValueError(f"frames is {frames}; accepted: 1 or more")
    if seed < 0:
        raise ValueError(f"seed is {seed}; accepted: 0 or more")
    name, size = "demo", DEFAULT_SIZE
    for part in spec.split(":")[1:]:
        match = re.fullmatch(r"(\d+)x(\d+)", part)
        if match:
            size = (int(match[1]), int(match[2]))
        elif part in SCENES:
            name = part
        else:
            raise SourceError(f"{spec}: no scene is called {part!r}; accepted: {', '.join(SCENES)}, or WIDTHxHEIGHT")
    if not all(16 <= side <= 16384 for side in size):
        raise ValueError(f"{spec}: scene of {size[0]} x {size[1]}; accepted: sides of 16..16384 texels")
    return SceneSource(
        spec, SCENES[name], size=size, channels=channels, every=every, frames=frames, rate=rate, seed=seed
    )
