"""Texture arrays that OpenGL owns and CUDA samples and writes.

All arrays of a backend are mapped by one call and unmapped by one call. Texture and surface objects
belong to one mapping: they are made after each map and given up before each unmap, because the driver
may give another array every time. They are destroyed when the kernels that are queued have run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from texvlm.backends._gl_api import TEXTURE_2D_ARRAY
from texvlm.backends._gl_texture import GlTexture
from texvlm.backends.base import Texture
from texvlm.backends.cuda.api import Driver, Stream
from texvlm.backends.cuda.arrays import ArrayObjects, Storage, destroy_objects, make_objects
from texvlm.backends.cuda.deferred import Deferred
from texvlm.backends.cuda.interop import Interop, MappingState
from texvlm.backends.gl import GlBackend
from texvlm.pyramid import TextureSpec


class GlArrays:
    """Every OpenGL-owned array of one backend."""

    def __init__(self, driver: Driver, interop: Interop, owner: GlBackend) -> None:
        """`owner` makes and deletes the textures, and writes them from OpenGL's side."""
        self._driver = driver
        self._interop = interop
        self._owner = owner
        self._arrays: list[GlArray] = []
        self._last: Stream | None = None
        self.retired = Deferred(driver)

    def __iter__(self) -> Iterator[GlArray]:
        return iter(self._arrays)

    def create(self, spec: TextureSpec) -> GlArray:
        """An array with undefined content; ValueError beyond the driver's limits, MemoryError without room."""
        texture = self._owner.create_texture(spec)
        try:
            array = GlArray(self._driver, self._interop, self, texture)
        except BaseException:
            self._owner.destroy_texture(texture)
            raise
        self._arrays.append(array)
        return array

    def for_cuda(self, stream: Stream) -> None:
        """Map every array that OpenGL has, in one call. Those that are lent stay so."""
        self._last = stream
        taken = [array for array in self._arrays if array.image.state is MappingState.REGISTERED]
        if not taken:
            return
        images = [array.image for array in taken]
        self._interop.map(images, stream)
        try:
            self._interop.run(partial(_make_all, taken))
        except BaseException:
            with ExitStack() as steps:  # last step first
                steps.callback(self._interop.unmap, images, stream)
                for array in taken:
                    steps.callback(array.destroy_objects)
            raise

    def for_gl(self, stream: Stream) -> None:
        """Unmap every array that CUDA has, in one call, after what is queued on the stream."""
        self._last = stream
        given = [array for array in self._arrays if array.image.state is MappingState.MAPPED]
        if not given:
            return
        with ExitStack() as steps:  # last step first
            steps.callback(self._interop.unmap, [array.image for array in given], stream)
            for array in given:
                steps.callback(array.retire_objects, stream)

    def forget(self, array: GlArray) -> None:
        """Delete the texture of an array that CUDA uses no more."""
        self._owner.destroy_texture(array.owned)
        self._arrays.remove(array)

    def wait(self) -> None:
        """Return when what was queued for the arrays is done."""
        if self._last is not None:
            self._driver.synchronize(self._last)

    @property
    def stream(self) -> Stream:
        """The stream that the arrays were last used on."""
        return self._driver.current_stream() if self._last is None else self._last


