"""How frames get up: rectangles, packing, both ways of upload, batches, and a failed upload."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from texvlm.backends import _gl_frames, open_backend
from texvlm.backends._gl_pack import find_rectangles, pack, split_pieces
from texvlm.backends._pack import list_tiles
from texvlm.backends.base import Normalisation
from texvlm.errors import DeviceCallError
from texvlm.frames import Frame
from texvlm.layouts.table import make_table, pad_table
from texvlm.pyramid import TextureSpec

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def covered(pieces: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """How often each tile lies in a rectangle."""
    times = np.zeros(shape, int)
    for x, y, width, height in pieces:
        times[y : y + height, x : x + width] += 1
    return times


@given(MASKS)
@settings(max_examples=60, deadline=None)
def test_rectangles_hold_exactly_the_masked_tiles(mask):
    pieces = find_rectangles(mask, 81)
    assert pieces is not None
    np.testing.assert_array_equal(covered(pieces, mask.shape), mask)
    np.testing.assert_array_equal(covered(list_tiles(mask), mask.shape), mask)


def test_more_rectangles_than_the_limit_are_none():
    checkers = (np.indices((4, 4)).sum(axis=0) % 2).astype(np.bool_)
    assert find_rectangles(checkers, 7) is None
    found = find_rectangles(checkers, 8)
    assert found is not None
    assert len(found) == 8


@given(MASKS, st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_batches_hold_every_tile_once(mask, most):
    pieces = find_rectangles(mask, 81)
    assert pieces is not None
    batches = split_pieces(pieces, most)
    np.testing.assert_array_equal(sum((covered(batch, mask.shape) for batch in batches), np.zeros(mask.shape)), mask)
    for batch in batches:
        # a batch starts below the limit; the piece that reaches it may be one row of tiles wide
        assert batch[:, 2:].prod(axis=1).sum() <= 2 * max(most, mask.shape[1])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_packed_texels_are_those_of_the_rectangles(rng, channels, dtype):
    stored = rng.integers(0, 256, (64, 80, channels)).astype(dtype)
    pieces = np.array([(1, 0, 3, 2), (0, 3, 1, 1), (4, 1, 1, 3)], np.int32)
    kept = 4 if channels == 3 else channels
    packed = np.zeros(10 * 256 * kept * stored.itemsize, np.uint8)
    starts = pack(stored, pieces, packed)
    for (x, y, width, height), start in zip(pieces * 16, starts, strict=True):
        size = width * height * kept * stored.itemsize
        texels = packed[start : start + size].view(dtype).reshape(height, width, kept)
        np.testing.assert_array_equal(texels[:, :, :channels], stored[y : y + height, x : x + width])
        if channels == 3:
            assert (texels[:, :, 3] == (255 if dtype == np.uint8 else 1)).all()


@pytest.fixture
def backend(gl_backend):
    """A backend of its own: its counters start at nothing."""
    backend = open_backend("gl").backend
    yield backend
    backend.close()


def put(backend, texture, frame, tiles):
    texture.frame_sizes[0] = frame.shape[1], frame.shape[0]
    backend.upload(texture, 0, tiles, Frame(frame))
    backend.build_mips(texture, 0, tiles)


@pytest.mark.gl
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("way", ["rectangles", "tiles"])
def test_both_ways_up_store_the_same_texels(backend, rng, monkeypatch, way, channels, dtype):
    if way == "tiles":
        monkeypatch.setattr(_gl_frames, "find_rectangles", lambda tiles, limit: None)
    frame = rng.integers(0, 256, (75, 101, channels)).astype(dtype)
    texture = backend.create_texture(TextureSpec((101, 75), channels=channels, dtype=dtype))
    put(backend, texture, np.zeros_like(frame), np.ones((5, 7), np.bool_))
    mask = rng.random((5, 7)) < 0.5
    put(backend, texture, frame, mask)
    expected = np.where(np.kron(mask, np.ones((16, 16), bool))[:75, :101, None], frame, 0)
    np.testing.assert_array_equal(backend.read_level(texture, 0, 0), expected)


@pytest.mark.gl
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("scattered", [False, True])
def test_one_pass_gives_the_same_bits_and_counters(backend, rng, monkeypatch, scattered, channels, dtype):
    if scattered:
        monkeypatch.setattr(_gl_frames, "find_rectangles", lambda tiles, limit: None)
    frame = rng.integers(0, 256, (75, 101, channels)).astype(dtype)
    spec = TextureSpec((101, 75), channels=channels, dtype=dtype, levels=7)
    verbs, fused = backend.create_texture(spec), backend.create_texture(spec)
    for texture in (verbs, fused):
        put(backend, texture, np.zeros_like(frame), np.ones((5, 7), np.bool_))
    changed = rng.random((5, 7)) < 0.5
    picture = np.where(np.kron(changed, np.ones((16, 16), bool))[:75, :101, None], frame, 0).astype(dtype)
    start = replace(backend.counters)
    tiles = backend.detect(verbs, 0, Frame(picture), 0)
    put(backend, verbs, picture, tiles)
    middle = replace(backend.counters)
    np.testing.assert_array_equal(backend.refresh(fused, 0, Frame(picture), 0), tiles)
    assert backend.counters - middle == middle - start
    for level in range(spec.levels):
        np.testing.assert_array_equal(backend.read_level(fused, 0, level), backend.read_level(verbs, 0, level))
    assert not backend.refresh(fused, 0, Frame(picture), 0).any()


@pytest.mark.gl
@pytest.mark.parametrize("scattered", [False, True])
def test_large_uploads_go_in_batches(backend, rng, monkeypatch, scattered):
    monkeypatch.setattr(_gl_frames, "STAGING_BYTES", 5 * 1024)
    monkeypatch.setattr(_gl_frames, "MAX_GROUPS", 40)
    if scattered:
        monkeypatch.setattr(_gl_frames, "find_rectangles", lambda tiles, limit: None)
    frame = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    texture = backend.create_texture(TextureSpec((300, 200), levels=7))
    put(backend, texture, frame, np.ones((13, 19), np.bool_))
    for level, expected in enumerate(reference.pyramid(frame, 7)):
        np.testing.assert_array_equal(backend.read_level(texture, 0, level), expected)


@pytest.mark.gl
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(
    ("levels", "runs"),
    [
        (13, _gl_frames.TAIL_RUNS),  # blocks of 65536 texels at the top
        (11, ((1, 3, 1), (3, 5, 64), (5, 11, 64))),  # every kind of dispatch, in small
    ],
)
def test_a_long_tail_is_exact(backend, rng, monkeypatch, levels, runs, dtype):
    monkeypatch.setattr(_gl_frames, "TAIL_RUNS", runs)
    frame = rng.integers(0, 256, (70, 300, 3)).astype(dtype)
    texture = backend.create_texture(TextureSpec((300, 70), levels=levels, dtype=dtype))
    some = rng.random((5, 19)) < 0.5
    put(backend, texture, frame, some)
    put(backend, texture, frame, ~some)
    for level, expected in enumerate(reference.pyramid(frame, levels)):
        got = backend.read_level(texture, 0, level)
        if dtype == "uint8":
            np.testing.assert_array_equal(got, expected)
        else:
            np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.gl
@pytest.mark.parametrize(
    ("patch", "dtype"), [(16, torch.float32), (14, torch.float16), (7, torch.uint8), (9, torch.bfloat16)]
)
def test_large_tables_are_sampled_in_batches(backend, rng, monkeypatch, patch, dtype):
    frame = rng.integers(0, 256, (60, 60, 3), dtype=np.uint8)
    texture = backend.create_texture(TextureSpec((60, 60)))
    put(backend, texture, frame, np.ones((4, 4), np.bool_))
    table = pad_table(make_table(rng.random(40) * 60, rng.random(40) * 60, rng.random(40) * 60 + 1, size=(60, 60)), 41)
    whole, parts = (backend.empty((41, 3, patch, patch), dtype) for _ in range(2))
    rows = np.array([*range(0, 11), *range(30, 41)], np.int32)
    for out in (whole, parts):
        out.fill_(3)
    backend.sample(texture, table, whole, Normalisation.identity(3), rows)
    bytes_of_a_row = whole[0].nbytes
    info = backend._context.info
    small = replace(info, max_block_bytes=info.block_alignment + 7 * bytes_of_a_row)
    monkeypatch.setattr(backend._context, "info", small)
    backend.sample(texture, table, parts, Normalisation.identity(3), rows)
    assert torch.equal(whole, parts)
    assert (parts[11:30] == 3).all()
    assert (parts[40] == 0).all()


@pytest.mark.gl
def test_counters_say_what_crossed_the_bus(backend, rng):
    frame = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    texture = backend.create_texture(TextureSpec((40, 40), levels=6))
    mask = np.zeros((3, 3), np.bool_)
    mask[0, 0] = mask[2, 2] = True  # one whole tile, and one of 8 x 8 texels inside the frame
    put(backend, texture, frame, mask)
    assert backend.counters.tiles_dirty == 2
    assert backend.counters.bytes_uploaded == (16 * 16 + 8 * 8) * 3
    assert backend.counters.texels_rebuilt == 2 * 85 + 2
    before = replace(backend.counters)
    put(backend, texture, frame, np.zeros((3, 3), np.bool_))
    assert backend.counters == before


@pytest.mark.gl
def test_after_a_failed_upload_everything_counts_as_changed(backend, rng, monkeypatch):
    frame = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    texture = backend.create_texture(TextureSpec((40, 40)))
    whole = np.ones((3, 3), np.bool_)
    put(backend, texture, frame, whole)
    assert not backend.detect(texture, 0, Frame(frame), 0).any()

    def fail(*_: object) -> None:
        raise DeviceCallError("upload: GL_CONTEXT_LOST")

    with monkeypatch.context() as patched:
        patched.setattr(backend._writer, "upload", fail)
        with pytest.raises(DeviceCallError):
            put(backend, texture, frame, ~whole | np.eye(3, dtype=bool))
    assert backend.detect(texture, 0, Frame(frame), 0).all()
    put(backend, texture, frame, np.eye(3, dtype=bool))
    assert backend.detect(texture, 0, Frame(frame), 0).all()
    put(backend, texture, frame, whole)
    assert not backend.detect(texture, 0, Frame(frame), 0).any()
