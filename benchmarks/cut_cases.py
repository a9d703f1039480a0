"""Clips with known transitions, made from real footage and photos: cuts, and everything that is none.

A shot plays a piece of a clip, or moves a window over a photo. Shots are joined, faded, lit and
shaken; what was done is the truth. The same seed over the same footage gives the same clips.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from texvlm import open_source

SIZE = (320, 180)
"""(width, height) of every generated frame."""

Frames = NDArray[np.uint8]
Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Case:
    """One generated clip and its truth.

    Attributes:
        kind: what it holds, for the table.
        frames: (frames, height, width, 3).
        cuts: first frame of each new shot.
        spans: (first, last frame) of each dissolve, fade or flash.
        rate: frames a second.
    """

    kind: str
    frames: Frames
    cuts: tuple[int, ...] = ()
    spans: tuple[tuple[int, int], ...] = ()
    rate: float = 25.0


@dataclass(slots=True)
class Material:
    """Footage that shots are taken from.

    Attributes:
        clips: (frames, height, width, 3), each of `SIZE`.
        photos: (height, width, 3), three times as wide as `SIZE` or more.
    """

    clips: list[Frames] = field(default_factory=list)
    photos: list[Frames] = field(default_factory=list)


def load(folder: Path, clips: Sequence[str], photos: Sequence[str], *, most: int = 200, least: int = 24) -> Material:
    """The first frames of some clips, split where the manifest says that they cut, and some photos, scaled."""
    facts = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["files"]
    labels = {entry["file"]: entry.get("cuts_measured", []) for entry in facts}
    found = Material()
    for name in clips:
        with open_source(folder / name) as video:
            frames = np.stack([fitted(frame.pixels, SIZE) for frame in itertools.islice(video, most)])
        shots = np.split(frames, [cut for cut in labels[name] if cut < most])
        found.clips += [shot for shot in shots if len(shot) >= least]
    for name in photos:
        with Image.open(folder / name) as picture:
            found.photos.append(fitted(np.asarray(picture.convert("RGB")), (4 * SIZE[0], 4 * SIZE[1])))
    return found


def fitted(pixels: NDArray[np.generic], size: tuple[int, int]) -> Frames:
    """The middle of a picture, scaled to cover a size."""
    height, width = pixels.shape[:2]
    scale = max(size[0] / width, size[1] / height)
    wide, high = size[0] / scale, size[1] / scale
    box = ((width - wide) / 2, (height - high) / 2, (width + wide) / 2, (height + high) / 2)
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX, box=box))


# ---------------------------------------------------------------- shots


def playing(material: Material, rng: Rng, length: int, *, which: int | None = None, step: int = 1) -> Frames:
    """A piece of a clip; every `step`-th frame of it, so that it moves faster."""
    which = int(rng.integers(len(material.clips))) if which is None else which
    clip = material.clips[which]
    step = max(1, min(step, (len(clip) - 1) // length))
    start = int(rng.integers(max(1, len(clip) - step * length)))
    piece = clip[start : start + step * length : step]
    return np.concatenate([piece, np.repeat(piece[-1:], length - len(piece), axis=0)])


def window_path(photo: Frames, boxes: Sequence[tuple[float, float, float]]) -> Frames:
    """A window over a photo, by (centre x, centre y, width), pixels of it; it stops at the photo's edge."""
    height, width = photo.shape[:2]
    picture, ratio, shots = Image.fromarray(photo), SIZE[1] / SIZE[0], []
    for x, y, wide in boxes:
        wide = min(wide, width, height / ratio)
        high = wide * ratio
        left, top = np.clip(x - wide / 2, 0, width - wide), np.clip(y - high / 2, 0, height - high)
        shots.append(picture.resize(SIZE, Image.Resampling.BILINEAR, box=(left, top, left + wide, top + high)))
    return np.stack([np.asarray(shot) for shot in shots])


def panning(material: Material, rng: Rng, length: int, speed: float, *, which: int | None = None) -> Frames:
    """There and back over a photo; `speed` in window widths a frame, from the third frame on."""
    photo = material.photos[int(rng.integers(len(material.photos))) if which is None else which]
    height, width = photo.shape[:2]
    wide = SIZE[0] * float(rng.uniform(1.0, 1.6))
    y = float(rng.uniform(0.3, 0.7)) * height
    x, heading, boxes = wide / 2 + float(rng.uniform(0, width - wide)), 1.0 if rng.random() < 0.5 else -1.0, []
    for index in range(length):
        boxes.append((x, y, wide))
        if index >= 2:
            x += heading * speed * wide
        if x > width - wide / 2 or x < wide / 2:
            heading, x = -heading, float(np.clip(x, wide / 2, width - wide / 2))
    return window_path(photo, boxes)


