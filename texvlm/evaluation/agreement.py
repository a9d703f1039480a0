"""Agreement with a closer look, without training: does the model name what it names in a full-resolution crop?

Pictures are photos at 1920 pixels where there are any, else generated scenes. Targets are places where
the model, shown a square of 112 to 224 pixels by itself, is sure enough of one class. Each layout then
looks at the whole picture with its fixation on the target, and the class token of the region answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.drawing.pictures import as_picture
from texvlm.encoders import Encoder, Readout
from texvlm.engine import Engine
from texvlm.evaluation.backgrounds import BACKGROUNDS, draw_background
from texvlm.evaluation.foveation import Picture, Tell, as_share, even_grid, hash_of, token_count
from texvlm.evaluation.probe import share
from texvlm.evaluation.report import Agreement, AgreementPart, Origin
from texvlm.evaluation.settings import FOV_DEG, EvalSettings
from texvlm.evaluation.store import FeatureStore
from texvlm.layouts import GlobalAndCrops, Layout, LogPolar, Quadtree, Sunflower, UniformGrid
from texvlm.layouts.crops import split_budget
from texvlm.layouts.logpolar import split_count
from texvlm.layouts.rings import RING_PRESETS, Rings

COUNTS = (64, 128, 172, 268, 512, 1024)
DENSE_COUNT = 4096
"""The uniform grid is measured with this many, too."""

E2_DEG = (0.5, 0.75, 1.0, 2.0, 4.0, 8.0)
SIDES = (112, 160, 224)
"""Sides of targets, pixels."""

LONGER_SIDE = 1920
PER_PICTURE = 20
TOGETHER = 16
"""Crops encoded at once."""

SURE = 0.3
"""Least probability of the crop's first class."""

READ_DEG = 4.0
"""Eccentricity within which the region class token looks."""

BEST = 5


@dataclass(frozen=True, slots=True)
class Place:
    """Centre (x, y) and side of a target in one of the pictures, pixels, and what the crop is."""

    picture: int
    centre: tuple[float, float]
    side: int
    label: int
    surety: float


def run_agreement(
    encoder: Encoder,
    settings: EvalSettings,
    store: FeatureStore,
    origin: Origin,
    photos: dict[str, Picture],
    *,
    tell: Tell,
) -> AgreementPart:
    """Measure; arguments as for `foveation.run_foveation`.

    Raises:
        ModelError: the model has no classifier.
    """
    pictures = list(_pictures(settings, photos))
    places = [place for index, picture in enumerate(pictures)
              for place in find_places(encoder, settings, store, picture, index)]  # fmt: skip
    if not places:
        raise ValueError("the model is sure of no target in any picture; give others with --data")
    rows = []
    contestants = list(_contestants(settings, (pictures[0].shape[1], pictures[0].shape[0]), encoder.patch))
    for index, (name, layout, e2) in enumerate(contestants):
        tell(f"agreement: {name}", index, len(contestants))
        for readout, right in _agree(encoder, store, layout, pictures, places).items():
            frames = np.array([place.picture for place in places])
            size = (pictures[0].shape[1], pictures[0].shape[0])
            rows.append(
                Agreement(
                    layout=name,
                    tokens=token_count(layout, size),
                    e2_deg=e2,
                    readout=readout,
                    agreement=as_share(share(right, frames if len(pictures) > 8 else np.arange(len(right)))),
                )
            )
    return AgreementPart(
        origin=origin,
        pictures="photos" if photos else "generated",
        frames=len(pictures),
        targets=len(places),
        rows=rows,
    )


