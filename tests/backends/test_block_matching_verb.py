"""`motion_memory` of every backend: the bits of the slow reference, what is kept, and what is not done."""

from __future__ import annotations

from itertools import pairwise

import block_reference
import numpy as np
import pytest
import reference
from block_reference import textured

from texvlm.backends import open_backend
from texvlm.backends.base import Backend, Texture
from texvlm.backends.block_search import BlockSpec
from texvlm.errors import ClosedError
from texvlm.frames import Frame
from texvlm.pyramid import TextureSpec
from texvlm.regions import tile_grid


class Layer:
    """Frames of one layer, put as the engine does."""

    def __init__(self, backend: Backend, texture: Texture, layer: int = 0) -> None:
        self.backend, self.texture, self.layer = backend, texture, layer

    def put(self, pixels: np.ndarray) -> None:
        frame = Frame(np.ascontiguousarray(pixels))
        columns, rows = tile_grid(frame.size)
        tiles = np.ones((rows, columns), np.bool_)
        if tuple(self.texture.frame_sizes[self.layer]) == frame.size:
            tiles = self.backend.detect(self.texture, self.layer, frame, 0)
        self.texture.frame_sizes[self.layer] = frame.size
        if tiles.any():
            self.backend.upload(self.texture, self.layer, tiles, frame)
            self.backend.build_mips(self.texture, self.layer, tiles)
            self.texture.stamp(self.layer, tiles)


@pytest.fixture
def opened(backend: Backend):
    """(texture, memory) of a size and a spec; both freed, and nothing left behind."""
    made = []

    def make(size, spec=None, *, layers: int = 1, channels: int = 3):
        texture = backend.create_texture(TextureSpec(size, layers, channels))
        memory = backend.motion_memory(texture, spec or BlockSpec(8, finest=0, steps=3, reach=2))
        made.append((texture, memory))
        return texture, memory

    yield make
    for texture, memory in made:
        memory.close()
        memory.close()  # twice is fine
        backend.destroy_texture(texture)


KNOWN: dict[tuple[object, ...], np.ndarray] = {}
"""What the reference found, by its pictures and plan: every backend is asked the same."""


def expected(new: np.ndarray, old: np.ndarray, levels: int, plan) -> np.ndarray:
    key = (new.tobytes(), old.tobytes(), plan.size, plan.pitch, plan.reach, len(plan.levels))
    if key not in KNOWN:
        pictures = [reference.pyramid(frame, levels) for frame in (new, old)]
        chosen = [[picture[level.level] for level in plan.levels] for picture in pictures]
        KNOWN[key] = block_reference.match(*chosen, plan.pitch, plan.reach)
    return KNOWN[key]


