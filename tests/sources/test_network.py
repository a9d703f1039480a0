"""Real sockets on this machine: files over HTTP, live streams, kill and restart, time-outs, cameras."""

from __future__ import annotations

import contextlib
import errno
import functools
import http.server
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest
from clips import SIZE, corners, write_clip

from texvlm.errors import SourceError
from texvlm.sources import Backoff, open_source
from texvlm.sources import network as network_module
from texvlm.sources.live import LiveSource
from texvlm.sources.video import VideoSource

QUICK = Backoff(first_s=0.05, factor=1.5, longest_s=0.2, attempts=60)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Waits for what another thread does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


class LiveServer:
    """Streams an MPEG-TS clip over HTTP for ever, at the pace of a camera; can be killed and restarted."""

    def __init__(self, clip: Path) -> None:
        self.data = clip.read_bytes()
        self.port = 0
        self.start()

    def start(self) -> None:
        data, sockets, stop = self.data, [], threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                sockets.append(self.connection)
                self.send_response(200)
                self.send_header("Content-Type", "video/mp2t")
                self.end_headers()
                step = 188 * 20
                try:
                    while not stop.is_set():
                        for at in range(0, len(data), step):
                            self.wfile.write(data[at : at + step])
                            if stop.wait(0.004):
                                return
                except OSError:
                    pass  # the client went away

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                pass

        self.server = Server(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_address[1]
        self.sockets, self.stop = sockets, stop
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/live.ts"

    def kill(self) -> None:
        self.stop.set()
        for connection in self.sockets:
            with contextlib.suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture(scope="module")
def transport_stream(tmp_path_factory) -> Path:
    return write_clip(
        tmp_path_factory.mktemp("live") / "live.ts",
        codec="mpeg2video",
        frames=60,
        container="mpegts",
        options={"g": "5", "bf": "0"},
    )


@pytest.fixture
def server(transport_stream) -> Iterator[LiveServer]:
    server = LiveServer(transport_stream)
    yield server
    server.kill()


@pytest.fixture
def file_server(tmp_path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_file_on_a_web_server_gives_every_frame_and_ends(tmp_path, file_server):
    write_clip(tmp_path / "a.mp4", frames=30, container_options={"movflags": "faststart"})
    write_clip(tmp_path / "a.ts", frames=30, container="mpegts")
    for name in ("a.mp4", "a.ts"):
        with open_source(f"{file_server}/{name}") as source:
            assert isinstance(source, VideoSource)
            assert len(list(source)) == 30
            assert source.describe()["truncated"] is False


def test_a_stream_without_an_end_is_live(server):
    with open_source(server.address, open_timeout=5, read_timeout=2) as source:
        assert isinstance(source, LiveSource)
        assert (source.size, source.frames, source.info.kind) == (SIZE, None, "live")
        frames = [next(source) for _ in range(5)]
        facts = source.describe()
    assert all(corners(f.pixels) == "rgbw" for f in frames)
    assert facts["delivered"] == 5
    assert facts["received"] >= 5
    assert facts["connected"] is True


def test_a_slow_consumer_gets_new_frames_not_a_backlog(server):
    with open_source(server.address, open_timeout=5, read_timeout=2) as source:
        next(source)
        before = source.received
        until(lambda: source.received >= before + 20)
        newest = source.received
        next(source)
        assert source.dropped >= 15
        assert source.received >= newest


def test_a_killed_server_is_found_again_after_its_restart(server):
    with open_source(server.address, open_timeout=5, read_timeout=2, backoff=QUICK) as source:
        before = next(source)
        server.kill()
        before_kill = source.received + 5  # the decoder may still hold a few
        until(lambda: not source.describe()["connected"])
        server.start()
        until(lambda: source.reconnects == 1)
        until(lambda: source.received > before_kill)
        after = next(source)
        assert source.reconnects >= 1
        assert source.describe()["connected"] is True
    assert corners(after.pixels) == "rgbw"
    assert after.pts > before.pts


def test_a_server_that_stays_away_ends_in_one_clear_error(server, transport_stream):
    lost = LiveServer(transport_stream)
    backoff = Backoff(first_s=0.01, longest_s=0.02, attempts=3)
    with open_source(lost.address, open_timeout=5, read_timeout=1, backoff=backoff) as source:
        next(source)
        lost.kill()
        with pytest.raises(SourceError, match=r"lost, and 3 attempts to reconnect failed; last: .*cannot be opened"):
            list(source)


def test_closing_a_live_stream_from_another_thread(server):
    source = open_source(server.address, open_timeout=5, read_timeout=1)
    seen = []
    consumer = threading.Thread(target=lambda: seen.extend(source.describe()["received"] for _ in source))
    consumer.start()
    until(lambda: bool(seen))
    source.close()
    consumer.join(10)
    assert not consumer.is_alive()
    assert not any(t.name == f"texvlm source {server.address}" for t in threading.enumerate())


def test_a_udp_stream(transport_stream):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data, stop = transport_stream.read_bytes(), threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            while not stop.is_set():
                for at in range(0, len(data), 1316):
                    out.sendto(data[at : at + 1316], ("127.0.0.1", port))
                    if stop.wait(0.001):
                        return

    sender = threading.Thread(target=send)
    sender.start()
    try:
        with open_source(f"udp://127.0.0.1:{port}", open_timeout=8, read_timeout=1) as source:
            frames = [next(source) for _ in range(3)]
    finally:
        stop.set()
        sender.join()
    assert all(f.size == SIZE for f in frames)


def test_addresses_that_do_not_answer_are_refused_in_time(file_server):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        start = time.monotonic()
        with pytest.raises(SourceError, match="time-out"):
            open_source(f"http://127.0.0.1:{silent.getsockname()[1]}/a.ts", open_timeout=0.4, read_timeout=0.4)
        assert time.monotonic() - start < 5  # it must end at all; no speed is asserted
        free = silent.getsockname()[1]
    for scheme in ("http", "rtsp", "tcp"):
        with pytest.raises(SourceError, match=f"^{scheme}://127.0.0.1:{free}/x: cannot be opened: "):
            open_source(f"{scheme}://127.0.0.1:{free}/x", open_timeout=2)
    with pytest.raises(SourceError, match=r"missing\.mp4: cannot be opened"):
        open_source(f"{file_server}/missing.mp4", open_timeout=2)


def test_an_answer_that_is_no_video_is_refused(tmp_path, file_server):
    (tmp_path / "page.html").write_text("<html>hello</html>" * 50)
    with pytest.raises(SourceError, match=r"page\.html: cannot be opened: the answer is no video"):
        open_source(f"{file_server}/page.html", open_timeout=2)


@pytest.mark.parametrize("camera", ["camera:97", "/dev/video97"])
def test_a_missing_camera_is_refused(camera):
    with pytest.raises(SourceError, match=rf"^{camera}: (no camera at /dev/video97; cameras here: |cannot be opened)"):
        open_source(camera, open_timeout=2)


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EBUSY, "it is in use; close the program that has it"), (errno.EACCES, "permission denied; .* `video`")],
)
def test_a_camera_that_somebody_else_has_is_one_line_with_the_way_out(monkeypatch, tmp_path, number, words):
    def refuse(*_, **__):
        raise av.error.FFmpegError(number, os.strerror(number), "/dev/video0")

    monkeypatch.setattr(network_module.av, "open", refuse)
    monkeypatch.setattr(network_module, "_camera_device", lambda camera: ("/dev/video0", "v4l2", {}))
    with pytest.raises(SourceError, match=f"^camera:0: cannot be opened: {words}") as refusal:
        open_source("camera:0")
    assert "\n" not in str(refusal.value)
