"""Eccentricity from basic operations: as good as the library's, and the same without a compiler."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from texvlm.layouts import _eccentricity
from texvlm.layouts._eccentricity import SHALLOW, STEEP, eccentricity_deg

TEXELS = st.floats(0, 2.0**35)


@settings(deadline=None)  # a loaded machine is slow, not wrong
@given(TEXELS, TEXELS, st.floats(1e-3, 1e9))
def test_it_is_the_arctangent_of_the_distance_by_the_focal_length(dx: float, dy: float, focal: float) -> None:
    expected = math.degrees(math.atan(math.hypot(dx, dy) / focal))
    assert eccentricity_deg(dx, dy, focal) == pytest.approx(expected, rel=6 * sys.float_info.epsilon, abs=1e-150)


@settings(deadline=None)  # a loaded machine is slow, not wrong
@given(TEXELS, TEXELS, st.floats(1e-3, 1e9))
def test_compiled_code_fuses_and_reorders_nothing(dx: float, dy: float, focal: float) -> None:
    assert eccentricity_deg(dx, dy, focal) == eccentricity_deg.py_func(dx, dy, focal)


def test_ranges_meet_without_a_step() -> None:
    for border in (SHALLOW, STEEP):
        around = [border + i * math.ulp(border) for i in range(-4, 5)]
        found = [eccentricity_deg(ratio, 0.0, 1.0) for ratio in around]
        assert np.ptp(found) < 1e-13
    assert math.degrees(math.atan(SHALLOW)) == 22.5
    assert math.degrees(math.atan(STEEP)) == 67.5


def test_the_ends() -> None:
    assert eccentricity_deg(0.0, 0.0, 1000.0) == 0
    assert eccentricity_deg(1e300, 1e300, 1000.0) == 90
    assert len(_eccentricity.ARCTANGENT_DEG) == 11  # the loop takes two at a time, and the last
