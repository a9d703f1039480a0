"""The visual field: degrees and texels are inverse, the laws agree with each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texvlm.visual_field import VisualField, cumulative_density, foveal_lod, magnification


def test_the_field_of_view_spans_the_longer_side() -> None:
    for size in ((1920, 1080), (1080, 1920)):
        field = VisualField(size, 90.0)
        assert field.focal_texels == pytest.approx(960)
        assert field.eccentricity_deg(960) == pytest.approx(45)
        assert field.texels_per_degree == pytest.approx(960 * math.pi / 180)


@given(st.integers(1, 16384), st.floats(1, 179), st.floats(0, 89))
def test_radius_and_eccentricity_are_inverse(width: int, fov_deg: float, eccentricity: float) -> None:
    field = VisualField((width, 1), fov_deg)
    assert field.eccentricity_deg(field.radius_texels(eccentricity)) == pytest.approx(eccentricity, abs=1e-9)


def test_eccentricity_is_measured_from_the_fixation_also_outside_the_frame() -> None:
    field = VisualField((800, 600))
    points = [[10.0, 20.0], [13.0, 24.0], [-1e9, 20.0]]
    found = field.eccentricities_deg(points, (10.0, 20.0))
    np.testing.assert_allclose(found, field.eccentricity_deg([0, 5, 1e9 + 10]))
    assert found[0] == 0
    assert 89.9 < found[2] <= 90


def test_one_degree_is_texels_per_degree_near_the_fixation() -> None:
    field = VisualField((1920, 1080))
    assert field.radius_texels(0.01) == pytest.approx(0.01 * field.texels_per_degree, rel=1e-6)


def test_magnification_of_human_v1() -> None:
    # Horton and Hoyt 1991: 17.3 / (e + 0.75) mm per degree
    np.testing.assert_allclose(magnification([0, 10, 40], e2_deg=0.75, m0=17.3), [23.1, 1.61, 0.42], rtol=0.015)
    assert magnification(2.0, e2_deg=2.0) == pytest.approx(magnification(0.0, e2_deg=2.0) / 2)


def test_lod_follows_magnification() -> None:
    eccentricity = np.array([0, 1, 2, 5, 10, 20])
    np.testing.assert_allclose(foveal_lod(eccentricity, e2_deg=0.75), [0, 1.22, 1.87, 2.94, 3.84, 4.79], atol=0.006)
    np.testing.assert_allclose(foveal_lod(eccentricity, e2_deg=2), [0, 0.58, 1.00, 1.81, 2.58, 3.46], atol=0.006)
    ratio = magnification(0.0, e2_deg=2) / magnification(eccentricity, e2_deg=2)
    np.testing.assert_allclose(foveal_lod(eccentricity, e2_deg=2, rho0=4), 2 + np.log2(ratio))
    assert (foveal_lod([0, 1], e2_deg=2, rho0=0.25) == 0).all()  # never below the base level


def test_cumulative_density_is_the_integral_of_magnification_squared() -> None:
    e = np.linspace(0, 20, 200_001)
    integrand = magnification(e, e2_deg=2) ** 2 * e
    summed = np.concatenate([[0], np.cumsum((integrand[1:] + integrand[:-1]) / 2 * np.diff(e))])
    np.testing.assert_allclose(cumulative_density(e, e2_deg=2), summed, atol=1e-8)
    share = cumulative_density([1, 2, 5], e2_deg=0.75) / cumulative_density(20, e2_deg=0.75)
    np.testing.assert_allclose(share, [0.117, 0.243, 0.495], atol=0.001)


@pytest.mark.parametrize("fov_deg", [0, 180, -10, 360, math.nan])
def test_fields_of_view_out_of_range_are_refused(fov_deg: float) -> None:
    with pytest.raises(ValueError, match=f"fov_deg is {fov_deg}; a field of view is above 0 and below 180 degrees"):
        VisualField((10, 10), fov_deg)


def test_impossible_angles_and_constants_are_refused() -> None:
    with pytest.raises(ValueError, match="eccentricity 90 degrees is outside"):
        VisualField((10, 10)).radius_texels(90)
    with pytest.raises(ValueError, match="e2_deg is 0; it is a finite number of degrees above 0"):
        magnification(1.0, e2_deg=0)
    with pytest.raises(ValueError, match="e2_deg is inf"):
        cumulative_density(1.0, e2_deg=math.inf)
    with pytest.raises(ValueError, match="rho0 is -1; it is a finite number of texels above 0"):
        foveal_lod(1.0, e2_deg=1, rho0=-1)
    with pytest.raises(ValueError, match="frame size 0 x 4: each side is"):
        VisualField((0, 4))
