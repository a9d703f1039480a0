"""An application's texture given to an engine: the tokens are those of its pixels, on every backend that can."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from cuda_device import open_host_device
from gl_app import RGBA8, RGBA16F, TEXTURE_2D, TEXTURE_2D_ARRAY, App, app_context, as_bytes
from required import unavailable

from texvlm import Engine
from texvlm.backends import gl
from texvlm.backends.base import Backend
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.backends.cuda.gl_backend import CudaGlBackend
from texvlm.backends.cuda.gl_context import open_current_for
from texvlm.errors import BackendUnavailable, ClosedError, DeviceCallError

pytestmark = pytest.mark.gl

SIZE = (100, 60)
TILES = 7 * 4


@pytest.fixture
def app(gl_backend) -> Iterator[App]:
    with app_context() as app:
        yield app


@pytest.fixture(params=["gl", "cuda-host", "cuda-host-resident", "cuda-host-epochs"])
def backend(request, app) -> Iterator[Backend]:
    """On the application's context, where it needs one."""
    if request.param == "gl":
        backend: Backend = gl.open_current()
        yield backend
        backend.close()
        return
    try:
        driver, compiler = open_host_device()
    except BackendUnavailable as refusal:
        unavailable("cuda-host", str(refusal))
    mapping = request.param.removeprefix("cuda-host").removeprefix("-")
    if mapping:
        backend = CudaGlBackend(driver, compiler, open_current_for(driver), mapping=mapping)
    else:
        backend = CudaBackend(driver, compiler)
    yield backend
    backend.close()
    assert driver.leaks() == []
    assert driver.violations == []


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("form", [RGBA8, RGBA16F], ids=["rgba8", "rgba16f"])
def test_tokens_are_those_of_the_same_pixels_from_the_host(app, backend, rng, channels, form):
    options = {"threshold": 0, "channels": channels, "pixel_dtype": "uint8", "tokens": 20}
    name = app.texture(form, SIZE, layers=2)
    with Engine(backend=backend, **options) as engine, Engine(backend=backend, **options) as plain:
        texture = engine.attach_gl_texture(name, TEXTURE_2D_ARRAY, SIZE, layer=1, origin="bottom-left")
        shown = np.zeros((60, 100, 4), np.float16)
        for step in range(4):
            if step != 2:
                shown[10:40, 30:50] = rng.uniform(0, 1, (30, 20, 4))
            drawn = as_bytes(shown) if form == RGBA8 else shown
            app.put(name, drawn, layer=1)
            report = engine.submit(texture, pts=step / 30)
            picture = np.ascontiguousarray(as_bytes(shown)[::-1, :, :channels])
            expected = plain.submit(picture)
            assert report.tiles_total == TILES
            np.testing.assert_array_equal(report.tiles, expected.tiles)
            assert report.tiles_dirty == (TILES if step == 0 else 0 if step == 2 else 9)
            np.testing.assert_array_equal(engine.read_level(0), picture)
            ours, theirs = engine.tokens((0.4, 0.6)), plain.tokens((0.4, 0.6))
            np.testing.assert_array_equal(ours.pixels, theirs.pixels)
            np.testing.assert_array_equal(ours.dirty, theirs.dirty)
            assert ours.pts.tolist() == [step / 30]


def test_frames_from_the_host_may_follow(app, backend, rng):
    name = app.texture(RGBA8, SIZE)
    drawn = rng.integers(0, 256, (60, 100, 4), dtype=np.uint8)
    app.put(name, drawn)
    with Engine(backend=backend, threshold=0, channels=3, tokens=20) as engine:
        texture = engine.attach_gl_texture(name, TEXTURE_2D, SIZE)
        picture = rng.integers(0, 256, (60, 100, 3), dtype=np.uint8)
        for _ in range(2):
            engine.submit(picture)
            np.testing.assert_array_equal(engine.read_level(0), picture)
            engine.submit(texture)
            np.testing.assert_array_equal(engine.read_level(0), drawn[:, :, :3])
        smaller = picture[:30, :50].copy()
        engine.submit(smaller)
        np.testing.assert_array_equal(engine.read_level(0), smaller)
        assert engine.submit(texture).resized
        np.testing.assert_array_equal(engine.read_level(0), drawn[:, :, :3])


