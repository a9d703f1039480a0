"""An application's texture on the cuda backend: when it is mapped, on which thread, and what a failure leaves."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from cuda_device import open_host_device
from cuda_gl_device import emulated_device  # noqa: F401
from cuda_host.driver import HostDriver
from gl_app import RGBA8, RGBA16F, TEXTURE_2D, TEXTURE_2D_ARRAY, App, app_context

from texvlm.backends import open_backend
from texvlm.backends.attached import AttachedFrame, AttachedTexture
from texvlm.backends.base import Texture
from texvlm.backends.cuda.attached import Attachments
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.backends.cuda.gl_backend import CudaGlBackend
from texvlm.backends.cuda.gl_context import open_current_for, open_headless_for
from texvlm.errors import BackendUnavailable, ClosedError, DeviceCallError
from texvlm.frames import Frame
from texvlm.pyramid import TextureSpec

pytestmark = pytest.mark.gl

SIZE = (40, 33)
MAPPING = ("map_gl", "mapped_level", "create_level_texture_object", "launch", "destroy_texture_object", "unmap_gl")


@pytest.fixture
def app(gl_backend) -> Iterator[App]:
    with app_context() as app:
        yield app


def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (SIZE[1], SIZE[0], 4), dtype=np.uint8)


def take(backend: CudaBackend, texture: Texture, attached: AttachedTexture, threshold: float | None = 0) -> int:
    """Tiles that were updated."""
    texture.frame_sizes[0] = SIZE
    return int(np.count_nonzero(backend.refresh(texture, 0, AttachedFrame(attached), threshold).mask()))


def test_it_is_mapped_for_the_time_of_a_frame_and_the_applications_in_between(app, device, rng):
    driver, compiler = device
    backend = CudaBackend(driver, compiler)
    texture = backend.create_texture(TextureSpec(SIZE))
    name = app.texture(RGBA8, SIZE, layers=3)
    attached = backend.attach(name, TEXTURE_2D_ARRAY, SIZE, layer=1)
    for threshold in (None, 0, 0):
        drawn = pixels(rng)
        app.put(name, drawn, layer=1)  # legal, or the emulation finds out when it is unmapped
        driver.calls.clear()
        assert take(backend, texture, attached, threshold) == 9
        order = [call for call, _ in driver.calls if call in MAPPING]
        assert order[:3] == list(MAPPING[:3])
        assert set(order[3:-2]) == {"launch"}
        assert order[-2:] == list(MAPPING[-2:])
        assert not any(call in ("synchronize", "wait_on_host", "register_gl_image") for call, _ in driver.calls)
        np.testing.assert_array_equal(backend.read_level(texture, 0, 0), drawn[:, :, :3])
    assert backend.counters.maps == 3
    assert driver.calls.count(("register_gl_image", (name, TEXTURE_2D_ARRAY, "read"))) == 0
    backend.detach(attached)
    backend.detach(attached)
    with pytest.raises(ClosedError, match=f"texture {name} was detached"):
        take(backend, texture, attached)
    app.delete(name)
    backend.close()


def test_what_queued_kernels_use_is_destroyed_after_they_have_run(app, rng):
    """On a device kernels run later than they are queued, and read a texture object when they run."""
    driver, compiler = open_host_device(late_streams=True)
    stream = driver.create_stream()
    backend = CudaBackend(driver, compiler)
    texture = backend.create_texture(TextureSpec(SIZE))
    name = app.texture(RGBA8, SIZE)
    attached = backend.attach(name, TEXTURE_2D, SIZE)
    texture.frame_sizes[0] = SIZE
    for threshold in (None, 0, 0):
        drawn = pixels(rng)
        app.put(name, drawn)
        with driver.use_stream(stream):
            backend.refresh(texture, 0, AttachedFrame(attached), threshold)
        np.testing.assert_array_equal(backend.read_level(texture, 0, 0), drawn[:, :, :3])  # waits for the stream
    backend.detach(attached)
    driver.destroy_stream(stream)
    backend.close()
    assert not driver.leaks()
    assert not driver.violations


def test_registered_once_and_for_reading(app, device):
    driver, compiler = device
    backend = CudaBackend(driver, compiler)
    name = app.texture(RGBA16F, SIZE)
    backend.attach(name, TEXTURE_2D, SIZE)
    assert [a for call, a in driver.calls if call == "register_gl_image"] == [(name, TEXTURE_2D, "read")]
    backend.close()  # unregisters it
    assert [call for call, _ in driver.calls].count("unregister_gl_image") == 1
    with pytest.raises(ClosedError, match="the cuda backend is closed"):
        backend.attach(name, TEXTURE_2D, SIZE)


def test_only_where_the_applications_context_is_current(app, device):
    driver, compiler = device
    backend = CudaBackend(driver, compiler)
    texture = backend.create_texture(TextureSpec(SIZE))
    attached = backend.attach(app.texture(RGBA8, SIZE), TEXTURE_2D, SIZE)
    raised: list[BaseException] = []

    def elsewhere() -> None:
        try:
            take(backend, texture, attached, None)
        except DeviceCallError as error:
            raised.append(error)

    thread = threading.Thread(target=elsewhere, name="worker")
    thread.start()
    thread.join()
    assert "call from thread 'worker'" in str(raised[0])
    display, current = app.egl.open_display(app.egl.devices()[0]), app.egl.current_context()
    app.egl.make_current(display, None, None, None)
    with pytest.raises(DeviceCallError, match="another OpenGL context is current, or none"):
        take(backend, texture, attached, None)
    with pytest.raises(DeviceCallError, match="another OpenGL context is current, or none"):
        backend.detach(attached)
    app.egl.make_current(display, None, None, current)
    assert take(backend, texture, attached, None) == 9
    backend.detach(attached)
    backend.close()


def test_no_context_or_one_on_another_device(device, gl_backend):
    driver, compiler = device
    backend = CudaBackend(driver, compiler)
    with pytest.raises(BackendUnavailable, match="no OpenGL context is current"):
        backend.attach(1, TEXTURE_2D, SIZE)
    with app_context() as app:
        driver.gl_device_list = [1]
        name = app.texture(RGBA8, SIZE)
        with pytest.raises(BackendUnavailable, match="is on CUDA device 1"):
            backend.attach(name, TEXTURE_2D, SIZE)
        driver.gl_device_list = [0, 1]
        backend.detach(backend.attach(name, TEXTURE_2D, SIZE))
    backend.close()


def test_another_context_serves_once_nothing_of_the_first_is_attached(device, gl_backend):
    driver, compiler = device
    backend = CudaBackend(driver, compiler)
    texture = backend.create_texture(TextureSpec(SIZE))
    for maps in (1, 2):
        with app_context() as app:
            attached = backend.attach(app.texture(RGBA8, SIZE), TEXTURE_2D, SIZE)
            assert take(backend, texture, attached, None) == 9
            assert backend.counters.maps == maps
            backend.detach(attached)
    backend.close()


def test_a_captured_graph_cannot_hold_it(app, device):
    driver, compiler = device
    backend = CudaBackend(driver, compiler)
    texture = backend.create_texture(TextureSpec(SIZE))
    attached = backend.attach(app.texture(RGBA8, SIZE), TEXTURE_2D, SIZE)
    take(backend, texture, attached, None)
    stream = driver.create_stream()
    with driver.use_stream(stream):
        driver.begin_capture(stream)
        with pytest.raises(DeviceCallError, match="map: the stream is being captured"):
            backend.refresh(texture, 0, AttachedFrame(attached), 0)
        driver.destroy_graph(driver.end_capture(stream))
    driver.destroy_stream(stream)
    backend.close()


def test_a_frame_that_does_not_fit_leaves_the_texture_unmapped(app, device):
    driver, compiler = device
    backend = CudaBackend(driver, compiler)
    attached = backend.attach(app.texture(RGBA8, SIZE), TEXTURE_2D, SIZE)
    gray = backend.create_texture(TextureSpec(SIZE, channels=1))
    with pytest.raises(ValueError, match="this texture takes 1 of uint8"):
        backend.refresh(gray, 0, AttachedFrame(attached, 1), None)
    texture = backend.create_texture(TextureSpec(SIZE))
    assert take(backend, texture, attached, None) == 9
    backend.close()


@pytest.mark.parametrize("mapping", ["resident", "epochs"])
@pytest.mark.parametrize("headless", [False, True])
def test_into_arrays_that_opengl_owns(app, device, rng, mapping, headless):
    """On the application's context one interop serves both; a headless one is another context of the same device."""
    driver, compiler = device
    context = open_headless_for(driver) if headless else open_current_for(driver)
    backend = CudaGlBackend(driver, compiler, context, mapping=mapping)
    texture = backend.create_texture(TextureSpec(SIZE))
    name = app.texture(RGBA8, SIZE)
    attached = backend.attach(name, TEXTURE_2D, SIZE, origin="bottom-left")
    first, second = pixels(rng), pixels(rng)
    maps = 0
    for drawn, threshold, tiles in ((first, None, 9), (first, 0, 0), (second, 0, 9)):
        app.put(name, drawn)
        assert take(backend, texture, attached, threshold) == tiles
        np.testing.assert_array_equal(backend.read_level(texture, 0, 0), drawn[::-1, :, :3])
        assert backend.counters.maps > maps
        maps = backend.counters.maps
    tiles = backend.refresh(texture, 0, Frame(np.ascontiguousarray(first[::-1, :, :3])), 0)
    assert np.asarray(tiles if isinstance(tiles, np.ndarray) else tiles.mask()).all()
    np.testing.assert_array_equal(backend.read_level(texture, 0, 0), first[::-1, :, :3])
    backend.close()
    if not headless:
        assert not any(context.live.values())


