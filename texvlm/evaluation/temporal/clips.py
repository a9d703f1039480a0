"""Clips that an evaluation over time plays: footage by kind, and generated cases that break methods.

A file's kind is its name up to the first underscore: surveillance_shop.mp4 is surveillance. Where a
manifest.json beside the files tells cuts (`cuts_measured`) and the stream (`stream_index`), it is used;
other names and fields are let be. Without a folder there are the procedural scenes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.bench.footage import clips_of
from texvlm.drawing.pictures import as_picture
from texvlm.evaluation.backgrounds import draw_background
from texvlm.evaluation.planted import load_photos
from texvlm.frames import Frame
from texvlm.sources import open_source

Picture = NDArray[np.uint8]

KINDS = ("surveillance", "screen", "conversation", "moving", "action", "cuts", "slow", "scene")
"""Kinds of clips, in the order of the report; generated cases are kinds of their own."""

SCENES = ("demo", "static", "pan", "noise", "cut")
GENERATED_SIZE = (1280, 720)
FADE_STEP = 0.5
"""Levels of 255 by which a fade brightens a frame: under any threshold, frame by frame."""
FADE_LONG = 240
PAN_STEP = (4, 1)
"""Pixels (x, y) by which a pan moves, a frame."""
NOISE_SIGMA = 2.0
"""Deviation of the generated sensor's noise, levels of 255."""
FLASH_EVERY, FLASH_LONG, FLASH_LEVELS = 40, 2, 90
RATE = 25.0


@dataclass(frozen=True, slots=True)
class Clip:
    """Some frames that can be played again and again.

    Attributes:
        name: of the file, or of the generated case.
        kind: one of KINDS, or a generated case's own name.
        frames: how many are played; a file may hold fewer.
        start: index in the file of the first one.
        cuts: indices of first frames of new shots, counted from `start`.
        open: plays them from the first on.
    """

    name: str
    kind: str
    frames: int
    start: int
    cuts: tuple[int, ...]
    open: Callable[[], Iterator[Frame]]


def find_clips(data: Path | None, *, frames: int, seed: int, size: tuple[int, int] = GENERATED_SIZE) -> list[Clip]:
    """Footage of a folder by kind, then generated cases over a photo; without a folder procedural ones.

    Args:
        data: folder of clips, with photos/ in it or not.
        frames: of each clip, at most.
        seed: of what is drawn.
        size: (width, height) of generated frames.
    Raises:
        SourceError: the folder holds no video, or its photos/ no photo.
    """
    scenes = [_scene(name, frames, seed, size) for name in SCENES] if data is None else []
    footage = [] if data is None else _footage(data, frames)
    room = (size[0] * 3 // 2, size[1] * 3 // 2)
    if data is not None and (data / "photos").is_dir():
        still = as_picture(next(iter(load_photos(data / "photos").values())), size=room)
    else:
        still = draw_background("leaves", room, np.random.default_rng(seed))
    return [*footage, *scenes, *generated(still, size=size, frames=frames, seed=seed)]


def generated(still: Picture, *, size: tuple[int, int], frames: int, seed: int) -> list[Clip]:
    """A fade, a pan, sensor noise and flashes, over one picture.

    Args:
        still: (height, width, 3), larger than `size`: the pan moves over it.
        size: (width, height) of the frames.
        frames: of each.
        seed: of the noise.
    """
    cases: dict[str, Callable[[Picture, int], Picture]] = {
        "fade": _fade,
        "pan": partial(_pan, size=size),
        "noise": partial(_noise, seed=seed),
        "flash": _flash,
    }
    width, height = size
    middle = np.ascontiguousarray(still[:height, :width])

    def play(name: str) -> Iterator[Frame]:
        for index in range(frames):
            yield Frame(cases[name](still if name == "pan" else middle, index), pts=index / RATE)

    return [Clip(name, name, frames, 0, (), partial(play, name)) for name in cases]


def _fade(still: Picture, index: int) -> Picture:
    """Brighter by FADE_STEP a frame for FADE_LONG frames, then darker again; dark enough at first never to clip."""
    room = (255 - FADE_STEP * FADE_LONG) / 255
    levels = still * np.float32(room) + np.float32(FADE_STEP * _bounce(index, FADE_LONG))
    faded: Picture = np.rint(levels).astype(np.uint8)
    return faded


def _pan(still: Picture, index: int, *, size: tuple[int, int]) -> Picture:
    """A window that moves over the picture, to and fro."""
    width, height = size
    x, y = (
        _bounce(index * step, have - need)
        for step, have, need in zip(PAN_STEP, (still.shape[1], still.shape[0]), (width, height), strict=True)
    )
    return np.ascontiguousarray(still[y : y + height, x : x + width])


def _bounce(distance: int, room: int) -> int:
    """Place on a line of `room` steps after walking to and fro."""
    place = distance % max(2 * room, 1)
    return min(place, 2 * room - place)


def _noise(still: Picture, index: int, *, seed: int) -> Picture:
    grain = np.random.default_rng([seed, index]).standard_normal(still.shape, np.float32) * np.float32(NOISE_SIGMA)
    grainy: Picture = np.rint(np.clip(still + grain, 0, 255)).astype(np.uint8)
    return grainy


def _flash(still: Picture, index: int) -> Picture:
    if index % FLASH_EVERY < FLASH_EVERY - FLASH_LONG:
        return still.copy()
    return np.minimum(still.astype(np.uint16) + FLASH_LEVELS, 255).astype(np.uint8)


def _scene(name: str, frames: int, seed: int, size: tuple[int, int]) -> Clip:
    def play() -> Iterator[Frame]:
        with open_source(f"scene:{name}:{size[0]}x{size[1]}", seed=seed, frames=frames) as source:
            yield from source

    return Clip(f"scene-{name}", "scene", frames, 0, (), play)


def _footage(folder: Path, frames: int) -> list[Clip]:
    facts = _facts(folder)
    clips = []
    for path in clips_of(folder):
        kind = path.name.split("_", 1)[0]
        if kind not in KINDS:
            continue
        own = facts.get(path.name, {})
        cuts = tuple(int(cut) for cut in own.get("cuts_measured", ()))
        start = busiest(cuts, frames)
        inside = tuple(cut - start for cut in cuts if start < cut < start + frames)
        clips.append(Clip(path.name, kind, frames, start, inside, partial(_play, path, own, start, frames)))
    return sorted(clips, key=lambda clip: KINDS.index(clip.kind))


def busiest(cuts: tuple[int, ...], frames: int) -> int:
    """First frame of the window of `frames` that holds most cuts, with ten frames before the first; 0 without cuts."""
    starts = [0, *(max(cut - 10, 0) for cut in cuts)]
    return max(starts, key=lambda start: (sum(start < cut < start + frames for cut in cuts), -start))


def _play(path: Path, facts: dict[str, Any], start: int, frames: int) -> Iterator[Frame]:
    with open_source(path, stream=facts.get("stream_index")) as source:
        yield from islice(iter(source), start, start + frames)


def _facts(folder: Path) -> dict[str, dict[str, Any]]:
    """What a manifest says of each file; nothing without one."""
    path = folder / "manifest.json"
    if not path.exists():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    return {entry["file"]: entry for entry in found.get("files", ()) if entry.get("cuts_measured")}
