"""Image files: one picture, or a folder of pictures in natural order.

Whole files go straight to FFmpeg's image decoders, chosen by their first bytes: no file name
pattern, no wrong extension and no plug-in can get in the way.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from texvlm.errors import SourceError
from texvlm.frames import Frame
from texvlm.sources.base import ACCEPTED, Source, SourceInfo, describe_info
from texvlm.sources.decoded import FrameMaker
from texvlm.sources.orientation import orientation_of_image

_log = logging.getLogger("texvlm")

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".qoi"}
)
"""Endings, in lower case, of the files that a folder is searched for."""

FOLDER_RATE = 25.0
"""Frames per second of a folder that states none: FFmpeg's value for image sequences."""

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "mjpeg"),
    (b"BM", "bmp"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"qoif", "qoi"),
    (b"P1", "pbm"),
    (b"P4", "pbm"),
    (b"P2", "pgm"),
    (b"P5", "pgm"),
    (b"P3", "ppm"),
    (b"P6", "ppm"),
)


class ImageReader:
    """Decodes image files to frames; keeps the scaler's tables between files."""

    def __init__(self, *, channels: int = 3) -> None:
        self._maker = FrameMaker(channels=channels)

    def read(self, path: str | os.PathLike[str], *, pts: float | None = None) -> Frame:
        """One image file as a frame: turned as its EXIF tag asks, 16-bit samples rounded to 8.

        Raises:
            SourceError: missing, empty, damaged, or of a kind that is not accepted; names the file.
        """
        name = os.fspath(path)
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise SourceError(f"{name}: {error.strerror or error}; accepted: {ACCEPTED}") from error
        codec = image_codec(data)
        if codec is None:
            seen = "the file is empty (0 bytes)" if not data else "not an image that can be read"
            raise SourceError(f"{name}: {seen}; accepted: JPEG, PNG, WebP, BMP, TIFF, PNM, QOI")
        try:
            picture = _decode(codec, data)
            return self._maker.make(picture, pts=pts, orientation=orientation_of_image(data))
        except FFmpegError as error:
            raise SourceError(f"{name}: damaged {codec} image, or a variant that FFmpeg cannot read") from error


class ImageSource(Source):
    """Frames of one image file or of many, each of its own size; see `open_source`."""

    def __init__(
        self, name: str, paths: Sequence[Path], *, channels: int = 3, every: int = 1, rate: float | None = None
    ) -> None:
        self._reader = ImageReader(channels=channels)
        self._paths = paths[::every]
        self._every = every
        self._step = 1 / (rate or FOLDER_RATE)
        self._damaged = self._delivered = 0
        self._frames = self._read()
        self._first: Frame | None = next(self._frames, None)
        if self._first is None:
            raise SourceError(f"{name}: none of {len(self._paths)} image files can be read")
        moving = len(paths) > 1
        self._info = SourceInfo(
            name=name,
            kind="images",
            size=self._first.size,
            frames=len(self._paths),
            rate=1 / (self._step * every) if moving else None,
            duration=len(paths) * self._step if moving else None,
        )

    @property
    def info(self) -> SourceInfo:
        """Facts known at opening."""
        return self._info

    def __next__(self) -> Frame:
        first, self._first = self._first, None
        frame = first if first is not None else next(self._frames)
        self._delivered += 1
        return frame

    def describe(self) -> dict[str, Any]:
        """Facts and counters so far; `damaged` counts image files that were skipped."""
        return describe_info(self._info) | {"delivered": self._delivered, "damaged": self._damaged}

    def close(self) -> None:
        """End the iteration."""
        self._first = None
        self._frames.close()

    def _read(self) -> Generator[Frame, None, None]:
        for index, path in enumerate(self._paths):
            try:
                yield self._reader.read(path, pts=index * self._every * self._step)
            except SourceError as error:
                if len(self._paths) == 1:
                    raise
                self._damaged += 1
                _log.warning("skipped: %s", error)


def open_images(
    path: str | os.PathLike[str], *, channels: int = 3, every: int = 1, rate: float | None = None
) -> ImageSource:
    """Open an image file or a folder of images; see `open_source`.

    Raises:
        SourceError: the file cannot be read, or the folder holds no image.
    """
    if rate is not None and not 0 < rate < float("inf"):
        raise ValueError(f"rate is {rate}; accepted: frames per second above 0")
    name = os.fspath(path)
    if not os.path.isdir(name):
        return ImageSource(name, [Path(name)], channels=channels, every=every, rate=rate)
    paths = images_in(path)
    if not paths:
        raise SourceError(
            f"{name}: the folder holds no images; accepted are files ending in {' '.join(sorted(IMAGE_SUFFIXES))} "
            "(sub-folders are not searched)"
        )
    return ImageSource(name, paths, channels=channels, every=every, rate=rate)


def images_in(folder: str | os.PathLike[str]) -> list[Path]:
    """Image files of a folder in natural order ("frame2" before "frame10"); hidden files are left out."""
    found = [
        p for p in Path(folder).iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file() and p.name[0] != "."
    ]
    return sorted(found, key=lambda p: _natural(p.name))


def image_codec(data: bytes) -> str | None:
    """FFmpeg's decoder for an image file, from its first bytes; None for anything else."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return next((codec for mark, codec in _SIGNATURES if data.startswith(mark)), None)


def _decode(codec: str, data: bytes) -> Any:
    decoder = av.CodecContext.create(codec, "r")
    pictures = decoder.decode(av.Packet(data)) or decoder.decode(None)
    if not pictures:
        raise av.error.InvalidDataError(0, "no picture")
    return pictures[0]


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort key that compares runs of digits as numbers; the name itself breaks ties."""
    parts = re.split(r"(\d+)", name.casefold())
    key = [(0, int(p), "") if p.isdigit() and p.isascii() else (1, 0, p) for p in parts if p]
    return [*key, (2, 0, name)]
