"""Warped sunflower: an exact count of scattered squares, dense at the fixation, locally isotropic.

Vogel's spiral puts point i at the golden angle i * 137.5 degrees, at the radius inside which a share
(i + 0.5) / n of all tokens lies; here the share is that of cortical magnification,
ln(1 + e/e2) - e/(e + e2). Where the frame cuts a circle about the fixation, only the arcs inside
the frame count, for the share as for the angle: a full circle gives Vogel's spiral, and every
point lies inside the frame wherever the fixation is, with no search and no rejection.

This is no partition. Squares are as large as the space that one token stands for, so they overlap
here and leave gaps there: at the default count 14 to 22 % of a frame is in no square and 11 to 14 %
in several. Use it for scattered context or for training jitter, not where a thin object counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from texvlm.layouts.base import Focus, check_count, refuse_score, require_fixations
from texvlm.layouts.table import Table, make_table
from texvlm.visual_field import FloatArray, VisualField, check_e2, check_fov, cumulative_density

GOLDEN_FRACTION = (math.sqrt(5) - 1) / 2  # of a turn; of the arcs inside the frame in general
RADII = 512  # at which the share is summed up; two per token at the default count
FARTHEST_FIXATION = 64  # longer frame sides; beyond, the law is flat and circles are lines over the frame


@dataclass(frozen=True, slots=True)
class Sunflower:
    """Exactly `tokens` squares with their centres inside the frame, from the fixation outwards.

    Attributes:
        tokens: rows of every table.
        patch: output pixels along one token side.
        fov_deg: field of view across the frame's longer side, degrees.
        e2_deg: eccentricity at which tokens are twice as wide as at the fixation, degrees.

    Raises:
        ValueError: a value is out of range.
    """

    tokens: int = 268
    patch: int = 16
    fov_deg: float = 60.0
    e2_deg: float = 2.0

    def __post_init__(self) -> None:
        check_count("tokens", self.tokens)
        check_count("patch", self.patch, unit=" of pixels")
        check_fov(self.fov_deg)
        check_e2(self.e2_deg)

    def plan(self, size: tuple[int, int], focus: Focus) -> Table:
        """The table, shape (tokens,), layer 0.

        Raises:
            ValueError: the focus has a score map or more than one fixation.
        """
        refuse_score(focus, "sunflower")
        require_fixations(focus, 1, "sunflower")
        field = VisualField(size, self.fov_deg)
        centre = _pulled_in(focus.fixations[0], size)
        radius, area = self._spiral(field, centre)
        turn: FloatArray = np.arange(self.tokens, dtype=np.float64) * GOLDEN_FRACTION % 1
        angle = _angle_inside(centre, radius, turn, size)
        x = np.clip(centre[0] + radius * np.cos(angle), 0, size[0])
        y = np.clip(centre[1] + radius * np.sin(angle), 0, size[1])
        return make_table(x, y, np.sqrt(area), size=size)

    def _spiral(self, field: VisualField, centre: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Radius of each token, texels, and the area that it stands for, texels squared."""
        frame = np.asarray(field.size, np.float64)
        nearest = math.hypot(*np.maximum(np.maximum(-centre, centre - frame), 0))
        farthest = math.hypot(*np.maximum(centre, frame - centre))
        radii = nearest + (farthest - nearest) * np.linspace(0, 1, RADII) ** 2  # close together at the fixation
        share = cumulative_density(field.eccentricity_deg(radii), e2_deg=self.e2_deg)
        inside = _arcs(centre, radii, field.size)[1].sum(axis=1) / (2 * np.pi)
        steps = np.diff(share) * (inside[1:] + inside[:-1]) / 2
        total = np.concatenate([[0], np.cumsum(steps)])
        radius = np.interp((np.arange(self.tokens) + 0.5) / self.tokens * total[-1], total, radii)
        eccentricity = field.eccentricity_deg(radius)
        slope = field.texels_per_degree * (1 + (radius / field.focal_texels) ** 2)  # dr / de
        circle = 2 * np.pi * radius / eccentricity
        area = total[-1] / self.tokens * (eccentricity + self.e2_deg) ** 2 * slope * circle
        return radius, area


def _pulled_in(fixation: FloatArray, size: tuple[int, int]) -> FloatArray:
    """The fixation, or the point in its direction that is as far away as makes a difference."""
    middle = np.asarray(size) / 2
    offset = np.clip(fixation, -1e100, 1e100) - middle
    distance = math.hypot(*offset)
    limit = FARTHEST_FIXATION * max(size)
    return fixation if distance <= limit else middle + offset * (limit / distance)


def _arcs(centre: FloatArray, radius: FloatArray, size: tuple[int, int]) -> tuple[FloatArray, FloatArray]:
    """Arcs of circles inside the frame: start and length, radians, each of shape (n, 9); length 0 for none."""
    safe = np.maximum(radius, 1e-9)[:, None]
    cosine = (np.array([0.0, size[0]]) - centre[0]) / safe
    sine = (np.array([0.0, size[1]]) - centre[1]) / safe
    with np.errstate(invalid="ignore"):
        right, up = np.arccos(cosine), np.arcsin(sine)  # NaN where an edge is not met
    crossings = np.concatenate([right, -right, up, np.pi - up], axis=1) % (2 * np.pi)
    starts = np.sort(np.concatenate([np.zeros((len(radius), 1)), np.nan_to_num(crossings)], axis=1), axis=1)
    ends = np.concatenate([starts[:, 1:], np.full((len(radius), 1), 2 * np.pi)], axis=1)
    middle = (starts + ends) / 2
    x, y = centre[0] + safe * np.cos(middle), centre[1] + safe * np.sin(middle)
    inside = (x >= 0) & (x <= size[0]) & (y >= 0) & (y <= size[1])
    return starts, np.where(inside, ends - starts, 0)


def _angle_inside(centre: FloatArray, radius: FloatArray, turn: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Angle at a fraction `turn` of each circle's arcs inside the frame, radians."""
    starts, lengths = _arcs(centre, radius, size)
    ends = np.cumsum(lengths, axis=1)
    along = turn * ends[:, -1]
    arc = np.minimum((ends <= along[:, None]).sum(axis=1), lengths.shape[1] - 1)
    rows = np.arange(len(radius))
    angle: FloatArray = starts[rows, arc] + along - (ends[rows, arc] - lengths[rows, arc])
    return angle
