"""The kinds of generated clips: what `cut_cases` can do, put together with random numbers of one generator."""

from __future__ import annotations

import numpy as np
from cut_cases import (  # beside this script
    SIZE,
    Case,
    Frames,
    Material,
    Rng,
    any_shot,
    blended,
    changed,
    joined,
    letterboxed,
    lit,
    panning,
    playing,
    shaking,
    swept,
    zooming,
)

LENGTH = 36
"""Frames of a clip without cuts."""


def _shots(material: Material, rng: Rng, *, step: int = 1) -> list[Frames]:
    """Two to four shots of different clips, or of photos."""
    count = int(rng.integers(2, 5))
    clips, photos = list(rng.permutation(len(material.clips))), list(rng.permutation(len(material.photos)))
    shots = []
    for length in rng.integers(10, 24, count):
        if photos and rng.random() < 0.2:
            speed = float(rng.uniform(0, 0.03)) * step
            shots.append(panning(material, rng, int(length), speed, which=int(photos.pop())))
        else:
            shots.append(playing(material, rng, int(length), which=int(clips.pop()), step=step))
    return shots


def cuts(material: Material, rng: Rng) -> Case:
    """Different shots."""
    return Case("cut", *joined(_shots(material, rng)))


def cuts_slow_rate(material: Material, rng: Rng) -> Case:
    """10 frames a second: more motion from frame to frame."""
    return Case("cut, 10 fps", *joined(_shots(material, rng, step=3)), rate=10.0)


def cuts_repeated(material: Material, rng: Rng) -> Case:
    """60 frames a second made by repeating frames three times."""
    frames, where = joined(_shots(material, rng, step=2))
    return Case("cut, 60 fps by repeats", np.repeat(frames, 3, axis=0), tuple(3 * k for k in where), rate=60.0)


def cuts_similar(material: Material, rng: Rng) -> Case:
    """One scene from other places: the other half of the picture, nearer, or mirrored."""
    which, length = int(rng.integers(len(material.clips))), 16
    wide = playing(material, rng, 3 * length, which=which)
    height, width = SIZE[1] // 2, SIZE[0] // 2
    views = []
    for corner in rng.permutation(4)[:3]:
        y, x = divmod(int(corner), 2)
        part = wide[:, y * height : (y + 1) * height, x * width : (x + 1) * width]
        views.append(np.repeat(np.repeat(part, 2, axis=1), 2, axis=2))
    return Case("cut, same scene", *joined([view[k * length : (k + 1) * length] for k, view in enumerate(views)]))


def cuts_letterboxed(material: Material, rng: Rng) -> Case:
    """Bars that stay."""
    frames, where = joined(_shots(material, rng))
    return Case("cut, letterboxed", letterboxed(frames), where)


def cuts_dark(material: Material, rng: Rng) -> Case:
    """Night: an eighth to a quarter of the light, with noise."""
    frames, where = joined(_shots(material, rng))
    light = float(rng.uniform(0.12, 0.25))
    noise = rng.normal(0, 2, (8, *frames.shape[1:])).astype(np.float32)
    noise = noise[np.arange(len(frames)) % 8]
    return Case("cut, dark", changed(frames, lambda values: values * light + noise), where)


def cuts_noisy(material: Material, rng: Rng) -> Case:
    """Strong noise."""
    frames, where = joined(_shots(material, rng))
    noise = rng.normal(0, 12, (8, *frames.shape[1:])).astype(np.float32)[np.arange(len(frames)) % 8]
    return Case("cut, noisy", changed(frames, lambda values: values + noise), where)


def cuts_panning(material: Material, rng: Rng) -> Case:
    """From one fast pan into another."""
    photos = rng.permutation(len(material.photos))
    pans = [panning(material, rng, 14, float(rng.uniform(0.05, 0.15)), which=int(photo)) for photo in photos]
    return Case("cut between pans", *joined(pans))


