"""An application's own texture as a source: the bits of a frame from the host, refusals, failures.

On the gl backend, and on the cuda backend's emulated device, which takes the texels out of OpenGL's
reach while they are mapped.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import reference
from cuda_device import open_host_device
from gl_app import (
    LINEAR_MIPMAP_LINEAR,
    RGBA8,
    RGBA16,
    RGBA16F,
    TEXTURE_2D,
    TEXTURE_2D_ARRAY,
    TEXTURE_MIN_FILTER,
    App,
    Rectangle,
    app_context,
    as_bytes,
    painted,
)
from required import unavailable

from texvlm.backends import gl
from texvlm.backends._gl_frames import FrameWriter
from texvlm.backends.attached import AttachedFrame
from texvlm.backends.base import Backend, PendingTiles, Texture
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.errors import BackendUnavailable, ClosedError, DeviceCallError
from texvlm.frames import Frame
from texvlm.pyramid import TextureSpec
from texvlm.regions import tile_grid

pytestmark = pytest.mark.gl
SIZES = [(1, 1), (17, 15), (101, 75), (130, 66)]


@pytest.fixture
def app(gl_backend):
    with app_context() as app:
        yield app


@pytest.fixture
def gl_current(app):
    backend = gl.open_current()
    yield backend
    backend.close()


@pytest.fixture
def cuda_current(app):
    try:
        driver, compiler = open_host_device()
    except BackendUnavailable as refusal:
        unavailable("cuda-host", str(refusal))
    backend = CudaBackend(driver, compiler)
    yield backend
    backend.close()
    assert driver.leaks() == []
    assert driver.violations == []


@pytest.fixture(params=["gl_current", "cuda_current"])
def backend(request):
    return request.getfixturevalue(request.param)


def levels_of(backend: Backend, texture: Texture, layer: int = 0) -> list[np.ndarray]:
    return [backend.read_level(texture, layer, level) for level in range(texture.spec.levels)]


def take(backend: Backend, texture: Texture, frame: AttachedFrame | Frame, threshold: float | None, layer: int = 0):
    """Bring a layer up to date as the engine does; the tiles updated."""
    texture.frame_sizes[layer] = frame.size
    tiles = backend.refresh(texture, layer, frame, threshold)
    if tiles is None:
        columns, rows = tile_grid(frame.size)
        tiles = np.ones((rows, columns), np.bool_)
        backend.upload(texture, layer, tiles, frame)
        backend.build_mips(texture, layer, tiles)
    return tiles.mask() if isinstance(tiles, PendingTiles) else tiles


def assert_bits(backend: Backend, texture: Texture, picture: np.ndarray, layer: int = 0) -> None:
    expected = reference.pyramid(picture, texture.spec.levels)
    for level, got in enumerate(levels_of(backend, texture, layer)):
        if picture.dtype == np.uint8:
            np.testing.assert_array_equal(got, expected[level], err_msg=f"level {level}")
        else:
            np.testing.assert_allclose(got, expected[level], rtol=2e-6, atol=1e-7, err_msg=f"level {level}")


def noise(rng: np.random.Generator, size: tuple[int, int], form: int) -> np.ndarray:
    shape = (size[1], size[0], 4)
    if form == RGBA8:
        return rng.integers(0, 256, shape, dtype=np.uint8)
    values = rng.uniform(-0.3, 1.4, shape).astype(np.float16)
    values.reshape(-1)[: shape[0]] = np.float16(0.5 / 255)  # where rounding is decided
    return values


def texels(stored: np.ndarray, dtype: str) -> np.ndarray:
    """What a texture holds, as the texels that are to be stored."""
    if dtype == "float32":
        return (stored / np.float32(255) if stored.dtype == np.uint8 else stored).astype(np.float32)
    return stored if stored.dtype == np.uint8 else as_bytes(stored)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("form", [RGBA8, RGBA16F], ids=["rgba8", "rgba16f"])
@pytest.mark.parametrize("origin", ["top-left", "bottom-left"])
@pytest.mark.parametrize("layers", [0, 3], ids=["2d", "array"])
def test_a_texture_gives_the_bits_of_its_pixels(app, backend, rng, layers, origin, form, channels, dtype):
    size = (101, 75)
    stored = noise(rng, size, form)
    name = app.texture(form, size, layers=layers)
    app.put(name, stored, layer=2 if layers else None)
    target = TEXTURE_2D_ARRAY if layers else TEXTURE_2D
    attached = backend.attach(name, target, size, layer=2 if layers else 0, origin=origin)
    texture = backend.create_texture(TextureSpec(size, layers=2, channels=channels, dtype=dtype, levels=7))
    picture = texels(stored[::-1] if origin == "bottom-left" else stored, dtype)[:, :, :channels]
    take(backend, texture, AttachedFrame(attached, channels, dtype), None, layer=1)
    assert_bits(backend, texture, picture, layer=1)
    from_host = backend.create_texture(texture.spec)
    take(backend, from_host, Frame(np.ascontiguousarray(picture)), None, layer=1)
    if dtype == "uint8":
        for ours, theirs in zip(levels_of(backend, texture, 1), levels_of(backend, from_host, 1), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert not take(backend, texture, AttachedFrame(attached, channels, dtype), 0, layer=1).any()
    app.expect_no_error()


@pytest.mark.parametrize("form", [RGBA8, RGBA16F], ids=["rgba8", "rgba16f"])
@pytest.mark.parametrize("origin", ["top-left", "bottom-left"])
def test_a_picture_may_be_a_part_of_its_texture(app, backend, rng, origin, form):
    whole, size = (90, 41), (37, 29)
    stored = noise(rng, whole, form)
    name = app.texture(form, whole)
    app.put(name, stored)
    texture = backend.create_texture(TextureSpec(size, layers=2, levels=6))
    for layer, (x, y) in enumerate([(0, 0), (53, 12)]):
        attached = backend.attach(name, TEXTURE_2D, size, corner=(x, y), origin=origin)
        part = texels(stored, "uint8")[y : y + size[1], x : x + size[0], :3]
        take(backend, texture, AttachedFrame(attached), None, layer=layer)
        assert_bits(backend, texture, part[::-1] if origin == "bottom-left" else part, layer=layer)
    drawn = [Rectangle(2, 3, 5, 5, (0.2, 0.4, 0.6, 1))]
    app.draw(name, drawn)  # into the first part, outside of the second
    assert not take(backend, texture, AttachedFrame(attached), 0, layer=1).any()


@pytest.mark.parametrize("corner", [(-1, 0), (0, -1), (54, 0), (0, 13)])
def test_a_part_lies_within_its_texture(app, backend, corner):
    name = app.texture(RGBA8, (90, 41))
    with pytest.raises(ValueError, match=r"of a picture of 37 x 29 in 90 x 41 texels; accepted: \(0..53, 0..12\)"):
        backend.attach(name, TEXTURE_2D, (37, 29), corner=corner)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_only_what_was_drawn_is_written(app, backend, size, rng):
    start = rng.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    name = app.texture(RGBA8, size)
    app.put(name, start[::-1])
    attached = backend.attach(name, TEXTURE_2D, size, origin="bottom-left")
    spec = TextureSpec(size, levels=6)
    texture, from_host = backend.create_texture(spec), backend.create_texture(spec)
    frame = AttachedFrame(attached)
    assert take(backend, texture, frame, None).all()
    take(backend, from_host, Frame(np.ascontiguousarray(start[:, :, :3])), None)
    drawn = [Rectangle(size[0] // 2, size[1] // 3, max(1, size[0] // 7), max(1, size[1] // 9), (0.2, 0.4, 0.6, 0.8))]
    app.draw(name, drawn)
    picture = as_bytes(painted(drawn, size, start / np.float32(255)))[:, :, :3].copy()
    before = replace(backend.counters)
    tiles = take(backend, texture, frame, 0)
    middle = replace(backend.counters)
    np.testing.assert_array_equal(tiles, take(backend, from_host, Frame(picture), 0))
    assert tiles.any()
    done = middle - before
    assert done.maps == (1 if backend.name == "cuda" else 0)
    assert replace(done, maps=0) == backend.counters - middle
    assert_bits(backend, texture, picture)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_the_threshold_is_that_of_frames_from_the_host(app, backend, rng, dtype):
    size, form = (64, 48), RGBA8 if dtype == "uint8" else RGBA16F
    start = rng.integers(40, 200, (48, 64, 4)).astype(np.uint8)
    stored = start if dtype == "uint8" else (start / 256).astype(np.float16)
    name = app.texture(form, size)
    app.put(name, stored)
    frame = AttachedFrame(backend.attach(name, TEXTURE_2D, size), 4, dtype)
    spec = TextureSpec(size, channels=4, dtype=dtype)
    texture, from_host = backend.create_texture(spec), backend.create_texture(spec)
    take(backend, texture, frame, None)
    take(backend, from_host, Frame(texels(stored, dtype)), None)
    for y, x, channel, amount in ((0, 0, 0, 8), (15, 16, 1, 9), (47, 63, 2, 10), (20, 40, 3, -9), (33, 5, 3, 9)):
        changed = stored.copy()
        changed[y, x, channel] = (start[y, x, channel] + np.int64(amount)) / (1 if dtype == "uint8" else 256)
        app.put(name, changed)
        limit = 8.5 if dtype == "uint8" else 8.5 / 256
        expected = backend.detect(from_host, 0, Frame(texels(changed, dtype)), limit)
        assert expected.any() == (abs(amount) > 8)
        np.testing.assert_array_equal(take(backend, texture, frame, limit), expected)
        app.put(name, stored)
        take(backend, texture, frame, 0)


def test_floats_that_are_no_numbers(app, backend):
    size = (32, 16)
    stored = np.full((16, 32, 4), 0.5, np.float16)
    stored[2, 3] = np.nan
    stored[2, 20, :2] = np.inf, -np.inf
    name = app.texture(RGBA16F, size)
    app.put(name, stored)
    attached = backend.attach(name, TEXTURE_2D, size)
    as_floats = backend.create_texture(TextureSpec(size, channels=4, dtype="float32"))
    take(backend, as_floats, AttachedFrame(attached, 4, "float32"), None)
    np.testing.assert_array_equal(backend.read_level(as_floats, 0, 0), stored.astype(np.float32))
    # NaN is always a change, equal infinities never are
    assert take(backend, as_floats, AttachedFrame(attached, 4, "float32"), 0).tolist() == [[True, False]]
    in_bytes = backend.create_texture(TextureSpec(size))
    take(backend, in_bytes, AttachedFrame(attached), None)
    assert_bits(backend, in_bytes, as_bytes(stored)[:, :, :3])


def test_what_the_application_set_on_its_texture_does_not_matter(app, backend, rng):
    """Filters that make it incomplete, a picture in the corner of a larger target, mip levels."""
    pixels = rng.integers(0, 256, (40, 50, 4), dtype=np.uint8)
    name = app.texture(RGBA8, (50, 40), immutable=False)
    app.glBindTexture(TEXTURE_2D, name)
    app.glTexParameteri(TEXTURE_2D, TEXTURE_MIN_FILTER, LINEAR_MIPMAP_LINEAR)
    app.put(name, pixels)
    attached = backend.attach(name, TEXTURE_2D, (33, 20), origin="bottom-left")
    texture = backend.create_texture(TextureSpec((33, 20)))
    take(backend, texture, AttachedFrame(attached), None)
    assert_bits(backend, texture, pixels[:20, :33, :3][::-1])
    mipped = app.texture(RGBA8, (100, 80), levels=3)
    app.put(mipped, pixels, level=1)
    whole = backend.create_texture(TextureSpec((50, 40)))
    take(backend, whole, AttachedFrame(backend.attach(mipped, TEXTURE_2D, (50, 40), level=1)), None)
    assert_bits(backend, whole, pixels[:, :, :3])


def test_frames_from_the_host_and_from_a_texture_take_turns(app, gl_current, rng):
    """The host's mirror knows nothing of what the device wrote; no tile may be forgotten for it."""
    backend = gl_current
    size = (70, 50)
    first, second = (rng.integers(0, 256, (50, 70, 4), dtype=np.uint8) for _ in range(2))
    host = [Frame(np.ascontiguousarray(p[:, :, :3])) for p in (first, second)]
    name = app.texture(RGBA8, size)
    frame = AttachedFrame(backend.attach(name, TEXTURE_2D, size))
    texture = backend.create_texture(TextureSpec(size))
    take(backend, texture, host[0], None)
    app.put(name, first)
    assert not take(backend, texture, frame, 0).any()  # compared on the device: nothing changed
    app.put(name, second)
    assert take(backend, texture, frame, 0).all()
    assert take(backend, texture, host[0], 0).all()  # the mirror still says `first`
    assert_bits(backend, texture, host[0].pixels)
    assert not take(backend, texture, host[0], 0).any()
    take(backend, texture, frame, 0)
    part = np.zeros((4, 5), np.bool_)
    part[0, 0] = True
    backend.upload(texture, 0, part, host[1])
    backend.build_mips(texture, 0, part)
    assert take(backend, texture, host[1], 0).all()  # a part of the mirror is not the mirror
    assert_bits(backend, texture, host[1].pixels)


