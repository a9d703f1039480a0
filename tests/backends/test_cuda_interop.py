"""Arrays that OpenGL owns: whose turn it is, in which order calls come, and what is left when one fails.

On the emulated device, which shares textures with the real OpenGL of this machine: mapping copies them
away and leaves rubbish behind, so that whoever reads out of turn reads rubbish.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from cuda_device import open_host_device
from cuda_gl_device import emulated_device, refused  # noqa: F401
from cuda_host.compiler import HostCompiler
from cuda_host.driver import HostDriver
from gl_app import app_context

from texvlm import Engine
from texvlm.backends import _gl_api as names
from texvlm.backends.base import Normalisation, Texture
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.backends.cuda.gl_arrays import GlArray, GlArrays
from texvlm.backends.cuda.gl_backend import CudaGlBackend, Mapping
from texvlm.backends.cuda.gl_context import open_current_for, open_headless_for, probe_interop
from texvlm.backends.cuda.interop import Interop, MappingState
from texvlm.backends.cuda.kernels import Kernels
from texvlm.backends.gl import GlBackend
from texvlm.errors import BackendUnavailable, ClosedError, DeviceCallError
from texvlm.frames import Frame
from texvlm.layouts.table import make_table
from texvlm.pyramid import TextureSpec

pytestmark = pytest.mark.gl

SPEC = TextureSpec((40, 33), layers=2)
MODES: tuple[Mapping, ...] = ("resident", "epochs")
SHARING = ("register_gl_image", "map_gl", "unmap_gl", "unregister_gl_image")


@dataclass
class Sharing:
    """Arrays on a headless context, and what made them."""

    driver: HostDriver
    interop: Interop
    owner: GlBackend
    arrays: GlArrays

    @property
    def stream(self) -> int:
        return self.driver.current_stream()


@pytest.fixture
def sharing(device) -> Iterator[Sharing]:
    driver, _ = device
    with open_sharing(driver) as sharing:
        yield sharing


@contextmanager
def open_sharing(driver: HostDriver) -> Iterator[Sharing]:
    context = open_headless_for(driver)
    owner, interop = GlBackend(context), Interop(driver, context)
    try:
        yield Sharing(driver, interop, owner, GlArrays(driver, interop, owner))
    finally:
        owner.close()


# ---------------------------------------------------------------- whose turn it is


def out_of_turn(words: str, call: Callable[[], object], kind: type[Exception] = DeviceCallError) -> None:
    refused(words, call, kind)


def test_every_touch_out_of_turn_is_refused_by_name(sharing):
    array, interop, stream = sharing.arrays.create(SPEC), sharing.interop, sharing.stream
    image = array.image
    of_opengl = rf"texture {image.name} is unmapped, so it is OpenGL's; map it first$"
    of_cuda = rf"texture {image.name} is mapped, so it is CUDA's; unmap it first$"
    lent = rf"texture {image.name} is lent to OpenGL; leave the scope of lent_to_gl\(\) first$"
    out_of_turn(f"^unmap: {of_opengl}", lambda: interop.unmap([image], stream))
    out_of_turn(f"^make_objects: {of_opengl}", array.make_objects)
    assert array.gl_texture.handle.name == image.name
    array.objects(stream)
    assert image.state is MappingState.MAPPED
    out_of_turn(f"^map: {of_cuda}", lambda: interop.map([image], stream))
    out_of_turn(f"^unregister: {of_cuda}", lambda: interop.unregister(image))
    out_of_turn(f"^gl_texture: {of_cuda}", lambda: array.gl_texture)
    with array.lent_to_gl(stream):
        assert image.state is MappingState.LENT
        assert array.gl_texture.handle.name == image.name
        out_of_turn(f"^objects: {lent}", lambda: array.objects(stream))
        out_of_turn(f"^map: {lent}", lambda: interop.map([image], stream))
        out_of_turn(f"^unmap: {lent}", lambda: interop.unmap([image], stream))
        out_of_turn(f"^lent_to_gl: {lent}", lambda: array.lent_to_gl(stream).__enter__())
        out_of_turn(f"^unregister: {lent}", lambda: interop.unregister(image))
        out_of_turn(f"^close: {lent}", array.close)
    assert image.state is MappingState.MAPPED
    array.close()
    array.close()
    for call in (lambda: array.objects(stream), lambda: interop.map([image], stream), lambda: array.gl_texture):
        out_of_turn("is closed; make it anew$", call, ClosedError)
    # nothing illegal reached the device: its own books say so when the fixture ends


def test_nothing_is_mapped_or_unmapped_while_a_stream_is_captured(sharing):
    array, driver = sharing.arrays.create(SPEC), sharing.driver
    stream = driver.create_stream()
    with driver.use_stream(stream):
        driver.begin_capture(stream)
        out_of_turn("^map: the stream is being captured", lambda: array.objects(stream))
        driver.destroy_graph(driver.end_capture(stream))
        array.objects(stream)
        driver.begin_capture(stream)
        assert array.objects(stream).texture  # mapped before: usable
        out_of_turn("^unmap: the stream is being captured", lambda: sharing.interop.unmap([array.image], stream))
        driver.destroy_graph(driver.end_capture(stream))
    array.close()
    driver.destroy_stream(stream)


def test_an_applications_context_serves_one_thread_only(device):
    driver, _ = device
    with app_context() as app:
        context = open_current_for(driver)
        owner, interop = GlBackend(context), Interop(driver, context)
        array = GlArrays(driver, interop, owner).create(SPEC)
        raised: list[BaseException] = []

        def elsewhere() -> None:
            try:
                array.objects(0)
            except DeviceCallError as error:
                raised.append(error)

        thread = threading.Thread(target=elsewhere, name="worker")
        thread.start()
        thread.join()
        assert "call from thread 'worker'" in str(raised[0])
        assert array.image.state is MappingState.REGISTERED
        array.objects(0)
        display, current = app.egl.open_display(app.egl.devices()[0]), app.egl.current_context()
        app.egl.make_current(display, None, None, None)
        out_of_turn("another OpenGL context is current, or none", array.close)
        assert array.image.state is MappingState.MAPPED  # refused, so it stays and can be closed again
        app.egl.make_current(display, None, None, current)
        array.close()
        owner.close()
        assert not any(context.live.values())


def test_a_loan_shows_opengl_what_cuda_wrote_and_the_other_way_round(sharing, rng):
    array = sharing.arrays.create(TextureSpec((16, 16), channels=4))
    context, stream = sharing.interop.context, sharing.stream
    picture = rng.integers(0, 256, (16, 16, 4), dtype=np.uint8)
    for _ in range(2):
        array.objects(stream)
        mapped = sharing.driver.mapped_array(array.image.resource)
        sharing.driver.texels(mapped, 0)[0] = picture
        with array.lent_to_gl(stream) as name:
            seen = np.zeros((16, 16, 4), np.uint8)
            box = (0, 0, 0, 16, 16, 1, names.RGBA, names.UNSIGNED_BYTE)
            read = partial(context.gl.glGetTextureSubImage, name, 0, *box, seen.nbytes, seen.ctypes.data)
            sharing.interop.run(read)
            np.testing.assert_array_equal(seen, picture)
            picture = 255 - picture
            write = partial(context.gl.glTextureSubImage3D, name, 0, *box, picture.ctypes.data)
            sharing.interop.run(write)
        mapped = sharing.driver.mapped_array(array.image.resource)
        np.testing.assert_array_equal(sharing.driver.texels(mapped, 0)[0], picture)
    array.close()


# ---------------------------------------------------------------- order of calls


def test_arrays_are_mapped_and_unmapped_together_and_torn_down_in_order(sharing):
    arrays = [sharing.arrays.create(SPEC) for _ in range(3)]
    resources = [array.image.resource for array in arrays]
    arrays[1].objects(sharing.stream)
    assert [array.image.state for array in arrays] == [MappingState.MAPPED] * 3
    before = arrays[0].objects(sharing.stream)
    sharing.arrays.for_cuda(sharing.stream)
    sharing.arrays.for_gl(sharing.stream)
    sharing.arrays.for_gl(sharing.stream)
    assert [(n, a[0]) for n, a in sharing.driver.calls if n in ("map_gl", "unmap_gl")] == [
        ("map_gl", resources),
        ("unmap_gl", resources),
    ]
    after = arrays[0].objects(sharing.stream)
    assert after != before  # objects belong to one mapping
    with arrays[0].lent_to_gl(sharing.stream):
        arrays[1].objects(sharing.stream)  # the others are still CUDA's
    assert [len(a[0]) for n, a in sharing.driver.calls if n in ("map_gl", "unmap_gl")] == [3, 3, 3, 1, 1]
    assert sharing.interop.maps == 3
    sharing.driver.calls.clear()
    arrays[0].close()
    objects = ["destroy_surface_object"] * SPEC.levels + ["destroy_texture_object"]
    assert [n for n, _ in sharing.driver.calls] == ["synchronize", *objects, "unmap_gl", "unregister_gl_image"]
    for array in arrays[1:]:
        array.close()


def put(backend: CudaBackend, texture: Texture, layer: int, pixels: np.ndarray, threshold: float | None = 0) -> None:
    frame = Frame(pixels)
    if threshold is None:
        texture.frame_sizes[layer] = frame.size
    backend.refresh(texture, layer, frame, threshold)


def tokens(backend: CudaBackend, texture: Texture, layer: int = 0) -> np.ndarray:
    table = make_table([20.3, 11.0, 30.0], [11.9, 16.0, 20.0], [40.0, 16.0, 27.5], size=SPEC.size)
    table["layer"] = layer
    out = backend.empty((3, 3, 16, 16), torch.float32)
    backend.sample(texture, table, out, Normalisation.identity(3))
    return out.numpy()


def test_queued_kernels_keep_the_objects_of_an_epoch_that_ends(gl_backend, monkeypatch, rng):
    """On a device kernels run later than they are queued, and read an object's description when they run."""
    driver, compiler = open_host_device(late_streams=True)
    stream = driver.create_stream()
    backend = CudaGlBackend(driver, compiler, open_headless_for(driver), mapping="epochs")
    texture = backend.create_texture(SPEC)
    frames = [rng.integers(0, 256, (SPEC.size[1], SPEC.size[0], 3), dtype=np.uint8) for _ in range(2)]
    kept: list[torch.Tensor] = []  # torch keeps memory that queued kernels use; here the test does
    make = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: kept.append(make(*a, **k)) or kept[-1])
    with driver.use_stream(stream):
        put(backend, texture, 0, frames[0], None)
        first = tokens(backend, texture)
        put(backend, texture, 0, frames[1])  # unmaps, while the tokens are still to be sampled
        second = tokens(backend, texture)
    for frame, sampled in zip(frames, (first, second), strict=True):
        put(backend, texture, 0, frame)
        np.testing.assert_array_equal(tokens(backend, texture), sampled)
    backend.destroy_texture(texture)
    driver.destroy_stream(stream)
    backend.close()
    assert not driver.leaks()
    assert not driver.violations


