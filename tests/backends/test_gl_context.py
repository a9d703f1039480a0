"""Contexts of the gl backend: who may call, what stays untouched, what refusals say."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import reference
import torch

from texvlm.backends import _egl, _gl_api, gl, open_backend
from texvlm.backends._gl_context import open_device
from texvlm.backends._gl_current import CurrentContext
from texvlm.backends.base import Backend, Normalisation
from texvlm.errors import BackendUnavailable, ClosedError, DeviceCallError
from texvlm.frames import Frame
from texvlm.layouts.table import make_table
from texvlm.pyramid import TextureSpec

pytestmark = pytest.mark.gl


def tokens_of(backend: Backend, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(what the backend samples from a frame, what the reference does)."""
    height, width, channels = frame.shape
    texture = backend.create_texture(TextureSpec((width, height), channels=channels))
    texture.frame_sizes[0] = width, height
    tiles = np.ones((-(-height // 16), -(-width // 16)), np.bool_)
    backend.upload(texture, 0, tiles, Frame(frame))
    backend.build_mips(texture, 0, tiles)
    table = make_table([20.3, 30.0], [11.9, 16.0], [40.0, 64.0], size=(width, height))
    out = backend.empty((2, channels, 16, 16), torch.float32)
    backend.sample(texture, table, out, Normalisation.identity(channels))
    backend.destroy_texture(texture)
    return out.numpy().copy(), reference.tokens({0: frame}, table, 16, texture.spec.levels)


@pytest.fixture
def app_context(gl_backend) -> Iterator[_egl.Egl]:
    """An OpenGL context of an application, current on this thread."""
    egl = _egl.load_egl()
    display = egl.open_display(egl.devices()[0])
    context, _ = egl.create_headless(display)
    yield egl
    egl.make_current(display, None, None, None)
    egl.destroy_context(display, context)


def test_calls_from_any_thread_reach_the_one_that_owns_the_context(gl_backend, rng):
    frame = rng.integers(0, 256, (33, 47, 3), dtype=np.uint8)
    results: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: results.append(tokens_of(gl_backend, frame)))
        thread.start()
        thread.join()
    assert len(results) == 3
    for got, expected in results:
        np.testing.assert_allclose(got, expected, atol=1e-6)


def test_an_exception_travels_back_to_the_caller(gl_backend):
    with pytest.raises(ZeroDivisionError):
        gl_backend._run(lambda: 1 // 0)
    assert gl_backend._run(lambda: threading.current_thread().name).startswith("texvlm-gl")


def test_backends_of_one_device_share_a_context(gl_backend):
    other = open_backend("gl").backend
    assert other._context is gl_backend._context
    other.close()
    gl_backend._run(lambda: None)  # the first one lives on


def test_the_renderer_is_named(gl_backend):
    described = gl_backend.describe()
    devices = {device.renderer: device for device in gl.probe() if device.refusal is None}
    assert described["renderer"] in devices
    assert described["software"] == devices[described["renderer"]].software
    assert tuple(int(n) for n in str(described["version"]).split()[0].split(".")[:2]) >= _egl.GL_VERSION


def test_hardware_only_refuses_a_software_renderer_and_says_what_to_install(gl_backend):
    if not gl_backend.describe()["software"]:
        assert not open_device(None, hardware_only=True).info.software
        return
    with pytest.raises(BackendUnavailable, match=r"software renderer.*apt install libegl1") as refusal:
        gl.open_headless(hardware_only=True)
    assert "\n" not in str(refusal.value)


def test_a_device_that_is_not_there(gl_backend):
    with pytest.raises(BackendUnavailable, match="EGL lists no device 99"):
        gl.open_headless(device=99)


def test_no_driver_files(gl_backend):
    code = "from texvlm.backends import gl; gl.open_headless()"
    environment = {"__EGL_VENDOR_LIBRARY_FILENAMES": "/nowhere.json", "PATH": "", "HOME": "/tmp"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    last = ran.stderr.strip().splitlines()[-1]
    assert "BackendUnavailable: no usable OpenGL 4.5" in last
    assert "libgl1-mesa-dri" in last
    assert "NVIDIA_DRIVER_CAPABILITIES" in last


def test_no_egl_library(monkeypatch):
    def missing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(BackendUnavailable, match=r"libEGL\.so\.1 cannot be loaded.*apt install"):
        _egl.Egl()


def test_the_callers_own_context_stays_current(gl_backend, app_context, rng):
    before = app_context.current_context()
    assert before
    tokens_of(gl_backend, rng.integers(0, 256, (16, 16, 1), dtype=np.uint8))
    assert app_context.current_context() == before


def test_the_applications_context_gives_the_same_tokens(app_context, rng):
    frame = rng.integers(0, 256, (77, 90, 3), dtype=np.uint8)
    backend = gl.open_current()
    got, expected = tokens_of(backend, frame)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert backend.describe()["context"] == "current"
    live = backend._context.live
    backend.close()
    assert not any(live.values())
    assert not len(backend._context.programs)


def test_no_context_is_current():
    raised: list[BaseException] = []

    def bare() -> None:
        try:
            gl.open_current()
        except BackendUnavailable as refusal:
            raised.append(refusal)

    thread = threading.Thread(target=bare, name="bare")
    thread.start()
    thread.join()
    assert "no OpenGL context is current on thread 'bare'" in str(raised[0])


def test_the_applications_context_is_tied_to_its_thread(app_context, rng):
    backend = gl.open_current()
    raised: list[BaseException] = []

    def elsewhere() -> None:
        try:
            backend.create_texture(TextureSpec((16, 16)))
        except DeviceCallError as error:
            raised.append(error)

    thread = threading.Thread(target=elsewhere, name="worker")
    thread.start()
    thread.join()
    assert "'worker'" in str(raised[0])
    assert repr(threading.current_thread().name) in str(raised[0])
    backend.close()


def test_another_context_is_current(app_context):
    backend = gl.open_current()
    display, context = app_context.open_display(app_context.devices()[0]), app_context.current_context()
    app_context.make_current(display, None, None, None)
    with pytest.raises(DeviceCallError, match="another OpenGL context is current, or none"):
        backend.create_texture(TextureSpec((16, 16)))
    app_context.make_current(display, None, None, context)
    backend.close()


# What an application may rely on; wider than what the backend touches.
SINGLE = {
    "program": 0x8B8D,
    "vertex array": 0x85B5,
    "array buffer": 0x8894,
    "draw framebuffer": 0x8CA6,
    "active texture": 0x84E0,
    "storage buffer": 0x90D3,
    "pack buffer": 0x88ED,
    "unpack buffer": 0x88EF,
    "pack alignment": 0x0D05,
    "unpack alignment": 0x0CF5,
    "unpack row length": 0x0CF2,
    "unpack skip rows": 0x0CF3,
    "unpack skip pixels": 0x0CF4,
    "unpack image height": 0x806E,
    "pack row length": 0x0D02,
}


def state_of(api: _gl_api.GlApi) -> dict[str, int]:
    state = {name: api.integer(what) for name, what in SINGLE.items()}
    for unit in range(8):
        for name, what in {
            "name": 0x8F3A,
            "level": 0x8F3B,
            "layered": 0x8F3C,
            "access": 0x8F3E,
            "form": 0x906E,
        }.items():
            state[f"image {unit} {name}"] = api.integer_at(what, unit)
        for name, what in {"buffer": 0x90D3, "start": 0x90D4, "size": 0x90D5}.items():
            state[f"storage {unit} {name}"] = api.integer64_at(what, unit)
        api.glActiveTexture(0x84C0 + unit)
        for name, what in {"2d": 0x8069, "array": 0x8C1D, "sampler": 0x8919}.items():
            state[f"texture {unit} {name}"] = api.integer(what)
    api.glActiveTexture(state["active texture"])
    return state


def test_the_applications_state_is_as_it_was(app_context, rng):
    api = CurrentContext().gl
    texture = api.generate(api.glCreateTextures, _gl_api.TEXTURE_2D_ARRAY)
    flat = api.generate(api.glCreateTextures, 0x0DE1)
    api.glTextureStorage3D(texture, 1, _gl_api.RGBA8, 8, 8, 1)
    make_samplers = app_context.extension("glCreateSamplers", None, ctypes.c_int, ctypes.POINTER(ctypes.c_uint))
    assert make_samplers is not None
    sampler = ctypes.c_uint()
    make_samplers(1, ctypes.byref(sampler))
    buffer = api.generate(api.glCreateBuffers)
    api.glNamedBufferStorage(buffer, 4096, None, 0)
    api.glPixelStorei(0x0CF2, 7)
    api.glPixelStorei(0x0CF4, 3)
    api.glPixelStorei(0x0CF5, 8)
    api.glBindBuffer(_gl_api.PIXEL_UNPACK_BUFFER, buffer)
    api.glBindBuffer(_gl_api.PIXEL_PACK_BUFFER, buffer)
    api.glBindTextureUnit(0, texture)
    api.glBindTextureUnit(0, flat)
    api.glBindSampler(0, sampler.value)
    api.glActiveTexture(0x84C0 + 5)
    api.glBindImageTexture(1, texture, 0, 1, 0, _gl_api.WRITE_ONLY, _gl_api.RGBA8)
    api.glBindBufferRange(_gl_api.SHADER_STORAGE_BUFFER, 2, buffer, 1024, 512)
    api.glBindBufferBase(_gl_api.SHADER_STORAGE_BUFFER, 1, buffer)
    before = state_of(api)

    backend = gl.open_current()
    got, expected = tokens_of(backend, rng.integers(0, 256, (77, 90, 3), dtype=np.uint8))
    backend.close()
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert state_of(api) == before
    assert api.pending_errors() == []


def test_an_error_that_the_application_left_is_not_ours(app_context, caplog):
    backend = gl.open_current()
    backend._context.gl.glPixelStorei(0x1234, 1)
    with caplog.at_level("WARNING", "texvlm"):
        backend.destroy_texture(backend.create_texture(TextureSpec((16, 16))))
    assert "the application left an OpenGL error behind: GL_INVALID_ENUM" in caplog.text
    backend.close()


def test_errors_carry_the_call_the_code_and_a_cause(gl_backend):
    api = gl_backend._context.gl

    def wrong() -> None:
        api.glPixelStorei(0x1234, 1)
        api.check("upload: glPixelStorei")

    with pytest.raises(DeviceCallError, match=r"^upload: glPixelStorei: GL_INVALID_ENUM; .+"):
        gl_backend._run(wrong)
    assert gl_backend._run(api.pending_errors) == []


FORKING = """
import os, sys, warnings
warnings.simplefilter("ignore")
import torch
from texvlm.backends import gl
from texvlm.errors import BackendUnavailable, ClosedError
from texvlm.pyramid import TextureSpec
backend = gl.open_headless()
tensor = backend.empty((1, 1, 4, 4), torch.float32)
child = os.fork()
if child == 0:
    outcome = []
    try:
        backend.create_texture(TextureSpec((16, 16)))
    except ClosedError as error:
        outcome.append("forked" in str(error))
    try:
        gl.open_headless()
    except BackendUnavailable as error:
        outcome.append("spawn" in str(error))
    del tensor
    backend.close()
    os._exit(0 if outcome == [True, True] else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
backend.destroy_texture(backend.create_texture(TextureSpec((16, 16))))
backend.close()
sys.exit(code)
"""


def test_a_forked_child_is_told_so_and_the_parent_goes_on(gl_backend):
    ran = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr


def test_after_close_every_verb_is_refused(gl_backend):
    backend = open_backend("gl").backend
    texture = backend.create_texture(TextureSpec((16, 16)))
    backend.close()
    backend.close()
    with pytest.raises(ClosedError, match="the gl backend is closed"):
        backend.empty((1, 3, 16, 16), torch.float32)
    with pytest.raises(ClosedError, match="the gl backend is closed"):
        backend.read_level(texture, 0, 0)


def test_a_backend_that_was_not_closed_says_so(gl_backend):
    backend = open_backend("gl").backend
    with pytest.warns(ResourceWarning, match="was not closed"):
        backend.__del__()
    backend.close()
