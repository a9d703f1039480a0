"""Small clips made on the spot: every container and every fault that the source tests need."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np

SIZE = (160, 96)


def picture(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A detailed RGB picture that moves one texel per frame; its corners have known colours."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    moved = x + index
    rgb = np.stack([moved * 5 % 256, (y * 7 + moved) % 256, (moved * y // 8) % 256], -1).astype(np.uint8)
    third = max(min(width, height) // 3, 1)
    rgb[:third, :third] = (230, 20, 20)  # top left: red
    rgb[:third, -third:] = (20, 200, 20)  # top right: green
    rgb[-third:, :third] = (20, 20, 230)  # bottom left: blue
    rgb[-third:, -third:] = (230, 230, 230)  # bottom right: white
    return rgb


def corners(pixels: np.ndarray) -> str:
    """Which colour lies in the corners, reading order: "rgbw" for an upright `picture`."""
    names = {"r": (230, 20, 20), "g": (20, 200, 20), "b": (20, 20, 230), "w": (230, 230, 230)}
    inset = max(min(pixels.shape[:2]) // 6, 1)
    found = ""
    for row, column in ((inset, inset), (inset, -inset), (-inset, inset), (-inset, -inset)):
        texel = pixels[row, column, :3].astype(int)
        found += min(names, key=lambda n: np.abs(texel - names[n]).sum())
    return found


def write_clip(
    path: Path,
    *,
    frames: int = 12,
    size: tuple[int, int] = SIZE,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    times: Iterable[int] | None = None,
    rate: int = 30,
    options: dict[str, str] | None = None,
    container: str | None = None,
    container_options: dict[str, str] | None = None,
    draw: Callable[[int], np.ndarray] | None = None,
    draw_format: str = "rgb24",
) -> Path:
    """Encode `frames` pictures; `times` are their presentation times in units of 1 / `rate` s."""
    draw = draw or (lambda i: picture(i, size))
    with av.open(str(path), "w", format=container, options=container_options or {}) as output:
        stream: Any = output.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        stream.options = options or {}
        for index, time in zip(range(frames), times or range(frames), strict=False):
            frame = av.VideoFrame.from_ndarray(draw(index), draw_format)
            frame.pts = time
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def write_audio(path: Path) -> Path:
    """An mp4 that holds sound only."""
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream("aac", rate=44100)
        stream.layout = "stereo"
        for index in range(4):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
            frame.sample_rate, frame.pts = 44100, index * 1024
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def turn_mp4(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Write the display matrix (a, b, c, d), each -1, 0 or 1, into every track header of an mp4."""
    data = bytearray(path.read_bytes())
    a, b, c, d = (v * 65536 for v in matrix)
    at = data.find(b"tkhd")
    assert at > 0
    while at > 0:
        place = at + 4 + 40  # version 0: 40 bytes of header fields before the matrix
        struct.pack_into(">9i", data, place, a, b, 0, c, d, 0, 0, 0, 1 << 30)
        at = data.find(b"tkhd", at + 4)
    path.write_bytes(data)
    return path


def packet_places(path: Path) -> list[tuple[int, int]]:
    """(offset, bytes) of each video packet in a file, in file order."""
    with av.open(str(path)) as container:
        return [(p.pos, p.size) for p in container.demux(video=0) if p.size and p.pos is not None]
