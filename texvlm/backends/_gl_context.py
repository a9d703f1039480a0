"""Who may call OpenGL: a context with the one thread that owns it.

`HeadlessContext` is ours: one for each process and device, made on first use, kept with its compiled
programs for the life of the process (drivers leak memory when contexts are made again and again),
current on one thread of its own. Calls from other threads are handed over and block; exceptions
travel back. Because it is never current on a caller's thread, what the caller has current there
stays current.

`CurrentContext` (in `_gl_current`) is the application's: current on the thread that opened the backend,
and every call must come from there.

Neither survives a fork: in the child every call raises ClosedError, and no context can be opened
(drivers hang when they are initialised twice across a fork). Use the spawn start method.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol, TypeVar

from texvlm.backends import _gl_api as gl_names
from texvlm.backends._egl import GL_VERSION, INSTALL_ADVICE, EglDevice, load_egl
from texvlm.backends._gl_api import GlApi
from texvlm.backends._gl_programs import Programs
from texvlm.backends._gl_state import default_pixel_store
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
"""Forks since this module was loaded; what was made in an older generation belongs to an ancestor."""
_contexts_made = False
_lock = threading.Lock()


def _after_fork() -> None:
    global _generation, _lock
    _generation += 1
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Birthplace:
    """Remembers in which process a context was made."""

    def __init__(self) -> None:
        """Raises BackendUnavailable in a process that was forked from one with a context."""
        global _contexts_made
        if _generation and _contexts_made:
            raise BackendUnavailable(
                "this process was forked from one with an OpenGL context, and drivers hang when opened again; "
                "start workers with the 'spawn' method"
            )
        _contexts_made = True
        self._generation = _generation

    @property
    def is_here(self) -> bool:
        """This is the process."""
        return self._generation == _generation

    def require(self) -> None:
        """Raises ClosedError in any other."""
        if not self.is_here:
            raise ClosedError(
                "this OpenGL context belongs to the parent of this forked process; open the engine in the child, "
                "in workers started with the 'spawn' method"
            )


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
        self._birthplace = Birthplace()
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
        return self._birthplace.is_here

    def run(self, work: Callable[[], T]) -> T:
        """See GlContext."""
        self._birthplace.require()
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
        if device.index not in _headless or not _headless[device.index].alive:
            _headless[device.index] = HeadlessContext(device)
        return _headless[device.index]


def accepted_context(device: EglDevice, refuse: Callable[[HeadlessContext], str | None]) -> HeadlessContext | str:
    """The process's context on a device, unless it is refused: then why, and one made only to ask is destroyed.

    Raises:
        DeviceCallError, BackendUnavailable: see HeadlessContext, or from `refuse`.
    """
    with _lock:
        known = _headless.get(device.index)
        context = known if known is not None and known.alive else HeadlessContext(device)
        refusal: str | None = "asking it failed"
        try:
            refusal = refuse(context)
        finally:
            if refusal is not None and context is not known:
                context.stop()
        if refusal is None:
            _headless[device.index] = context
            return context
        return refusal


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


# ---------------------------------------------------------------- finding one


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
    fallback: HeadlessContext | None = None
    for device in sorted(devices, key=lambda d: d.software):  # stable: hardware first, EGL's order within
        if device.software and (hardware_only or fallback):
            refusals.append(f"{device.label} is a software renderer")
            continue
        try:
            context = headless_context(device)
        except (DeviceCallError, BackendUnavailable) as error:
            refusals.append(f"{device.label}: {error}")
            continue
        if not context.info.software:
            return context
        refusals.append(f"{device.label} is the software renderer {context.info.renderer}")
        fallback = fallback or context
    if fallback and not hardware_only:
        return fallback
    wanted = "" if index is None else f" {index}"
    seen = "; ".join(refusals) or f"EGL lists no device{wanted}"
    raise BackendUnavailable(f"no usable OpenGL {GL_VERSION[0]}.{GL_VERSION[1]} ({seen}); {INSTALL_ADVICE}")
