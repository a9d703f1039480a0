"""Opening the browser viewer: the session, its clients, and the server in front of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from texvlm.errors import ViewerUnavailable
from texvlm.viewer.modes import PictureMode
from texvlm.viewer.settings import ViewSettings
from texvlm.viewer.web.viewer import WebViewer

if TYPE_CHECKING:
    from texvlm.viewer.web.server import WebServer

HOST, PORT = "127.0.0.1", 8399
"""Where the browser viewer listens unless told otherwise."""


@contextmanager
def open_web(
    settings: ViewSettings,
    *,
    host: str = HOST,
    port: int = PORT,
    certificate: Path | None = None,
    key: Path | None = None,
    mode: PictureMode = PictureMode.BOTH,
    frames: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[WebViewer, WebServer]]:
    """A viewer that browsers can look at, and its server; `run` plays it.

    Args:
        settings: what to look at, and how.
        host: name or address to listen on; any but this machine's own asks browsers for a token.
        port: to listen on; 0 for any.
        certificate: PEM file, with `key`, for https.
        key: PEM file.
        mode: what browsers show first.
        frames: stop after so many frames.
        stop: asked again and again; True ends the viewer.
    Raises:
        ViewerUnavailable: the extra is missing, the port is taken, or the certificate cannot be read.
        ValueError: only one of certificate and key; or see ViewSession.
        SourceError, TypeError, BackendUnavailable, LookError, ModelError: see ViewSession.
    """
    if (certificate is None) != (key is None):
        raise ValueError("certificate and key belong together; give both, or none for http")
    try:
        from texvlm.viewer.web.server import Tls, WebServer
    except ImportError as error:
        raise ViewerUnavailable(f'{error.name} is not installed; pip install "texvlm[web]"') from None
    tls = None if certificate is None or key is None else Tls(certificate, key)
    viewer = WebViewer(settings, mode=mode, frames=frames, stop=stop)
    try:
        server = WebServer(viewer.clients, host=host, port=port, tls=tls)
        try:
            yield viewer, server
        finally:
            server.close()
    finally:
        viewer.close()