def test_a_failed_frame_is_taken_whole_the_next_time(app, gl_current, rng, monkeypatch):
    backend = gl_current
    size = (70, 50)
    pixels = rng.integers(0, 256, (50, 70, 4), dtype=np.uint8)
    name = app.texture(RGBA8, size)
    frame = AttachedFrame(backend.attach(name, TEXTURE_2D, size))
    texture = backend.create_texture(TextureSpec(size, levels=7))
    take(backend, texture, frame, None)
    app.put(name, pixels)

    def fail(*_: object) -> int:
        raise DeviceCallError("build_tail: failed on purpose")

    with monkeypatch.context() as patched:
        patched.setattr(FrameWriter, "build_tail", fail)
        with pytest.raises(DeviceCallError, match="on purpose"):
            take(backend, texture, frame, 0)
    assert take(backend, texture, frame, 0).all()
    assert_bits(backend, texture, pixels[:, :, :3])
    assert not take(backend, texture, frame, 0).any()


# ---------------------------------------------------------------- refusals


def refused(app: App, backend: Backend, words: str, target: int = TEXTURE_2D, name: int | None = None, **options):
    size = options.pop("size", (32, 16))
    name = app.texture(RGBA8, (32, 16)) if name is None else name
    with pytest.raises(ValueError, match=words) as error:
        backend.attach(name, target, size, **options)
    assert "\n" not in str(error.value)
    app.expect_no_error()