def attach_and_read(driver: HostDriver, app: App, name: int) -> None:
    attachments = Attachments(driver)
    try:
        attached = attachments.attach(name, TEXTURE_2D, SIZE)
        other = attachments.attach(name, TEXTURE_2D, SIZE, origin="bottom-left")
        for texture in (attached, other):
            with attachments.pixels(AttachedFrame(texture), driver.current_stream()) as frame:
                assert frame.size == SIZE
        attachments.detach(other)
    finally:
        attachments.close()


def test_any_call_may_fail_and_nothing_is_left(app, device, rng):
    driver, _ = device
    name = app.texture(RGBA8, SIZE)
    drawn = pixels(rng)
    app.put(name, drawn)
    attach_and_read(driver, app, name)
    occurrences: dict[str, int] = {}
    for call, _ in driver.calls:
        occurrences[call] = occurrences.get(call, 0) + 1
    assert {"register_gl_image", "map_gl", "mapped_level", "unmap_gl", "unregister_gl_image"} < set(occurrences)
    for call, count in occurrences.items():
        for nth in range(1, count + 1):
            fresh, _ = open_host_device()
            fresh.fail(call, nth)
            with pytest.raises((DeviceCallError, BackendUnavailable), match="failure asked for by a test"):
                attach_and_read(fresh, app, name)
            assert fresh.leaks() == [], f"{call} {nth}"
            assert fresh.violations == [], f"{call} {nth}"
    seen = np.zeros_like(drawn)
    app.glGetTextureImage(name, 0, 0x1908, 0x1401, seen.nbytes, seen.ctypes.data)
    np.testing.assert_array_equal(seen, drawn)


