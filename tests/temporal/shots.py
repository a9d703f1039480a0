"""Small shots for tests: windows over smooth random scenes, moved, lit, blended and joined."""

from __future__ import annotations

import numpy as np

SIZE = (24, 40)
"""(height, width) of every picture."""


def scene(seed: int, *, size: tuple[int, int] = (96, 160)) -> np.ndarray:
    """Rectangles of random colours over each other, in a light of their own, (height, width, 3), 0..1."""
    rng = np.random.default_rng(seed)
    found = np.zeros((*size, 3))
    light = rng.uniform(0.1, 0.5, 3)
    for _ in range(size[0] * size[1] // 12):
        height, width = np.rint(2 + 10 * rng.random(2) ** 3).astype(int)
        y, x = rng.integers(-4, size[0]), rng.integers(-4, size[1])
        found[max(y, 0) : max(y + height, 0), max(x, 0) : max(x + width, 0)] = light + 0.4 * rng.random() * rng.random(
            3
        )
    return soft(found, 1)


def soft(picture: np.ndarray, reach: int) -> np.ndarray:
    """A box blur along both axes."""
    for axis in (0, 1):
        picture = sum(np.roll(picture, k, axis) for k in range(-reach, reach + 1)) / (2 * reach + 1)
    return picture


def window(picture: np.ndarray, x: int = 40, y: int = 30) -> np.ndarray:
    """The part of a scene that the camera sees."""
    return picture[y : y + SIZE[0], x : x + SIZE[1]]


def resting(seed: int, length: int, *, noise: float = 0.004) -> list[np.ndarray]:
    """A camera at rest, with a little noise."""
    rng = np.random.default_rng(seed + 1000)
    still = window(scene(seed))
    return [np.clip(still + rng.normal(0, noise, still.shape), 0, 1) for _ in range(length)]


def panned(seed: int, length: int, *, speed: int) -> list[np.ndarray]:
    """A pan of some texels a frame, after three frames at rest; it starts at once."""
    wide = scene(seed, size=(96, 60 + speed * length + SIZE[1]))
    return [window(wide, x=max(0, k - 2) * speed) for k in range(length)]


def lit(pictures: list[np.ndarray], start: int, length: int, *, gain: float, offset: float) -> list[np.ndarray]:
    """A flash."""
    return [
        np.clip(gain * picture + offset, 0, 1) if start <= k < start + length else picture
        for k, picture in enumerate(pictures)
    ]


def blended(first: list[np.ndarray], second: list[np.ndarray], start: int, length: int) -> list[np.ndarray]:
    """A dissolve over frames start..start + length - 1."""
    shares = np.clip((np.arange(len(first)) - start + 1) / (length + 1), 0, 1)
    return [(1 - s) * a + s * b for s, a, b in zip(shares, first, second, strict=True)]
