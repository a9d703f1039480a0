"""The application's own OpenGL context, as the gl backend uses it.

It stays the application's: every call must come from the thread that opened the backend, with that
context current, and what the calls touch is saved and restored (`_gl_state`).
"""

from __future__ import annotations

import ctypes
import logging
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import TypeVar

from texvlm.backends import _gl_api as names
from texvlm.backends._egl import GL_VERSION, load_egl
from texvlm.backends._gl_api import GlApi, error_name
from texvlm.backends._gl_context import Birthplace, GlInfo, read_info
from texvlm.backends._gl_programs import Programs
from texvlm.backends._gl_state import preserved_state
from texvlm.errors import BackendUnavailable, DeviceCallError

T = TypeVar("T")
_log = logging.getLogger("texvlm")


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
        self._birthplace = Birthplace()
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
        return self._birthplace.is_here

    def run(self, work: Callable[[], T]) -> T:
        """See GlContext. DeviceCallError on another thread, or when another context is current."""
        self._birthplace.require()
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
    for what in (names.MAJOR_VERSION, names.MINOR_VERSION):
        value = ctypes.c_int()
        get(what, ctypes.byref(value))
        version.append(value.value)
    if tuple(version) < GL_VERSION:
        raise BackendUnavailable(
            f"the current context offers OpenGL {version[0]}.{version[1]}; "
            f"{GL_VERSION[0]}.{GL_VERSION[1]} or later is needed"
        )
