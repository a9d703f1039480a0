"""OpenGL interop of the emulated device, with real textures of the context that is current.

Mapping copies every level and layer into an emulated array and leaves rubbish in the texture, which is
what OpenGL then sees; unmapping copies back, and finds out whether OpenGL wrote in between. Both are
undefined on a device ("the graphics API should not access any resources while they are mapped by CUDA").
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from ctypes import POINTER, byref, c_int, c_uint, c_void_p
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cuda_host.account import Account
from cuda_host.images import DeviceArray, ImageTable, Lifetime, rubbish
from texvlm.backends._gl_api import FLOAT, R8, R32F, RED, RGBA, RGBA8, RGBA32F, TEXTURE_2D_ARRAY, UNSIGNED_BYTE, GlApi
from texvlm.backends._gl_current import _current_api
from texvlm.backends._gl_state import preserved_state
from texvlm.errors import BackendUnavailable

TEXTURE_2D = 0x0DE1
HALF_FLOAT, RGBA16F = 0x140B, 0x881A
_WIDTH, _HEIGHT, _DEPTH, _FORMAT, _TARGET = 0x1000, 0x1001, 0x8071, 0x1003, 0x1006
_ALL_BARRIERS = 0xFFFFFFFF

_FORMATS: dict[int, tuple[int, int, int, str]] = {  # format and type of transfers, channels, element
    R8: (RED, UNSIGNED_BYTE, 1, "uint8"),
    RGBA8: (RGBA, UNSIGNED_BYTE, 4, "uint8"),
    R32F: (RED, FLOAT, 1, "float32"),
    RGBA32F: (RGBA, FLOAT, 4, "float32"),
    RGBA16F: (RGBA, HALF_FLOAT, 4, "float16"),
}


class _Context:
    """The calls of one OpenGL context."""

    def __init__(self, handle: int, address_of: Callable[[bytes], int | None]) -> None:
        self.handle = handle
        self.gl = GlApi(address_of)

        def bind(name: str, *arguments: Any) -> Callable[..., None]:
            return ctypes.CFUNCTYPE(None, *arguments)(address_of(name.encode()) or 0)

        self._level_parameter = bind("glGetTextureLevelParameteriv", c_uint, c_int, c_uint, POINTER(c_int))
        self._parameter = bind("glGetTextureParameteriv", c_uint, c_uint, POINTER(c_int))
        self.clear = bind("glClearTexImage", c_uint, c_int, c_uint, c_uint, c_void_p)
        self.write_2d = bind("glTextureSubImage2D", c_uint, *[c_int] * 5, c_uint, c_uint, c_void_p)

    def parameter(self, name: int, what: int) -> int:
        """glGetTextureParameteriv of one value."""
        value = c_int()
        self._parameter(name, what, byref(value))
        return value.value

    def level_parameter(self, name: int, level: int, what: int) -> int:
        """glGetTextureLevelParameteriv of one value."""
        value = c_int()
        self._level_parameter(name, level, what, byref(value))
        return value.value


@dataclass(slots=True, eq=False)
class _Mapping:
    """One epoch of a resource."""

    array: DeviceArray
    handle: int


@dataclass(slots=True, eq=False)
class _Resource:
    name: int
    target: int
    writable: bool
    context: int
    format: tuple[int, int, int, str]
    shapes: list[tuple[int, int, int, int]]  # (layers, height, width, channels) of each level
    mapping: _Mapping | None = None


class GlImages:
    """Registered textures."""

    def __init__(self, account: Account, images: ImageTable) -> None:
        self._account = account
        self._images = images
        self._contexts: dict[int, _Context] = {}

    def _current(self) -> _Context:
        try:
            current, address_of = _current_api()
        except BackendUnavailable:
            raise self._account.misuse("code 219: no OpenGL context is current on this thread") from None
        handle = current() or 0
        if handle not in self._contexts:
            self._contexts[handle] = _Context(handle, address_of)
        return self._contexts[handle]

    def require_context(self) -> None:
        """DeviceCallError unless a context is current on this thread."""
        self._current()

    # ------------------------------------------------------------------ registration

    def register(self, name: int, target: int, *, writable: bool) -> int:
        """A resource for a texture."""
        context = self._current()
        if target not in (TEXTURE_2D, TEXTURE_2D_ARRAY) or not context.gl.glIsTexture(name):
            raise self._account.misuse(f"code 1: {name} is no texture of this context, or target {target:#x} no 2D one")
        seen = context.parameter(name, _TARGET)
        if seen != target:
            raise self._account.misuse(f"code 801: texture {name} has target {seen:#x}, not {target:#x}")
        internal = context.level_parameter(name, 0, _FORMAT)
        if internal not in _FORMATS:
            raise self._account.misuse(f"code 1: texture {name} has the internal format {internal:#x}")
        shapes = []
        while len(shapes) < 16 and (width := context.level_parameter(name, len(shapes), _WIDTH)):
            height, depth = (context.level_parameter(name, len(shapes), what) for what in (_HEIGHT, _DEPTH))
            shapes.append((depth, height, width, _FORMATS[internal][2]))
        context.gl.pending_errors()  # of asking for a level that is not there
        resource = _Resource(name, target, writable, context.handle, _FORMATS[internal], shapes)
        return self._account.add("resource", resource)

    def unregister(self, handle: int) -> None:
        """Give a texture back for good."""
        resource = self._resource(handle)
        if resource.mapping is not None:
            raise self._account.misuse("code 208: the resource is mapped")
        self._require_own(resource)
        self._account.remove(handle, "resource")

    def _resource(self, handle: int) -> _Resource:
        return self._account.get(handle, "resource")  # type: ignore[no-any-return]

    def _require_own(self, resource: _Resource) -> _Context:
        context = self._current()
        if context.handle != resource.context:
            raise self._account.misuse("code 219: another OpenGL context is current than at registration")
        if not context.gl.glIsTexture(resource.name):
            raise self._account.misuse(f"texture {resource.name} was deleted while it was registered")
        return context

    # ------------------------------------------------------------------ mapping

    def map(self, handles: Sequence[int]) -> None:
        """Take textures from OpenGL."""
        resources = self._together(handles)
        if any(resource.mapping is not None for resource in resources):
            raise self._account.misuse("code 208: a resource is mapped already")
        for resource in resources:
            context = self._require_own(resource)
            with preserved_state(context.gl):
                context.gl.glMemoryBarrier(_ALL_BARRIERS)  # mapping waits for whatever OpenGL was asked to do
                levels = [_read(context, resource, level) for level in range(len(resource.shapes))]
                _clear(context, resource)
            context.gl.check("emulated map")
            array = DeviceArray(levels, resource.target == TEXTURE_2D_ARRAY, Lifetime(resource.writable))
            resource.mapping = _Mapping(array, self._account.add("array", array, owned=False))

    def unmap(self, handles: Sequence[int]) -> None:
        """Give textures back."""
        resources = self._together(handles)
        mappings = [self._mapping(resource) for resource in resources]
        for resource in resources:
            self._require_own(resource)
        touched = []
        for resource, mapping in zip(resources, mappings, strict=True):
            for handle in mapping.array.lifetime.objects:
                self._images.kill(handle)  # there to be destroyed, but kernels that use it from now on fail
            context = self._current()
            with preserved_state(context.gl):
                context.gl.glMemoryBarrier(_ALL_BARRIERS)
                for level, texels in enumerate(mapping.array.levels):
                    left = rubbish(texels.shape, texels.dtype.name)
                    if not np.array_equal(_read(context, resource, level), left, equal_nan=texels.dtype.kind == "f"):
                        touched.append(f"texture {resource.name}, level {level}")
                    _write(context, resource, level, texels)
            context.gl.check("emulated unmap")
            for handle in (mapping.handle, *mapping.array.lifetime.handles):
                self._account.expire(handle)
            resource.mapping = None
        if touched:
            raise self._account.misuse(f"OpenGL wrote while CUDA had it mapped: {'; '.join(touched)}")

    def _together(self, handles: Sequence[int]) -> list[_Resource]:
        if not handles or len(set(handles)) != len(handles):
            raise self._account.misuse(f"code 33: {list(handles)} names no resource, or one twice")
        return [self._resource(handle) for handle in handles]

    def _mapping(self, resource: _Resource) -> _Mapping:
        if resource.mapping is None:
            raise self._account.misuse("code 211: the resource is not mapped")
        return resource.mapping

    def mapped_array(self, handle: int) -> int:
        """The array of the present mapping."""
        return self._mapping(self._resource(handle)).handle

    def mapped_level(self, handle: int, layer: int, level: int) -> int:
        """One layer of one level of the present mapping."""
        array = self._mapping(self._resource(handle)).array
        if not (0 <= level < len(array.levels) and 0 <= layer < len(array.levels[0])):
            raise self._account.misuse(f"code 1: layer {layer}, level {level} of {len(array.levels[0])} layers")
        part = self._account.add("level", array.part(level, layer), owned=False)
        array.lifetime.handles.append(part)
        return part


# ---------------------------------------------------------------- transfers; pixel storage is tight


def _read(context: _Context, resource: _Resource, level: int) -> NDArray[np.generic]:
    form, kind, _, element = resource.format
    layers, height, width, _ = resource.shapes[level]
    texels = np.empty(resource.shapes[level], element)
    box = (0, 0, 0, width, height, layers)
    context.gl.glGetTextureSubImage(resource.name, level, *box, form, kind, texels.nbytes, texels.ctypes.data)
    return texels


def _write(context: _Context, resource: _Resource, level: int, texels: NDArray[np.generic]) -> None:
    form, kind = resource.format[:2]
    layers, height, width, _ = resource.shapes[level]
    if resource.target == TEXTURE_2D:
        context.write_2d(resource.name, level, 0, 0, width, height, form, kind, texels.ctypes.data)
    else:
        box = (0, 0, 0, width, height, layers)
        context.gl.glTextureSubImage3D(resource.name, level, *box, form, kind, texels.ctypes.data)


def _clear(context: _Context, resource: _Resource) -> None:
    form, kind, channels, element = resource.format
    texel = rubbish((channels,), element)
    for level in range(len(resource.shapes)):
        context.clear(resource.name, level, form, kind, texel.ctypes.data)