def zooming(material: Material, rng: Rng, length: int, factor: float) -> Frames:
    """In, then out again, by a factor a frame."""
    photo = material.photos[int(rng.integers(len(material.photos)))]
    height, width = photo.shape[:2]
    x, y = float(rng.uniform(0.4, 0.6)) * width, float(rng.uniform(0.4, 0.6)) * height
    wide, boxes = float(width), []
    for _ in range(length):
        boxes.append((x, y, wide))
        wide /= factor
        if not SIZE[0] * 0.8 < wide < width:
            factor = 1 / factor
            wide /= factor * factor
    return window_path(photo, boxes)


def shaking(material: Material, rng: Rng, length: int, reach: float) -> Frames:
    """A hand-held photo: every frame elsewhere, by up to a share of the window."""
    photo = material.photos[int(rng.integers(len(material.photos)))]
    height, width = photo.shape[:2]
    wide = SIZE[0] * 1.5
    jumps = rng.uniform(-reach, reach, (length, 2)) * wide
    return window_path(photo, [(width / 2 + dx, height / 2 + dy, wide) for dx, dy in jumps])


def any_shot(material: Material, rng: Rng, length: int) -> Frames:
    """Footage, or a slow pan."""
    if rng.random() < 0.75:
        return playing(material, rng, length)
    return panning(material, rng, length, float(rng.uniform(0.0, 0.02)))


# ---------------------------------------------------------------- what is done to shots


def joined(shots: Sequence[Frames]) -> tuple[Frames, tuple[int, ...]]:
    """Shots after each other, and where the new ones begin."""
    return np.concatenate(shots), tuple(int(k) for k in np.cumsum([len(shot) for shot in shots[:-1]]))


def changed(frames: Frames, change: Callable[[NDArray[np.float32]], NDArray[np.floating]]) -> Frames:
    """Every frame through a function of its values, 0..255."""
    return np.clip(np.rint(change(frames.astype(np.float32))), 0, 255).astype(np.uint8)


def blended(first: Frames, second: Frames, start: int, length: int) -> Frames:
    """From one shot into another of the same length, over frames start..start + length - 1."""
    share = np.clip((np.arange(len(first)) - start + 1) / (length + 1), 0, 1).astype(np.float32)[:, None, None, None]
    return changed(first, lambda values: (1 - share) * values + share * second)


def letterboxed(frames: Frames) -> Frames:
    """Black bars over an eighth of the picture at the top and at the bottom."""
    frames = frames.copy()
    frames[:, : SIZE[1] // 8] = 0
    frames[:, -(SIZE[1] // 8) :] = 0
    return frames


def lit(frames: Frames, rng: Rng, start: int, length: int, *, partial: bool) -> Frames:
    """A flash: brighter by gain and offset for some frames, everywhere or around a place."""
    gain, offset = float(rng.uniform(1.3, 2.5)), float(rng.uniform(20, 120))
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    centre, reach = rng.uniform(0.1, 0.9, 2) * SIZE, SIZE[0] * float(rng.uniform(0.15, 0.5))
    spot = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * reach**2)) if partial else np.ones(SIZE[::-1])
    share = (spot * 1.0).astype(np.float32)[:, :, None]
    frames = frames.copy()
    part = slice(start, start + length)
    frames[part] = changed(frames[part], lambda values: values * (1 + (gain - 1) * share) + offset * share)
    return frames


def swept(frames: Frames, other: Frames, rng: Rng, duration: int) -> Frames:
    """Something large passes before the camera: a textured slab of 50 to 80 % of the width."""
    slab = int(SIZE[0] * float(rng.uniform(0.5, 0.8)))
    frames, start = frames.copy(), len(frames) // 3
    for step in range(duration):
        left = int(-slab + (SIZE[0] + slab) * (step + 1) / (duration + 1))
        lo, hi = max(0, left), min(SIZE[0], left + slab)
        frames[start + step, :, lo:hi] = other[0, :, lo - left : hi - left] // 2
    return frames
