"""make_layout: every name works, every mistake is named; Focus checks what it is given."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from raster import focus_at

from texvlm.layouts import (
    LAYOUTS,
    RING_PRESETS,
    TOKEN_RECORD,
    Focus,
    GlobalAndCrops,
    LogPolar,
    Quadtree,
    Rings,
    Sunflower,
    UniformGrid,
    make_layout,
)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("patch", [14, 16])
def test_every_name_makes_a_layout_that_plans(name: str, patch: int) -> None:
    layout = make_layout(name, patch=patch)
    table = layout.plan((1280, 720), focus_at((600.0, 300.0)))
    assert layout.patch == patch
    assert table.dtype == TOKEN_RECORD
    assert table.ndim == 1
    assert layout.tokens in (None, len(table))
    assert {layout: 1}[make_layout(name, patch=patch)] == 1  # compared and hashed by value


@pytest.mark.parametrize(
    ("name", "tokens", "options", "expected"),
    [
        ("quadtree", None, {}, Quadtree(268, small_frames="pad")),
        ("quadtree", 100, {"max_side": 256}, Quadtree(100, max_side=256)),
        ("uniform", 256, {}, UniformGrid(tokens=256)),
        ("uniform", None, {"side": 32}, UniformGrid(side=32)),
        ("rings", 172, {}, Rings(*RING_PRESETS["rings-172"])),
        ("rings", 416, {"fixations": 2}, Rings(*RING_PRESETS["rings-208"], fixations=2)),
        ("rings", None, {"strides": [1, 2], "grids": [2, 3], "scale": "frame"}, Rings((1, 2), (2, 3), scale="frame")),
        ("rings-172-1280", 172, {"scale": 0.5}, Rings(*RING_PRESETS["rings-172-1280"], scale=0.5)),
        ("crops", 268, {}, GlobalAndCrops(147, 11)),
        ("crops", 100, {"fixations": 2, "crop_grid": 6}, GlobalAndCrops(28, 6, fixations=2)),
        ("sunflower", 50, {}, Sunflower(50)),
        ("logpolar", None, {"rings": 3, "wedges": 7}, LogPolar(3, 7)),
        ("logpolar", 336, {}, LogPolar(14, 24)),
    ],
)
def test_options_reach_the_layout(name: str, tokens: int | None, options: dict[str, object], expected: object) -> None:
    assert make_layout(name, tokens=tokens, **options) == expected


def test_the_visual_field_reaches_the_layouts_that_have_one() -> None:
    assert make_layout("quadtree", tokens=268, fov_deg=90, e2_deg=1) == Quadtree(fov_deg=90, e2_deg=1)
    assert make_layout("sunflower", fov_deg=90, e2_deg=1) == Sunflower(fov_deg=90, e2_deg=1)
    assert make_layout("logpolar", fov_deg=90, e2_deg=1) == LogPolar(fov_deg=90, e2_deg=1)


@pytest.mark.parametrize(
    ("name", "tokens", "options", "message"),
    [
        ("hexagons", None, {}, "unknown layout 'hexagons'; accepted: quadtree, uniform, rings, rings-172-1280"),
        ("quadtree", 0, {}, "tokens is 0; at least 1 is needed"),
        ("rings-172", 268, {}, "layout rings-172 has 172 tokens, not 268; leave tokens out"),
        ("rings", 100, {}, "layout rings has 268 tokens, not 100"),
        ("logpolar", 268, {}, "nearest counts are 266 and 270"),
        ("crops", 1, {}, "1 tokens cannot hold a global grid and 1 crops; ask for 2"),
        ("crops", 20, {"crop_grid": 5}, "20 tokens cannot hold 1 crops of 5 x 5"),
        ("crops", 20, {"fixations": 0}, "fixations is 0; at least 1 is needed"),
        ("crops", 20, {"crop_grid": 0}, "crop_grid is 0; at least 1 is needed"),
        ("rings", 172, {"fixations": 0}, "fixations is 0; at least 1 is needed"),
        ("quadtree", None, {"max_side": "wide"}, "max_side is 'wide'; it is a finite number of texels"),
        ("crops", None, {"crop_side": "wide"}, "crop_side is 'wide'; it is a finite number of texels"),
    ],
)
def test_mistakes_are_named(name: str, tokens: int | None, options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        make_layout(name, tokens=tokens, **options)
    assert "\n" not in str(caught.value)


def test_unknown_options_list_the_known_ones() -> None:
    with pytest.raises(TypeError, match="layout quadtree has no option 'sides'; it has: min_side, max_side"):
        make_layout("quadtree", sides=3)
    with pytest.raises(TypeError, match="layout sunflower has no option 'scale'; it has: none"):
        make_layout("sunflower", scale=3)


@pytest.mark.parametrize(
    ("points", "weights", "score", "message"),
    [
        (np.zeros(2), None, None, r"fixations have shape \(k, 2\) with k >= 1, not \(2,\)"),
        (np.zeros((0, 2)), None, None, r"not \(0, 2\)"),
        (np.array([[0, 1], [np.nan, 2]]), None, None, r"fixation \(nan, 2.0\) is not finite"),
        (np.zeros((3, 2)), np.ones(2), None, "2 weights for 3 fixations; give one each"),
        (np.zeros((2, 2)), np.array([1, 0.0]), None, "weights are .*; each must be a finite number above 0"),
        (np.zeros((1, 2)), None, np.ones(4), r"a score map has shape \(rows, columns\), not \(4,\)"),
        (np.zeros((1, 2)), None, np.full((2, 2), -1.0), "a score map holds finite numbers, 0 or above"),
        (np.zeros((1, 2)), None, np.full((2, 2), np.inf), "a score map holds finite numbers, 0 or above"),
    ],
)
def test_a_focus_checks_itself(
    points: np.ndarray, weights: np.ndarray | None, score: np.ndarray | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Focus(points, np.ones(1) if weights is None else weights, score)


def test_geometry_loads_nothing_heavy() -> None:
    code = "import sys, texvlm.layouts, texvlm.visual_field; print(sorted({'torch', 'numba', 'av'} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
