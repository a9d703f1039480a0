"""Cameras and network addresses through FFmpeg: what they are called, how they are opened.

An address with a known end (a file on a web server, a recorded playlist) is read as a file, every
frame of it; everything else is live.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import av
from av.error import FFmpegError
from av.video.frame import VideoFrame

from texvlm.errors import SourceError
from texvlm.sources.base import Source
from texvlm.sources.decoded import FrameMaker
from texvlm.sources.live import Arrival, Backoff, Connection, LiveSource
from texvlm.sources.video import VideoDecoder, VideoSource

SCHEMES = ("rtsp", "rtsps", "rtmp", "rtmps", "http", "https", "udp", "tcp", "srt", "rtp")
"""Address schemes that are accepted."""

_FINITE_SCHEMES = ("http", "https")
"""Schemes behind which a file with a known end may lie."""


class _Connected:
    """A Connection over one opened container."""

    def __init__(self, decoder: VideoDecoder, *, channels: int, motion_vectors: bool) -> None:
        self._decoder = decoder
        exported = motion_vectors and decoder.export_motion()
        self._maker = FrameMaker(channels=channels, motion_vectors=exported)
        rate = decoder.stream.average_rate or decoder.stream.guessed_rate
        self.rate = float(rate) if rate else None

    def arrivals(self) -> Iterator[Arrival]:
        for picture in self._decoder.pictures():
            yield self._arrival(picture)

    def _arrival(self, picture: VideoFrame) -> Arrival:
        pts = self._decoder.seconds(picture.pts)
        return Arrival(pts, partial(self._maker.make, picture, pts=pts))

    @property
    def failure(self) -> str | None:
        error = self._decoder.failure
        return None if error is None else _why(error)

    @property
    def damaged(self) -> int:
        return self._decoder.damaged

    def close(self) -> None:
        self._decoder.close()


@dataclass(frozen=True, slots=True)
class _Opener:
    """Everything needed to open one address or camera, again and again. Calling it connects.

    Attributes:
        name: the input as the caller named it.
        address: what FFmpeg opens, with `driver` (None: found out) and `options`.
        timeouts: (to open, between packets), seconds.
    """

    name: str
    address: str
    driver: str | None
    options: dict[str, str]
    timeouts: tuple[float, float]
    channels: int = 3
    motion_vectors: bool = False
    stream: int | None = None

    def decoder(self) -> VideoDecoder:
        """An opened container; SourceError names what went wrong."""
        try:
            container = av.open(self.address, format=self.driver, options=self.options, timeout=self.timeouts)
        except (FFmpegError, ValueError) as error:
            raise SourceError(f"{self.name}: cannot be opened: {_why(error)}") from error
        try:
            return VideoDecoder(container, self.name, stream=self.stream, live=True)
        except BaseException:
            container.close()
            raise

    def __call__(self, decoder: VideoDecoder | None = None) -> Connection:
        return _Connected(decoder or self.decoder(), channels=self.channels, motion_vectors=self.motion_vectors)


def open_address(
    address: str,
    *,
    channels: int = 3,
    motion_vectors: bool = False,
    every: int = 1,
    live: bool | None = None,
    stream: int | None = None,
    open_timeout: float = 10.0,
    read_timeout: float = 5.0,
    backoff: Backoff | None = None,
) -> Source:
    """Open a network address; see `open_source`.

    Raises:
        SourceError: nothing answers within `open_timeout`, or there is no video in the answer.
    """
    scheme = address.split(":", 1)[0].lower()
    options = {"rtsp_transport": "tcp"} if scheme.startswith("rtsp") else {}
    if scheme not in _FINITE_SCHEMES:
        # Probing a live stream costs its own play time: half a second is enough to meet the tables of MPEG-TS.
        options |= {"analyzeduration": "500000", "fflags": "nobuffer"}
    opener = _Opener(address, address, None, options, (open_timeout, read_timeout), channels, motion_vectors, stream)
    decoder = opener.decoder()
    try:
        if live is None:
            live = scheme not in _FINITE_SCHEMES or not _has_end(decoder.container)
        if not live:
            decoder.live = False
            return VideoSource(decoder, channels=channels, motion_vectors=motion_vectors, every=every)
    except BaseException:
        decoder.close()
        raise
    return LiveSource(
        address,
        opener,
        connection=opener(decoder),
        every=every,
        backoff=backoff,
        first_frame_s=open_timeout,
        close_s=read_timeout + 1,
    )


def open_camera(
    camera: str,
    *,
    channels: int = 3,
    every: int = 1,
    open_timeout: float = 10.0,
    read_timeout: float = 5.0,
    backoff: Backoff | None = None,
) -> Source:
    """Open a camera: "camera:0", "camera:NAME" or "/dev/videoN"; see `open_source`.

    Raises:
        SourceError: there is no such camera; names those that there are.
    """
    device, driver, options = _camera_device(camera)
    opener = _Opener(camera, device, driver, options, (open_timeout, read_timeout), channels)
    return LiveSource(
        camera, opener, every=every, backoff=backoff, first_frame_s=open_timeout, close_s=read_timeout + 1
    )


def _has_end(container: Any) -> bool:
    """Whether an opened address states where it ends: a duration, or a length in bytes."""
    if container.duration:
        return True
    # The bytes of a playlist say nothing about the length of what it lists.
    return container.size > 0 and container.format.name not in ("hls", "dash")


def _camera_device(camera: str) -> tuple[str, str, dict[str, str]]:
    """(device, FFmpeg input driver, options) of a camera on this platform."""
    wanted = camera.removeprefix("camera:") or "0"
    if sys.platform == "darwin":
        return wanted, "avfoundation", {"framerate": "30"}
    if sys.platform == "win32":
        return f"video={wanted}", "dshow", {}
    path = f"/dev/video{wanted}" if re.fullmatch(r"\d+", wanted) else wanted
    if not os.path.exists(path):
        present = ", ".join(sorted(glob.glob("/dev/video*"))) or "none"
        raise SourceError(f"{camera}: no camera at {path}; cameras here: {present}")
    return path, "v4l2", {}


def _why(error: Exception) -> str:
    """One clear reason for a connection that failed."""
    if isinstance(error, av.error.ExitError | av.error.TimeoutError):
        return "nothing came before the time-out"
    if isinstance(error, av.error.InvalidDataError):
        return "the answer is no video that can be read"
    number = getattr(error, "errno", None)
    if number == errno.EBUSY:
        return "it is in use; close the program that has it, or name another one"
    if number == errno.EACCES:
        return "permission denied; on Linux, cameras belong to the group `video`: join it"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
