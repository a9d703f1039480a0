"""What comparing two small pictures does texel by texel. See texvlm.temporal.likeness for the measures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from texvlm._compiled import compiled
from texvlm.fixation.scene import FloatMap

Doubles = NDArray[np.float64]

_ANY_ORDER = {"reassoc", "contract", "nsz", "arcp"}


@compiled(fastmath=_ANY_ORDER)
def box_moments(picture: FloatMap, side: int) -> tuple[Doubles, Doubles]:
    """Mean and variance of every square of `side` texels, by its top-left corner."""
    rows, columns = picture.shape[0] - side + 1, picture.shape[1] - side + 1
    mean, variance = np.empty((rows, columns)), np.empty((rows, columns))
    for top in range(rows):
        for left in range(columns):
            total, square = 0.0, 0.0
            for y in range(side):
                for x in range(side):
                    value = np.float64(picture[top + y, left + x])
                    total += value
                    square += value * value
            mean[top, left] = total / (side * side)
            variance[top, left] = max(square / (side * side) - mean[top, left] ** 2, 0.0)
    return mean, variance


@compiled(fastmath=_ANY_ORDER)
def best_match(
    old: FloatMap,
    new: FloatMap,
    means: tuple[Doubles, Doubles],
    variances: tuple[Doubles, Doubles],
    place: tuple[int, int],
    around: tuple[int, int],
    reach: int,
    side: int,
    floor: float,
    lit: bool,
) -> float:
    """How well the best square of the old picture near a place explains one of the new, 0..1; -1 for none in sight.

    Args:
        old: (height, width).
        new: likewise.
        means: of the squares of both, see `box_moments`.
        variances: likewise.
        place: (top, left) of the square of the new picture.
        around: (top, left) that is searched around.
        reach: how far, along either axis.
        side: of a square.
        floor: variance of noise.
        lit: whatever the gain.
    """
    rows, columns = means[0].shape
    top, left = place
    best = -1.0
    for y0 in range(max(around[0] - reach, 0), min(around[0] + reach, rows - 1) + 1):
        for x0 in range(max(around[1] - reach, 0), min(around[1] + reach, columns - 1) + 1):
            product = 0.0
            for y in range(side):
                for x in range(side):
                    product += np.float64(old[y0 + y, x0 + x]) * np.float64(new[top + y, left + x])
            covariance = product / (side * side) - means[0][y0, x0] * means[1][top, left]
            if lit:
                scale = (variances[0][y0, x0] * variances[1][top, left]) ** 0.5
            else:
                scale = (variances[0][y0, x0] + variances[1][top, left]) / 2
            best = max(best, max(0.0, (covariance + floor / 2) / (scale + floor / 2)))
    return best


@compiled()
def histogram(values: FloatMap, bins: int) -> Doubles:
    """Shares of (n, channels) values 0..1 in each bin, each counted in the two nearest, (channels, bins)."""
    found = np.zeros((values.shape[1], bins))
    for i in range(values.shape[0]):
        for channel in range(values.shape[1]):
            place = min(max(values[i, channel], np.float32(0)), np.float32(1)) * np.float32(bins - 1)
            low = int(place)
            part = place - np.float32(low)
            found[channel, low] += np.float32(1) - part
            found[channel, min(low + 1, bins - 1)] += part
    found /= values.shape[0]
    return found


@compiled()
def still(old: FloatMap, new: FloatMap, side: int, flat: float, same: float) -> tuple[int, int]:
    """Squares side by side that show structure, and those among them in which every texel stayed within `same`."""
    count, stayed = 0, 0
    texels = side * side
    for top in range(0, old.shape[0] - side + 1, side):
        for left in range(0, old.shape[1] - side + 1, side):
            totals, squares = np.zeros(2), np.zeros(2)
            furthest = np.float32(0)
            for y in range(top, top + side):
                for x in range(left, left + side):
                    furthest = max(furthest, abs(old[y, x] - new[y, x]))
                    before, now = np.float64(old[y, x]), np.float64(new[y, x])
                    totals[0] += before
                    totals[1] += now
                    squares[0] += before * before
                    squares[1] += now * now
            variance = max(squares[0] - totals[0] ** 2 / texels, squares[1] - totals[1] ** 2 / texels) / texels
            if variance > flat * flat:
                count += 1
                stayed += 1 if furthest < np.float32(same) else 0
    return count, stayed
