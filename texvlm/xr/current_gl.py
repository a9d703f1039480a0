"""The OpenGL context that is current on this thread, as OpenXR wants to be given it, and the few calls made on it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint, c_ulong, c_void_p, cast
from typing import Any

from texvlm.errors import HeadsetUnavailable

# Values of the EGL, GLX and OpenGL registries, by their names there without prefix.
EGL_CONFIG_ID, EGL_NONE = 0x3028, 0x3038
GLX_FBCONFIG_ID, GLX_SCREEN = 0x8013, 0x800C
TEXTURE_2D, TEXTURE_2D_ARRAY, COLOR_ATTACHMENT0 = 0x0DE1, 0x8C1A, 0x8CE0

_CALLS: dict[str, tuple[Any, ...]] = {
    "glCreateTextures": (c_uint, c_int, c_void_p),
    "glDeleteTextures": (c_int, c_void_p),
    "glTextureStorage2D": (c_uint, c_int, c_uint, c_int, c_int),
    "glTextureStorage3D": (c_uint, c_int, c_uint, c_int, c_int, c_int),
    "glCopyImageSubData": (c_uint, c_uint, *[c_int] * 4, c_uint, c_uint, *[c_int] * 4, c_int, c_int, c_int),
    "glCreateFramebuffers": (c_int, c_void_p),
    "glDeleteFramebuffers": (c_int, c_void_p),
    "glNamedFramebufferTexture": (c_uint, c_uint, c_uint, c_int),
    "glNamedFramebufferTextureLayer": (c_uint, c_uint, c_uint, c_int, c_int),
}


class CurrentGl:
    """The context that is current on this thread, through EGL or GLX.

    Attributes:
        extension: which OpenXR extension takes contexts of this kind, beyond XR_KHR_opengl_enable.
    Raises:
        HeadsetUnavailable: none is current, or it is older than OpenGL 4.5.
    """

    def __init__(self) -> None:
        egl, glx = _library("libEGL.so.1"), _library("libGL.so.1")
        address_of: Any
        if egl is not None and _bind(egl, "eglGetCurrentContext", c_void_p)():
            self._library, self.extension = egl, "XR_MNDX_egl_enable"
            address_of = _bind(egl, "eglGetProcAddress", c_void_p, c_char_p)
        elif glx is not None and _bind(glx, "glXGetCurrentContext", c_void_p)():
            self._library, self.extension = glx, ""
            address_of = _bind(glx, "glXGetProcAddressARB", c_void_p, c_char_p)
        else:
            raise HeadsetUnavailable(
                "no OpenGL context is current on this thread; make the renderer's current, then open the headset"
            )
        self._calls: dict[str, Callable[..., Any]] = {}
        for name, arguments in _CALLS.items():
            address = address_of(name.encode())
            if not address:
                raise HeadsetUnavailable(f"the current OpenGL context has no {name}; OpenGL 4.5 or later is needed")
            self._calls[name] = ctypes.CFUNCTYPE(None, *arguments)(address)

    def binding(self, xr: Any) -> Any:
        """OpenXR's structure about it, for xrCreateSession."""
        return self._egl_binding(xr) if self.extension else self._glx_binding(xr)

    def _egl_binding(self, xr: Any) -> Any:
        egl = self._library
        display = _bind(egl, "eglGetCurrentDisplay", c_void_p)()
        context = _bind(egl, "eglGetCurrentContext", c_void_p)()
        number, count, config = c_int(), c_int(), c_void_p()
        _bind(egl, "eglQueryContext", c_uint, c_void_p, c_void_p, c_int, c_void_p)(
            display, context, EGL_CONFIG_ID, ctypes.byref(number)
        )
        if number.value:  # or the context was made without one
            wanted = (c_int * 3)(EGL_CONFIG_ID, number.value, EGL_NONE)
            _bind(egl, "eglChooseConfig", c_uint, c_void_p, c_void_p, c_void_p, c_int, c_void_p)(
                display, wanted, ctypes.byref(config), 1, ctypes.byref(count)
            )
        kind = xr.GraphicsBindingEGLMNDX
        look_up = cast(egl.eglGetProcAddress, dict(kind._fields_)["get_proc_address"])
        return _filled(kind, get_proc_address=look_up, display=display, config=config.value, context=context)

    def _glx_binding(self, xr: Any) -> Any:
        glx = self._library
        display = _bind(glx, "glXGetCurrentDisplay", c_void_p)()
        context = _bind(glx, "glXGetCurrentContext", c_void_p)()
        drawable = _bind(glx, "glXGetCurrentDrawable", c_ulong)()
        query = _bind(glx, "glXQueryContext", c_int, c_void_p, c_void_p, c_int, c_void_p)
        number, screen, shown = c_int(), c_int(), c_uint()
        query(display, context, GLX_FBCONFIG_ID, ctypes.byref(number))
        query(display, context, GLX_SCREEN, ctypes.byref(screen))
        config = self._glx_config(display, screen.value, number.value)
        visual = config and self._glx_visual(display, config)
        if not visual:  # a context may have been made for pixel buffers alone; what it draws into now has one
            ask = _bind(glx, "glXQueryDrawable", None, c_void_p, c_ulong, c_int, c_void_p)
            ask(display, drawable, GLX_FBCONFIG_ID, ctypes.byref(shown))
            config = self._glx_config(display, screen.value, shown.value) or config
            visual = config and self._glx_visual(display, config)
        if not config:
            raise HeadsetUnavailable("GLX does not tell the configuration of the current context; make it another way")
        return _filled(
            xr.GraphicsBindingOpenGLXlibKHR,
            x_display=display,
            visualid=visual or 0,
            glx_fbconfig=config,
            glx_drawable=drawable,
            glx_context=context,
        )

    def _glx_config(self, display: int, screen: int, number: int) -> int | None:
        """The configuration of a number; asking glXChooseFBConfig for it finds none that Mesa's defaults rule out."""
        glx, count, each = self._library, c_int(), c_int()
        all_of = _bind(glx, "glXGetFBConfigs", POINTER(c_void_p), c_void_p, c_int, c_void_p)
        number_of = _bind(glx, "glXGetFBConfigAttrib", c_int, c_void_p, c_void_p, c_int, c_void_p)
        for config in all_of(display, screen, ctypes.byref(count))[: count.value]:
            number_of(display, config, GLX_FBCONFIG_ID, ctypes.byref(each))
            if each.value == number:
                return int(config)
        return None

    def _glx_visual(self, display: int, config: int) -> int:
        """The number of a configuration's visual, or 0."""
        visual = _bind(self._library, "glXGetVisualFromFBConfig", c_void_p, c_void_p, c_void_p)(display, config)
        return int(cast(visual, POINTER(c_ulong))[1]) if visual else 0  # XVisualInfo: a pointer, then the number

    # ------------------------------------------------------------------ calls of OpenGL

    def new_texture(self, form: int, size: tuple[int, int], layers: int) -> int:
        """An empty texture without mips; an array texture where `layers` is above 1."""
        name = c_uint()
        self._calls["glCreateTextures"](TEXTURE_2D_ARRAY if layers > 1 else TEXTURE_2D, 1, ctypes.byref(name))
        if layers > 1:
            self._calls["glTextureStorage3D"](name, 1, form, *size, layers)
        else:
            self._calls["glTextureStorage2D"](name, 1, form, *size)
        return name.value

    def delete_texture(self, name: int) -> None:
        """Give it back."""
        self._calls["glDeleteTextures"](1, ctypes.byref(c_uint(name)))

    def copy_texture(self, source: int, to: int, size: tuple[int, int], layers: int) -> None:
        """Copy all texels, bit by bit, on the device."""
        target = TEXTURE_2D_ARRAY if layers > 1 else TEXTURE_2D
        self._calls["glCopyImageSubData"](source, target, 0, 0, 0, 0, to, target, 0, 0, 0, 0, *size, layers)

    def new_framebuffer(self, texture: int, layer: int | None) -> int:
        """A framebuffer that draws into a texture, or into one layer of it."""
        name = c_uint()
        self._calls["glCreateFramebuffers"](1, ctypes.byref(name))
        if layer is None:
            self._calls["glNamedFramebufferTexture"](name, COLOR_ATTACHMENT0, texture, 0)
        else:
            self._calls["glNamedFramebufferTextureLayer"](name, COLOR_ATTACHMENT0, texture, 0, layer)
        return name.value

    def delete_framebuffer(self, name: int) -> None:
        """Give it back."""
        self._calls["glDeleteFramebuffers"](1, ctypes.byref(c_uint(name)))


def _library(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _bind(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """A function of a library, bound anew: the library's own table may be another module's."""
    return ctypes.CFUNCTYPE(result, *arguments)((name, library))


def _filled(kind: Any, **values: Any) -> Any:
    """A structure of the binding, with addresses as whatever pointer types it declares."""
    types, binding = dict(kind._fields_), kind()
    for name, value in values.items():
        address = isinstance(value, int | None) and ctypes.sizeof(types[name]) == ctypes.sizeof(c_size_t)
        plain = types[name] in (c_ulong, c_uint)
        setattr(binding, name, cast(c_void_p(value), types[name]) if address and not plain else value)
    return binding
