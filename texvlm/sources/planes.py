"""Videos as the planes that their decoder made: no conversion to RGB before the device.

Half the bytes of RGB, and one pass less over every picture. For files of 4:2:0 video in 8 or 10
bits, which is nearly all that cameras and the web make.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from texvlm.errors import SourceError
from texvlm.sources.base import check_options
from texvlm.sources.decoded import SideData, kind_of
from texvlm.sources.orientation import Orientation
from texvlm.sources.video import DecodedVideo, VideoDecoder, open_container
from texvlm.yuv import Matrix, Range, YuvFrame, nv12, p010

_FORMATS = {
    "yuv420p": (8, False),
    "yuvj420p": (8, False),
    "nv12": (8, True),
    "yuv420p10le": (10, False),
    "p010le": (10, True),
}
"""Pixel formats with 4:2:0 chroma: bits, and whether U and V lie in one plane."""

_MATRICES: dict[int, Matrix] = {1: "bt709", 5: "bt601", 6: "bt601", 9: "bt2020"}
"""By AVColorSpace. 5 and 6 are the PAL and NTSC names of one matrix."""

_UNSPECIFIED_MATRIX = 2
_RANGES: dict[int, Range] = {1: "limited", 2: "full"}
"""By AVColorRange."""

_HD_LINES = 720
"""Lines from which a video that does not state its matrix is taken for BT.709, as players do."""


class YuvVideoSource(DecodedVideo[YuvFrame]):
    """NV12 or P010 pictures of one video file; see `open_yuv_video`."""

    def __init__(self, decoder: VideoDecoder, maker: PlaneMaker, *, motion_vectors: bool, every: int) -> None:
        super().__init__(decoder, maker.make, motion_vectors=motion_vectors, every=every)


def open_yuv_video(
    path: str | os.PathLike[str],
    *,
    matrix: Matrix | None = None,
    range: Range | None = None,
    motion_vectors: bool = False,
    every: int = 1,
    stream: int | None = None,
) -> YuvVideoSource:
    """Open a video file as a source of YuvFrames, which an engine takes like any other frame.

    Args:
        path: of a file whose video is 4:2:0, 8 or 10 bits.
        matrix: what turns its codes into RGB; None for what the video states. One that states
            nothing is taken for "bt709" from 720 lines on and for "bt601" below, as players do.
        range: codes of black and white; None for what the video states, or else "limited".
        motion_vectors: as of `open_source`.
        every: hand out each N-th picture; all are decoded.
        stream: container index of the video stream; None takes the widest.
    Raises:
        SourceError: missing, empty, without video, of another pixel format, or with a matrix that is
            not accepted.
    """
    check_options(channels=3, every=every)
    container = open_container(path)
    try:
        decoder = VideoDecoder(container, os.fspath(path), stream=stream)
        motion = motion_vectors and decoder.export_motion()
        maker = PlaneMaker(decoder.name, matrix=matrix, range=range, motion_vectors=motion)
        return YuvVideoSource(decoder, maker, motion_vectors=motion, every=every)
    except BaseException:
        container.close()
        raise


class PlaneMaker:
    """Takes the planes out of decoded pictures. Serves one thread at a time; holds no picture."""

    def __init__(self, name: str, *, matrix: Matrix | None, range: Range | None, motion_vectors: bool) -> None:
        self._name = name
        self._matrix = matrix
        self._range = range
        self._side_data = SideData(motion_vectors=motion_vectors)

    def make(self, picture: VideoFrame, pts: float | None) -> YuvFrame:
        """A frame of its own memory from one picture, upright; SourceError for one without 4:2:0 planes."""
        bits, interleaved = _FORMATS.get(picture.format.name, (0, False))
        if not bits:
            raise SourceError(
                f"{self._name}: pixel format {picture.format.name}; accepted as planes: {', '.join(_FORMATS)}; "
                "open_source takes every format"
            )
        turn, motion = self._side_data.read(picture, None)
        width, height = picture.width, picture.height
        columns, lines = -(-width // 2), -(-height // 2)
        planes = [_rows(plane, bits) for plane in picture.planes]
        y = planes[0][:height, :width].copy()  # the decoder writes its next picture there
        if interleaved:
            uv = planes[1][:lines, : 2 * columns].copy().reshape(lines, columns, 2)
        else:
            uv = np.stack([plane[:lines, :columns] for plane in planes[1:]], axis=-1)
        if bits == 10 and not interleaved:  # the value lies in the lower 10 bits there
            y <<= 6
            uv <<= 6
        return (nv12 if bits == 8 else p010)(
            _turned(y[..., None], turn)[..., 0],
            _turned(uv, turn),
            matrix=self._matrix or self._stated_matrix(picture),
            range=self._range or self._stated_range(picture),
            pts=pts,
            kind=kind_of(picture),
            motion=motion,
        )

    def _stated_matrix(self, picture: VideoFrame) -> Matrix:
        stated = int(picture.colorspace)
        if stated == _UNSPECIFIED_MATRIX:
            return "bt709" if picture.height >= _HD_LINES else "bt601"
        if stated not in _MATRICES:
            raise SourceError(
                f"{self._name}: its colour matrix is number {stated} of ITU-T H.273; "
                "accepted are bt601, bt709 and bt2020: give the one to use as matrix="
            )
        return _MATRICES[stated]

    def _stated_range(self, picture: VideoFrame) -> Range:
        unstated: Range = "full" if picture.format.name == "yuvj420p" else "limited"
        return _RANGES.get(int(picture.color_range), unstated)


def _rows(plane: Any, bits: int) -> NDArray[Any]:
    """One plane's memory, (rows, elements of a row with what pads it); not a copy."""
    return np.frombuffer(plane, np.uint8 if bits == 8 else np.uint16).reshape(plane.height, -1)


def _turned(texels: NDArray[Any], turn: Orientation) -> NDArray[Any]:
    """A plane of (rows, columns, values) as displayed.

    Of a picture with an odd side that is mirrored, chroma comes to lie one texel beside its luma.
    """
    turned = turn.turn(texels.view(np.uint8).reshape(*texels.shape[:2], -1))
    return turned.view(texels.dtype)