@pytest.mark.parametrize(
    ("size", "channels", "spec"),
    [
        ((70, 53), 3, BlockSpec(8, finest=0, steps=3, reach=2)),
        ((41, 30), 1, BlockSpec(16, finest=1, steps=2, reach=3)),
        ((64, 48), 4, BlockSpec(8, finest=1, steps=1, reach=5)),
        ((100, 66), 1, BlockSpec(16, reach=1)),
        ((9, 70), 3, BlockSpec(4, finest=0, steps=5, reach=1)),
        ((3, 2), 3, BlockSpec(16)),
    ],
    ids=str,
)
def test_every_backend_finds_what_the_reference_finds(backend, opened, rng, size, channels, spec):
    whole = textured(rng, size, channels)
    texture, memory = opened(size, spec, channels=channels)
    layer = Layer(backend, texture)
    width, height = size
    frames = [whole[y : y + height, x : x + width] for x, y in ((24, 24), (21, 26), (30, 13))]
    frames[1] = frames[1].copy()
    frames[1][: height // 3] = frames[0][: height // 3]  # a part that stands still
    layer.put(frames[0])
    assert memory.match(0) is None
    for old, new in pairwise(frames):
        layer.put(new)
        match = memory.match(0, both=True)
        levels = texture.spec.levels
        np.testing.assert_array_equal(match.backward, expected(new, old, levels, match.plan))
        np.testing.assert_array_equal(match.forward, expected(old, new, levels, match.plan))
        assert match.backward.dtype == np.int32


def test_what_did_not_change_is_not_searched(backend, opened, rng):
    size = (96, 64)
    frame = textured(rng, size)[:64, :96].copy()
    texture, memory = opened(size)
    layer = Layer(backend, texture)
    layer.put(frame)
    assert memory.match(0) is None
    before = backend.counters.blocks_matched
    layer.put(frame)
    still = memory.match(0, both=True)
    assert not still.backward.any()
    assert not still.forward.any()
    assert backend.counters.blocks_matched == before
    changed = frame.copy()
    changed[40:44, 80:84] ^= 90
    layer.put(changed)
    found = memory.match(0).backward
    searched = np.count_nonzero(found[..., 3])
    assert backend.counters.blocks_matched == before + searched
    rows, columns = np.nonzero(found[..., 3])
    assert 0 < searched <= 12
    assert rows.min() >= 4
    assert columns.min() >= 8


def test_looking_keeps_nothing(backend, opened, rng):
    size = (48, 40)
    whole = textured(rng, size)
    texture, memory = opened(size)
    layer = Layer(backend, texture)
    first, second = whole[:40, :48], whole[3:43, 2:50]
    layer.put(first)
    assert memory.match(0, keep=False) is None
    assert memory.match(0) is None
    layer.put(second)
    looked, again = memory.match(0, keep=False).backward, memory.match(0).backward
    np.testing.assert_array_equal(looked, again)
    assert looked.any()
    assert not memory.match(0).backward.any()


def test_sources_sizes_and_forgetting(backend, opened, rng):
    whole = textured(rng, (64, 64))
    texture, memory = opened((64, 64), layers=2)
    one, two = Layer(backend, texture, 0), Layer(backend, texture, 1)
    one.put(whole[:64, :64])
    two.put(whole[5:45, 5:37])  # smaller, in its own layer
    assert memory.match(0) is None
    assert memory.match(1) is None
    two.put(whole[6:46, 5:37])
    found = memory.match(1)
    assert found.plan.size == (32, 40)
    assert tuple(np.median(found.backward[1:-1, 1:-1, :2], axis=(0, 1))) == (0, 1)
    one.put(whole[:40, :48])  # another size
    assert memory.match(0) is None
    one.put(whole[1:41, :48])
    assert memory.match(0) is not None
    memory.forget(0)
    assert memory.match(0) is None
    assert memory.match(1) is not None
    memory.forget()
    assert memory.match(1) is None


def test_what_is_refused(backend, opened):
    texture, memory = opened((32, 32))
    with pytest.raises(ValueError, match="layer 0 holds no frame; submit one first"):
        memory.match(0)
    with pytest.raises(ValueError, match="layer 2 is outside the texture array"):
        memory.match(2)
    memory.close()
    with pytest.raises(ClosedError, match="this motion memory is closed"):
        memory.match(0)
    with pytest.raises(ValueError, match=r"finest is 5; this pyramid has levels 0\.\.4"):
        backend.motion_memory(texture, BlockSpec(64, finest=5))
    floats = backend.create_texture(TextureSpec((32, 32), dtype="float32"))
    try:
        with pytest.raises(TypeError, match="blocks are matched on uint8 texels; this texture holds float32"):
            backend.motion_memory(floats, BlockSpec())
    finally:
        backend.destroy_texture(floats)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patch": 24}, "patch is 24; accepted: 4, 8, 16, 32, 64 or 128"),
        ({"patch": 16, "finest": 4}, "finest is 4 for a patch of 16"),
        ({"patch": 64, "finest": 1}, "finest is 1 for a patch of 64"),
        ({"steps": 0}, "steps is 0; accepted: 1..6"),
        ({"reach": 7}, "reach is 7; accepted: 1..6"),
    ],
)
def test_specs_out_of_range(options, words):
    with pytest.raises(ValueError, match=words):
        BlockSpec(**options)


def test_a_memory_may_end_after_its_texture_and_backend(rng):
    """As where an application closes things in any order: nothing is freed twice, nothing stays."""
    backend = open_backend("cpu").backend
    texture = backend.create_texture(TextureSpec((32, 32)))
    memory = backend.motion_memory(texture, BlockSpec(8))
    Layer(backend, texture).put(textured(rng, (32, 32))[:32, :32])
    assert memory.match(0) is None
    backend.destroy_texture(texture)
    with pytest.raises(ClosedError, match="this texture was destroyed"):
        memory.match(0)
    backend.close()
    memory.close()
    memory.close()


@pytest.mark.gl
def test_buffers_on_the_device_are_freed(gl_backend, rng):
    live = dict(gl_backend._context.live)
    texture = gl_backend.create_texture(TextureSpec((64, 48), 2))
    memory = gl_backend.motion_memory(texture, BlockSpec(8))
    for layer, size in ((0, (64, 48)), (1, (40, 30)), (0, (33, 48))):  # the last one needs other memory
        put = Layer(gl_backend, texture, layer).put
        whole = textured(rng, size)
        for x in (0, 3):
            put(whole[: size[1], x : x + size[0]])
            memory.match(layer)
    memory.forget(1)
    gl_backend.destroy_texture(texture)
    with pytest.raises(ClosedError, match="this texture was destroyed"):
        memory.match(0)
    memory.close()
    assert dict(gl_backend._context.live) == live
