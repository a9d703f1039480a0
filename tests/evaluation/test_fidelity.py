"""PSNR and SSIM by eccentricity."""

from __future__ import annotations

import numpy as np
import pytest

from texvlm.engine import Engine
from texvlm.evaluation.fidelity import covered_texels, layouts_of, run_pictures, ssim_map
from texvlm.evaluation.report import Origin
from texvlm.evaluation.settings import EvalSettings
from texvlm.layouts import Quadtree, Rings

SETTINGS = EvalSettings(quick=True).sized()


def test_ssim_of_equal_pictures_is_one(rng):
    picture = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    np.testing.assert_allclose(ssim_map(picture, picture), 1, atol=1e-4)


def test_ssim_of_flat_pictures_follows_the_formula():
    a, b = np.full((30, 30, 3), 100, np.uint8), np.full((30, 30, 3), 120, np.uint8)
    c1 = (0.01 * 255) ** 2
    np.testing.assert_allclose(ssim_map(a, b), (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1), rtol=1e-3)


def test_ssim_falls_with_noise_and_with_lost_structure(rng):
    picture = rng.integers(60, 190, (60, 60, 3), dtype=np.uint8)
    noisy = np.clip(picture + rng.normal(0, 20, picture.shape), 0, 255).astype(np.uint8)
    flat = np.full_like(picture, 125)
    assert 0.95 > ssim_map(picture, noisy).mean() > ssim_map(picture, flat).mean() + 0.3


def test_a_partition_covers_all_and_rings_their_field(rng):
    picture = rng.integers(0, 256, (192, 320, 3), dtype=np.uint8)
    with Engine(backend="cpu") as engine:
        engine.submit(picture)
        assert covered_texels(engine.tokens(layout=Quadtree(tokens=40)), (320, 192)).all()
        rings = covered_texels(engine.tokens(layout=Rings((1, 2), (4, 4))), (320, 192))
    assert rings.sum() == 128 * 128
    assert rings[96, 160]
    assert not rings[0, 0]


def test_detail_lies_at_the_fixation():
    part = run_pictures(SETTINGS, Origin.now(SETTINGS, "none", 1), {}, tell=lambda *_: None)
    assert [row.layout for row in part.rows] == [name for name, _ in layouts_of(SETTINGS)]
    ours, even = part.rows[0], part.rows[-1]
    assert even.layout.startswith("uniform")
    assert ours.bands[0].psnr > even.bands[0].psnr + 5
    assert ours.bands[0].ssim > even.bands[0].ssim
    assert all(band.covered == pytest.approx(1) for band in ours.bands if band.psnr is not None)
    assert ours.bands[3].psnr < ours.bands[0].psnr
