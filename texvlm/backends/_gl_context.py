"""Who may call OpenGL: a context with the one thread that owns it.

`HeadlessContext` is ours: one for each process and device, made on first use, kept with its compiled
programs for the life of the process (drivers leak memory when contexts are made again and again),
current on one thread of its own. Calls from other threads are handed over and block; exceptions
travel back. Because it is never current on a caller's thread, what the caller has current there
stays current.

`CurrentContext` is the application's: current on the thread that opened the backend, and every call
must come from there. What the calls touch is saved and restored.

Neither survives a fork: in the child every call raises ClosedError, and no context can be opened
(drivers hang when they are initialised twice across a fork). Use the spawn start method.
"""

from __future__ import annotations

import ctypes
import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol, TypeVar

from texvlm.backends import _gl_api as gl_names
from texvlm.backends._egl import GL_VERSION, INSTALL_ADVICE, EglDevice, load_egl
from texvlm.backends._gl_api import GlApi, error_name
from texvlm.backends._gl_programs import Programs
from texvlm.backends._gl_state import default_pixel_store, preserved_state
from texvlm.errors import BackendUnavailable, ClosedError, DeviceCallError

T = TypeVar("T")
_log = logging.getLogger("texvlm")
_SOFTWARE_RENDERERS = ("llvmpipe", "softpipe", "swrast", "swr ", "software rasterizer", "swiftshader")


@dataclass(frozen=True, slots=True)
class GlInfo:
    """What a context says of itself, and the limits that matter here."""

    renderer: str
    vendor: str
    version: str
    max_side: int
    max_layers: int
    max_block_bytes: int
    block_alignment: int

    @property
    def software(self) -> bool:
        """It renders on the CPU."""
        return any(word in self.renderer.lower() for word in _SOFTWARE_RENDERERS)

    def aligned(self, start: int) -> int:
        """The next byte at which a storage-buffer binding may start."""
        return -(-start // self.block_alignment) * self.block_alignment


class GlContext(Protocol):
    """A context, and the way to run calls on it."""

    gl: GlApi
    info: GlInfo
    programs: Programs
    live: Counter[str]  # textures and buffers of ours that exist
    shared: bool  # other backends may use it too, and will after this one

    @property
    def alive(self) -> bool:
        """False in a forked child."""

    def run(self, work: Callable[[], T]) -> T:
        """Result of `work`, called where the context is current. ClosedError in a forked child."""

    def retire(self, work: Callable[[], None]) -> None:
        """Run `work` there later, without waiting. Safe in finalizers, on any thread."""


# ---------------------------------------------------------------- after a fork

_generation = 0
"""Forks since this module was loaded; a context of an older generation belongs to an ancestor."""
_contexts_made = 0
_lock = threading.Lock()


def _after_fork() -> None:
    global _generation, _lock
    _generation += 1
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _refuse_forked(alive: bool) -> None:
    if not alive:
        raise ClosedError(
            "this OpenGL context belongs to the parent of this forked process; open the engine in the child, "
            "in workers started with the 'spawn' method"
        )


def _new_generation() -> int:
    """The current generation, for a context about to be made; BackendUnavailable after a fork from one."""
    global _contexts_made
    if _generation and _contexts_made:
        raise BackendUnavailable(
            "this process was forked from one with an OpenGL context, and drivers hang when opened again; "
            "start workers with the 'spawn' method"
        )
    _contexts_made += 1
    return _generation


# ---------------------------------------------------------------- our own context


@dataclass(slots=True)
class _Call:
    """One call handed over: the work, and where its outcome goes. `done` is None for retired work."""

    work: Callable[[], object]
    done: threading.Lock | None
    result: object = None
    error: BaseException | None = None


class HeadlessContext:
    """An OpenGL context without a window, current on its own thread. Use `headless_context` to get one."""

    gl: GlApi
    info: GlInfo
    programs: Programs
    live: Counter[str]
    shared = True

    def __init__(self, device: EglDevice) -> None:
        """Start the thread and make the context.

        Raises:
            DeviceCallError, BackendUnavailable: the device cannot give an OpenGL context of GL_VERSION.
        """
        self._generation = _new_generation()
        self.device = device
        self.live = Counter()
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=f"texvlm-gl-{device.index}", daemon=True)
        self._thread.start()
        try:
            self.gl, self.info = self.run(self._make)
            self.programs = Programs(self.gl)
        except BaseException:
            self.stop()
            raise

    @property
    def alive(self) -> bool:
        """See GlContext."""
        return self._generation == _generation

    def run(self, work: Callable[[], T]) -> T:
        """See GlContext."""
        _refuse_forked(self.alive)
        if threading.current_thread() is self._thread:
            return work()
        done = threading.Lock()
        done.acquire()
        call = _Call(work, done)
        self._calls.put(call)
        done.acquire()
        error, call.error = call.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error  # the traceback holds this frame: a cycle otherwise
        return call.result  # type: ignore[return-value]

    def retire(self, work: Callable[[], None]) -> None:
        """See GlContext."""
        if self.alive:
            self._calls.put(_Call(work, None))

    def stop(self) -> None:
        """End the thread and destroy the context; for a device that was only looked at."""
        self._calls.put(None)
        self._thread.join()

    def _make(self) -> tuple[GlApi, GlInfo]:
        egl = load_egl()
        self._display = egl.open_display(self.device)
        self._egl_context, _ = egl.create_headless(self._display)
        gl = GlApi(egl.get_proc_address)
        default_pixel_store(gl)
        return gl, read_info(gl)

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call.result = call.work()
            except BaseException as error:
                if call.done is None:
                    _log.warning("retiring an OpenGL object failed: %s", error)
                else:
                    call.error = error
            finally:
                if call.done is not None:
                    call.done.release()
            del call
        if hasattr(self, "_egl_context"):
            egl = load_egl()
            egl.make_current(self._display, None, None, None)
            egl.destroy_context(self._display, self._egl_context)