@pytest.mark.parametrize("mapping", MODES)
def test_each_mode_maps_when_it_must_and_gives_the_bits_of_cudas_own_arrays(device, rng, mapping):
    driver, compiler = device
    backend = CudaGlBackend(driver, compiler, open_headless_for(driver), mapping=mapping)
    plain = CudaBackend(open_host_device()[0], compiler)
    assert backend.describe()["mapping"] == f"cuda-gl {mapping}"
    pairs = [(b, [b.create_texture(SPEC) for _ in range(2)]) for b in (backend, plain)]
    shared = pairs[0][1]
    frames = [rng.integers(0, 256, (33, 40, 3), dtype=np.uint8) for _ in range(4)]
    driver.calls.clear()

    def bits() -> list[list[np.ndarray]]:
        return [[tokens(b, t, layer) for t in textures for layer in (0, 1)] for b, textures in pairs]

    for b, textures in pairs:
        for index in range(4):
            put(b, textures[index // 2], index % 2, frames[index], None)
    np.testing.assert_array_equal(*bits())
    assert [len(arguments[0]) for name, arguments in driver.calls if name == "map_gl"] == [2]  # both in one call
    assert backend.counters.maps == 1
    for b, textures in pairs:
        put(b, textures[0], 0, frames[0])  # unchanged: no reason to give anything back
    np.testing.assert_array_equal(*bits())
    assert backend.counters.maps == 1
    for b, textures in pairs:
        put(b, textures[0], 1, frames[3])
    np.testing.assert_array_equal(*bits())
    np.testing.assert_array_equal(*(b.read_level(textures[0], 1, 3) for b, textures in pairs))
    again = 1 if mapping == "epochs" else 0
    assert backend.counters.maps == 1 + again
    with backend.lent_to_gl(shared[1]):
        out_of_turn("lent to OpenGL", lambda: tokens(backend, shared[1]))
        tokens(backend, shared[0])
        tokens(plain, pairs[1][1][0])
    assert backend.counters.maps == 2 + again
    np.testing.assert_array_equal(*bits())
    assert replace(backend.counters, maps=0) == plain.counters
    for b, _ in pairs:
        b.close()


@pytest.mark.parametrize("mapping", MODES)
def test_kept_tokens_are_sampled_again_only_where_frames_changed(device, rng, mapping):
    driver, compiler = device
    backend = CudaGlBackend(driver, compiler, open_headless_for(driver), mapping=mapping)
    texture = backend.create_texture(TextureSpec((64, 64)))
    first = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    put(backend, texture, 0, first, None)
    rows = make_table([8.0, 56.0], [8.0, 56.0], [16.0, 16.0], size=(64, 64))
    keeper = backend.keep(texture, 2, 16, torch.float32)
    identity = Normalisation.identity(3)
    assert np.asarray(keeper.refresh(texture, rows, identity)).tolist() == [True, True]
    put(backend, texture, 0, first)
    assert np.asarray(keeper.refresh(texture, rows, identity)).tolist() == [False, False]
    second = first.copy()
    second[50:60, 50:60] ^= 255
    put(backend, texture, 0, second)
    assert np.asarray(keeper.refresh(texture, rows, identity)).tolist() == [False, True]
    np.testing.assert_allclose(keeper.pixels[1].numpy(), second[48:, 48:].transpose(2, 0, 1) / 255, atol=1e-6)
    backend.close()


def test_a_captured_frame_does_not_outlive_the_mapping_that_it_was_captured_in(device, rng):
    """Handles of a later mapping may be the same numbers; what a graph holds is gone all the same."""
    driver, compiler = device
    frames = [torch.from_numpy(rng.integers(0, 256, (33, 40, 3), dtype=np.uint8)) for _ in range(2)]
    gaze = torch.tensor([[0.3, 0.6]])
    backend = CudaGlBackend(driver, compiler, open_headless_for(driver), mapping="resident")
    with Engine(backend=backend, layout="uniform", threshold=0) as engine:
        engine.submit(frames[0])
        with engine.capture(frames[0], gaze) as graph:
            engine.submit(frames[1])
            expected = engine.tokens(gaze).pixels.clone()
            assert torch.equal(graph.replay(frames[1]).pixels, expected)
            [array] = backend._arrays
            with array.lent_to_gl(driver.current_stream()):
                refused("lent to OpenGL", lambda: graph.replay(frames[1]), DeviceCallError)
            refused("mapped anew since the capture; capture anew$", lambda: graph.replay(frames[1]), DeviceCallError)
        with engine.capture(frames[0], gaze) as graph:
            assert torch.equal(graph.replay(frames[1]).pixels, expected)
    backend.close()


# ---------------------------------------------------------------- failures


def share_and_return(driver: HostDriver, compiler: HostCompiler) -> None:
    """Everything that this part of the backend does once: probe, create, map, lend, unmap, close."""
    with ExitStack() as opened:
        sharing = opened.enter_context(open_sharing(driver))
        kernels = Kernels(driver, compiler)
        opened.callback(kernels.close)
        probe_interop(driver, kernels, sharing.interop.context, sharing.owner)
        made: list[GlArray] = []
        for _ in range(2):
            made.append(sharing.arrays.create(SPEC))
            opened.callback(made[-1].close)
        made[0].objects(sharing.stream)
        with made[1].lent_to_gl(sharing.stream):
            pass
        sharing.arrays.for_gl(sharing.stream)
        made[1].objects(sharing.stream)


def test_any_call_may_fail_and_nothing_is_left(device):
    driver, compiler = device
    share_and_return(driver, compiler)
    occurrences: dict[str, int] = {}
    for name, _ in driver.calls:
        occurrences[name] = occurrences.get(name, 0) + 1
    assert set(SHARING) < set(occurrences)
    for name, count in occurrences.items():
        for nth in range(1, count + 1):
            fresh, _ = open_host_device()
            fresh.fail(name, nth)
            with pytest.raises((DeviceCallError, BackendUnavailable)) as error:
                share_and_return(fresh, compiler)
            assert "failure asked for by a test" in str(error.value), f"{name} {nth}"
            assert fresh.leaks() == [], f"{name} {nth}"
            assert fresh.violations == [], f"{name} {nth}"


@pytest.mark.parametrize("mapping", MODES)
def test_a_hundred_backends_leave_nothing(device, gl_backend, rng, mapping):
    driver, compiler = device
    frame = rng.integers(0, 256, (33, 40, 3), dtype=np.uint8)
    context = open_headless_for(driver)
    live, threads, programs = context.live.copy(), threading.active_count(), None
    for cycle in range(100):
        fresh, _ = open_host_device()
        backend = CudaGlBackend(fresh, compiler, open_headless_for(fresh), mapping=mapping)
        texture = backend.create_texture(SPEC)
        put(backend, texture, 0, frame, None)
        tokens(backend, texture)
        backend.close()
        assert fresh.leaks() == []
        assert fresh.violations == []
        assert context.live == live
        assert threading.active_count() == threads
        programs = len(context.programs) if cycle == 0 else programs
        assert len(context.programs) == programs
