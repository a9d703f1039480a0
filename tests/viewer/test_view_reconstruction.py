"""The frame painted from its tokens: no seam where they meet, and nothing that flickers where they are drawn small."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from texvlm import Engine
from texvlm.backends.gl import open_current
from texvlm.drawing.reconstruct import psnr, reconstruct
from texvlm.layouts import make_layout
from texvlm.viewer.modes import PictureMode
from texvlm.viewer.native.painter import Painter
from texvlm.viewer.native.token_squares import owners_of, squares_of
from texvlm.viewer.shown import Shown

pytestmark = pytest.mark.gl
SIZE = (240, 136)


@pytest.fixture
def paint(surface):
    """Paints a frame from its tokens alone: (what was drawn, the tokens)."""
    backend, painter = open_current(), Painter(surface.gl)

    def paint(frame, layout, fixation=(0.3, 0.4)):
        size = frame.shape[1], frame.shape[0]
        with Engine(backend=backend, threshold=0, layout=layout, dtype=torch.uint8) as engine:
            tiles = engine.submit(frame).tiles
            batch = engine.tokens(fixation)
            painter.put(Shown(1, 1, None, size, batch, tiles, np.array([fixation]), ""))
            painter.draw(engine, PictureMode.RECONSTRUCTION, SIZE, marked=False)
        out = np.empty((SIZE[1], SIZE[0], 4), np.uint8)
        surface.gl.glReadPixels(0, 0, *SIZE, 0x1908, 0x1401, out.ctypes.data)
        return out[::-1, :, :3].astype(int), batch

    yield paint
    painter.close()
    backend.close()


def slope(size):
    x, y = np.meshgrid(np.linspace(10, 240, size[0]), np.linspace(10, 240, size[1]))
    return np.stack([x, y, (x + y) / 2], -1).astype(np.uint8)


def test_tokens_of_one_size_join_as_the_host_joins_them(paint, rng):
    frame = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    drawn, batch = paint(frame, make_layout("uniform", tokens=28, patch=8))
    assert np.abs(drawn - reconstruct(batch)).max() <= 5  # texture units weigh in steps of 1/256


@pytest.mark.parametrize("fixation", [(0.3, 0.4), (0.513, 0.287), (0.99, 0.02)])
def test_a_slope_stays_one_across_borders(paint, fixation):
    frame = slope(SIZE)
    drawn, batch = paint(frame, make_layout("quadtree", tokens=60, patch=8), fixation)
    coarsest = int(batch.sides.max()) // 8  # a texel of the largest token: nothing lies beyond the frame's edge
    inner = slice(coarsest, -coarsest), slice(coarsest, -coarsest)
    assert np.abs(drawn - frame)[inner].max() <= 2


def test_rings_join_wherever_they_lie(paint):
    size = (288, 288)
    drawn, batch = paint(slope(size), make_layout("rings", patch=8), (0.437, 0.571))
    joined = reconstruct(batch, size=(SIZE[1], SIZE[1]))
    left = (SIZE[0] - SIZE[1]) // 2
    covered = (joined != 24).all(axis=-1)
    assert covered.mean() > 0.2
    assert np.abs(drawn[:, left : left + SIZE[1]] - joined)[covered].mean() < 2


def test_tokens_drawn_small_are_averaged(paint):
    size = (SIZE[0] * 4, SIZE[1] * 4)
    frame = np.zeros((size[1], size[0], 3), np.uint8)
    frame[:, ::2] = 255  # stripes, finer than the picture's pixels
    drawn, batch = paint(frame, make_layout("uniform", tokens=(size[0] // 16) * (size[1] // 16), patch=16))
    assert np.abs(drawn - 128).max() <= 3
    assert psnr(drawn, reconstruct(batch, size=SIZE).astype(int)) > 40


def test_only_tokens_drawn_small_take_more_taps(surface, paint, rng):
    frame = rng.integers(0, 256, (4 * SIZE[1], 4 * SIZE[0], 3), dtype=np.uint8)
    painter = Painter(surface.gl)
    with Engine(backend="cpu", threshold=0, tokens=60, dtype=torch.uint8) as engine:
        engine.submit(frame)
        batch = engine.tokens((0.5, 0.5))
    painter.squares.put(batch)
    count = (batch.table[0]["valid"] > 0).sum()
    assert painter.squares.by_taps(1.0) == [(1, 0, count)]
    taps, starts, counts = zip(*painter.squares.by_taps(0.25), strict=True)
    assert taps == tuple(sorted(taps))  # coarse ones first
    assert taps[0] < taps[-1] == 2  # 16 pixels in 4
    assert (starts[0], sum(counts)) == (0, count)
    assert painter.squares.by_taps(0.001)[-1][0] == 4
    painter.close()


def test_the_map_of_squares_shows_the_finest():
    squares = np.zeros((3, 8), np.float32)
    squares[:, :3] = (32, 16, 64), (8, 8, 16), (56, 24, 16)
    owners, step = owners_of(squares, (64, 32))
    assert step == 4
    expected = np.zeros((8, 16), np.int32)
    expected[:4, :4], expected[4:, 12:] = 1, 2
    np.testing.assert_array_equal(owners, expected)
    owners, step = owners_of(squares[1:2], (4096, 32))
    assert (step, owners.shape) == (4, (8, 1024))
    assert (owners == -1).sum() == owners.size - 16


def test_squares_that_hold_nothing_are_left_out(rng):
    frame = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    with Engine(backend="cpu", threshold=0, patch=16, dtype=torch.uint8) as engine:
        engine.submit(frame)
        batch = engine.tokens((0.5, 0.5))
        assert len(squares_of(batch)) == (batch.table[0]["valid"] > 0).sum() < len(batch.table[0])
