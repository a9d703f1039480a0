"""The renderer of gl_app.py: its context, and one that shares textures with it, for a thread that is not the app's."""

import ctypes
import time
from ctypes import byref, c_int, c_uint, c_void_p

import moderngl
from gl_app_eyes import EyeBuffers, eyes_of
from gl_app_scene import Scene

from texvlm.errors import BackendUnavailable, DeviceCallError

FRAME_NS = 1_000_000_000 // 60

# Values of the EGL registry.
OPENGL_API, NONE, CONFIG_ID = 0x30A2, 0x3038, 0x3028
MAJOR, MINOR, PROFILE, CORE = 0x3098, 0x30FB, 0x30FD, 1


class App:
    """The application: its context, scene and eye buffers. Knows nothing of texvlm but its gaze."""

    def __init__(self, kind: str, size: tuple[int, int], *, buffers: int = 1) -> None:
        try:
            self.context = moderngl.create_context(standalone=True, backend="egl", require=450)
        except Exception as error:  # it raises that, nothing narrower
            raise BackendUnavailable(f"no OpenGL 4.5 through EGL ({error}); see `texvlm doctor`") from error
        self.size = size
        self.eyes = eyes_of(kind, size)
        self.scene = Scene(self.context)
        self.buffers = [EyeBuffers(self.context, kind, self.eyes, size) for _ in range(buffers)]
        self.spent_ms: list[float] = []

    def draw(self, frame: int, buffer: int = 0) -> None:
        """One frame into a buffer; waits for it, so that its time is known and others may read it."""
        start = time.perf_counter()
        for eye in self.eyes:
            self.buffers[buffer].draw(self.scene, eye, frame * FRAME_NS / 1e9)
        self.context.finish()
        self.spent_ms.append(1e3 * (time.perf_counter() - start))

    def close(self) -> None:
        """Destroy the context and what it holds."""
        self.context.release()


class SharedContext:
    """Sees the textures of the context that is current on the calling thread; current on no thread yet.

    Raises:
        DeviceCallError: EGL has none current, or refuses.
    """

    def __init__(self) -> None:
        self._egl = egl = ctypes.CDLL("libEGL.so.1")
        for name, result, *arguments in (
            ("eglGetCurrentDisplay", c_void_p),
            ("eglGetCurrentContext", c_void_p),
            ("eglBindAPI", c_uint, c_uint),
            ("eglQueryContext", c_uint, c_void_p, c_void_p, c_int, c_void_p),
            ("eglChooseConfig", c_uint, c_void_p, c_void_p, c_void_p, c_int, c_void_p),
            ("eglCreateContext", c_void_p, c_void_p, c_void_p, c_void_p, c_void_p),
            ("eglDestroyContext", c_uint, c_void_p, c_void_p),
            ("eglMakeCurrent", c_uint, c_void_p, c_void_p, c_void_p, c_void_p),
        ):
            function = getattr(egl, name)
            function.restype, function.argtypes = result, arguments
        self._display, apps = egl.eglGetCurrentDisplay(), egl.eglGetCurrentContext()
        number, count, config = c_int(), c_int(), c_void_p()
        if not apps or not egl.eglQueryContext(self._display, apps, CONFIG_ID, byref(number)):
            raise DeviceCallError("EGL has no context current on this thread; make the app's current first")
        if number.value:  # or it was made without a configuration
            wanted = (c_int * 3)(CONFIG_ID, number.value, NONE)
            egl.eglChooseConfig(self._display, wanted, byref(config), 1, byref(count))
        attributes = (c_int * 7)(MAJOR, 4, MINOR, 5, PROFILE, CORE, NONE)
        self._context = egl.eglCreateContext(self._display, config, apps, attributes)
        if not self._context:
            raise DeviceCallError("EGL gives no context that shares textures with the app's")

    def make_current(self) -> None:
        """On this thread, without a surface: it draws nothing."""
        self._egl.eglBindAPI(OPENGL_API)
        if not self._egl.eglMakeCurrent(self._display, None, None, self._context):
            raise DeviceCallError("the shared context cannot be made current without a surface")

    def close(self) -> None:
        """Give it up, on the thread that it is current on."""
        self._egl.eglMakeCurrent(self._display, None, None, None)
        self._egl.eglDestroyContext(self._display, self._context)
