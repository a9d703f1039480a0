"""Video files: demux, decode and convert with PyAV, and outlive what is broken.

Times come from the stream's own clock, so variable frame rates are right. A packet that cannot be
decoded is skipped and counted; a file that ends early yields what it holds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from typing import Any, TypeVar

import av
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame

from texvlm.errors import SourceError
from texvlm.frames import Frame
from texvlm.sources.base import ACCEPTED, PictureSource, Source, SourceInfo, SourceKind, describe_info
from texvlm.sources.decoded import EXPORT_MOTION, MOTION_CODECS, FrameMaker
from texvlm.yuv import YuvFrame

_log = logging.getLogger("texvlm")

_TEXT_CODECS = ("ansi", "bintext", "xbin", "idf")
"""Codecs that turn a text file into pictures; a text file is refused instead."""

_READ_RETRIES = 8
"""Read errors in a row after which the rest of a file is given up; some demuxers recover, some repeat."""


_MOST_IN_FLIGHT = 64
"""Pictures that frame threads may hold at most; a larger difference is how the file was made."""


class VideoDecoder:
    """One open container and the video stream being read; owns both.

    Attributes:
        damaged: packets and pictures that were broken: skipped, or shown as the decoder patched them.
        truncated: the input ended before the end that it states.
        failure: the read error that ended it; None after an orderly end.
        live: every picture at once, on slice threads; may be changed before the first picture.
            Otherwise frame threads, which hold pictures back, and one packet is looked ahead. Motion
            vectors need slice threads, too.
    """

    def __init__(
        self, container: Any, name: str, *, stream: int | None = None, keep_alpha: bool = False, live: bool = False
    ) -> None:
        self.container = container
        self.name = name
        self.damaged = 0
        self.truncated = False
        self.failure: FFmpegError | None = None
        self.stream = _choose_stream(container, name, stream)
        self._time_base = self.stream.time_base or Fraction(1, 1)
        self.decoder = self.stream.codec_context
        if keep_alpha and self.stream.metadata.get("alpha_mode") == "1":
            # FFmpeg's own VP8 and VP9 decoders drop the alpha layer of WebM; libvpx keeps it.
            self.decoder = av.CodecContext.create(
                {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(self.decoder.name, self.decoder.name), "r"
            )
        self.live = live
        self._frame_threads = True
        self._last_ticks: int | None = None
        self._awaited = 0  # packets sent, less pictures and failures that came back

    def export_motion(self) -> bool:
        """Ask for motion vectors before the first picture; False when this codec has none to give."""
        if self.decoder.name not in MOTION_CODECS:
            return False
        self.decoder.flags2 |= EXPORT_MOTION
        self._frame_threads = False  # they hand a picture out while its vectors are still being decoded
        return True

    def seconds(self, ticks: int | None) -> float | None:
        """Stream time as seconds."""
        return None if ticks is None else ticks * self._time_base.numerator / self._time_base.denominator

    def pictures(self) -> Generator[VideoFrame, None, None]:
        """Every picture that can be decoded, in display order; a read error ends them and is kept in `failure`."""
        self.decoder.thread_type = "AUTO" if self._frame_threads and not self.live else "SLICE"
        held = None  # a broken last packet would make the decoder drop good pictures, so one is looked ahead
        for packet in self._packets():
            if self.live:
                yield from self._decode(packet)
                continue
            if held is not None:
                yield from self._decode(held)
            held = packet
        if held is not None:
            if held.is_corrupt:
                self.damaged += 1
                self.truncated = True
            else:
                yield from self._decode(held)
        yield from self._decode(None)
        if 0 < self._awaited <= _MOST_IN_FLIGHT and not self.live and self.decoder is self.stream.codec_context:
            yield from self._lost_tail()

    def _lost_tail(self) -> Iterator[VideoFrame]:
        """Pictures after the last one that came, decoded again from the key frame before it on one thread.

        A broken packet among the last few makes a decoder with frame threads drop every picture
        that is still in flight behind it, without a word.
        """
        last = self._last_ticks
        if last is None or "://" in self.container.name:  # a second connection is not worth a few pictures
            return
        try:
            with av.open(self.container.name) as again:
                tail = VideoDecoder(again, self.name, stream=self.stream.index, live=True)
                tail.decoder.flags2 = self.decoder.flags2
                again.seek(last, stream=tail.stream)
                for picture in tail.pictures():
                    if picture.pts is not None and picture.pts > last:
                        yield picture
                self.damaged = max(self.damaged, tail.damaged)
        except (FFmpegError, SourceError) as error:
            _log.debug("%s: the end cannot be read again: %s", self.name, error)

    def close(self) -> None:
        """Release the container."""
        self.container.close()

    def _packets(self) -> Iterator[Any]:
        failures = 0
        while True:
            try:
                for packet in self.container.demux(self.stream):
                    failures = 0
                    if packet.dts is None and packet.size == 0:
                        return  # PyAV's end mark; the decoder is flushed by `pictures`
                    yield packet
                return
            except av.error.EOFError:
                return
            except FFmpegError as error:
                failures += 1
                if failures >= _READ_RETRIES or not isinstance(error, av.error.InvalidDataError):
                    _log.warning("%s: reading stopped: %s", self.name, error)
                    self.failure = error
                    self.truncated = True
                    return
                self.damaged += 1

    def _decode(self, packet: Any) -> Iterator[VideoFrame]:
        self._awaited += packet is not None and not packet.is_discard
        try:
            pictures = self.decoder.decode(packet)
        except av.error.EOFError:
            return
        except FFmpegError as error:
            self.damaged += 1
            self._awaited -= 1
            _log.debug("%s: packet skipped: %s", self.name, error)
            return
        for picture in pictures:
            self.damaged += picture.is_corrupt
            self._awaited -= 1
            self._last_ticks = picture.pts if picture.pts is not None else self._last_ticks
            yield picture


P = TypeVar("P", bound=Frame | YuvFrame)


class DecodedVideo(PictureSource[P]):
    """Pictures of one video, in display order; `make` gets each with its time, seconds, and says what it becomes."""

    def __init__(
        self,
        decoder: VideoDecoder,
        make: Callable[[VideoFrame, float | None], P],
        *,
        motion_vectors: bool = False,
        every: int = 1,
        kind: SourceKind = "video",
    ) -> None:
        self._decoder = decoder
        self._every = every
        self._motion = motion_vectors
        self._make = make
        self._decoded = self._delivered = 0
        self._last_pts: float | None = None
        self._longest_step = 0.0
        self._pictures = decoder.pictures()
        # The first picture is decoded now: it tells the displayed size, and an undecodable file fails at opening.
        first = next(self._pictures, None)
        if first is None:
            raise SourceError(f"{decoder.name}: no frame can be decoded ({_contents(decoder.container)})")
        frame = self._make(first, self._time_of(first))
        self._frames = self._read(frame)
        size = frame.size
        self._info = _info(decoder, size, every=every, kind=kind)

    @property
    def info(self) -> SourceInfo:
        """Facts known at opening."""
        return self._info

    def __next__(self) -> P:
        return next(self._frames)

    def describe(self) -> dict[str, Any]:
        """Facts and counters so far.

        `damaged` counts broken packets and pictures; `truncated` tells that the input ended before
        the end that it states.
        """
        decoder = self._decoder
        return describe_info(self._info) | {
            "codec": decoder.decoder.name,
            "pixel_format": decoder.decoder.pix_fmt,
            "stream": decoder.stream.index,
            "motion_vectors": self._motion,
            "decoded": self._decoded,
            "delivered": self._delivered,
            "damaged": decoder.damaged,
            "truncated": decoder.truncated,
        }

    def close(self) -> None:
        """Release the file; iteration yields nothing afterwards."""
        self._frames.close()
        self._pictures.close()
        self._decoder.close()

    def _read(self, first: P) -> Generator[P, None, None]:
        self._decoded = self._delivered = 1
        yield first
        for picture in self._pictures:
            pts = self._time_of(picture)
            self._decoded += 1
            if (self._decoded - 1) % self._every == 0:
                self._delivered += 1
                yield self._make(picture, pts)
        self._compare_with_stated_end()

    def _time_of(self, picture: VideoFrame) -> float | None:
        """Presentation time, seconds.

        A raw elementary stream has no clock; its pictures are then one nominal frame time apart.
        """
        pts = self._decoder.seconds(picture.pts)
        rate = self._decoder.stream.average_rate or self._decoder.stream.guessed_rate
        if pts is None and rate:
            pts = 0.0 if self._last_pts is None else self._last_pts + float(1 / rate)
        if pts is not None:
            if self._last_pts is not None:
                self._longest_step = max(self._longest_step, pts - self._last_pts)
            self._last_pts = pts
        return pts

    def _compare_with_stated_end(self) -> None:
        """Note a file that holds less than its header says: at least three frame times are missing."""
        end = _stated_end(self._decoder)
        if end is None or self._last_pts is None:
            return
        if end - self._last_pts > max(0.25, 3 * self._longest_step):
            self._decoder.truncated = True
            _log.warning(
                "%s: ends at %.3f s, its header says %.3f s; the file is cut short",
                self._decoder.name,
                self._last_pts,
                end,
            )


class VideoSource(DecodedVideo[Frame], Source):
    """Frames of one video file, or of a finite video behind an address; see `open_source`."""

    def __init__(
        self,
        decoder: VideoDecoder,
        *,
        channels: int = 3,
        motion_vectors: bool = False,
        every: int = 1,
        kind: SourceKind = "video",
    ) -> None:
        motion = motion_vectors and decoder.export_motion()
        maker = FrameMaker(channels=channels, motion_vectors=motion)
        super().__init__(
            decoder, lambda picture, pts: maker.make(picture, pts=pts), motion_vectors=motion, every=every, kind=kind
        )


def open_video(
    path: str | os.PathLike[str],
    *,
    channels: int = 3,
    motion_vectors: bool = False,
    every: int = 1,
    stream: int | None = None,
) -> VideoSource:
    """Open a video file; see `open_source`.

    Raises:
        SourceError: missing, empty, not a video, or without a decodable video stream.
    """
    container = open_container(path)
    try:
        decoder = VideoDecoder(container, os.fspath(path), stream=stream, keep_alpha=channels == 4)
        return VideoSource(decoder, channels=channels, motion_vectors=motion_vectors, every=every)
    except BaseException:
        container.close()
        raise


def open_container(path: str | os.PathLike[str]) -> Any:
    """An opened file. SourceError when it is missing, empty, or not a video."""
    name = os.fspath(path)
    if not os.path.exists(name):
        raise SourceError(f"{name}: no such file; accepted: {ACCEPTED}")
    if os.path.isfile(name) and os.path.getsize(name) == 0:
        raise SourceError(f"{name}: the file is empty (0 bytes); accepted: {ACCEPTED}")
    try:
        # The explicit protocol keeps a ':' or '%' in a file name from being read as something else.
        return av.open(f"file:{name}")
    except FFmpegError as error:
        raise SourceError(f"{name}: {_why(error)}; accepted: {ACCEPTED}") from error


def _choose_stream(container: Any, name: str, index: int | None) -> Any:
    """The video stream with this container index, or the widest one (then the fastest, then the first).

    The cover picture of a music file is no video.
    """
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams or any(s.codec_context and s.codec_context.name in _TEXT_CODECS for s in streams):
        raise SourceError(f"{name}: no video stream ({_contents(container)}); accepted: {ACCEPTED}")
    if index is not None:
        chosen = next((s for s in streams if s.index == index), None)
        if chosen is None:
            raise SourceError(f"{name}: stream {index} is no video; video streams: {[s.index for s in streams]}")
    else:
        chosen = max(streams, key=lambda s: (*_area(s), s.average_rate or 0, -s.index))
    if chosen.codec_context is None:
        raise SourceError(f"{name}: this build of FFmpeg has no decoder for video stream {chosen.index}")
    return chosen


def _area(stream: Any) -> tuple[int, int]:
    context = stream.codec_context
    return (context.width, context.height) if context else (0, 0)


def _contents(container: Any) -> str:
    """What a container holds, for error messages: "mp4: audio aac"."""
    streams = [f"{s.type} {s.codec_context.name if s.codec_context else '?'}" for s in container.streams]
    return f"{container.format.name}: {', '.join(streams) or 'no streams'}"


def _why(error: FFmpegError) -> str:
    """One clear reason for a container that does not open."""
    if isinstance(error, av.error.InvalidDataError):
        return "not a video that can be read (no known format, or cut off before its index)"
    return error.strerror or type(error).__name__


def _info(decoder: VideoDecoder, size: tuple[int, int], *, every: int, kind: SourceKind) -> SourceInfo:
    stream = decoder.stream
    rate = stream.average_rate or stream.guessed_rate
    duration = decoder.seconds(stream.duration) if stream.duration else None
    if duration is None and decoder.container.duration:
        duration = decoder.container.duration / av.time_base
    return SourceInfo(
        name=decoder.name,
        kind=kind,
        size=size,
        frames=-(-stream.frames // every) if stream.frames else None,
        rate=float(rate) / every if rate else None,
        duration=duration,
    )


def _stated_end(decoder: VideoDecoder) -> float | None:
    """Time at which the header says that this video stream ends; None where only a guess exists."""
    stream = decoder.stream
    start = decoder.seconds(stream.start_time) or 0.0
    tag = stream.metadata.get("DURATION", "")
    if tag.count(":") == 2:
        hours, minutes, seconds = tag.split(":")
        try:
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        except ValueError:
            return None
    if "mp4" in decoder.container.format.name and stream.duration:
        return start + float(stream.duration * decoder.stream.time_base)
    return None
