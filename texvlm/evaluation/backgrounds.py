"""Backgrounds that need no file: noise with the spectrum of photographs, leaves, a street, printed pages.

What targets are planted into. All are functions of a random generator alone, the same on every machine.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from texvlm.glyphs import draw_text
from texvlm.sources import open_source

Picture = NDArray[np.uint8]

LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz"))


def draw_background(kind: str, size: tuple[int, int], rng: np.random.Generator) -> Picture:
    """A picture, (height, width, 3) uint8.

    Args:
        kind: one of BACKGROUNDS.
        size: (width, height), pixels.
        rng: decides everything else.
    Raises:
        ValueError: no such kind.
    """
    if kind not in BACKGROUNDS:
        raise ValueError(f"background {kind!r}; accepted: {', '.join(BACKGROUNDS)}")
    return BACKGROUNDS[kind](size, rng)


def _spectrum(size: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Noise whose amplitude falls as 1 / f**1.0..1.4, as that of photographs does; channels go along in part."""
    width, height = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = np.inf
    fall = frequency ** -rng.uniform(1.0, 1.4)
    shared, *own = (np.fft.irfft2(np.fft.rfft2(rng.standard_normal((height, width))) * fall, s=(height, width))
                    for _ in range(4))  # fmt: skip
    planes = np.stack([shared + 0.4 * plane for plane in own], axis=-1)
    planes = planes / planes.std() * rng.uniform(30, 55) + rng.uniform(90, 160, 3)
    picture: Picture = np.rint(np.clip(planes, 0, 255)).astype(np.uint8)
    return picture


def _leaves(size: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Discs and boxes of one colour that hide each other, with radii as 1 / r**3: edges and flats at every scale."""
    width, height = size
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = rng.integers(0, 256, 3)
    least, most = 6.0, max(size) / 5
    share = np.sort(rng.uniform(size=900))  # large ones first, so that small ones are seen
    radii = (most**-2 + share * (least**-2 - most**-2)) ** -0.5
    for radius in radii:
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        x0, x1 = max(int(x - radius), 0), min(int(x + radius) + 1, width)
        y0, y1 = max(int(y - radius), 0), min(int(y + radius) + 1, height)
        part, colour = picture[y0:y1, x0:x1], rng.integers(0, 256, 3)
        if rng.uniform() < 0.4:
            part[:] = colour
        else:
            part[np.hypot(np.arange(x0, x1) - x, (np.arange(y0, y1) - y)[:, None]) <= radius] = colour
    grain = rng.normal(0, 4, picture.shape)
    return np.rint(np.clip(picture + grain, 0, 255)).astype(np.uint8)


def _street(size: tuple[int, int], rng: np.random.Generator) -> Picture:
    """The procedural street of texvlm.sources."""
    with open_source(f"scene:static:{size[0]}x{size[1]}", seed=int(rng.integers(1 << 30)), frames=1) as source:
        picture: Picture = np.array(next(iter(source)).pixels)
        return picture


def _page(size: tuple[int, int], rng: np.random.Generator) -> Picture:
    """Lines of small lower-case words in columns, on paper of a light colour."""
    width, height = size
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = rng.integers(190, 250, 3)
    ink = [int(level) for level in rng.integers(0, 90, 3)]
    scale = int(rng.integers(1, 4))
    for y in range(8, height, 11 * scale):
        x = 8
        while x < width:
            word = "".join(rng.choice(LETTERS, rng.integers(2, 9)))
            draw_text(picture, word, (x, y), scale, ink)
            x += (len(word) + 1) * 6 * scale
    return picture


BACKGROUNDS: dict[str, Callable[[tuple[int, int], np.random.Generator], Picture]] = {
    "spectrum": _spectrum,
    "leaves": _leaves,
    "street": _street,
    "page": _page,
}
"""Kinds by name."""
