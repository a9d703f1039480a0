"""Pictures of a snapshot: in each mode what the host draws, as large as asked for, and good for ever."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from viewer.films import SIZE, pixels

from texvlm import Engine
from texvlm.drawing.pictures import draw_fixations, draw_tiles, draw_tokens
from texvlm.drawing.reconstruct import psnr, reconstruct
from texvlm.viewer.modes import PictureMode
from texvlm.viewer.native.places import GAP
from texvlm.viewer.shown import Shown
from texvlm.viewer.web.pictures import ENLARGED, LARGEST_BOX, draw_snapshot, fit_box, jpeg_bytes
from texvlm.viewer.web.snapshot import take_snapshot

FIXATION = (0.3, 0.4)
LARGE = (960, 640)  # narrower ones are enlarged


@pytest.fixture(scope="module")
def snapshot():
    with Engine(backend="cpu", tokens=40, patch=8, dtype=torch.uint8, threshold=0) as engine:
        for k in (0, 4):
            tiles = engine.submit(pixels(k, LARGE)).tiles
            batch = engine.tokens(FIXATION, copy=False)
        taken = take_snapshot(engine, Shown(2, 2, 0.1, LARGE, batch, tiles, np.array([FIXATION]), "pointer"), {1: 7})
        kept = taken.shown.batch.pixels.clone()
        tiles[:] = False
        engine.submit(pixels(30, LARGE))
        engine.tokens((0.9, 0.9), copy=False)  # writes over what was handed out
    assert taken.shown.batch.pixels.equal(kept)
    return taken


def drawn(snapshot, mode, box=LARGEST_BOX):
    return draw_snapshot(snapshot, mode, box)[0]


def marked(picture):
    picture = picture.copy()
    draw_fixations(picture, np.array([FIXATION]) * LARGE, frame_size=LARGE)
    return picture


def test_each_picture_is_what_the_host_draws(snapshot):
    frame, shown = pixels(4, LARGE), snapshot.shown
    squares = draw_tokens(frame, shown.batch.table[0], frame_size=LARGE, patch=8)
    assert shown.tiles.any()
    assert (drawn(snapshot, PictureMode.FRAME) == marked(frame)).all()
    assert (drawn(snapshot, PictureMode.RECONSTRUCTION) == marked(reconstruct(shown.batch))).all()
    assert (drawn(snapshot, PictureMode.TOKENS) == marked(squares)).all()
    assert (drawn(snapshot, PictureMode.CHANGED) == marked(draw_tiles(frame, shown.tiles, frame_size=LARGE))).all()


def test_tokens_sampled_anew_show_the_frame_and_the_others_do_not(snapshot):
    table, dirty = snapshot.shown.batch.table[0], snapshot.shown.batch.dirty[0].numpy()
    assert 0 < dirty.sum() < len(dirty)
    picture, frame = drawn(snapshot, PictureMode.REENCODED), pixels(4, LARGE)
    for row, anew in zip(table, dirty, strict=True):
        x, y = int(row["x"]), int(row["y"])
        if np.hypot(x - FIXATION[0] * LARGE[0], y - FIXATION[1] * LARGE[1]) < 40:
            continue  # the mark
        inner = (slice(y - 1, y + 1), slice(x - 1, x + 1))
        assert (picture[inner] == frame[inner]).all() == anew


def test_both_lie_side_by_side_and_their_places_say_where(snapshot):
    picture, (left, right) = draw_snapshot(snapshot, PictureMode.BOTH, (1000, 1000))
    assert (left.x, left.y, right.x) == (0, 0, left.width + GAP)
    assert picture.shape == (left.height, 2 * left.width + GAP, 3)
    box = (left.width, left.height)
    assert (picture[:, : left.width] == drawn(snapshot, PictureMode.TOKENS, box)).all()
    assert (picture[:, right.x :] == drawn(snapshot, PictureMode.RECONSTRUCTION, box)).all()


@settings(max_examples=200)
@given(*[st.tuples(st.integers(1, 9000), st.integers(1, 9000))] * 2, st.integers(1, 2))
def test_no_picture_is_larger_than_its_limits(box, frame, parts):
    width, height = fit_box(box, frame, parts)
    assert 1 <= width <= LARGEST_BOX[0]
    assert 1 <= height <= LARGEST_BOX[1]
    assert width <= max(parts * max(frame[0], ENLARGED) + GAP, 64)


def test_small_frames_are_enlarged_and_large_ones_never():
    assert fit_box((1920, 1080), SIZE, 1)[0] == ENLARGED
    assert fit_box((1920, 1080), (1280, 720), 1) == (1280, 720)


def test_a_jpeg_is_close_and_keeps_thin_coloured_lines(snapshot):
    for mode in (PictureMode.FRAME, PictureMode.TOKENS):
        picture = drawn(snapshot, mode)
        decoded = np.asarray(Image.open(io.BytesIO(jpeg_bytes(picture))).convert("RGB"))
        assert psnr(decoded, picture) > 33
        assert np.abs(decoded.mean((0, 1)) - picture.mean((0, 1))).max() < 2
