"""The baselines do the job they stand for; a fast baseline that is wrong would prove nothing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from compare import anywhere

from texvlm.bench.baselines import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    PYRAMID_TOLERANCE,
    DenseTokens,
    PyramidTokens,
    agreement,
)
from texvlm.bench.integral import FIELD, MEAN_BYTES, PATCH, IntegralTokens, ring_blocks
from texvlm.bench.scenes import STEP, changing, still
from texvlm.engine import Engine
from texvlm.engine_options import DEFAULT_THRESHOLD
from texvlm.regions import TILE


@pytest.mark.parametrize("size", [(640, 360), (333, 211), (512, 512)])
@pytest.mark.parametrize("layout", ["quadtree", "sunflower"])
def test_the_pyramid_baseline_gives_the_tokens_of_texvlm(backend, size, layout):
    frame = still(size)
    with Engine(tokens=64, layout=layout, backend=backend) as engine:
        engine.submit(frame)
        filtered = 255 * anywhere(backend) if layout == "sunflower" else 0  # an aligned quadtree copies texels
        assert agreement(engine, frame) <= PYRAMID_TOLERANCE + filtered


def test_the_pyramid_baseline_follows_another_table():
    frame = still((320, 240))
    with Engine(tokens=64, backend="cpu") as engine:
        engine.submit(frame)
        baseline = PyramidTokens((320, 240), engine.plan()[0], 16)
        baseline(frame)
        batch = engine.tokens((0.1, 0.9))
        baseline.look_at(batch.table[0])
        baseline.build(frame)
        difference = (baseline.sample() - batch.pixels[0]).abs().max()
    assert float(difference) * 255 <= PYRAMID_TOLERANCE


@pytest.mark.parametrize("interpolation", [cv2.INTER_LINEAR, cv2.INTER_AREA])
def test_the_dense_baseline_cuts_the_resized_frame(interpolation):
    frame = still((200, 120))
    tokens = DenseTokens(64, 16, interpolation=interpolation)(frame).numpy()
    resized = cv2.resize(frame, (64, 64), interpolation=interpolation) / 255.0
    values = ((resized - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1)
    expected = values.reshape(3, 4, 16, 4, 16).transpose(1, 3, 0, 2, 4).reshape(16, 3, 16, 16)
    np.testing.assert_allclose(tokens, expected, rtol=0, atol=1e-5)


def test_the_published_layout_tiles_its_field_with_172_tokens():
    left, top, stride = ring_blocks()
    assert len(left) == 172
    seen = np.zeros((FIELD, FIELD), np.int64)
    for x, y, step in zip(left, top, stride, strict=True):
        seen[y : y + PATCH * step, x : x + PATCH * step] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("fixation", [(0.5, 0.5), (0.0, 1.0), (3.0, 3.0)])
@pytest.mark.parametrize("opencv", [False, True])
def test_integral_tokens_are_floored_means_of_the_padded_crop(fixation, opencv):
    frame = still((1500, 700))
    tokens = IntegralTokens(opencv=opencv)(frame, fixation).numpy()
    margin = 4 * FIELD
    padded = np.empty((700 + 2 * margin, 1500 + 2 * margin, 3), np.uint8)
    padded[:] = MEAN_BYTES
    padded[margin : margin + 700, margin : margin + 1500] = frame
    x, y = round(fixation[0] * 1500) + margin - FIELD // 2, round(fixation[1] * 700) + margin - FIELD // 2
    crop = padded[y : y + FIELD, x : x + FIELD].astype(np.int64)
    for token, (left, top, step) in enumerate(zip(*ring_blocks(), strict=True)):
        block = crop[top : top + PATCH * step, left : left + PATCH * step]
        mean = block.reshape(PATCH, step, PATCH, step, 3).sum((1, 3)) // step**2
        np.testing.assert_array_equal(tokens[token], mean.transpose(2, 0, 1))


@pytest.mark.parametrize("pattern", ["scattered", "clustered"])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_frames_change_exactly_the_share_of_tiles_that_they_say(pattern, share):
    size = (330, 250)
    frames = changing(size, share, pattern)
    before = next(frames).copy()
    columns, rows = -(-size[0] // TILE), -(-size[1] // TILE)
    for _ in range(4):
        frame = next(frames)
        differs = np.abs(frame.astype(int) - before).max(axis=2)
        tiles = np.zeros((rows, columns), bool)
        for y, x in np.ndindex(rows, columns):
            block = differs[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE]
            tiles[y, x] = block.max() > DEFAULT_THRESHOLD * 255
            assert block.max() in (0, STEP, 256 - STEP)
        assert tiles.sum() == round(share * rows * columns)
        before = frame.copy()


def test_dense_tokens_are_as_many_as_stated():
    tokens = DenseTokens()(still((64, 64)))
    assert tokens.shape == (4096, 3, 16, 16)
    assert tokens.dtype == torch.float32