def test_a_hundred_attachments_leave_nothing(app, device):
    driver, compiler = device
    backend = CudaBackend(driver, compiler)
    texture = backend.create_texture(TextureSpec(SIZE))
    before: list[str] = []
    for cycle in range(100):
        name = app.texture(RGBA8, SIZE)
        attached = backend.attach(name, TEXTURE_2D, SIZE)
        take(backend, texture, attached, None)
        backend.detach(attached)
        app.delete(name)
        before = driver.leaks() if cycle == 0 else before  # kernels are loaded by the first frame
        assert driver.leaks() == before
    backend.close()


def test_the_applications_state_is_as_it_was(app, device, rng):
    driver, compiler = device
    backend = CudaBackend(driver, compiler)
    texture = backend.create_texture(TextureSpec(SIZE))
    name = app.texture(RGBA8, SIZE)
    app.glBindTexture(TEXTURE_2D, name)
    attached = backend.attach(name, TEXTURE_2D, SIZE)
    take(backend, texture, attached, None)
    drawn = pixels(rng)
    # still bound: an upload through the binding reaches it
    app.glTexSubImage2D(TEXTURE_2D, 0, 0, 0, *SIZE, 0x1908, 0x1401, drawn.ctypes.data)
    app.expect_no_error()
    assert take(backend, texture, attached) == 9
    np.testing.assert_array_equal(backend.read_level(texture, 0, 0), drawn[:, :, :3])
    backend.close()


def test_a_backend_without_textures_says_so():
    backend = open_backend("cpu").backend
    with pytest.raises(TypeError, match="the cpu backend reads no OpenGL textures; open the gl or the cuda backend"):
        backend.attach(1, TEXTURE_2D, SIZE)
    backend.close()
