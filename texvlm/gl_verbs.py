"""The engine's verbs about OpenGL: textures of the application as sources, and arrays lent to it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Unpack

from texvlm.backends.attached import AttachedTexture, ImageChoice
from texvlm.backends.base import Backend
from texvlm.guard import CallGuard
from texvlm.residency import FrameStore


class GlTextureVerbs:
    """The part of `Engine` that OpenGL is spoken of in; the engine owns what it works on."""

    _guard: CallGuard
    _backend: Backend
    _store: FrameStore
    _attached: list[AttachedTexture]

    def attach_gl_texture(
        self, name: int, target: int, size: tuple[int, int], **image: Unpack[ImageChoice]
    ) -> AttachedTexture:
        """A texture of the application's as a source of frames, without a copy through the host.

        `submit` it for every frame drawn, with its context current on the calling thread, as here. See
        Backend.attach for arguments and errors.
        """
        with self._guard.call("attach_gl_texture"):
            self._attached.append(self._backend.attach(name, target, size, **image))
            return self._attached[-1]

    def detach_gl_texture(self, texture: AttachedTexture) -> None:
        """Let go of it; the application may delete it afterwards. What was taken from it stays."""
        if not isinstance(texture, AttachedTexture):
            raise TypeError(f"{texture!r} is no attached texture; give what attach_gl_texture returned")
        with self._guard.call("detach_gl_texture"):
            self._backend.detach(texture)
            self._attached = [other for other in self._attached if other is not texture]

    def lent_to_gl(self) -> AbstractContextManager[int]:
        """OpenGL's name of the texture array, an array texture with a layer a source: OpenGL's until the scope ends.

        Of the backends whose arrays CUDA and OpenGL share; CUDA takes neither frames nor tokens meanwhile.
        """
        with self._guard.call("lent_to_gl"):
            return self._backend.lent_to_gl(self._store.texture)
