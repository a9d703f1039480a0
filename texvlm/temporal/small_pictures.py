"""Small pictures: a frame as a few hundred texels, which is all that cuts and gates look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from texvlm.fixation.scene import FloatMap, Resident
from texvlm.pyramid import level_size

LONGEST = 64
"""Texels along the longer side, at most: of halves of halves, one side lies in 33..64."""

LEAST = 8
"""Texels along either side, at least: below it no block of a picture can be compared."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Rec. 601 weights of R, G, B."""


@dataclass(frozen=True, slots=True, eq=False)
class SmallPicture:
    """One frame, small.

    Attributes:
        colour: (height, width, 1 or 3), float32, 0..1.
        luma: (height, width), float32.
    """

    colour: FloatMap
    luma: FloatMap

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), texels."""
        return self.luma.shape[1], self.luma.shape[0]

    @property
    def contrast(self) -> float:
        """Standard deviation of the luma, 0..0.5."""
        return float(self.luma.std())


def small_picture(engine: Resident, source: int = 0, *, longest: int = LONGEST) -> NDArray[np.generic]:
    """The finest resident mip level whose longer side has at most `longest` texels, (height, width, channels).

    The coarsest where none has. Reading it is all that it costs: the engine has built it already.

    Raises:
        ValueError: the source has no frame yet.
    """
    size, spec = engine.frame_size(source), engine.spec
    if size is None or spec is None:
        raise ValueError(f"source {source} has no frame yet; submit one first")
    level = 0
    while level < spec.levels - 1 and max(level_size(size, level)) > longest:
        level += 1
    return engine.read_level(level, source=source)


def as_small_picture(pixels: ArrayLike) -> SmallPicture:
    """A picture of any origin: (height, width), or with 1, 3 or 4 channels; uint8, or floats in 0..1.

    Alpha is left out. One larger than `LONGEST` is averaged down by whole steps.

    Raises:
        ValueError: another shape, fewer than `LEAST` texels a side, or a value that is not finite.
        TypeError: another element type.
    """
    texels = np.asarray(pixels)
    if texels.ndim == 2:
        texels = texels[:, :, None]
    if texels.ndim != 3 or texels.shape[2] not in (1, 3, 4):
        raise ValueError(
            f"picture of shape {np.shape(pixels)}; accepted: (height, width), alone or with 1, 3 or 4 channels"
        )
    if texels.dtype != np.uint8 and not np.issubdtype(texels.dtype, np.floating):
        raise TypeError(f"picture of {texels.dtype}; accepted: uint8, or floats in 0..1")
    colour = np.multiply(texels[..., : 1 if texels.shape[2] == 1 else 3], 1.0, dtype=np.float32)
    if texels.dtype == np.uint8:
        colour *= np.float32(1 / 255)
    elif not np.isfinite(colour).all():
        raise ValueError("picture holds a value that is not finite; give floats in 0..1")
    step = -(-max(colour.shape[:2]) // LONGEST)
    height, width = (side // step for side in colour.shape[:2])
    if min(height, width) < LEAST:
        raise ValueError(
            f"picture of {texels.shape[1]} x {texels.shape[0]}; accepted: {LEAST} texels or more along either side, "
            f"also where the longer one is brought to {LONGEST}"
        )
    if step > 1:
        colour = colour[: height * step, : width * step].reshape(height, step, width, step, -1).mean(axis=(1, 3))
    luma = colour[..., 0] if colour.shape[2] == 1 else colour @ _LUMA
    return SmallPicture(colour, np.ascontiguousarray(luma))