def test_the_application_may_delete_it_once_the_engine_is_closed(app, backend):
    name = app.texture(RGBA8, SIZE)
    engine = Engine(backend=backend, tokens=20)
    texture = engine.attach_gl_texture(name, TEXTURE_2D, SIZE)
    engine.submit(texture)
    engine.close()
    app.delete(name)
    app.expect_no_error()
    with Engine(backend=backend, tokens=20) as other, pytest.raises(ClosedError, match="was detached; attach it anew"):
        other.submit(texture)


def test_the_cpu_backend_says_that_it_cannot():
    with (
        Engine(backend="cpu", tokens=20) as engine,
        pytest.raises(TypeError, match="the cpu backend reads no OpenGL textures; open the gl or the cuda backend"),
    ):
        engine.attach_gl_texture(1, TEXTURE_2D, SIZE)


def test_how_it_lies_is_said_when_it_is_attached(app, backend, rng):
    name = app.texture(RGBA8, SIZE)
    app.put(name, rng.integers(0, 256, (SIZE[1], SIZE[0], 4), dtype=np.uint8))
    with Engine(backend=backend, tokens=20) as engine:
        attached = engine.attach_gl_texture(name, TEXTURE_2D, SIZE, origin="bottom-left")
        for option in ({"origin": "bottom-left"}, {"channels_first": True}):
            with pytest.raises(ValueError, match="an attached texture lies as it was attached"):
                engine.submit(attached, **option)
        engine.submit(attached)
        if backend.reader() is not None:
            with pytest.raises(TypeError, match="is mapped for every frame, which cannot be captured"):
                engine.capture(attached, torch.tensor([[0.5, 0.5]]))


def test_an_engine_lends_the_array_that_both_share(app, backend, rng):
    frame = rng.integers(0, 256, (SIZE[1], SIZE[0], 4), dtype=np.uint8)
    with Engine(backend=backend, tokens=20, threshold=0) as engine:
        with pytest.raises(ValueError, match="there is no texture array yet; submit a frame first"):
            engine.lent_to_gl()
        engine.submit(frame)
        engine.tokens()
        by_cuda = isinstance(backend, CudaBackend)
        if by_cuda and not isinstance(backend, CudaGlBackend):
            with pytest.raises(TypeError, match="shares no arrays with OpenGL; open 'cuda-gl-resident'"):
                engine.lent_to_gl()
            return
        width, height = engine.spec.storage_size(0)
        shown = np.zeros((engine.spec.layers, height, width, 4), np.uint8)
        with engine.lent_to_gl() as name:
            app.get(name, shown)
            if by_cuda:  # where OpenGL does everything, there is nothing to hand over
                other = engine.attach_gl_texture(app.texture(RGBA8, SIZE), TEXTURE_2D, SIZE)
                with pytest.raises(DeviceCallError, match="is lent to OpenGL; leave the scope"):
                    engine.submit(other)
        np.testing.assert_array_equal(shown[0, : SIZE[1], : SIZE[0]], frame)
        engine.submit(frame)
        assert not engine.tokens().pixels.isnan().any()


def test_a_context_of_ones_own_has_nothing_to_lend(gl_backend, rng):
    with Engine(backend=gl_backend, tokens=20) as engine:
        engine.submit(rng.integers(0, 256, (SIZE[1], SIZE[0], 4), dtype=np.uint8))
        with pytest.raises(ValueError, match=r"open the backend with texvlm\.backends\.gl\.open_current"):
            engine.lent_to_gl().__enter__()
