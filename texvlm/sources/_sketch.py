"""Drawing for the procedural scene: smooth-edged shapes, text and textures, in NumPy.

A shape is a signed distance in pixels (negative inside), so its edge is anti-aliased by itself.
Everything is drawn once, before the first frame; frames are copies and blits of the results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from texvlm.glyphs import text_mask, text_size

Colour = tuple[float, float, float]
"""RGB, 0..255."""

Image = NDArray[np.float32]


class Sketch:
    """A canvas of premultiplied RGB and coverage; empty (transparent) at first.

    Attributes:
        rgb: (height, width, 3), 0..255, already multiplied by `alpha`.
        alpha: (height, width), 0..1.
    """

    def __init__(self, width: int, height: int) -> None:
        self.rgb: Image = np.zeros((height, width, 3), np.float32)
        self.alpha: Image = np.zeros((height, width), np.float32)

    def rect(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        colour: Colour,
        *,
        radius: float = 0.0,
        opacity: float = 1.0,
    ) -> None:
        """An axis-aligned rectangle with round corners."""
        window = self._window(x0, y0, x1, y1)
        if window is None:
            return
        x, y = _centres(window)
        dx = np.abs(x - (x0 + x1) / 2) - (x1 - x0) / 2 + radius
        dy = np.abs(y - (y0 + y1) / 2) - (y1 - y0) / 2 + radius
        outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
        self._fill(window, outside + np.minimum(np.maximum(dx, dy), 0) - radius, colour, opacity)

    def disc(self, x: float, y: float, radius: float, colour: Colour, *, opacity: float = 1.0) -> None:
        """A filled circle."""
        window = self._window(x - radius, y - radius, x + radius, y + radius)
        if window is not None:
            xs, ys = _centres(window)
            self._fill(window, np.hypot(xs - x, ys - y) - radius, colour, opacity)

    def glow(self, x: float, y: float, radius: float, colour: Colour, *, opacity: float) -> None:
        """Light that fades from a point to nothing at `radius`."""
        window = self._window(x - radius, y - radius, x + radius, y + radius)
        if window is not None:
            xs, ys = _centres(window)
            fade = np.clip(1 - np.hypot(xs - x, ys - y) / radius, 0, 1)
            self._cover(window, (opacity * fade * fade).astype(np.float32), colour)

    def polygon(self, points: Sequence[tuple[float, float]], colour: Colour, *, opacity: float = 1.0) -> None:
        """A convex polygon, corners in clockwise order on the screen."""
        corners = np.asarray(points, np.float64)
        window = self._window(*corners.min(0), *corners.max(0))
        if window is None:
            return
        xs, ys = _centres(window)
        distance = np.full((ys.shape[0], xs.shape[1]), -np.inf)
        for (ax, ay), (bx, by) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            length = float(np.hypot(bx - ax, by - ay)) or 1.0
            distance = np.maximum(distance, ((by - ay) * (xs - ax) - (bx - ax) * (ys - ay)) / length)
        self._fill(window, distance, colour, opacity)

    def line(self, points: Sequence[tuple[float, float]], width: float, colour: Colour) -> None:
        """A polyline with round ends."""
        for (ax, ay), (bx, by) in pairwise(points):
            half = width / 2
            window = self._window(min(ax, bx) - half, min(ay, by) - half, max(ax, bx) + half, max(ay, by) + half)
            if window is None:
                continue
            xs, ys = _centres(window)
            squared = (bx - ax) ** 2 + (by - ay) ** 2 or 1.0
            t = np.clip(((xs - ax) * (bx - ax) + (ys - ay) * (by - ay)) / squared, 0, 1)
            self._fill(window, np.hypot(xs - ax - t * (bx - ax), ys - ay - t * (by - ay)) - half, colour, 1.0)

    def text(
        self, text: str, x: float, y: float, scale: int, colour: Colour, *, centre: bool = False, opacity: float = 1.0
    ) -> None:
        """One line of text; (x, y) is its top-left corner, or the middle of its top edge with `centre`.

        Scale 0 draws nothing: on a small canvas such text would be larger than what it labels.
        """
        if scale == 0:
            return
        left = round(x - text_size(text, scale=scale)[0] / 2) if centre else round(x)
        ink = text_mask(text, scale=scale)
        window = self._window(left, round(y), left + ink.shape[1], round(y) + ink.shape[0])
        if window is not None:
            x0, y0, x1, y1 = window
            part = ink[max(y0 - round(y), 0) :, max(x0 - left, 0) :][: y1 - y0, : x1 - x0]
            padded = np.zeros((y1 - y0, x1 - x0), np.float32)
            padded[: part.shape[0], : part.shape[1]] = part * opacity
            self._cover(window, padded, colour)

    def shade(self, x0: int, y0: int, x1: int, y1: int, gain: Image) -> None:
        """Multiply a rectangle's colour by `gain`, shape (y1 - y0, x1 - x0)."""
        part = self.rgb[y0:y1, x0:x1]
        part *= gain[: part.shape[0], : part.shape[1], None]

    def _window(self, x0: float, y0: float, x1: float, y1: float) -> tuple[int, int, int, int] | None:
        """Whole pixels that a shape may touch, cut to the canvas; None when there are none."""
        height, width = self.alpha.shape
        left, top = max(int(np.floor(x0)) - 1, 0), max(int(np.floor(y0)) - 1, 0)
        right, bottom = min(int(np.ceil(x1)) + 1, width), min(int(np.ceil(y1)) + 1, height)
        return (left, top, right, bottom) if left < right and top < bottom else None

    def _fill(
        self, window: tuple[int, int, int, int], distance: NDArray[np.floating], colour: Colour, opacity: float
    ) -> None:
        self._cover(window, (np.clip(0.5 - distance, 0, 1) * opacity).astype(np.float32), colour)

    def _cover(self, window: tuple[int, int, int, int], coverage: Image, colour: Colour) -> None:
        x0, y0, x1, y1 = window
        rgb, alpha = self.rgb[y0:y1, x0:x1], self.alpha[y0:y1, x0:x1]
        rgb += coverage[..., None] * (np.asarray(colour, np.float32) - rgb)
        alpha += coverage * (1 - alpha)


