"""How alike two small pictures are, and in what way: structure, histogram, what stays, what is lit.

All measures are 0 for the same picture. `structure_distance` forgives motion, of the camera and of
things, and most changes of light; `histogram_distance` forgives any motion, and no light.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from texvlm._compiled import compiled
from texvlm.fixation.scene import FloatMap
from texvlm.temporal._likeness_kernels import best_match, box_moments, histogram, still
from texvlm.temporal.small_pictures import SmallPicture

BLOCK = 8
"""Texels along a block's side: a fifth to an eighth of the picture."""

STRIDE = 4
"""Texels from block to block."""

REACH = 3
"""Texels that a block may have moved along either axis beside the camera: 5 to 9 % of the picture's width a frame."""

FLAT = 4 / 255
"""Contrast (standard deviation) below which a block shows noise rather than structure."""

OVERLAP = 0.4
"""Share of the picture that a pan must leave in sight to be recognised."""

BINS = 32
"""Steps of a channel's histogram; each value counts in the two nearest."""

SAME = 3 / 255
"""Difference up to which a texel is the same: the default threshold of `submit`, averaged over a texel's area."""

WASHED_OUT = 0.9
"""Brightness from which on structure is lost."""

FAINT, MOST_GAIN = 0.2, 4.0
"""Contrast to which darker pictures are brought before they are compared, and the largest gain."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """What two pictures of the same size differ by.

    Attributes:
        structure: share of the structure that no shift of the other picture's blocks explains, 0..1.
        histogram: share of the texels that have another brightness or colour, 0..1.
        still: share of the textured area that is where it was, to the value, 0..1.
        shift: camera motion that `structure` allowed for, (x, y): content at p was at p + shift.
    """

    structure: float
    histogram: float
    still: float
    shift: tuple[int, int]


def likeness(old: SmallPicture, new: SmallPicture) -> Likeness:
    """Compare a picture with an earlier one of the same size, (height, width).

    Dark and faint pictures are brought to a common contrast first, both by the same gain.
    """
    spread = float(np.sqrt((old.luma.var() + new.luma.var()) / 2 + (float(old.luma.mean() - new.luma.mean()) / 2) ** 2))
    gain = np.float32(np.clip(FAINT / max(spread, 1e-6), 1.0, MOST_GAIN))
    before, now = old.luma * gain, new.luma * gain
    structure, shift = structure_distance(before, now)
    histogram = histogram_distance(old.colour * gain, new.colour * gain)
    return Likeness(structure, histogram, still_share(before, now), shift)


def structure_distance(old: FloatMap, new: FloatMap) -> tuple[float, tuple[int, int]]:
    """Share of a picture's structure that an earlier one does not explain, and the camera motion found.

    Each block of the new picture looks for its best match near its own place and near where the
    camera's motion would bring it; a match counts by the contrast and structure terms of SSIM, so
    brightness does not matter and contrast little. Blocks count by their contrast.

    Args:
        old: (height, width), 0..1 or more.
        new: likewise.
    Source:
        Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    found = _unmatched(old, new, (0, 0), np.inf)[0]
    if found <= _EXPLAINED:
        return found, (0, 0)
    x, y = camera_shift(old, new)
    if max(abs(x), abs(y)) < 2:  # within reach of the first search
        return found, (0, 0)
    panned = _unmatched(old, new, (x, y), np.inf)[0]
    return (panned, (x, y)) if panned < found else (found, (0, 0))


_EXPLAINED = 0.08
"""Structure distance at which no camera motion is looked for: resting shots stay below it."""


def _unmatched(old: FloatMap, new: FloatMap, camera: tuple[int, int], ceiling: float) -> tuple[float, float]:
    """Mean over the blocks of 1 - best match, weighted by contrast, and the share of the blocks that counted.

    Blocks that a pan, (x, y), brought in count not.

    With a finite ceiling, light is forgiven: blocks that reach it or are flat now count not, and a match
    is plain correlation, whatever the gain. 0 where no block is left.
    """
    moments = box_moments(old, BLOCK), box_moments(new, BLOCK)
    means, variances = zip(*moments, strict=True)
    structure, counted = _explained(old, new, means, variances, camera, ceiling)
    return float(structure), float(counted)


@compiled()
def _explained(old, new, means, variances, camera, ceiling):  # type: ignore[no-untyped-def]
    height, width = new.shape
    floor, lit = FLAT * FLAT, ceiling != np.inf
    total, missing, counted, blocks = 0.0, 0.0, 0, 0
    for top in range(0, height - BLOCK + 1, STRIDE):
        for left in range(0, width - BLOCK + 1, STRIDE):
            blocks += 1
            var_old, var_new = variances[0][top, left], variances[1][top, left]
            if lit and (new[top : top + BLOCK, left : left + BLOCK].max() >= ceiling or var_new < floor):
                continue
            here = (top, left)
            best = best_match(old, new, means, variances, here, here, REACH, BLOCK, floor, lit)
            if camera[0] != 0 or camera[1] != 0:
                there = (top + camera[1], left + camera[0])
                panned = best_match(old, new, means, variances, here, there, REACH, BLOCK, floor, lit)
                if panned < 0:
                    continue
                best = max(best, panned)
            weight = var_new**0.5 if lit else max(var_new, var_old) ** 0.5 + FLAT / 2
            counted += 1
            total += weight
            missing += weight * (1.0 - min(best, 1.0))
    return (missing / total if total > 0.0 else 0.0), counted / max(blocks, 1)