def test_what_cannot_be_a_source_is_refused_in_one_line(app, backend):
    array = app.texture(RGBA8, (32, 16), layers=2)
    refused(app, backend, "4711 is no texture", name=4711)
    refused(app, backend, "target 0x806f; accepted: GL_TEXTURE_2D", target=0x806F)
    refused(app, backend, "is a GL_TEXTURE_2D, not a GL_TEXTURE_2D_ARRAY", target=TEXTURE_2D_ARRAY)
    refused(app, backend, "is a GL_TEXTURE_2D_ARRAY, not a GL_TEXTURE_2D;", name=array)
    refused(app, backend, r"internal format 0x805b; accepted: GL_RGBA8", name=app.texture(RGBA16, (32, 16)))
    refused(app, backend, "size 33 x 16; level 0 of texture .* has 32 x 16", size=(33, 16))
    refused(app, backend, "each side is 1..16384", size=(0, 16))
    refused(app, backend, "level 1 of texture .*; accepted: 0..0", level=1)
    refused(app, backend, "level -1", level=-1)
    refused(app, backend, "layer 1; texture .* has 0..0", layer=1)
    refused(app, backend, "layer 2; texture .* has 0..1", name=array, target=TEXTURE_2D_ARRAY, layer=2)
    refused(app, backend, "origin is 'upside-down'", origin="upside-down")
    refused(app, backend, "holds rgba8 texels, not rgba16f", format="rgba16f")