class GlArray(Storage):
    """One OpenGL-owned array. Attributes: `image`, its registration; `owned`, the texture as its owner made it."""

    def __init__(self, driver: Driver, interop: Interop, arrays: GlArrays, owned: Texture) -> None:
        assert isinstance(owned.handle, GlTexture), "the texture was just made"
        self._driver = driver
        self._interop = interop
        self._arrays = arrays
        self.owned = owned
        self.image = interop.register(owned.handle.name, TEXTURE_2D_ARRAY, "surface")
        self._objects: ArrayObjects | None = None
        self._epoch = 0

    def objects(self, stream: Stream) -> ArrayObjects:
        """See Storage. Maps every array of the backend where this one is not.

        Raises:
            DeviceCallError: it is lent to OpenGL, or it must be mapped while the stream is being captured.
            ClosedError: it was closed.
        """
        self.image.require("objects", MappingState.REGISTERED, MappingState.MAPPED)
        if self.image.state is MappingState.REGISTERED:
            self._arrays.for_cuda(stream)
        elif self._objects is None:  # an unmap failed after they were destroyed
            self._interop.run(self.make_objects)
        assert self._objects is not None, "a mapped array has objects"
        return self._objects

    @property
    def gl_texture(self) -> Texture:
        """The texture, for OpenGL to use. DeviceCallError while it is mapped."""
        self.image.require("gl_texture", MappingState.REGISTERED, MappingState.LENT)
        return self.owned

    @contextmanager
    def lent_to_gl(self, stream: Stream) -> Iterator[int]:
        """OpenGL's name of the texture, which is OpenGL's until the scope ends, for example to show it.

        On a headless context the name means something only in `GlContext.run`. What was queued on the
        stream comes before OpenGL's work, and that before what is queued after the scope. Afterwards
        the array is mapped again.
        """
        self.image.require("lent_to_gl", MappingState.REGISTERED, MappingState.MAPPED)
        if self.image.state is MappingState.MAPPED:
            self.retire_objects(stream)
            self._interop.unmap([self.image], stream)
        self.image.state = MappingState.LENT
        try:
            yield self.image.name
        finally:
            self.image.state = MappingState.REGISTERED
            self._arrays.for_cuda(stream)

    def make_objects(self) -> None:
        """Texture and surface objects of this mapping. Where the context is current."""
        self.image.require("make_objects", MappingState.MAPPED)
        array = self._driver.mapped_array(self.image.resource)
        self._epoch += 1
        self._objects = replace(make_objects(self._driver, array, self.owned.spec), epoch=self._epoch)

    def retire_objects(self, stream: Stream) -> None:
        """Give up those of this mapping, before it ends; kernels queued on the stream may still use them."""
        if self._objects is not None:
            objects, self._objects = self._objects, None
            self._arrays.retired.add(partial(destroy_objects, self._driver, objects), stream)

    def destroy_objects(self) -> None:
        """Destroy those of this mapping, which nothing queued uses."""
        if self._objects is None:
            return
        objects, self._objects = self._objects, None
        with ExitStack() as steps:
            steps.callback(self._driver.destroy_texture_object, objects.texture)
            for surface in objects.surfaces:
                steps.callback(self._driver.destroy_surface_object, surface)

    def close(self) -> None:
        """See Storage. In order: wait, destroy the objects, unmap, unregister, delete the texture.

        Every step is taken even where one fails, and the error raised at the end; but nothing is deleted
        under CUDA's feet: refused on a wrong thread or context, it stays as it is and may be closed again.

        Raises:
            DeviceCallError: it is lent to OpenGL, or a call failed.
        """
        if self.owned.handle is None:
            return
        if self.image.state is MappingState.LENT:
            self.image.require("close", MappingState.REGISTERED, MappingState.MAPPED)
        with ExitStack() as steps:  # last step first
            steps.callback(self._leave, MappingState.CLOSED, lambda: self._arrays.forget(self))
            steps.callback(self._leave, MappingState.REGISTERED, lambda: self._interop.unregister(self.image))
            steps.callback(
                self._leave, MappingState.MAPPED, lambda: self._interop.unmap([self.image], self._arrays.stream)
            )
            steps.callback(self.destroy_objects)
            steps.callback(self._arrays.retired.close)
            steps.callback(self._arrays.wait)

    def _leave(self, state: MappingState, step: Callable[[], None]) -> None:
        """Take one step of the teardown, if the one before has led here."""
        if self.image.state is state:
            step()


def _make_all(arrays: list[GlArray]) -> None:
    for array in arrays:
        array.make_objects()
