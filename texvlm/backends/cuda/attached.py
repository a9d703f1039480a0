"""An application's own OpenGL texture as a source on the cuda backend: no copy through the host.

It is registered once, for reading only, and mapped only while a frame is taken from it, so that the
application may draw into it in between. Its context must be current on the calling thread, at attach
and for every frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Unpack

from texvlm.backends._gl_attached import examine, require_unchanged
from texvlm.backends.attached import AttachedFrame, AttachedTexture, ImageChoice
from texvlm.backends.base import Backend
from texvlm.backends.cuda.api import Driver, Stream
from texvlm.backends.cuda.arrays import ArrayObjects, destroy_objects
from texvlm.backends.cuda.deferred import Deferred
from texvlm.backends.cuda.frame_pixels import FramePixels
from texvlm.backends.cuda.gl_context import open_current_for
from texvlm.backends.cuda.interop import GlImage, Interop, MappingState
from texvlm.errors import ClosedError


class Attachments:
    """The application's textures that one backend reads."""

    def __init__(self, driver: Driver, interop: Interop | None = None) -> None:
        """With the interop of a backend that is on the application's context, or with what is current at attach."""
        self._driver = driver
        self._interop = interop
        self._adopts = interop is None
        self._maps_before = 0
        self._attached: list[AttachedTexture] = []
        self._retired = Deferred(driver)
        self._closed = False

    @property
    def maps(self) -> int:
        """Calls that mapped textures so far."""
        return self._maps_before + (0 if self._interop is None else self._interop.maps)

    def uses(self, interop: Interop) -> bool:
        """Whether its calls go through this interop."""
        return self._interop is interop

    def attach(self, name: int, target: int, size: tuple[int, int], **image: Unpack[ImageChoice]) -> AttachedTexture:
        """A texture of the context that is current as a source of AttachedFrames; see `_gl_attached.examine`.

        Its storage must stay as it is until `detach`.

        Raises:
            ValueError, TypeError: it cannot be one.
            BackendUnavailable: no context is current, or not one on this device.
            DeviceCallError: the driver refuses it.
        """
        if self._closed:
            raise ClosedError("attach: the cuda backend is closed; open a new engine")
        if self._adopts and not self._attached:  # nothing ties us to the context of earlier ones
            self._maps_before, self._interop = self.maps, None
            self._interop = Interop(self._driver, open_current_for(self._driver))
        assert self._interop is not None, "given, or just made"
        interop = self._interop

        def find() -> AttachedTexture:
            found = examine(interop.context.gl, name, target, size, **image)
            return AttachedTexture(found, interop.register(name, target, "read"))

        attached = interop.run(find)
        self._attached.append(attached)
        return attached

    @contextmanager
    def pixels(self, frame: AttachedFrame, stream: Stream) -> Iterator[FramePixels]:
        """A frame as kernels queued on the stream inside the scope read it; the texture is mapped meanwhile.

        Raises:
            ClosedError: it was detached, deleted, or given other storage.
            DeviceCallError: a wrong thread, or another context is current.
        """
        attached, driver = frame.texture, self._driver
        registered, interop = self._registered(attached)
        image = attached.image
        interop.run(lambda: require_unchanged(interop.context.gl, image))
        interop.map([registered], stream)
        try:
            level = interop.run(lambda: driver.mapped_level(registered.resource, image.layer, image.level))
            texture = driver.create_level_texture_object(level, normalised=image.format == "rgba8")
            try:
                yield FramePixels.from_texture(texture, image.size, corner=image.corner, origin=image.origin)
            finally:
                self._retired.add(partial(destroy_objects, driver, ArrayObjects(texture, ())), stream)
        finally:
            interop.unmap([registered], stream)

    def detach(self, texture: AttachedTexture) -> None:
        """Read it no more, and let the application delete it. May be called twice.

        Raises:
            DeviceCallError: a wrong thread, or another context is current: it stays attached; or the call failed.
        """
        if texture.handle is None:
            return
        registered, interop = self._registered(texture)
        try:
            interop.unregister(registered)
        finally:
            if registered.state is MappingState.CLOSED:
                texture.handle = None
                self._attached.remove(texture)

    def close(self) -> None:
        """Detach all. DeviceCallError when the application's context is not current here, or a call failed."""
        self._closed = True
        with ExitStack() as steps:
            for texture in self._attached:
                steps.callback(self.detach, texture)
            steps.callback(self._retired.close)

    def _registered(self, attached: AttachedTexture) -> tuple[GlImage, Interop]:
        if attached not in self._attached or self._interop is None:
            raise ClosedError(f"texture {attached.image.name} was detached; attach it anew")
        assert isinstance(attached.handle, GlImage), "an attached texture is registered"
        return attached.handle, self._interop


class AttachingBackend(Backend):
    """The two verbs of a cuda backend that its attachments serve."""

    _attachments: Attachments
    _driver: Driver

    def attach(self, name: int, target: int, size: tuple[int, int], **image: Unpack[ImageChoice]) -> AttachedTexture:
        """See Backend."""
        with self._driver.guard():
            return self._attachments.attach(name, target, size, **image)

    def detach(self, texture: AttachedTexture) -> None:
        """See Backend. May be called twice."""
        with self._driver.guard():
            self._attachments.detach(texture)
