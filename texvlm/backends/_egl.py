"""EGL through ctypes: devices, displays, headless contexts, and what is current on a thread.

Only this file talks to EGL. Displays are shared by the whole process and are never terminated.
Nothing is loaded before the first call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_int, c_ssize_t, c_uint, c_void_p
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from texvlm.errors import BackendUnavailable, DeviceCallError

# Values of the EGL registry, by their names there without EGL_.
EXTENSIONS = 0x3055
PLATFORM_DEVICE, PLATFORM_SURFACELESS = 0x313F, 0x31DD
OPENGL_API = 0x30A2
SURFACE_TYPE, PBUFFER_BIT, RENDERABLE_TYPE, OPENGL_BIT, NONE = 0x3033, 0x0001, 0x3040, 0x0008, 0x3038
CONTEXT_MAJOR, CONTEXT_MINOR, CONTEXT_PROFILE, CORE_PROFILE = 0x3098, 0x30FB, 0x30FD, 0x1
WIDTH, HEIGHT = 0x3057, 0x3056
CUDA_DEVICE_NV = 0x323A

GL_VERSION = (4, 5)
"""Direct state access and persistent mapping need it; drivers with compute shaders have it."""

PACKAGES = "libegl1 libgl1-mesa-dri libgles2 libopengl0 libgl1"
INSTALL_ADVICE = (
    f"install a driver (Debian/Ubuntu: apt install {PACKAGES}); in a container on an NVIDIA GPU set "
    "NVIDIA_DRIVER_CAPABILITIES=compute,utility,graphics"
)

_ERRORS = {
    0x3000: "EGL_SUCCESS",
    0x3001: "EGL_NOT_INITIALIZED",
    0x3002: "EGL_BAD_ACCESS",
    0x3003: "EGL_BAD_ALLOC",
    0x3004: "EGL_BAD_ATTRIBUTE",
    0x3005: "EGL_BAD_CONFIG",
    0x3006: "EGL_BAD_CONTEXT",
    0x3008: "EGL_BAD_DISPLAY",
    0x3009: "EGL_BAD_MATCH",
    0x300C: "EGL_BAD_PARAMETER",
    0x300E: "EGL_CONTEXT_LOST",
}


@dataclass(frozen=True, slots=True)
class EglDevice:
    """One thing that EGL can open a display on.

    Attributes:
        index: position in EGL's list; -1 for the surfaceless display of a driver without devices.
        handle: EGLDeviceEXT, or 0.
        software: the driver says that it renders on the CPU. Settled by the renderer's name later.
    """

    index: int
    handle: int
    software: bool

    @property
    def label(self) -> str:
        """How messages name it."""
        return f"device {self.index}" if self.index >= 0 else "surfaceless display"


class Egl:
    """The entry points of libEGL, with results checked."""

    def __init__(self) -> None:
        """Load the library.

        Raises:
            BackendUnavailable: there is none.
        """
        try:
            library = ctypes.CDLL("libEGL.so.1")
        except OSError as error:
            raise BackendUnavailable(f"libEGL.so.1 cannot be loaded ({error}); {INSTALL_ADVICE}") from None
        self._library = library
        pointer, number = c_void_p, c_int
        self.get_proc_address = self._bind("eglGetProcAddress", pointer, c_char_p)
        self.get_error = self._bind("eglGetError", number)
        self.query_string = self._bind("eglQueryString", c_char_p, pointer, number)
        self.initialize = self._bind("eglInitialize", c_uint, pointer, pointer, pointer)
        self.bind_api = self._bind("eglBindAPI", c_uint, c_uint)
        self.choose_config = self._bind(
            "eglChooseConfig", c_uint, pointer, POINTER(c_int), POINTER(c_void_p), number, POINTER(c_int)
        )
        self.create_context = self._bind("eglCreateContext", pointer, pointer, pointer, pointer, POINTER(c_int))
        self.destroy_context = self._bind("eglDestroyContext", c_uint, pointer, pointer)
        self.create_pbuffer = self._bind("eglCreatePbufferSurface", pointer, pointer, pointer, POINTER(c_int))
        self.make_current = self._bind("eglMakeCurrent", c_uint, pointer, pointer, pointer, pointer)
        self.current_context = self._bind("eglGetCurrentContext", pointer)

    def _bind(self, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
        function = getattr(self._library, name)
        function.restype, function.argtypes = result, arguments
        return function  # type: ignore[no-any-return]

    def extension(self, name: str, result: Any, *arguments: Any) -> Callable[..., Any] | None:
        """A function that only an extension offers, or None."""
        address = self.get_proc_address(name.encode())
        return ctypes.CFUNCTYPE(result, *arguments)(address) if address else None

    def failure(self, call: str) -> DeviceCallError:
        """The error for a call that just failed on this thread."""
        code = self.get_error()
        return DeviceCallError(f"{call} failed ({_ERRORS.get(code, hex(code))})")

    def devices(self) -> list[EglDevice]:
        """Everything that a display can be opened on, in EGL's own order."""
        extensions = (self.query_string(None, EXTENSIONS) or b"").decode().split()
        found: list[EglDevice] = []
        query = self.extension("eglQueryDevicesEXT", c_uint, c_int, POINTER(c_void_p), POINTER(c_int))
        describe = self.extension("eglQueryDeviceStringEXT", c_char_p, c_void_p, c_int)
        if "EGL_EXT_platform_device" in extensions and query:
            handles, count = (c_void_p * 64)(), c_int()
            if query(64, handles, byref(count)):
                for index in range(count.value):
                    words = (describe(handles[index], EXTENSIONS) or b"") if describe else b""
                    found.append(EglDevice(index, int(handles[index] or 0), b"EGL_MESA_device_software" in words))
        if not found and "EGL_MESA_platform_surfaceless" in extensions:
            found.append(EglDevice(-1, 0, False))
        return found

    def cuda_ordinal(self, device: EglDevice) -> int | None:
        """The CUDA device that EGL says this is, or None. A hint: CUDA_VISIBLE_DEVICES renumbers only CUDA's."""
        query = self.extension("eglQueryDeviceAttribEXT", c_uint, c_void_p, c_int, POINTER(c_ssize_t))
        value = c_ssize_t(-1)
        # drivers without CUDA return false, leave the value alone, and may set no error
        if not device.handle or query is None or not query(device.handle, CUDA_DEVICE_NV, byref(value)):
            return None
        return value.value if value.value >= 0 else None

    def open_display(self, device: EglDevice) -> int:
        """The initialised EGLDisplay of a device; the same one for every caller in the process.

        Raises:
            DeviceCallError: the driver refuses.
        """
        get_display = self.extension("eglGetPlatformDisplayEXT", c_void_p, c_uint, c_void_p, c_void_p)
        if get_display is None:
            raise DeviceCallError("eglGetPlatformDisplayEXT is missing")
        platform = PLATFORM_DEVICE if device.index >= 0 else PLATFORM_SURFACELESS
        display = get_display(platform, device.handle or None, None)
        if not display:
            raise self.failure("eglGetPlatformDisplayEXT")
        if not self.initialize(display, None, None):
            raise self.failure("eglInitialize")
        return int(display)

    def create_headless(self, display: int) -> tuple[int, int]:
        """(context, surface) current on the calling thread; the surface is 0 where none is needed.

        Raises:
            DeviceCallError: no OpenGL of GL_VERSION, or the context cannot be made current.
        """
        if not self.bind_api(OPENGL_API):
            raise self.failure("eglBindAPI(EGL_OPENGL_API)")
        config, count = c_void_p(), c_int()
        wanted = (c_int * 5)(SURFACE_TYPE, PBUFFER_BIT, RENDERABLE_TYPE, OPENGL_BIT, NONE)
        if not self.choose_config(display, wanted, byref(config), 1, byref(count)) or not count.value:
            raise self.failure("eglChooseConfig")
        attributes = (CONTEXT_MAJOR, GL_VERSION[0], CONTEXT_MINOR, GL_VERSION[1], CONTEXT_PROFILE, CORE_PROFILE, NONE)
        context = self.create_context(display, config, None, (c_int * 7)(*attributes))
        if not context:
            raise self.failure(f"eglCreateContext (OpenGL {GL_VERSION[0]}.{GL_VERSION[1]} core)")
        surface = None
        if b"EGL_KHR_surfaceless_context" not in (self.query_string(display, EXTENSIONS) or b""):
            surface = self.create_pbuffer(display, config, (c_int * 5)(WIDTH, 1, HEIGHT, 1, NONE))
        if not self.make_current(display, surface, surface, context):
            error = self.failure("eglMakeCurrent")
            self.destroy_context(display, context)
            raise error
        return int(context), int(surface or 0)


@lru_cache(maxsize=1)
def load_egl() -> Egl:
    """The process's EGL, loaded once. BackendUnavailable when there is none."""
    return Egl()
