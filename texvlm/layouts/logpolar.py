"""Log-polar grid: rings times wedges around the fixation, as retina-like sensors have it.

For compatibility with models and papers that use it. Radii are spaced evenly in log(e + e2), the
complex-logarithm form of cortical magnification. Each cell, a piece of a ring, is read as a square
of equal area at its middle; so squares overlap and leave gaps (no partition), and cells leave the frame
as the fixation moves: `valid` is 0 for those wholly outside.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from texvlm.layouts.base import Focus, check_count, refuse_score, require_fixations
from texvlm.layouts.table import Table
from texvlm.layouts.template import Template, place
from texvlm.visual_field import VisualField, check_e2, check_fov

NARROWEST, WIDEST = 1, 4  # wedges per ring that `split_count` accepts; beyond, cells are far from square


@dataclass(frozen=True, slots=True)
class LogPolar:
    """rings * wedges squares, ring by ring from the inside, each clockwise from the right.

    The field is a disc about the fixation whose radius is half the frame's diagonal: with a central
    fixation it reaches the corners.

    Attributes:
        rings: rings of cells.
        wedges: cells of each ring.
        patch: output pixels along one token side.
        fov_deg: field of view across the frame's longer side, degrees.
        e2_deg: eccentricity at which tokens are twice as wide as at the fixation, degrees.

    Raises:
        ValueError: a value is out of range.
    """

    rings: int = 14
    wedges: int = 24
    patch: int = 16
    fov_deg: float = 60.0
    e2_deg: float = 2.0

    def __post_init__(self) -> None:
        check_count("rings", self.rings)
        check_count("wedges", self.wedges)
        check_count("patch", self.patch, unit=" of pixels")
        check_fov(self.fov_deg)
        check_e2(self.e2_deg)

    @property
    def tokens(self) -> int:
        """Rows of every table."""
        return self.rings * self.wedges

    def plan(self, size: tuple[int, int], focus: Focus) -> Table:
        """The table, shape (tokens,), layer 0.

        Raises:
            ValueError: the focus has a score map or more than one fixation.
        """
        refuse_score(focus, "logpolar")
        require_fixations(focus, 1, "logpolar")
        return place(self.template(size), size, focus.fixations)

    def template(self, size: tuple[int, int]) -> Template:
        """See RigidLayout."""
        field = VisualField(size, self.fov_deg)
        edge = 1 + float(field.eccentricity_deg(math.hypot(*size) / 2)) / self.e2_deg
        exponents = np.arange(2 * self.rings + 1) / (2 * self.rings)  # borders and middles of rings in turn
        radii = field.radius_texels(self.e2_deg * (edge**exponents - 1))
        area = np.diff(radii[::2] ** 2) * np.pi / self.wedges
        angle = (np.arange(self.wedges) + 0.5) * (2 * np.pi / self.wedges)
        x, y = np.outer(radii[1::2], np.cos(angle)), np.outer(radii[1::2], np.sin(angle))
        region = np.zeros(self.tokens, np.int32)
        offsets = np.stack([x.ravel(), y.ravel()], axis=1)
        return Template(offsets, np.repeat(np.sqrt(area), self.wedges), region, region)


def split_count(tokens: int) -> tuple[int, int]:
    """(rings, wedges) with exactly that product, the nearest to the default shape.

    Raises:
        ValueError: no product has between 1 and 4 wedges per ring; names the nearest counts.
    """
    found = _shape(tokens)
    if found is None:
        fewer = next(n for n in range(tokens, 0, -1) if _shape(n))
        more = next(n for n in range(tokens, 4 * tokens + 1) if _shape(n))
        raise ValueError(
            f"{tokens} tokens are no rings x wedges with {NARROWEST} to {WIDEST} wedges per ring; the nearest "
            f"counts are {fewer} and {more}, or give rings and wedges"
        )
    return found


def _shape(tokens: int) -> tuple[int, int] | None:
    """(rings, wedges) of a product, or None where its cells would be far from square."""
    pairs = [(n, tokens // n) for n in range(1, math.isqrt(tokens) + 1) if tokens % n == 0]
    pairs = [(rings, wedges) for rings, wedges in pairs if NARROWEST <= wedges / rings <= WIDEST]
    return min(pairs, key=lambda pair: abs(math.log(pair[1] / pair[0] / (24 / 14))), default=None)