Path = Callable[[int], tuple[float, float]]
"""Top-left corner (x, y) at a frame index, texels of the background."""


@dataclass(frozen=True, slots=True)
class Mover:
    """Something that moves over a background.

    Attributes:
        picture: what it looks like.
        path: where it is.
        window: (x0, y0, x1, y1) outside of which it is hidden; None shows all of it.
    """

    picture: Sketch
    path: Path
    window: tuple[int, int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Shot:
    """A painted background, (height, width, 3), 0..255, and what moves over it, back to front."""

    background: Image
    movers: list[Mover]


def value_noise(
    shape: tuple[int, int], cell: tuple[float, float], rng: np.random.Generator, *, octaves: int = 1
) -> Image:
    """Smooth random texture in 0..1, shape (height, width); `cell` is (x, y) pixels between knots."""
    total, weight, amplitude = np.zeros(shape, np.float32), 0.0, 1.0
    for octave in range(octaves):
        step = [max(c / 2**octave, 1.0) for c in (cell[1], cell[0])]
        knots = rng.random([int(n / s) + 2 for n, s in zip(shape, step, strict=True)], np.float32)
        at = [np.arange(n) / s for n, s in zip(shape, step, strict=True)]
        base = [a.astype(int) for a in at]
        y, x = ((a - b).astype(np.float32) for a, b in zip(at, base, strict=True))
        y, x = y * y * (3 - 2 * y), x * x * (3 - 2 * x)
        columns = knots[:, base[1]] * (1 - x) + knots[:, base[1] + 1] * x
        total += amplitude * (columns[base[0]] * (1 - y)[:, None] + columns[base[0] + 1] * y[:, None])
        weight += amplitude
        amplitude /= 2
    return total / np.float32(weight)


def gradient(height: int, stops: Sequence[tuple[float, Colour]]) -> Image:
    """Vertical run of colours, shape (height, 1, 3); stops are (0..1 from the top, colour)."""
    at = (np.arange(height) + 0.5) / height
    places = [s[0] for s in stops]
    return np.stack([np.interp(at, places, [s[1][c] for s in stops]) for c in range(3)], -1)[:, None].astype(np.float32)


def _centres(window: tuple[int, int, int, int]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    x0, y0, x1, y1 = window
    return np.arange(x0, x1)[None, :] + 0.5, np.arange(y0, y1)[:, None] + 0.5
