"""Memory of the gl backend: tensors that are the device's buffers, the pool behind them, leaks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from texvlm.backends import _gl_buffers, open_backend
from texvlm.backends.base import TOKEN_DTYPES, Normalisation
from texvlm.frames import Frame
from texvlm.layouts.table import make_table
from texvlm.pyramid import TextureSpec

pytestmark = pytest.mark.gl


@pytest.fixture
def backend(gl_backend):
    """A backend of its own, so that what is alive can be counted."""
    backend = open_backend("gl").backend
    yield backend
    backend.close()


def settle(backend) -> None:
    """Wait until everything that was retired is gone."""
    backend._context.run(lambda: None)


def filled(backend, size=(64, 48), value=100):
    texture = backend.create_texture(TextureSpec(size))
    texture.frame_sizes[0] = size
    tiles = np.ones((-(-size[1] // 16), -(-size[0] // 16)), np.bool_)
    backend.upload(texture, 0, tiles, Frame(np.full((size[1], size[0], 3), value, np.uint8)))
    backend.build_mips(texture, 0, tiles)
    return texture


@pytest.mark.parametrize("dtype", TOKEN_DTYPES, ids=str)
def test_a_result_is_the_devices_own_memory(backend, dtype):
    out = backend.empty((3, 3, 8, 8), dtype)
    buffer, start = backend._results.find(out)
    assert out.data_ptr() == buffer.address
    assert start == 0
    assert backend._context.run(lambda: backend._context.gl.glIsBuffer(buffer.name)) == 1
    assert out.device.type == "cpu"
    assert out.is_contiguous()
    assert out.dtype == dtype


def test_a_slice_of_a_result_is_sampled_in_place(backend):
    texture = filled(backend, value=255)
    out = backend.empty((6, 3, 7, 7), torch.uint8)
    out.fill_(9)
    table = make_table([30.0, 20.0], [20.0, 20.0], [7.0, 9.0], size=(64, 48))
    backend.sample(texture, table, out[3:5], Normalisation.identity(3))
    assert (out[3:5] == 255).all()
    assert (out[:3] == 9).all()
    assert (out[5:] == 9).all()


def test_other_memory_is_refused(backend):
    texture = filled(backend)
    table = make_table([30.0], [20.0], [16.0], size=(64, 48))
    with pytest.raises(ValueError, match=r"not memory that this backend gave; get it from empty\(\)"):
        backend.sample(texture, table, torch.empty(1, 3, 16, 16), Normalisation.identity(3))
    with pytest.raises(ValueError, match=r"1 rows of 3 channels need a contiguous"):
        backend.sample(texture, table, backend.empty((2, 3, 16, 16), torch.float32), Normalisation.identity(3))
    with pytest.raises(TypeError, match=r"torch\.int64; accepted: torch\.uint8"):
        backend.empty((1, 3, 16, 16), torch.int64)


def test_an_empty_shape_needs_no_buffer(backend):
    before = backend._context.live["buffer"]
    assert backend.empty((0, 3, 16, 16), torch.float32).shape == (0, 3, 16, 16)
    assert backend._context.live["buffer"] == before


def test_a_buffer_comes_back_when_its_last_view_is_gone(backend):
    first = backend.empty((4, 3, 16, 16), torch.float32)
    address = first.data_ptr()
    view = first[1:].flatten(1).numpy()
    del first
    other = backend.empty((4, 3, 16, 16), torch.float32)
    assert other.data_ptr() != address
    view[:] = 1  # still there
    del view
    assert backend.empty((4, 3, 16, 16), torch.float32).data_ptr() == address


def test_unused_memory_is_bounded(backend, monkeypatch):
    monkeypatch.setattr(_gl_buffers, "FREE_BYTES", 3 << 20)
    many = [backend.empty((1, 1, 512, 512), torch.float32) for _ in range(8)]
    alive = backend._context.live["buffer"]
    del many
    kept = backend.empty((1, 1, 512, 512), torch.float32)
    settle(backend)
    assert alive - 6 <= backend._context.live["buffer"] <= alive - 5
    del kept


def test_tensors_outlive_the_backend(gl_backend):
    backend = open_backend("gl").backend
    before = backend._context.live["buffer"]
    texture = filled(backend, value=51)
    out = backend.empty((1, 3, 16, 16), torch.float32)
    backend.sample(texture, make_table([30.0], [20.0], [16.0], size=(64, 48)), out, Normalisation.identity(3))
    backend.close()
    assert backend._context.live["buffer"] == before + 1
    torch.testing.assert_close(out, torch.full_like(out, 0.2))
    del out
    settle(backend)
    assert backend._context.live["buffer"] == before


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_a_hundred_backends_leak_nothing(gl_backend):
    settle(gl_backend)
    live = dict(gl_backend._context.live)

    def cycle() -> list[int]:
        backend = open_backend("gl").backend
        texture = filled(backend, (1024, 512))
        out = backend.empty((16, 3, 16, 16), torch.float32)
        backend.sample(texture, make_table([30.0] * 16, [20.0] * 16, [16.0] * 16, size=(64, 48)), out, NEUTRAL)
        names = [texture.handle.name, texture.handle.words]
        del out
        backend.close()
        return names

    for _ in range(20):
        cycle()
    programs = len(gl_backend._context.programs)
    settled = resident_mib()
    for _ in range(80):
        names = cycle()
    settle(gl_backend)
    assert dict(gl_backend._context.live) == live
    assert len(gl_backend._context.programs) == programs  # compiled once, whoever asks
    gl = gl_backend._context.gl
    assert gl_backend._run(lambda: [gl.glIsTexture(name) for name in names]) == [0, 0]
    assert resident_mib() - settled < 60  # one leaked texture each would be 220


NEUTRAL = Normalisation.identity(3)


def test_too_large_for_the_device_is_a_plain_error_and_leaves_nothing(backend):
    before = dict(backend._context.live)
    info = backend._context.info
    with pytest.raises(ValueError, match=f"takes at most {info.max_layers} layers"):
        backend.create_texture(TextureSpec((16, 16), layers=info.max_layers + 1))
    assert dict(backend._context.live) == before
    filled(backend)


def test_no_room_on_the_device_is_a_memory_error(backend, monkeypatch):
    # the driver's answer after the texture's storage was asked for; nothing else is changed
    answers = iter([0x0505, 0])
    monkeypatch.setattr(backend._context.gl, "glGetError", lambda: next(answers, 0))
    before = backend._context.live["texture"]
    with pytest.raises(MemoryError, match=r"glTextureStorage3D.*GL_OUT_OF_MEMORY"):
        backend.create_texture(TextureSpec((64, 64)))
    assert backend._context.live["texture"] == before
