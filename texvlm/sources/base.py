"""What a source is: an opened input that yields frames, and the facts known about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, TypeVar

from texvlm.frames import Frame

SourceKind = Literal["video", "images", "scene", "live"]

ACCEPTED = (
    "a video file, an image, a folder of images, scene[:NAME][:WxH], camera:N, "
    "or an rtsp://, http(s)://, udp://, tcp://, srt:// or rtmp:// address"
)
"""Inputs that `open_source` takes, for error messages."""


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Facts known when a source is opened.

    Attributes:
        name: the input as the caller named it.
        kind: where frames come from.
        size: (width, height) of the first frame as displayed, texels; a later frame may differ.
        frames: frames that iteration will yield, as the container states it; None when unknown.
        rate: mean frames per second that iteration yields; None when unknown.
        duration: seconds from first to last frame, its own time included; None when unknown.
    """

    name: str
    kind: SourceKind
    size: tuple[int, int]
    frames: int | None = None
    rate: float | None = None
    duration: float | None = None


Picture = TypeVar("Picture", covariant=True)


class PictureSource(Protocol[Picture]):
    """An opened input: a context manager and a one-pass iterator of pictures in display order.

    Iterating a closed source yields nothing. One thread iterates; any thread may close a live source.
    """

    @property
    def info(self) -> SourceInfo:
        """Facts known at opening."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the first frame as displayed, texels."""
        return self.info.size

    @property
    def frames(self) -> int | None:
        """Frames that iteration will yield, as the container states it; None when unknown."""
        return self.info.frames

    @property
    def rate(self) -> float | None:
        """Mean frames per second that iteration yields; None when unknown."""
        return self.info.rate

    @property
    def duration(self) -> float | None:
        """Seconds of the whole input; None when unknown."""
        return self.info.duration

    def __iter__(self) -> Iterator[Picture]:
        return self

    def __next__(self) -> Picture:
        """The next picture; SourceError when the input fails in a way that iteration cannot outlive."""

    def describe(self) -> dict[str, Any]:
        """Facts and counters so far, ready for JSON."""

    def close(self) -> None:
        """Release the input; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Source(PictureSource[Frame], Protocol):
    """A source of frames: uint8, C-contiguous, with 1 (gray), 3 (RGB) or 4 (RGBA) channels."""


def describe_info(info: SourceInfo) -> dict[str, Any]:
    """The facts of a source as plain JSON values."""
    return {
        "name": info.name,
        "kind": info.kind,
        "size": list(info.size),
        "frames": info.frames,
        "rate": info.rate,
        "duration": info.duration,
    }


def check_options(*, channels: int, every: int) -> None:
    """ValueError unless every source can honour these options."""
    if channels not in (1, 3, 4):
        raise ValueError(f"channels is {channels}; accepted: 1 (gray), 3 (RGB), 4 (RGBA)")
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise ValueError(f"every is {every!r}; accepted: a whole number, 1 or more")
