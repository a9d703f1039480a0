"""From a decoded picture to a frame: pixel format, orientation, picture type, motion vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from numpy.typing import NDArray

from texvlm.errors import SourceError
from texvlm.frames import Frame, MotionVectors
from texvlm.sources.orientation import UPRIGHT, Orientation, orientation_of_matrix

PIXEL_FORMATS = {1: "gray", 3: "rgb24", 4: "rgba"}
"""Packed pixel format for each channel count."""

_KINDS = {1: "I", 2: "P", 3: "B", 4: "S", 5: "SI", 6: "SP", 7: "BI"}
"""Names of AVPictureType."""

MOTION_CODECS = ("h264", "mpeg4", "mpeg2video", "mpeg1video")
"""Codecs whose decoders pass motion vectors on."""

EXPORT_MOTION = 1 << 28
"""AV_CODEC_FLAG2_EXPORT_MVS."""


class SideData:
    """Reads what comes beside the pixels: how to turn pictures, and motion vectors where they are asked for.

    One display matrix serves a whole file; looking for it in each picture costs more than it tells.
    """

    def __init__(self, *, motion_vectors: bool) -> None:
        self._motion = motion_vectors
        self._orientation: Orientation | None = None

    def read(self, picture: VideoFrame, orientation: Orientation | None) -> tuple[Orientation, MotionVectors | None]:
        """The turn of one picture (the one given goes first), and its vectors, turned. Its side data is gone then."""
        turn = orientation or self._orientation
        motion = None
        if turn is None or self._motion:
            found, motion = _take_side_data(picture)
            turn = turn or found
        self._orientation = turn
        if motion is not None:
            motion = turn.turn_motion(motion, (picture.width, picture.height)) if self._motion else None
        return turn, motion


def kind_of(picture: VideoFrame) -> str | None:
    """Name of a picture's type: "I", "P", "B", ...; None when unknown."""
    return _KINDS.get(int(picture.pict_type))


class FrameMaker:
    """Turns decoded pictures into frames; keeps the scaler's tables between pictures.

    Serves one thread at a time. Holds no picture.
    """

    def __init__(self, *, channels: int, motion_vectors: bool = False) -> None:
        self._format = PIXEL_FORMATS[channels]
        self._channels = channels
        self._side_data = SideData(motion_vectors=motion_vectors)
        self._scaler = VideoReformatter()

    def make(self, picture: VideoFrame, *, pts: float | None, orientation: Orientation | None = None) -> Frame:
        """A frame from one picture.

        Args:
            picture: any pixel format; colour range and matrix follow its tags.
            pts: presentation time, seconds.
            orientation: how to turn it; None reads the picture's display matrix.
        Raises:
            SourceError: the pixel format or size cannot be converted.
        """
        turn, motion = self._side_data.read(picture, orientation)
        # All is stated: PyAV before 16 heeds the picture's own matrix and range only where source and target differ.
        try:
            rgb = self._scaler.reformat(
                picture,
                format=self._format,
                dst_colorspace=Colorspace.ITU601,
                src_color_range=int(picture.color_range),
                dst_color_range=ColorRange.JPEG,
            )
        except (FFmpegError, ValueError) as error:
            raise SourceError(
                f"a {picture.width} x {picture.height} picture of {picture.format.name} cannot be converted "
                f"to {self._format}: {error}"
            ) from error
        stored: NDArray[Any] = rgb.to_ndarray()
        pixels = turn.turn(stored.reshape(picture.height, picture.width, self._channels))
        return Frame(pixels, pts=pts, kind=kind_of(picture), motion=motion)


def _take_side_data(picture: Any) -> tuple[Orientation, MotionVectors | None]:
    """The turn that a picture asks for, and copies of its motion vectors (an I picture has none).

    The picture's side data is gone afterwards.
    """
    orientation, motion = UPRIGHT, None
    for item in picture.side_data:
        if item.type.name == "DISPLAYMATRIX":
            orientation = orientation_of_matrix(np.frombuffer(bytes(item), np.int32))
        elif item.type.name == "MOTION_VECTORS":
            table = item.to_ndarray()
            scale = np.maximum(table["motion_scale"], 1).astype(np.float32)
            motion = MotionVectors(
                block=np.stack([table[n].astype(np.float32) for n in ("dst_x", "dst_y", "w", "h")], axis=1),
                motion=np.stack([table["motion_x"] / scale, table["motion_y"] / scale], axis=1).astype(np.float32),
                source=table["source"].astype(np.int32),
            )
            del table
    _drop_side_data(picture)
    return orientation, motion


_EMPTY_PICTURE = VideoFrame()


def _drop_side_data(picture: Any) -> None:
    """Break the cycle picture -> side data -> picture.

    Left alone, it keeps every decoded picture (megabytes) until the cyclic collector happens to run.
    Initialising the container again with an empty picture drops its references.
    """
    picture.side_data.__init__(_EMPTY_PICTURE)
