"""The page, the pictures and the sockets: FastAPI on uvicorn, on a thread and an event loop of their own."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
import websockets  # noqa: F401 - uvicorn loads it late; what is missing is told when the viewer opens
from fastapi import FastAPI, Request, Response, WebSocket
from starlette.datastructures import Headers, QueryParams

from texvlm.drawing.pictures import png_bytes
from texvlm.errors import ViewerUnavailable
from texvlm.viewer.modes import parse_mode
from texvlm.viewer.web.access import Access, access_for, embedding_refusal
from texvlm.viewer.web.clients import Client, Clients
from texvlm.viewer.web.messages import LONGEST_MESSAGE, read_message
from texvlm.viewer.web.pictures import draw_snapshot

PAGE = Path(__file__).parent / "page"
PAGE_FILES = {
    "view.js": "text/javascript",
    "draw.js": "text/javascript",
    "record.js": "text/javascript",
    "wishes.js": "text/javascript",
    "xr.js": "text/javascript",
    "view.css": "text/css",
}

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Permissions-Policy": "xr-spatial-tracking=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

FIRST_PICTURE_S = 2.0
"""Longest wait of a single picture for the engine."""

CLOSING_S = 2
"""Connections that are still open after so long are cut."""

POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013
"""Codes of a WebSocket that is refused or closed."""

BROKEN = frozenset({1002, 1007, 1009})
"""Codes of one that ended with what it sent: against the protocol, no UTF-8, too long."""


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of a certificate and its key, PEM: headsets enter immersive sessions only over https."""

    certificate: Path
    key: Path


class WebServer:
    """Owns a listening socket and the thread that serves it.

    Args:
        clients: whom it adds, and whose messages it hands on.
        host: name or address to listen on.
        port: to listen on; 0 for any.
        tls: for https; None for http.
    Raises:
        ViewerUnavailable: the port is taken, the host is not this machine's, or the certificate cannot be read.

    Attributes:
        access: what requests must show.
        address: (host, port) it listens on.
    """

    def __init__(self, clients: Clients, *, host: str = "127.0.0.1", port: int = 0, tls: Tls | None = None) -> None:
        self.access = access_for(host)
        self._host, self._scheme = host, "http" if tls is None else "https"
        self._socket = _listen(host, port)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        try:
            config = uvicorn.Config(
                make_app(clients, self.access),
                ws="websockets-sansio",
                ws_max_size=LONGEST_MESSAGE,
                ws_per_message_deflate=False,  # pictures are compressed already
                lifespan="off",
                log_config=None,
                access_log=False,  # addresses carry the token
                timeout_graceful_shutdown=CLOSING_S,
                ssl_certfile=None if tls is None else tls.certificate,
                ssl_keyfile=None if tls is None else tls.key,
            )
            config.load()
            logging.getLogger("uvicorn.error").addFilter(_is_worth_a_word)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            self._socket.close()
            raise ViewerUnavailable(f"certificate or key cannot be read: {error}; give PEM files of both") from error
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="texvlm view --web server", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address to open in a browser."""
        host = socket.gethostname() if self._host in ("0.0.0.0", "::", "") else self._host
        host = f"[{host}]" if ":" in host else host
        token = "" if self.access.token is None else f"?token={self.access.token}"
        return f"{self._scheme}://{host}:{self.address[1]}/{token}"

    def close(self) -> None:
        """Close all connections and the socket. May be called twice."""
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def make_app(clients: Clients, access: Access) -> FastAPI:
    """The routes of one viewer."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    files = {name: (PAGE / name).read_bytes() for name in ("index.html", *PAGE_FILES)}

    @app.get("/")
    async def page(request: Request) -> Response:
        why = _refusal(access, request.headers, request.query_params)
        return _refused(why) if why else Response(files["index.html"], media_type="text/html", headers=HEADERS)

    @app.get("/page/{name}")
    async def page_file(name: str) -> Response:
        if name not in PAGE_FILES:
            return Response("no such file", 404, headers=HEADERS, media_type="text/plain")
        return Response(files[name], media_type=PAGE_FILES[name], headers=HEADERS)

    @app.get("/picture.png")
    def picture(request: Request, mode: str = "both") -> Response:  # not async: it runs on a thread
        why = _refusal(access, request.headers, request.query_params) or embedding_refusal(
            request.headers.get("sec-fetch-site")
        )
        if why:
            return _refused(why)
        try:
            wanted = parse_mode(mode)
        except ValueError as error:
            return Response(str(error), 400, headers=HEADERS, media_type="text/plain")
        snapshot = clients.newest(FIRST_PICTURE_S)
        if snapshot is None:
            return Response("there is no picture yet; ask again", 503, headers=HEADERS, media_type="text/plain")
        width, height = snapshot.shown.size
        image, _ = draw_snapshot(snapshot, wanted, (2 * width + 4, height))
        return Response(png_bytes(image), media_type="image/png", headers=HEADERS)

    @app.websocket("/socket")
    async def connect(websocket: WebSocket) -> None:
        why = _refusal(access, websocket.headers, websocket.query_params)
        if why:
            await websocket.close(POLICY_VIOLATION, why)
            return
        await _serve_client(websocket, clients)

    return app


async def _serve_client(websocket: WebSocket, clients: Clients) -> None:
    """One client, from its first packet to its last message."""
    packets: asyncio.Queue[bytes] = asyncio.Queue(1)  # one is under way at most
    loop = asyncio.get_running_loop()

    def put(packet: bytes) -> None:
        if not packets.full():  # full where a client acknowledged what it cannot have seen
            packets.put_nowait(packet)

    def deliver(packet: bytes) -> None:
        with suppress(RuntimeError):  # the loop has closed: so has the socket
            loop.call_soon_threadsafe(put, packet)

    await websocket.accept()
    try:
        client = clients.add(deliver)
    except ViewerUnavailable as refusal:
        await websocket.close(TRY_AGAIN_LATER, str(refusal))
        return
    sending = asyncio.create_task(_send(websocket, packets))
    try:
        await _receive(websocket, client, clients)
    finally:
        clients.remove(client)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _send(websocket: WebSocket, packets: asyncio.Queue[bytes]) -> None:
    while True:
        await websocket.send_bytes(await packets.get())


async def _receive(websocket: WebSocket, client: Client, clients: Clients) -> None:
    while True:
        message: Mapping[str, Any] = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            if message.get("code") in BROKEN:
                clients.count_malformed()
            return
        try:
            clients.take(client, read_message(message.get("text") or ""))
        except ValueError:
            clients.count_malformed()


def _refusal(access: Access, headers: Headers, query: QueryParams) -> str | None:
    return access.refusal(host=headers.get("host"), origin=headers.get("origin"), token=query.get("token"))


def _refused(why: str) -> Response:
    return Response(f"texvlm: {why}\n", 403, headers=HEADERS, media_type="text/plain")


def _is_worth_a_word(record: logging.LogRecord) -> bool:
    """Not a text without UTF-8, of which uvicorn prints a traceback: it is counted, as all garbage is."""
    return record.exc_info is None or not isinstance(record.exc_info[1], UnicodeDecodeError)


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket; ViewerUnavailable where there is none to be had."""
    try:
        family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        number = getattr(error, "errno", None) or 0  # negative where a name is not known
        why = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or str(error)
        raise ViewerUnavailable(
            f"cannot listen on {host}, port {port}: {why}; give another --port (0 for any) or --host"
        ) from None
