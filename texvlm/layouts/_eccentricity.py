"""Eccentricity by IEEE additions, products, quotients and square roots alone, the same on every machine.

The quadtree orders squares by priority, and squares that lie alike about a fixation differ in the last
bits only: one bit more in an arctangent, and another square is split. Mathematical libraries differ
in that bit, a host's and a device's above all. So the planner on the host and `cuda/plan_quadtree.cu`
take the same few operations in the same order, each rounded as IEEE 754 says, and plan the same rows.

Numba's disk cache watches only the file of the outermost function: after an edit here, touch
`_quadtree_kernel.py` too.
"""

from __future__ import annotations

import math

from texvlm import _compiled

compiled = _compiled.compiled()

SHALLOW, STEEP = 0.41421356237309503, 2.414213562373095
"""Tangents of 22.5 and 67.5 degrees: between them angles are taken from 45 degrees, above them from 90."""

ARCTANGENT_DEG = (
    57.295779513082316,
    -19.098593171024635,
    11.45915590196049,
    -8.185111299001367,
    6.366194898616737,
    -5.208629296935886,
    4.406018799325049,
    -3.8045737869149194,
    3.2591840046733473,
    -2.4912503347848287,
    1.2109675874822892,
)
"""Polynomial in t**2, lowest power first, for arctan(t) / t in degrees and |t| <= SHALLOW.

Interpolates at the Chebyshev nodes of that range, 1e-16 from the function: what doubles resolve.
"""


@compiled
def eccentricity_deg(dx: float, dy: float, focal: float) -> float:
    """Degrees between a fixation and a texel (dx, dy) texels away from it, at a focal length in texels.

    One division serves every range: arctan(d / f) is 45 degrees + arctan((d - f) / (d + f)), or 90
    degrees - arctan(f / d).
    """
    distance = math.sqrt(dx * dx + dy * dy)
    base, above, below = 0.0, distance, focal
    if distance > STEEP * focal:
        base, above, below = 90.0, -focal, distance
    elif distance > SHALLOW * focal:
        base, above, below = 45.0, distance - focal, distance + focal
    t = above / below
    square = t * t
    fourth = square * square
    even, odd = ARCTANGENT_DEG[10], ARCTANGENT_DEG[9]  # two chains of operations, half as long each
    for power in range(8, 0, -2):
        even = even * fourth + ARCTANGENT_DEG[power]
        odd = odd * fourth + ARCTANGENT_DEG[power - 1]
    even = even * fourth + ARCTANGENT_DEG[0]
    return base + t * (even + odd * square)
