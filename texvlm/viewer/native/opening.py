"""Opening the native viewer: a surface, the backend that draws from its context, and the session on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from texvlm.backends import open_backend
from texvlm.backends.base import Backend
from texvlm.viewer.native.offscreen import OffscreenSurface
from texvlm.viewer.native.surface import Surface
from texvlm.viewer.native.window import GlfwWindow
from texvlm.viewer.session import ViewSession
from texvlm.viewer.settings import ViewSettings


@contextmanager
def open_surface(title: str, size: tuple[int, int], *, offscreen: bool, vsync: bool = True) -> Iterator[Surface]:
    """A window, or a framebuffer that nobody sees.

    Raises:
        ViewerUnavailable, BackendUnavailable: it cannot be had; says the way out.
    """
    surface: Surface = OffscreenSurface(size) if offscreen else GlfwWindow(title, size, vsync=vsync)
    try:
        yield surface
    finally:
        surface.close()


@contextmanager
def open_session(settings: ViewSettings, surface: Surface) -> Iterator[ViewSession]:
    """A session whose frames live in the surface's context, where the settings allow that.

    Raises:
        SourceError, ValueError, TypeError, BackendUnavailable, LookError, ModelError: see ViewSession.
    """
    backend = open_view_backend(settings.backend)
    try:
        with ViewSession(settings, backend=backend, wake=surface.wake) as session:
            yield session
    finally:
        backend.close()


def open_view_backend(name: str) -> Backend:
    """The backend to draw from on the current context: gl on it, or cuda sharing arrays with it, or cpu.

    `auto` is gl: what is shown lies where it is drawn.

    Raises:
        ValueError: an unknown name.
        BackendUnavailable: it cannot be had.
    """
    if name in ("auto", "gl"):
        from texvlm.backends.gl import open_current

        return open_current()
    if name == "cuda":
        from texvlm.backends.cuda.gl_backend import open_cuda_gl

        return open_cuda_gl(mapping="resident", current=True)
    return open_backend(name).backend