def flash(material: Material, rng: Rng) -> Case:
    """Light on the whole picture for 1 to 3 frames."""
    length = int(rng.integers(1, 4))
    return Case(
        "flash", lit(any_shot(material, rng, LENGTH), rng, 15, length, partial=False), spans=((15, 14 + length),)
    )


def flash_partial(material: Material, rng: Rng) -> Case:
    """Light on a part of the picture."""
    length = int(rng.integers(1, 4))
    frames = lit(any_shot(material, rng, LENGTH), rng, 15, length, partial=True)
    return Case("flash, partial", frames, spans=((15, 14 + length),))


def flash_solid(material: Material, rng: Rng) -> Case:
    """Nothing but white, or black, for 1 to 3 frames."""
    length = int(rng.integers(1, 4))
    frames = any_shot(material, rng, LENGTH).copy()
    frames[15 : 15 + length] = 255 if rng.random() < 0.5 else 0
    return Case("flash, all white or black", frames, spans=((15, 14 + length),))


def flashes(material: Material, rng: Rng) -> Case:
    """Many flashes, as at a press conference."""
    frames, spans = any_shot(material, rng, 60), []
    for start in range(8, 50, int(rng.integers(4, 9))):
        frames = lit(frames, rng, start, 1, partial=bool(rng.random() < 0.5))
        spans.append((start, start))
    return Case("flashes in a row", frames, spans=tuple(spans))


def pan(material: Material, rng: Rng) -> Case:
    """A fast pan: 5 to 30 % of the picture's width a frame."""
    return Case("fast pan", panning(material, rng, LENGTH, float(rng.uniform(0.05, 0.3))))


def zoom(material: Material, rng: Rng) -> Case:
    """2 to 10 % larger or smaller a frame."""
    return Case("fast zoom", zooming(material, rng, LENGTH, float(rng.uniform(1.02, 1.10))))


def shake(material: Material, rng: Rng) -> Case:
    """A hand-held camera."""
    return Case("shake", shaking(material, rng, LENGTH, float(rng.uniform(0.02, 0.1))))


def action(material: Material, rng: Rng) -> Case:
    """A clip four times as fast, at 10 frames a second."""
    return Case("footage 4x as fast", playing(material, rng, 40, step=4), rate=10.0)


def passing(material: Material, rng: Rng) -> Case:
    """Something large passes before the camera within 4 to 10 frames."""
    frames, other = any_shot(material, rng, LENGTH), any_shot(material, rng, 1)
    return Case("passer-by", swept(frames, other, rng, int(rng.integers(4, 11))))


def dissolve(material: Material, rng: Rng) -> Case:
    """One clip into another, over 8 to 40 frames."""
    first, second = rng.permutation(len(material.clips))[:2]
    length = int(rng.integers(8, 41))
    total = length + 30
    a = playing(material, rng, total, which=int(first))
    b = playing(material, rng, total, which=int(second))
    return Case("dissolve", blended(a, b, 15, length), spans=((15, 14 + length),))


def fade(material: Material, rng: Rng) -> Case:
    """To black or white, over 8 to 40 frames, and up again from it into another shot."""
    first, second = rng.permutation(len(material.clips))[:2]
    length = int(rng.integers(8, 41))
    solid = np.full((1, SIZE[1], SIZE[0], 3), 255 if rng.random() < 0.4 else 0, np.uint8)
    down = playing(material, rng, length + 21, which=int(first))
    down = blended(down, np.broadcast_to(solid, down.shape), 15, length)
    up = playing(material, rng, length + 21, which=int(second))
    up = blended(np.broadcast_to(solid, up.shape), up, 6, length)
    return Case("fade", np.concatenate([down, up]), spans=((15, 14 + length), (length + 27, 2 * length + 26)))


KINDS = (
    cuts, cuts_slow_rate, cuts_repeated, cuts_similar, cuts_letterboxed, cuts_dark, cuts_noisy, cuts_panning,
    flash, flash_partial, flash_solid, flashes, pan, zoom, shake, action, passing, dissolve, fade,
)  # fmt: skip
"""Each makes a case from material and random numbers."""