_headless: dict[int, HeadlessContext] = {}


def headless_context(device: EglDevice) -> HeadlessContext:
    """The process's context on a device, made on first use.

    Raises:
        DeviceCallError, BackendUnavailable: see HeadlessContext.
    """
    with _lock:
        if device.index not in _headless or _headless[device.index]._generation != _generation:
            _headless[device.index] = HeadlessContext(device)
        return _headless[device.index]


def look_at(device: EglDevice) -> GlInfo:
    """What a device's context says of itself; a context made only for this is destroyed again.

    Raises:
        DeviceCallError, BackendUnavailable: see HeadlessContext.
    """
    with _lock:
        if device.index in _headless:
            return _headless[device.index].info
        context = HeadlessContext(device)
        context.stop()
        return context.info


# ---------------------------------------------------------------- the application's context


class CurrentContext:
    """The context that the application has current on this thread, through EGL or GLX."""

    gl: GlApi
    info: GlInfo
    programs: Programs
    live: Counter[str]
    shared = False

    def __init__(self) -> None:
        """Adopt what is current.

        Raises:
            BackendUnavailable: nothing is, or it is older than GL_VERSION.
        """
        self._generation = _new_generation()
        self._thread = threading.current_thread()
        self._current_handle, address_of = _current_api()
        self._handle = self._current_handle()
        self.live = Counter()
        self._retired: deque[Callable[[], None]] = deque()
        _require_version(address_of)
        self.gl = GlApi(address_of)
        self.info = read_info(self.gl)
        self.programs = Programs(self.gl)

    @property
    def alive(self) -> bool:
        """See GlContext."""
        return self._generation == _generation

    def run(self, work: Callable[[], T]) -> T:
        """See GlContext. DeviceCallError on another thread, or when another context is current."""
        _refuse_forked(self.alive)
        here = threading.current_thread()
        if here is not self._thread:
            raise DeviceCallError(
                f"call from thread {here.name!r}, but this backend uses the OpenGL context that is current on "
                f"thread {self._thread.name!r}; call from there, or open a headless backend"
            )
        if self._current_handle() != self._handle:
            raise DeviceCallError(
                "another OpenGL context is current, or none; make the one current that was when the backend was opened"
            )
        for code in self.gl.pending_errors():
            _log.warning("the application left an OpenGL error behind: %s", error_name(code))
        with preserved_state(self.gl):
            while self._retired:
                self._retired.popleft()()
            return work()

    def retire(self, work: Callable[[], None]) -> None:
        """See GlContext. It happens with the next call."""
        if self.alive:
            self._retired.append(work)


