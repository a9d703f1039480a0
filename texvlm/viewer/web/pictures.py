"""Pictures of a snapshot in every mode, drawn on the host and encoded: what browsers are sent."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from texvlm.drawing.pictures import PAPER_GRAY, Image, as_picture, draw_fixations, draw_tiles, draw_tokens, lod_image
from texvlm.drawing.reconstruct import reconstruct
from texvlm.viewer.modes import PictureMode
from texvlm.viewer.native.places import Place, places_of
from texvlm.viewer.web.snapshot import Snapshot

LARGEST_BOX = (1920, 1080)
"""No picture is larger, whatever a client asks for."""

SMALLEST_BOX = (64, 64)

ENLARGED = 640
"""A frame narrower than this may be drawn larger than it is, so that its squares can be told apart."""

QUANTISER = 4
"""Of the JPEG encoder, 1 (best) to 31; outlines of one pixel still look like lines."""


def fit_box(box: tuple[int, int], frame: tuple[int, int], parts: int) -> tuple[int, int]:
    """The part of a client's box, pixels, that pictures of a frame are drawn into: sharper than the frame helps nobody.

    Args:
        box: (width, height) that the client has room for.
        frame: (width, height), texels.
        parts: pictures side by side.
    """
    scale = max(1.0, ENLARGED / frame[0])
    limits = (round(frame[0] * scale) * parts + 4 * (parts - 1), round(frame[1] * scale))
    clamped = (
        min(max(side, least), most, limit)
        for side, least, most, limit in zip(box, SMALLEST_BOX, LARGEST_BOX, limits, strict=True)
    )
    width, height = clamped
    return width, height


def draw_snapshot(snapshot: Snapshot, mode: PictureMode, box: tuple[int, int]) -> tuple[Image, tuple[Place, ...]]:
    """A picture that just holds its parts, (height, width, 3), and where in it each part lies.

    Args:
        snapshot: what to draw.
        mode: how.
        box: largest (width, height), pixels.
    """
    shown = snapshot.shown
    places = places_of(shown.size, fit_box(box, shown.size, len(mode.parts)), len(mode.parts))
    left, top = places[0].x, places[0].y
    places = tuple(Place(place.x - left, place.y - top, place.width, place.height) for place in places)
    last = places[-1]
    if len(places) == 1:
        return _draw_part(snapshot, mode, (last.width, last.height)), places
    picture = np.full((last.height, last.x + last.width, 3), PAPER_GRAY, np.uint8)
    for part, place in zip(mode.parts, places, strict=True):
        picture[:, place.x : place.x + place.width] = _draw_part(snapshot, part, (place.width, place.height))
    return picture, places


def jpeg_bytes(image: Image) -> bytes:
    """A picture as the content of a JPEG file, colours at full resolution: outlines are coloured lines."""
    import av  # only here: drawing needs no codec

    codec = av.CodecContext.create("mjpeg", "w")
    codec.height, codec.width = image.shape[:2]
    codec.pix_fmt, codec.time_base = "yuvj444p", Fraction(1, 25)
    codec.thread_count = 1  # the other cores are the engine's
    codec.options = {"qmin": str(QUANTISER), "qmax": str(QUANTISER)}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(format="yuvj444p")
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*codec.encode(frame), *codec.encode(None)])


def _draw_part(snapshot: Snapshot, mode: PictureMode, size: tuple[int, int]) -> Image:
    """One picture of one size, with the fixations marked."""
    shown = snapshot.shown
    fixations = shown.fixations * shown.size
    if mode is PictureMode.RECONSTRUCTION:
        picture = reconstruct(shown.batch, size=size)
    else:
        picture = _as_bytes(snapshot, size)
        table = shown.batch.table[0]
        if mode is PictureMode.TOKENS:
            picture = draw_tokens(picture, table, frame_size=shown.size, patch=shown.batch.patch)
        elif mode is PictureMode.CHANGED:
            picture = draw_tiles(picture, shown.tiles, frame_size=shown.size)
        elif mode is PictureMode.REENCODED:
            anew = table[shown.batch.dirty[0].numpy()]
            patch = shown.batch.patch
            dark = draw_tiles(picture, np.zeros_like(shown.tiles), frame_size=shown.size)
            covered = lod_image(anew, size, frame_size=shown.size, patch=patch) != PAPER_GRAY
            picture = np.where(covered.any(axis=2, keepdims=True), picture, dark)
            picture = draw_tokens(picture, anew, frame_size=shown.size, patch=patch, dim=1.0)
    draw_fixations(picture, fixations, frame_size=shown.size)
    return picture


def _as_bytes(snapshot: Snapshot, size: tuple[int, int]) -> Image:
    """The frame as RGB bytes of a size; a copy, to be drawn on."""
    pixels = snapshot.frame
    height, width, channels = pixels.shape
    if (width, height, channels, pixels.dtype) == (*size, 3, np.dtype(np.uint8)):
        return np.array(pixels)
    return as_picture(pixels, size=size)
