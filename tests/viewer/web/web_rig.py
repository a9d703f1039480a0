"""A viewer that is served to real sockets while a test talks to it, and a client that says what it likes."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack

from viewer.films import Film
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from texvlm.viewer import ViewSettings
from texvlm.viewer import settings as settings_module
from texvlm.viewer.web.messages import read_packet
from texvlm.viewer.web.opening import open_web

TIMES = [k / 30 for k in range(60)]


def wait_until(true, timeout_s=90.0):
    end = time.monotonic() + timeout_s
    while not (found := true()):
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)
    return found


class Served:
    """Plays on a thread from the beginning to `close`; what ends it before is raised there."""

    def __init__(self, settings=None, *, until_s=60.0, **options):
        self.settings = settings or ViewSettings("film", backend="cpu", tokens=40, patch=8)
        self._options, self._until_s = options, until_s
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._error = None
        self._fixation = None
        self.viewer = self.server = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._ready.wait(90)
        if self._error is not None:
            self.close()

    @property
    def port(self):
        return self.server.address[1]

    @property
    def clients(self):
        return self.viewer.clients

    @property
    def fixation(self):
        """Of the newest picture that this saw; while one is made there is none."""
        shown = self.viewer.session.shown
        if shown is not None:
            self._fixation = tuple(shown.fixations[0])
        return self._fixation

    def close(self):
        self._stopping.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self):
        try:
            with open_web(
                self.settings, port=self._options.pop("port", 0), stop=self._stopping.is_set, **self._options
            ) as opened:
                self.viewer, self.server = opened
                self._ready.set()
                self.viewer.run()
                self._stopping.wait(self._until_s)
        except Exception as error:
            self._error = error
        finally:
            self._ready.set()


def serve_film(monkeypatch, *, size=(96, 64), kind="video", times=TIMES, failing=False, settings=None, **options):
    """A film that begins anew for ever, served; its owner closes it."""
    monkeypatch.setattr(
        settings_module, "open_source", lambda name: Film(times, size=size, kind=kind, rate=30.0, failing=failing)
    )
    return Served(settings, **options)


class Talker:
    """One client of a served viewer. It acknowledges only what `take` was called for."""

    def __init__(self, served, *, origin="own", path="socket", token=None):
        query = f"?token={token}" if token else ""
        address = f"127.0.0.1:{served.port}"
        self._closing = ExitStack()
        connection = connect(
            f"ws://{address}/{path}{query}",
            origin=f"http://{address}" if origin == "own" else origin,
            max_size=None,
            compression=None,
        )
        self.socket = self._closing.enter_context(connection)
        self.state = {}
        self.notices = []

    def say(self, message):
        self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    def take(self, timeout_s=60.0):
        """(header, picture) of the next packet, acknowledged."""
        header, picture = read_packet(self.socket.recv(timeout_s))
        self.state |= header.get("state", {})
        self.notices += header.get("notices", [])
        self.say({"ack": header["packet"]})
        return header, picture

    def take_until(self, true, timeout_s=90.0):
        """Packets until one is right; that one."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            header, picture = self.take()
            if true(header):
                return header, picture
        raise AssertionError("it never came")

    def close(self):
        self._closing.close()

    def code_at_end(self, timeout_s=60.0):
        """Take everything until the server ends it; its code, None where it just went."""
        try:
            while True:
                self.socket.recv(timeout_s)
        except ConnectionClosed as closed:
            return None if closed.rcvd is None else closed.rcvd.code
