"""Sources: everything that frames come from, opened by one function."""

from __future__ import annotations

import os
from pathlib import Path

from texvlm.errors import SourceError
from texvlm.sources.base import ACCEPTED, Source, SourceInfo, check_options
from texvlm.sources.images import IMAGE_SUFFIXES, open_images
from texvlm.sources.live import Backoff
from texvlm.sources.network import SCHEMES, open_address, open_camera
from texvlm.sources.planes import YuvVideoSource, open_yuv_video
from texvlm.sources.scene import open_scene
from texvlm.sources.video import open_video

__all__ = ["ACCEPTED", "Backoff", "Source", "SourceInfo", "YuvVideoSource", "open_source", "open_yuv_video"]


def open_source(
    spec: str | os.PathLike[str],
    *,
    channels: int = 3,
    motion_vectors: bool = False,
    every: int = 1,
    live: bool | None = None,
    stream: int | None = None,
    rate: float | None = None,
    frames: int | None = None,
    seed: int | None = None,
    open_timeout: float = 10.0,
    read_timeout: float = 5.0,
    backoff: Backoff | None = None,
) -> Source:
    """Open whatever `spec` names, as a context manager and iterator of frames.

    | spec | what it is |
    |---|---|
    | path of a video file | every frame in display order, times from its own clock, rotation applied |
    | path of an image | one frame, EXIF orientation applied |
    | path of a folder | its images in natural order; times are index / rate |
    | `scene`, `scene:NAME`, `scene:1920x1080`, `scene:NAME:WxH` | the procedural scene; needs no file |
    | `camera:0`, `camera:NAME`, `/dev/video0` | a camera, live |
    | `rtsp://…`, `udp://…`, `tcp://…`, `srt://…`, `rtmp://…` | a network stream, live |
    | `http(s)://…` | a file or recorded playlist: every frame; without a stated end: live |

    A live source hands out the newest frame only, counts what it drops, and reconnects.

    Args:
        spec: see above; a path of an existing file wins over every other reading.
        channels: 1 (gray), 3 (RGB, alpha dropped) or 4 (RGBA, opaque where the input has no alpha).
        motion_vectors: ask for the codec's vectors (H.264, MPEG-4 part 2, MPEG-1 and 2); `Frame.motion`
            stays None for other codecs and for I pictures.
        every: hand out each N-th frame; all are decoded.
        live: for addresses only: read as live (True) or as a file (False); None decides by whether
            the address states its end.
        stream: container index of the video stream; None takes the widest.
        rate: frames per second, for folders (25) and scenes (30) only.
        frames: frame count, for scenes only (120).
        seed: seed of a scene (0).
        open_timeout: longest wait for a live source or address to open, seconds.
        read_timeout: longest wait between two packets of one, seconds.
        backoff: when a live source reconnects.
    Returns:
        An opened source; close it, or use it in a `with` statement.
    Raises:
        SourceError: missing, empty, damaged beyond use, without video, or not reachable.
        ValueError: an option has a value, or goes with an input, that is not accepted.
    """
    check_options(channels=channels, every=every)
    for label, seconds in (("open_timeout", open_timeout), ("read_timeout", read_timeout)):
        if not 0 < seconds < float("inf"):
            raise ValueError(f"{label} is {seconds}; accepted: seconds above 0")
    name = os.fspath(spec)
    if not name:
        raise SourceError(f"the input is empty; accepted: {ACCEPTED}")
    given: dict[str, object] = {
        "live": live,
        "stream": stream,
        "rate": rate,
        "frames": frames,
        "seed": seed,
        "backoff": backoff,
    }
    given |= {"motion_vectors": motion_vectors or None}
    scheme = name.split("://", 1)[0].lower() if "://" in name else ""
    if scheme == "file":
        name = name[len("file://") :]

    if name.startswith("camera:") or name.startswith("/dev/video"):
        _refuse(name, "a camera", given, accepted=("live", "motion_vectors", "backoff"))
        if live is False:
            raise ValueError(f"{name}: a camera is always live; live=False is for addresses")
        return open_camera(
            name,
            channels=channels,
            every=every,
            open_timeout=open_timeout,
            read_timeout=read_timeout,
            backoff=backoff,
        )
    if (name == "scene" or name.startswith("scene:")) and not Path(name).exists():
        _refuse(name, "a scene", given, accepted=("rate", "frames", "seed", "motion_vectors"))
        return open_scene(name, channels=channels, every=every, rate=rate, frames=frames, seed=seed)
    if scheme in SCHEMES:
        _refuse(name, "a network address", given, accepted=("live", "stream", "motion_vectors", "backoff"))
        return open_address(
            name,
            channels=channels,
            motion_vectors=motion_vectors,
            every=every,
            live=live,
            stream=stream,
            open_timeout=open_timeout,
            read_timeout=read_timeout,
            backoff=backoff,
        )
    path = Path(name)
    if scheme not in ("", "file") and not path.exists():
        raise SourceError(f"{name}: addresses of kind {scheme}:// are not accepted; accepted: {ACCEPTED}")
    if path.is_dir():
        _refuse(name, "a folder of images", given, accepted=("rate", "motion_vectors"))
        return open_images(path, channels=channels, every=every, rate=rate)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        _refuse(name, "an image", given, accepted=("rate", "motion_vectors"))
        return open_images(path, channels=channels, every=every, rate=rate)
    _refuse(name, "a video file", given, accepted=("stream", "motion_vectors"))
    return open_video(path, channels=channels, motion_vectors=motion_vectors, every=every, stream=stream)


def _refuse(name: str, kind: str, given: dict[str, object], *, accepted: tuple[str, ...]) -> None:
    """ValueError for an option that this kind of input would silently ignore."""
    for option, value in given.items():
        if value is not None and option not in accepted:
            raise ValueError(f"{name}: option {option} does not go with {kind}")
