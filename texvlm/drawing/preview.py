"""Preview videos: pictures with their times in, an mp4 that any player shows out."""

from __future__ import annotations

import contextlib
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from texvlm.drawing.pictures import PAPER_GRAY, Image, as_picture
from texvlm.errors import ClosedError, StoreError
from texvlm.files import TEMPORARY, sync_folder

CLOCK = 90_000
"""Ticks a second: the clock of MPEG, on which all usual frame rates are whole numbers of ticks."""

BT709 = 1
"""Matrix, primaries and transfer of HD video, by the number that codecs use; untagged HD is read so too."""

MPEG_RANGE = 1
"""Luma 16..235, by the number that codecs use."""


class PreviewWriter:
    """Owns an mp4 while it is written. Frame times are kept, equal spacing or not.

    H.264 where FFmpeg has libx264, MPEG-4 part 2 otherwise. The file appears under its name when
    `finish` has made it whole; until then, and after a failure, there is only a `.tmp` beside it.
    Used in a `with` statement it is finished on leaving, and discarded when that is by an exception.

    Args:
        path: the mp4; its folder must exist.
        size: (width, height) of the first pictures; odd sides are extended by one pixel. Pictures of
            other sizes are scaled to fit in.
        rate: frames per second for frames without a time, and for the codec's rate control.

    Raises:
        StoreError: the file cannot be written.
        ValueError: a size or rate below 1, or not finite.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], *, rate: float = 25.0) -> None:
        if min(size) < 1:
            raise ValueError(f"preview size {size[0]} x {size[1]}: each side is 1 or more")
        if not (math.isfinite(rate) and rate > 0):
            raise ValueError(f"rate is {rate}; accepted: frames per second above 0")
        import av  # only here: importing texvlm must not load FFmpeg

        self.path = Path(path)
        self.frames = 0
        self._temporary = self.path.with_name(self.path.name + TEMPORARY)
        self._size = (size[0] + size[0] % 2, size[1] + size[1] % 2)
        self._gap = max(round(CLOCK / rate), 1)
        self._start: float | None = None
        self._last = -self._gap
        self._failures = (OSError, av.FFmpegError)
        self._container: Any = None
        try:
            self._temporary.touch()  # FFmpeg would only fail at the first frame
            self._container = av.open(str(self._temporary), "w", format="mp4")
            self._stream = self._add_stream("libx264" if "libx264" in av.codecs_available else "mpeg4", rate)
        except self._failures as error:
            self.discard()
            raise self._failed(error) from error

    def write(self, image: Image, pts: float | None = None) -> None:
        """Add a picture.

        Args:
            image: (height, width, 3) uint8.
            pts: time in seconds. Where it is None, NaN or not later than the picture before, the
                picture follows that one at the nominal rate.
        Raises:
            StoreError: the disk is full or the file is gone; the preview is discarded.
        """
        import av

        if self._container is None:
            raise ClosedError(f"the preview {self.path} is closed")
        frame = av.VideoFrame.from_ndarray(self._fitted(image), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=BT709, dst_color_range=MPEG_RANGE)
        frame.pts, frame.time_base = self._tick(pts), Fraction(1, CLOCK)
        self._mux(frame)
        self.frames += 1

    def finish(self) -> None:
        """Make the file whole and put it in its place; nothing is left of a preview without frames.

        May be called twice. StoreError as in `write`.
        """
        if self._container is None:
            return
        if self.frames == 0:
            self.discard()
            return
        try:
            self._mux(None)
            container, self._container = self._container, None
            container.close()
            self._temporary.replace(self.path)
        except self._failures as error:
            self.discard()
            raise self._failed(error) from error
        sync_folder(self.path.parent)

    def discard(self) -> None:
        """Close and delete what was written; a file of an earlier run stays. May be called twice."""
        container, self._container = self._container, None
        with contextlib.suppress(*self._failures):
            if container is not None:
                container.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> PreviewWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.finish()
        else:
            self.discard()

    def _add_stream(self, codec: str, rate: float) -> Any:
        options = {"preset": "superfast", "crf": "20"} if codec == "libx264" else {"qscale": "4"}
        stream = self._container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001), options=options)
        stream.width, stream.height = self._size
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, CLOCK)
        context = stream.codec_context
        # No threads of its own: they would run on while the engine works and spoil its times.
        context.thread_count = 1
        context.time_base = Fraction(1, CLOCK)
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = MPEG_RANGE
        return stream

    def _mux(self, frame: Any) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
        except self._failures as error:
            self.discard()
            raise self._failed(error) from error

    def _tick(self, pts: float | None) -> int:
        """Time on the file's clock, always later than the frame before."""
        if pts is not None and math.isfinite(pts):
            if self._start is None:
                self._start = pts - (self._last + self._gap) / CLOCK
            tick = round((pts - self._start) * CLOCK)
            if tick > self._last:
                self._last = tick
                return tick
        self._last += self._gap
        return self._last

    def _fitted(self, image: Image) -> Image:
        """The picture in the video's size: as it is, with repeated edge pixels, or scaled and centred."""
        width, height = self._size
        have_height, have_width, _ = image.shape
        if (have_width, have_height) == self._size:
            return np.ascontiguousarray(image)
        if 0 <= width - have_width <= 1 and 0 <= height - have_height <= 1:
            return np.pad(image, ((0, height - have_height), (0, width - have_width), (0, 0)), mode="edge")
        scale = min(width / have_width, height / have_height)
        inner = max(1, min(width, round(have_width * scale))), max(1, min(height, round(have_height * scale)))
        canvas = np.full((height, width, 3), PAPER_GRAY, np.uint8)
        x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
        canvas[y : y + inner[1], x : x + inner[0]] = as_picture(image, size=inner)
        return canvas

    def _failed(self, error: BaseException) -> StoreError:
        reason = getattr(error, "strerror", None) or str(error)
        return StoreError(f"cannot write preview {self.path}: {reason}; choose another place or leave the preview out")