def _current_api() -> tuple[Callable[[], int | None], Callable[[bytes], int | None]]:
    """(look-up of the current context, look-up of function addresses) of the API that has one current."""
    tried = []
    try:
        egl = load_egl()
        if egl.current_context():
            return egl.current_context, egl.get_proc_address
        tried.append("EGL has none")
    except BackendUnavailable:
        tried.append("libEGL is not there")
    try:
        glx = ctypes.CDLL("libGL.so.1")
        current, address_of = glx.glXGetCurrentContext, glx.glXGetProcAddressARB
    except (OSError, AttributeError):
        tried.append("GLX is not there")
    else:
        current.restype = address_of.restype = ctypes.c_void_p
        current.argtypes, address_of.argtypes = (), (ctypes.c_char_p,)
        if current():
            return current, address_of
        tried.append("GLX has none")
    raise BackendUnavailable(
        f"no OpenGL context is current on thread {threading.current_thread().name!r} ({', '.join(tried)}); "
        "make the application's context current first, or open a headless backend"
    )


def _require_version(address_of: Callable[[bytes], int | None]) -> None:
    """BackendUnavailable unless the current context is at least GL_VERSION; asked before anything else is bound."""
    get = ctypes.PYFUNCTYPE(None, ctypes.c_uint, ctypes.POINTER(ctypes.c_int))(address_of(b"glGetIntegerv") or 0)
    version = []
    for what in (gl_names.MAJOR_VERSION, gl_names.MINOR_VERSION):
        value = ctypes.c_int()
        get(what, ctypes.byref(value))
        version.append(value.value)
    if tuple(version) < GL_VERSION:
        raise BackendUnavailable(
            f"the current context offers OpenGL {version[0]}.{version[1]}; "
            f"{GL_VERSION[0]}.{GL_VERSION[1]} or later is needed"
        )


# ---------------------------------------------------------------- both


def read_info(gl: GlApi) -> GlInfo:
    """Names and limits of the current context."""
    return GlInfo(
        renderer=gl.text(gl_names.RENDERER),
        vendor=gl.text(gl_names.VENDOR),
        version=gl.text(gl_names.VERSION),
        max_side=gl.integer(gl_names.MAX_TEXTURE_SIZE),
        max_layers=gl.integer(gl_names.MAX_ARRAY_TEXTURE_LAYERS),
        max_block_bytes=gl.integer64(gl_names.MAX_SHADER_STORAGE_BLOCK_SIZE),
        block_alignment=gl.integer(gl_names.SHADER_STORAGE_BUFFER_OFFSET_ALIGNMENT),
    )


def open_device(index: int | None, *, hardware_only: bool) -> HeadlessContext:
    """The context of a device: the given one, or the first hardware renderer, or else the first software one.

    Raises:
        BackendUnavailable: none can be had; names each device tried, why it was refused, and what to install.
    """
    devices = load_egl().devices()
    if index is not None:
        devices = [device for device in devices if device.index == index]
    refusals = []
    software: list[EglDevice] = []
    for device in sorted(devices, key=lambda d: d.software):  # stable: hardware first, EGL's order within
        if device.software and hardware_only:
            refusals.append(f"{device.label} is a software renderer")
            continue
        try:
            info = look_at(device) if not device.software else None
            if info is not None and info.software:
                software.append(device)
                refusals.append(f"{device.label} is the software renderer {info.renderer}")
                continue
            return headless_context(device)
        except (DeviceCallError, BackendUnavailable) as error:
            refusals.append(f"{device.label}: {error}")
    if software and not hardware_only:
        return headless_context(software[0])
    wanted = "" if index is None else f" {index}"
    seen = "; ".join(refusals) or f"EGL lists no device{wanted}"
    raise BackendUnavailable(f"no usable OpenGL {GL_VERSION[0]}.{GL_VERSION[1]} ({seen}); {INSTALL_ADVICE}")