def camera_shift(old: FloatMap, new: FloatMap) -> tuple[int, int]:
    """The whole-texel shift (x, y) at which two pictures correlate best: content at p was at p + shift.

    Exact normalised correlation of the part that both show, for every shift that leaves `OVERLAP` of it.

    Source:
        Padfield, "Masked object registration in the Fourier domain", IEEE TIP 2012.
    """
    height, width = old.shape
    shape = (2 * height, 2 * width)
    one = np.ones_like(old)
    a, b = old - old.mean(), new - new.mean()
    olds = np.fft.rfft2(np.stack([one, a, a * a]), shape)
    news = np.conj(np.fft.rfft2(np.stack([one, b, b * b]), shape))
    pairs = np.stack([news[0] * olds[0], news[1] * olds[1], news[1] * olds[0]])
    pairs = np.concatenate([pairs, np.stack([news[0] * olds[1], news[2] * olds[0], news[0] * olds[2]])])
    count, product, sum_new, sum_old, square_new, square_old = np.fft.irfft2(pairs, shape)
    known = np.maximum(count, 1.0)
    covariance = product - sum_new * sum_old / known
    spread = (square_new - sum_new**2 / known) * (square_old - sum_old**2 / known)
    score = covariance / np.sqrt(np.maximum(spread, 0.0) + (known * 1e-4) ** 2)
    score[count < OVERLAP * height * width] = -1.0
    y, x = divmod(int(score.argmax()), shape[1])
    return (x - shape[1] if x >= width else x), (y - shape[0] if y >= height else y)


def histogram_distance(old: FloatMap, new: FloatMap) -> float:
    """Half the absolute difference of the two histograms, 0..1, mean over channels; values above 1 count as 1.

    Each value counts in the two nearest bins, so that a little light moves little.

    Args:
        old: (height, width, channels), 0..1 or more.
        new: likewise.
    """
    before, now = (histogram(picture.reshape(-1, picture.shape[2]), BINS) for picture in (old, new))
    return float(np.abs(before - now).sum() / 2 / old.shape[2])


def still_share(old: FloatMap, new: FloatMap) -> float:
    """Share of the cells of 4 x 4 texels with structure in which every texel is within `SAME`; 0 where none has any."""
    count, stayed = still(old, new, CELL, FLAT, SAME)
    return float(stayed / max(count, 1))


CELL = 4
"""Texels along a side of what stays or does not."""


@dataclass(frozen=True, slots=True)
class Light:
    """What light fell on a picture since an earlier one.

    Attributes:
        no_darker: share of the texels, without those that stay black, that are no darker than the darkest
            around them was, 0..1.
        rise: mean rise of brightness, -1..1.
        spot: share of the texels that rose by `BRIGHTER` or more, 0..1.
        new_structure: structure distance of what is neither washed out nor flat now, whatever its gain, 0..1;
            `DOUBTFUL` where too little is left to say.
        unmapped: share of the variance now that is no function of the brightness before, 0..1. Light on
            everything is such a function, also where it washes out.
    """

    no_darker: float
    rise: float
    spot: float
    new_structure: float
    unmapped: float

    @property
    def much(self) -> bool:
        """Whether much light was added, everywhere or on a part."""
        return self.rise >= MUCH_LIGHT or self.spot >= MUCH_SPOT


def light_on(old: FloatMap, new: FloatMap) -> Light:
    """Compare the luma of a picture with an earlier one's, (height, width), 0..1, as if lit.

    Without much light on it nothing is compared: it is taken for another picture.
    """
    black = (old < BLACK) & (new < BLACK)  # bars of a letterbox
    shown = ~black if not black.all() else black  # all of a black picture
    before, now = old[shown], new[shown]
    gain = now - before
    rise, spot = float(gain.mean()), float((gain >= BRIGHTER).mean())
    if rise < MUCH_LIGHT and spot < MUCH_SPOT:
        return Light(0.0, rise, spot, 1.0, 1.0)
    padded = np.pad(old, 1, mode="edge")
    rows = np.minimum(np.minimum(padded[:-2], padded[1:-1]), padded[2:])
    darkest = np.minimum(np.minimum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
    structure, blocks = _unmatched(old, new, (0, 0), WASHED_OUT)
    return Light(
        float((now >= darkest[shown] - 2 * SAME).mean()),
        rise,
        spot,
        float(structure) if blocks >= ENOUGH else DOUBTFUL,
        _unmapped(before, now),
    )


MUCH_LIGHT, BRIGHTER, MUCH_SPOT = 0.08, 0.2, 0.1
"""Mean rise of brightness that is much light; or a rise by so much, of such a share of the texels."""

BLACK = 5 / 255
"""Brightness below which a texel is black."""

ENOUGH, DOUBTFUL = 0.1, 0.3
"""Share of the blocks that must have kept structure for it to say something, and what is taken where it does not."""

LEVELS = 16
"""Steps of brightness within which a picture is lit alike."""


def _unmapped(old: FloatMap, new: FloatMap) -> float:
    """1 - the correlation ratio of a picture's brightness on an earlier one's."""
    place = np.clip(old * LEVELS, 0, LEVELS - 1).astype(np.intp)
    values = new.astype(np.float64)
    count = np.maximum(np.bincount(place, minlength=LEVELS), 1)
    mean = np.bincount(place, values, LEVELS) / count
    return float(((values - mean[place]) ** 2).sum() / max(((values - values.mean()) ** 2).sum(), 1e-6))
