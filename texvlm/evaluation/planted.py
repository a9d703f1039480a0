"""Planted frames: large pictures with small signs at known places, and where to look at each of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from texvlm.errors import SourceError
from texvlm.evaluation.backgrounds import BACKGROUNDS, Picture, draw_background
from texvlm.evaluation.targets import CLASSES, draw_sign
from texvlm.sources import open_source
from texvlm.visual_field import VisualField

LEAST_SHARE, GREATEST_SHARE = 1 / 40, 1 / 4
"""Sides of targets, of the frame's shorter side; log-uniform between these."""

GAP = 24
"""Texels between the plates of two targets, at least."""

NEAR_DEG = 2.0
"""How far a fixation "near" a target lies from its centre."""

AWAY_DEG = 15.0
"""How far one "away" from it lies, at least."""

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True)
class Target:
    """A sign in a frame.

    Attributes:
        label: index into targets.CLASSES.
        centre: (x, y), level-0 texels.
        side: of its picture, texels.
    """

    label: int
    centre: tuple[float, float]
    side: int


@dataclass(frozen=True, slots=True)
class PlantedFrame:
    """A frame, (height, width, 3) uint8, and the targets in it; `name` says what it was made of."""

    name: str
    pixels: Picture
    targets: tuple[Target, ...]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), texels."""
        return self.pixels.shape[1], self.pixels.shape[0]


def planted_frames(
    split: str,
    count: int,
    *,
    size: tuple[int, int],
    targets: int,
    seed: int,
    photos: Sequence[Picture] = (),
) -> Iterator[PlantedFrame]:
    """Frames of one split, the same for the same arguments; a frame does not depend on how many follow.

    Args:
        split: name of the split; another name gives other frames.
        count: how many.
        size: (width, height), texels.
        targets: in each frame.
        seed: of the whole run.
        photos: backgrounds cut from these instead of generated ones.
    Raises:
        ValueError: so many targets find no room.
    """
    kinds = list(BACKGROUNDS)
    for index in range(count):
        rng = np.random.default_rng([seed, *split.encode(), index])
        if photos:
            name, background = f"{split} {index}: photo", _cut(photos[index % len(photos)], size, rng)
        else:
            kind = kinds[index % len(kinds)]
            name, background = f"{split} {index}: {kind}", draw_background(kind, size, rng)
        labels = [int(label) for label in (np.arange(targets) + index * targets) % len(CLASSES)]  # every class as often
        yield plant(name, background, [labels[i] for i in rng.permutation(targets)], rng)


def plant(name: str, background: Picture, labels: Sequence[int], rng: np.random.Generator) -> PlantedFrame:
    """Put a sign of each label into a picture, none over another; sides are spread evenly on a log scale.

    Raises:
        ValueError: there is no room for all.
    """
    pixels = background.astype(np.float32)
    height, width = pixels.shape[:2]
    strata = (np.arange(len(labels)) + rng.uniform(size=len(labels))) / len(labels)
    sides = np.rint(min(width, height) * LEAST_SHARE * (GREATEST_SHARE / LEAST_SHARE) ** strata).astype(int)
    order = np.argsort(-sides)  # large ones first: they find it hardest to get a place
    placed: list[Target] = []
    for label, side in zip(labels, sides[order].tolist(), strict=True):
        left, top = _place(side, (width, height), placed, rng)
        colours, cover = draw_sign(label, side, rng)
        part = pixels[top : top + side, left : left + side]
        part += (colours - part) * cover[..., None]
        placed.append(Target(label, (left + side / 2, top + side / 2), side))
    return PlantedFrame(name, np.rint(pixels).astype(np.uint8), tuple(placed))


def fixation_for(target: Target, where: str, field: VisualField, rng: np.random.Generator) -> tuple[float, float]:
    """(x, y) in texels, inside the frame: "on" a target, "near" (2 degrees off) or "away" (15 degrees or more).

    Where no point of the frame is 15 degrees away, the farthest corner is taken.

    Raises:
        ValueError: another word for where.
    """
    width, height = field.size
    if where == "on":
        return target.centre
    if where == "near":
        radius = float(field.radius_texels(NEAR_DEG))
        angles = rng.permutation(24) * (2 * math.pi / 24)
        points = [(target.centre[0] + radius * math.cos(a), target.centre[1] + radius * math.sin(a)) for a in angles]
        return next(point for point in points if 0 <= point[0] <= width and 0 <= point[1] <= height)
    if where == "away":
        points = [(float(x), float(y)) for x, y in rng.uniform(size=(64, 2)) * field.size]
        far = [point for point in points if field.eccentricities_deg([point], target.centre)[0] >= AWAY_DEG]
        corners = [(float(x), float(y)) for x in (0, width) for y in (0, height)]
        return far[0] if far else max(corners, key=lambda corner: math.dist(corner, target.centre))
    raise ValueError(f"where is {where!r}; accepted: on, near, away")


def load_photos(folder: Path) -> dict[str, Picture]:
    """Photos of a folder by name, (height, width, 3) uint8.

    Raises:
        SourceError: it holds none.
    """
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    if not paths:
        raise SourceError(f"{folder} holds no photo; looked for {', '.join(PHOTO_SUFFIXES)}")
    photos = {}
    for path in paths:
        with open_source(path) as source:
            photos[path.name] = np.array(next(iter(source)).pixels)[..., :3]
    return photos


def _cut(photo: Picture, size: tuple[int, int], rng: np.random.Generator) -> Picture:
    """A part of a photo, of the frame's size; mirrored at its edges where the photo is smaller."""
    width, height = size
    missing_y, missing_x = max(height - photo.shape[0], 0), max(width - photo.shape[1], 0)
    if missing_y or missing_x:
        photo = np.pad(photo, ((0, missing_y), (0, missing_x), (0, 0)), mode="symmetric")
    top = int(rng.integers(photo.shape[0] - height + 1))
    left = int(rng.integers(photo.shape[1] - width + 1))
    return np.ascontiguousarray(photo[top : top + height, left : left + width])


def _place(side: int, size: tuple[int, int], placed: Sequence[Target], rng: np.random.Generator) -> tuple[int, int]:
    """(left, top) of a square that touches none of those placed before."""
    for _ in range(1000):
        left, top = (int(rng.integers(room - side + 1)) for room in size)
        x, y = left + side / 2, top + side / 2
        apart = (max(abs(x - t.centre[0]), abs(y - t.centre[1])) - (side + t.side) / 2 for t in placed)
        if all(gap >= GAP for gap in apart):
            return left, top
    raise ValueError(f"a frame of {size[0]} x {size[1]} has no room for {len(placed) + 1} targets; ask for fewer")


def sides_of(frames: Sequence[PlantedFrame]) -> NDArray[np.int64]:
    """Sides of all targets, in order, texels."""
    return np.array([target.side for frame in frames for target in frame.targets])
