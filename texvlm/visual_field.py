"""The visual field: how texels and degrees of eccentricity belong together, and the foveal laws.

The frame is the picture of a rectilinear camera whose field of view spans the longer side, so one
focal length in texels serves both axes and no metric depends on the aspect. Eccentricity is
measured from the fixation as if the eye had turned there: a texel at distance r from the fixation
is at atan(r / focal) degrees, wherever in the frame the fixation lies, and also outside of it.

The laws share one constant, e2: the eccentricity at which sampling is half as dense (per axis) as
at the fixation. About 0.75 degrees fits V1 and acuity; 2 is milder and the default of the layouts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from texvlm.pyramid import check_frame_size

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class VisualField:
    """A frame and the angle that its longer side spans.

    Attributes:
        size: (width, height) of the frame, level-0 texels.
        fov_deg: field of view across the longer side, degrees, above 0 and below 180.

    Raises:
        ValueError: a value is out of range; names it.
    """

    size: tuple[int, int]
    fov_deg: float = 60.0

    def __post_init__(self) -> None:
        check_frame_size(self.size)
        check_fov(self.fov_deg)

    @property
    def focal_texels(self) -> float:
        """Distance of the picture plane from the eye, in texels."""
        return max(self.size) / 2 / math.tan(math.radians(self.fov_deg) / 2)

    @property
    def texels_per_degree(self) -> float:
        """Texels that one degree spans at the fixation."""
        return self.focal_texels * math.pi / 180

    def eccentricity_deg(self, radius_texels: ArrayLike) -> FloatArray:
        """Eccentricity of a point `radius_texels` away from the fixation, degrees, 0..90."""
        return np.degrees(np.arctan(np.asarray(radius_texels, np.float64) / self.focal_texels))

    def radius_texels(self, eccentricity_deg: ArrayLike) -> FloatArray:
        """Distance from the fixation at which an eccentricity lies; the inverse of `eccentricity_deg`.

        Raises:
            ValueError: an eccentricity is not in 0..90, 90 excluded (it never meets the picture).
        """
        eccentricity = np.asarray(eccentricity_deg, np.float64)
        if not ((eccentricity >= 0) & (eccentricity < 90)).all():
            raise ValueError(f"eccentricity {eccentricity_deg!r} degrees is outside 0..90 (90 excluded)")
        return self.focal_texels * np.tan(np.radians(eccentricity))

    def eccentricities_deg(self, points: ArrayLike, fixation: tuple[float, float]) -> FloatArray:
        """Eccentricity of each point (x, y), level-0 texels, shape (..., 2); shape (...)."""
        offset = np.asarray(points, np.float64) - np.asarray(fixation, np.float64)
        return self.eccentricity_deg(np.hypot(offset[..., 0], offset[..., 1]))


def check_fov(fov_deg: float) -> None:
    """ValueError unless a field of view lies between 0 and 180 degrees."""
    if not 0 < fov_deg < 180:
        raise ValueError(f"fov_deg is {fov_deg}; a field of view is above 0 and below 180 degrees")


def check_e2(e2_deg: float) -> None:
    """ValueError unless e2 is a finite number of degrees above 0."""
    if not (math.isfinite(e2_deg) and e2_deg > 0):
        raise ValueError(f"e2_deg is {e2_deg}; it is a finite number of degrees above 0")


def magnification(eccentricity_deg: ArrayLike, *, e2_deg: float, m0: float = 1.0) -> FloatArray:
    """Linear sampling density M(e) = m0 / (e + e2); tokens per unit of area go with its square.

    Args:
        eccentricity_deg: degrees from the fixation, any shape, >= 0.
        e2_deg: eccentricity at which M has halved, degrees.
        m0: scale; 17.3 mm with e2 0.75 gives millimetres of human V1 per degree. Only the shape matters
            where a token budget fixes the total.

    Source:
        Horton and Hoyt 1991, Arch. Ophthalmol. 109.
    """
    check_e2(e2_deg)
    return m0 / (np.asarray(eccentricity_deg, np.float64) + e2_deg)


def foveal_lod(eccentricity_deg: ArrayLike, *, e2_deg: float, rho0: float = 1.0) -> FloatArray:
    """LOD that keeps samples as dense as M(e): log2(rho0 * (1 + e / e2)), floored at 0.

    Args:
        eccentricity_deg: degrees from the fixation, any shape, >= 0.
        e2_deg: eccentricity at which samples are twice as far apart as at the fixation, degrees.
        rho0: texels between samples at the fixation, > 0; 1 is full resolution.

    Raises:
        ValueError: `e2_deg` or `rho0` is not a positive number.
    """
    check_e2(e2_deg)
    if not (math.isfinite(rho0) and rho0 > 0):
        raise ValueError(f"rho0 is {rho0}; it is a finite number of texels above 0")
    spacing = rho0 * (1 + np.asarray(eccentricity_deg, np.float64) / e2_deg)
    return np.maximum(np.log2(spacing), 0)


def cumulative_density(eccentricity_deg: ArrayLike, *, e2_deg: float) -> FloatArray:
    """Tokens inside eccentricity e, up to a constant factor: ln(1 + e / e2) - e / (e + e2).

    The integral of M(e)**2 * e; divide by its value at the edge of the field for a share.
    """
    check_e2(e2_deg)
    eccentricity = np.asarray(eccentricity_deg, np.float64)
    return np.log1p(eccentricity / e2_deg) - eccentricity / (eccentricity + e2_deg)