def find_places(
    encoder: Encoder, settings: EvalSettings, store: FeatureStore, picture: Picture, index: int
) -> list[Place]:
    """Targets of one picture: squares on a grid that do not overlap, the surest first."""
    height, width = picture.shape[:2]
    sides = (48, 64) if settings.quick else SIDES
    boxes = np.array(
        [
            (x, y, side)
            for side in sides
            for y in range(0, height - side + 1, side // 2)
            for x in range(0, width - side + 1, side // 2)
        ]
    )

    def classify() -> dict[str, NDArray[np.float32]]:
        found: list[NDArray[np.float32]] = []
        with Engine(
            layout=UniformGrid(patch=encoder.patch), sources=TOGETHER, backend="cpu", mean=encoder.mean, std=encoder.std
        ) as engine:
            for start in range(0, len(boxes), TOGETHER):
                part = boxes[start : start + TOGETHER]
                for source, (x, y, side) in enumerate(part.tolist()):
                    crop = np.ascontiguousarray(picture[y : y + side, x : x + side])
                    engine.submit(as_picture(crop, size=encoder.native_size), source)
                with torch.inference_mode():
                    logits = encoder.classify(encoder(engine.tokens(sources=list(range(len(part))))))
                found += list(logits.softmax(-1).float().numpy())
        best = np.argmax(found, axis=1)
        return {"label": best.astype(np.float32), "surety": np.max(found, axis=1)}

    kept = store.get(f"crops {hash_of(picture)} {sides}", classify)
    chosen: list[Place] = []
    for row in np.argsort(-kept["surety"], kind="stable"):
        x, y, side = (int(v) for v in boxes[row])
        surety = float(kept["surety"][row])
        centre = (x + side / 2, y + side / 2)
        apart = all(max(abs(centre[0] - p.centre[0]), abs(centre[1] - p.centre[1])) >= (side + p.side) / 2
                    for p in chosen)  # fmt: skip
        if apart and (surety >= SURE or settings.quick):
            chosen.append(Place(index, centre, side, int(kept["label"][row]), surety))
        if len(chosen) == (2 if settings.quick else PER_PICTURE):
            break
    return chosen


def _agree(
    encoder: Encoder, store: FeatureStore, layout: Layout, pictures: list[Picture], places: list[Place]
) -> dict[str, NDArray[np.bool_]]:
    """For each read-out, whether the class of each target is among the best."""
    right: dict[str, list[NDArray[np.float32]]] = {}
    for index, picture in enumerate(pictures):
        own = [place for place in places if place.picture == index]
        if not own:
            continue
        height, width = picture.shape[:2]
        points = np.array([place.centre for place in own]) / (width, height)

        def read(picture: Picture = picture, points: NDArray[np.float64] = points) -> dict[str, NDArray[np.float32]]:
            with (
                Engine(layout=layout, backend="cpu", mean=encoder.mean, std=encoder.std) as engine,
                torch.inference_mode(),
            ):
                engine.submit(picture)
                if isinstance(layout, UniformGrid):
                    views = [encoder(engine.tokens(), readout=_near(points[None]))]
                    answers = {"region token": views[0].regions}
                else:
                    views = [encoder(engine.tokens(point), readout=_near(point)) for point in points]
                    answers = {
                        "region token": torch.cat([view.regions[0] for view in views if view.regions is not None]),
                        "whole field": torch.cat([view.pooled for view in views if view.pooled is not None]),
                    }
                return {
                    name: encoder.classify(found.flatten(0, -2)).topk(BEST).indices.float().numpy()
                    for name, found in answers.items()
                    if found is not None
                }

        labels = np.array([place.label for place in own])
        for readout, best in store.get(f"agree {hash_of(picture)} {layout} {points.tolist()} {READ_DEG}", read).items():
            right.setdefault(readout, []).append((best == labels[:, None]).any(1))
    return {readout: np.concatenate(parts) for readout, parts in right.items()}


def _near(points: NDArray[np.float64]) -> Readout:
    return Readout.near(points, eccentricity_deg=READ_DEG, fov_deg=FOV_DEG, weighting="area")


def _pictures(settings: EvalSettings, photos: dict[str, Picture]) -> Iterator[Picture]:
    """Photos with a longer side of 1920 pixels, all cut to the shape of the first; or generated scenes."""
    if not photos:
        for index, kind in enumerate(BACKGROUNDS):
            yield draw_background(kind, settings.size, np.random.default_rng([settings.seed, index]))
        return
    width = settings.size[0] if settings.quick else LONGER_SIDE
    height = width * 9 // 16
    for photo in photos.values():
        scaled = as_picture(photo, size=(width, max(height, round(photo.shape[0] * width / photo.shape[1]))))
        top = (len(scaled) - height) // 2  # of an upright photo, the middle
        yield np.ascontiguousarray(scaled[top : top + height])


def _contestants(
    settings: EvalSettings, size: tuple[int, int], patch: int
) -> Iterator[tuple[str, Layout, float | None]]:
    """(name, layout, e2) of everything compared."""
    counts = (24, 40) if settings.quick else COUNTS
    makers: dict[str, Callable[[int], Layout | None]] = {
        "quadtree": lambda n: Quadtree(tokens=n, patch=patch, fov_deg=FOV_DEG),
        "uniform": lambda n: even_grid(n, size, patch),
        "rings": lambda n: _rings(n, patch),
        "crops": lambda n: _crops(n, patch),
        "sunflower": lambda n: Sunflower(tokens=n, patch=patch, fov_deg=FOV_DEG),
        "logpolar": lambda n: _logpolar(n, patch),
    }
    for name, make in makers.items():
        for count in counts:
            layout = make(count)
            if layout is not None:
                yield name, layout, 2.0 if name in ("quadtree", "sunflower", "logpolar") else None
    if not settings.quick:
        yield "uniform", even_grid(DENSE_COUNT, size, patch), None
    for e2 in E2_DEG[:2] if settings.quick else E2_DEG:
        if e2 != 2.0:
            yield "quadtree", Quadtree(tokens=settings.tokens, patch=patch, fov_deg=FOV_DEG, e2_deg=e2), e2


def _rings(count: int, patch: int) -> Layout | None:
    preset = RING_PRESETS.get(f"rings-{count}")
    return None if preset is None else Rings(*preset, patch=patch, scale="frame" if count == 172 else 1.0)


def _crops(count: int, patch: int) -> Layout:
    whole, grid = split_budget(count, 1)
    return GlobalAndCrops(global_tokens=whole, crop_grid=grid, patch=patch)


def _logpolar(count: int, patch: int) -> Layout | None:
    try:
        rings, wedges = split_count(count)
    except ValueError:  # a prime count, say
        return None
    return LogPolar(rings=rings, wedges=wedges, patch=patch, fov_deg=FOV_DEG)
