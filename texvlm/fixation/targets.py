"""Evidence for a target that is known beforehand: a colour, or a picture of the thing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from texvlm.fixation.evidence import check_positive
from texvlm.fixation.scene import FloatMap, Scene
from texvlm.fixation.score_map import ScoreMap, blurred

LEAST_SIDE = 8
"""Texels along the shorter side of a template at the level where it is looked for, at least where there are any."""


@dataclass(frozen=True, slots=True)
class ColourTarget:
    """Texels of a colour, on a coarse level.

    Attributes:
        rgb: the colour, 0..1 each.
        tolerance: distance in RGB, full scale 1 a channel, at which a texel counts 1/e; nothing
            counts beyond twice that.
        longest: texels along the frame's longer side at which it is looked for, at most.
    """

    name: ClassVar[str] = "colour"
    rgb: tuple[float, float, float]
    tolerance: float = 0.2
    longest: int = 160

    def __post_init__(self) -> None:
        if len(self.rgb) != 3 or not all(0 <= value <= 1 for value in self.rgb):
            raise ValueError(f"rgb is {self.rgb}; accepted: three numbers, 0..1")
        check_positive("tolerance", self.tolerance, "a distance")
        check_positive("longest", self.longest, "texels")

    def score(self, scene: Scene) -> ScoreMap:
        """See Evidence."""
        level = scene.mips.level_within(self.longest)
        apart = np.square(scene.mips.colour(level) - np.array(self.rgb, np.float32)).sum(axis=2) / self.tolerance**2
        return ScoreMap(blurred(np.where(apart < 4, np.exp(-apart), 0).astype(np.float32)), scene.mips.cell(level))


@dataclass(frozen=True, slots=True, eq=False)
class TemplateTarget:
    """Places that look like a picture: normalised cross-correlation of brightness, on a coarse level.

    The thing is found at the size that it has in the picture, give or take a tenth, and upright.

    Attributes:
        picture: (height, width) or (height, width, channels), uint8 or floats in 0..1, at the scale of the frames.
        least: correlation that counts, 0..1; below it the score is 0.
        longest: texels along the frame's longer side at which it is looked for, at most, unless the
            picture would be smaller than 8 texels there.
    """

    name: ClassVar[str] = "template"
    picture: NDArray[Any]
    least: float = 0.5
    longest: int = 320

    def __post_init__(self) -> None:
        picture = np.asarray(self.picture)
        if picture.ndim not in (2, 3) or min(picture.shape) < 1 or min(picture.shape[:2]) < 4:
            raise ValueError(f"template of shape {picture.shape}; accepted: (height, width[, channels]), 4 x 4 or more")
        if not 0 <= self.least < 1:
            raise ValueError(f"least is {self.least}; accepted: a correlation of 0 or above, below 1")
        check_positive("longest", self.longest, "texels")
        values = picture.astype(np.float32) / (255 if picture.dtype == np.uint8 else 1)
        values = values if values.ndim == 2 else values[..., : 3 if values.shape[2] >= 3 else 1]
        gray = values if values.ndim == 2 else values @ _luma(values.shape[2])
        if not np.isfinite(gray).all() or float(gray.std()) < 1e-3:
            raise ValueError("template is flat or holds values that are not finite; give a picture with some contrast")
        object.__setattr__(self, "picture", gray)

    def score(self, scene: Scene) -> ScoreMap:
        """See Evidence; ValueError where the picture is larger than the frame."""
        side = min(self.picture.shape)
        level = scene.mips.level_within(self.longest)
        level = min(level, max(int(math.log2(side / LEAST_SIDE)), 0) if side > LEAST_SIDE else 0)
        image, template = scene.mips.gray(level), _shrunk(self.picture, 2**level)
        if template.shape[0] > image.shape[0] or template.shape[1] > image.shape[1]:
            raise ValueError(
                f"template of {self.picture.shape[1]} x {self.picture.shape[0]} for a frame of "
                f"{scene.size[0]} x {scene.size[1]}; give a smaller one"
            )
        found = np.zeros(image.shape, np.float32)
        fit = _correlation(image, template)
        top, left = template.shape[0] // 2, template.shape[1] // 2
        inside = found[top : top + fit.shape[0], left : left + fit.shape[1]]
        inside[:] = np.clip((fit - self.least) / (1 - self.least), 0, None)
        return ScoreMap(found, scene.mips.cell(level))


def _luma(channels: int) -> NDArray[np.float32]:
    return np.array((0.299, 0.587, 0.114) if channels == 3 else (1.0,), np.float32)


def _shrunk(picture: FloatMap, factor: int) -> FloatMap:
    """Area means of whole factor x factor blocks."""
    rows, columns = (side // factor for side in picture.shape)
    blocks = picture[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    mean: FloatMap = blocks.mean(axis=(1, 3), dtype=np.float32)
    return mean


def _correlation(image: FloatMap, template: FloatMap) -> NDArray[np.float64]:
    """Correlation coefficient of the template with the image at each offset, -1..1; 0 where the image is flat."""
    high, wide = template.shape
    centred = template.astype(np.float64) - template.mean()
    picture = image.astype(np.float64)
    shape = (_quick_length(picture.shape[0] + high - 1), _quick_length(picture.shape[1] + wide - 1))
    product = np.fft.irfft2(np.fft.rfft2(picture, shape) * np.fft.rfft2(centred[::-1, ::-1], shape), shape)
    product = product[high - 1 : picture.shape[0], wide - 1 : picture.shape[1]]
    mean = _window_sums(picture, high, wide) / centred.size
    power = np.clip(_window_sums(picture * picture, high, wide) - centred.size * mean**2, 0, None)
    scale = np.sqrt(power * np.square(centred).sum())
    flat = power < 1e-4 * centred.size  # a spread below 1/100 of full scale is noise
    return np.where(flat, 0.0, product / np.where(flat, 1.0, scale))


def _quick_length(least: int) -> int:
    """The next length whose only prime factors are 2, 3 and 5: a Fourier transform of it is quick."""
    length = least
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1


def _window_sums(values: NDArray[np.float64], high: int, wide: int) -> NDArray[np.float64]:
    """Sums over each high x wide window."""
    total = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    sums: NDArray[np.float64] = (
        total[high:, wide:] - total[:-high, wide:] - total[high:, :-wide] + total[:-high, :-wide]
    )
    return sums