def test_a_backend_with_a_context_of_its_own_cannot_see_the_texture(app, gl_backend):
    with pytest.raises(ValueError, match=r"open the backend with texvlm\.backends\.gl\.open_current"):
        gl_backend.attach(1, TEXTURE_2D, (16, 16))


def test_frames_that_do_not_fit_are_refused(app, backend):
    attached = backend.attach(app.texture(RGBA8, (32, 16)), TEXTURE_2D, (32, 16))
    for spec, frame, words in (
        (TextureSpec((16, 16)), AttachedFrame(attached), "frame of 32 x 16; this texture takes up to 16 x 16"),
        (TextureSpec((32, 16), channels=1), AttachedFrame(attached), "this texture takes 1 of uint8"),
        (TextureSpec((32, 16), channels=1), AttachedFrame(attached, 1), "3 or 4"),
        (TextureSpec((32, 16), dtype="float32"), AttachedFrame(attached), "this texture takes 3 of float32"),
    ):
        texture = backend.create_texture(spec)
        with pytest.raises(ValueError, match=words):
            backend.refresh(texture, 0, frame, None)
    with pytest.raises(ValueError, match="layer 1 is outside"):
        backend.refresh(backend.create_texture(TextureSpec((32, 16))), 1, AttachedFrame(attached), None)


def test_a_texture_that_was_deleted_is_named(app, gl_current):
    texture = gl_current.create_texture(TextureSpec((32, 16)))
    name = app.texture(RGBA8, (32, 16))
    attached = gl_current.attach(name, TEXTURE_2D, (32, 16))
    app.delete(name)
    with pytest.raises(ClosedError, match=f"texture {name} was deleted or given other storage"):
        take(gl_current, texture, AttachedFrame(attached), None)


def test_a_texture_that_has_other_storage_or_was_detached_is_named(app, backend):
    texture = backend.create_texture(TextureSpec((32, 16)))
    changing = app.texture(RGBA8, (32, 16), immutable=False)
    attached = backend.attach(changing, TEXTURE_2D, (32, 16))
    app.glBindTexture(TEXTURE_2D, changing)
    app.glTexImage2D(TEXTURE_2D, 0, RGBA8, 31, 16, 0, 0x1908, 0x1401, None)
    with pytest.raises(ClosedError, match="other storage"):
        take(backend, texture, AttachedFrame(attached), None)
    attached = backend.attach(app.texture(RGBA8, (32, 16)), TEXTURE_2D, (32, 16))
    backend.detach(attached)
    backend.detach(attached)
    with pytest.raises(ClosedError, match="was detached; attach it anew"):
        take(backend, texture, AttachedFrame(attached), None)
