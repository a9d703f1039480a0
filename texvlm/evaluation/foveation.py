"""Does foveation pay: a probe reads planted targets from the tokens of every method.

    planted frame -> tokens of each method -> frozen encoder -> read-outs -> the same probe -> accuracy

One frame holds several targets, each of which is looked at in turn; dense tokens are encoded once a
frame and read at each of them. Training frames have generated backgrounds only.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.encoders import Encoder
from texvlm.engine import Engine
from texvlm.evaluation.methods import READOUTS, Array, Method, read_frame
from texvlm.evaluation.planted import GREATEST_SHARE, LEAST_SHARE, PlantedFrame, planted_frames
from texvlm.evaluation.probe import Interval, Probe, ratio, share, train_probe
from texvlm.evaluation.report import FoveationPart, Origin, Reading, Share, SizeBin
from texvlm.evaluation.settings import FOV_DEG, EvalSettings
from texvlm.evaluation.store import FeatureStore
from texvlm.evaluation.targets import CLASSES
from texvlm.layouts import Focus, Layout, Quadtree, Rings, UniformGrid
from texvlm.layouts.uniform import side_for_count

Tell = Callable[[str, int, int], None]
Picture = NDArray[np.uint8]

DENSE = "dense"
SIZE_BINS = 4
SLACK = 1.1
"""Time that equal-time uniform tokens may take, over that of the foveated ones."""


@dataclass(slots=True)
class Samples:
    """Features of one split by (method, read-out), and what goes with each row."""

    features: dict[tuple[str, str], list[Array]] = field(default_factory=dict)
    labels: list[int] = field(default_factory=list)
    sides: list[int] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)

    def rows(self, method: str, readout: str) -> Array:
        """(targets, width)."""
        return np.concatenate(self.features[method, readout])


def run_foveation(
    encoder: Encoder,
    settings: EvalSettings,
    store: FeatureStore,
    origin: Origin,
    photos: dict[str, Picture],
    *,
    tell: Tell,
) -> FoveationPart:
    """Measure.

    Args:
        encoder: frozen.
        settings: how much of it.
        store: where features are kept.
        origin: of the report.
        photos: backgrounds of more test frames, by name; may be empty.
        tell: told about each frame.
    """
    equal_time, times = equal_time_tokens(encoder, settings, store)
    methods = methods_of(settings, encoder.patch, equal_time)
    train = collect(encoder, settings, store, methods, "train", settings.train_frames, tell=tell)
    tests = {"generated": collect(encoder, settings, store, methods, "test", settings.test_frames, tell=tell)}
    if photos and settings.photo_frames:
        tests["photos"] = collect(
            encoder, settings, store, methods, "photos", settings.photo_frames, photos=list(photos.values()), tell=tell
        )
    readings: list[Reading] = []
    for index, readout in enumerate(READOUTS):
        tell("foveation: probes", index, len(READOUTS))
        able = [method for method in methods if (method.name, readout) in train.features]
        probes = {method.name: _probe(train, method.name, readout) for method in able}
        for name, samples in tests.items():
            readings += _readings(able, probes, readout, samples, name, settings)
    readings.sort(key=lambda reading: list(tests).index(reading.test))
    return FoveationPart(
        origin=origin,
        chance=1 / len(CLASSES),
        train_targets=len(train.labels),
        equal_time=times,
        readings=readings,
    )


def methods_of(settings: EvalSettings, patch: int, equal_time: int) -> list[Method]:
    """All contestants."""
    n = settings.tokens
    quadtree = Quadtree(tokens=n, patch=patch, fov_deg=FOV_DEG)
    sharp = Quadtree(tokens=n, patch=patch, fov_deg=FOV_DEG, e2_deg=0.75)
    even, longer = (even_grid(count, settings.size, patch) for count in (n, equal_time))
    dense = UniformGrid(side=patch, patch=patch)
    return [
        Method(f"quadtree {n}", quadtree),
        Method(f"quadtree {n}, e2 0.75", sharp),
        Method(f"quadtree {n}, positions centred", quadtree, centred=True),
        Method("rings 268", Rings(patch=patch)),
        Method("equal-count uniform", even),
        Method("equal-time uniform", longer),
        Method(DENSE, dense),
        Method(f"quadtree {n}, near", quadtree, "near"),
        Method("equal-count uniform, near", even, "near"),
        Method(f"quadtree {n}, away", quadtree, "away"),
    ]


def collect(
    encoder: Encoder,
    settings: EvalSettings,
    store: FeatureStore,
    methods: Sequence[Method],
    split: str,
    count: int,
    *,
    photos: Sequence[Picture] = (),
    tell: Tell,
) -> Samples:
    """Features of every target of a split, from the store where it has them."""
    found = Samples()
    what = f"foveation: {split}"
    for index, frame in enumerate(frames_of(settings, split, count, photos)):
        tell(what, index, count)
        with Engine(backend="cpu", patch=encoder.patch, mean=encoder.mean, std=encoder.std) as engine:
            submitted = False
            for method in methods:

                def make(method: Method = method, frame: PlantedFrame = frame) -> dict[str, Array]:
                    nonlocal submitted
                    if not submitted:
                        engine.submit(frame.pixels)
                        submitted = True
                    with torch.inference_mode():
                        return read_frame(encoder, engine, method, frame)

                key = f"{frame.name} {frame.pixels.shape} {hash_of(frame.pixels)} {method}"
                for readout, rows in store.get(key, make).items():
                    found.features.setdefault((method.name, readout), []).append(rows)
        found.labels += [target.label for target in frame.targets]
        found.sides += [target.side for target in frame.targets]
        found.frames += [index] * len(frame.targets)
    tell(what, count, count)
    return found


def frames_of(settings: EvalSettings, split: str, count: int, photos: Sequence[Picture] = ()) -> Iterator[PlantedFrame]:
    """Planted frames of a split as the settings ask for them."""
    return planted_frames(split, count, size=settings.size, targets=settings.targets, seed=settings.seed, photos=photos)


def hash_of(pixels: Picture) -> str:
    """Short name of a picture's content."""
    return hashlib.sha256(pixels.tobytes()).hexdigest()[:16]


def _probe(train: Samples, method: str, readout: str) -> Probe:
    rows, labels, frames = train.rows(method, readout), np.array(train.labels), np.array(train.frames)
    return train_probe(rows, labels, frames, classes=len(CLASSES))


def _readings(
    methods: Sequence[Method],
    probes: dict[str, Probe],
    readout: str,
    test: Samples,
    name: str,
    settings: EvalSettings,
) -> Iterator[Reading]:
    """Test the probe of each method with one read-out."""
    truth, where, sides = np.array(test.labels), np.array(test.frames), np.array(test.sides)
    right = {method: probe.predict(test.rows(method, readout)) == truth for method, probe in probes.items()}
    dense = right.get(DENSE)
    for method in methods:
        own = right[method.name]
        of_dense = None if dense is None or method.name == DENSE else ratio(own, dense, where, seed=settings.seed)
        yield Reading(
            method=method.name,
            tokens=token_count(method.layout, settings.size),
            side_at_fixation=side_at_fixation(method.layout, settings.size),
            fixation=cast(Literal["on", "near", "away"], method.where),
            positions="centred" if method.centred else "absolute",
            readout=readout,
            test=name,
            targets=len(own),
            penalty=probes[method.name].penalty,
            accuracy=as_share(share(own, where, seed=settings.seed)),
            of_dense=None if of_dense is None else as_share(of_dense),
            by_size=list(_by_size(own, sides, settings)),
        )


def _by_size(right: NDArray[np.bool_], sides: NDArray[np.int64], settings: EvalSettings) -> Iterator[SizeBin]:
    shorter = min(settings.size)
    edges = shorter * LEAST_SHARE * (GREATEST_SHARE / LEAST_SHARE) ** (np.arange(SIZE_BINS + 1) / SIZE_BINS)
    bounds = [int(edge) for edge in edges]
    bounds[-1] += 1
    for least, most in pairwise(bounds):
        inside = (sides >= least) & (sides < most)
        if inside.any():
            yield SizeBin(
                least=least, most=most, targets=int(inside.sum()), right=round(float(right[inside].mean()), 4)
            )


def as_share(interval: Interval) -> Share:
    """An interval as a record."""
    return Share(value=interval.value, low=interval.low, high=interval.high)


def token_count(layout: Layout, size: tuple[int, int]) -> int:
    """Tokens of a central view, padding left out."""
    return int((_central(layout, size)["layer"] >= 0).sum())


def side_at_fixation(layout: Layout, size: tuple[int, int]) -> float:
    """Side of the token under a central fixation, texels."""
    table = _central(layout, size)
    inside = np.maximum(np.abs(table["x"] - size[0] / 2), np.abs(table["y"] - size[1] / 2)) <= table["side"] / 2
    return float(table["side"][inside & (table["layer"] >= 0)].min())


def even_grid(tokens: int, size: tuple[int, int], patch: int) -> UniformGrid:
    """The finest uniform grid with no more tokens than that; without the padding rows that cost attention a mask."""
    return UniformGrid(side=side_for_count(size, tokens), patch=patch)


def _central(layout: Layout, size: tuple[int, int]) -> NDArray[np.void]:
    return layout.plan(size, Focus(np.array([[size[0] / 2, size[1] / 2]])))


def equal_time_tokens(encoder: Encoder, settings: EvalSettings, store: FeatureStore) -> tuple[int, dict[str, float]]:
    """The largest uniform grid that takes no longer than the foveated tokens (and SLACK), frame to features.

    Returns:
        Its count, and the median milliseconds of the foveated tokens and of every grid tried. Kept in
        the store, so that a run which goes on compares with the same grid.
    """
    wanted = [round(settings.tokens * k) for k in np.linspace(1.0, 1.5, 11)]
    grids = {even_grid(count, settings.size, encoder.patch) for count in wanted}
    counts = sorted(token_count(grid, settings.size) for grid in grids)

    def measure() -> dict[str, Array]:
        frames = [frame.pixels for frame in frames_of(settings, "timing", 2)]
        layouts: list[Layout] = [Quadtree(tokens=settings.tokens, patch=encoder.patch, fov_deg=FOV_DEG)]
        layouts += [even_grid(count, settings.size, encoder.patch) for count in counts]
        spent: list[list[float]] = [[] for _ in layouts]
        options: dict[str, Any] = {"backend": "cpu", "patch": encoder.patch, "mean": encoder.mean, "std": encoder.std}
        engines = [Engine(layout=layout, **options) for layout in layouts]
        for turn in range(settings.rounds + 2):
            for engine, times in zip(engines, spent, strict=True):
                start = time.perf_counter()
                engine.submit(frames[turn % 2])
                with torch.inference_mode():
                    encoder(engine.tokens((0.3 + 0.05 * (turn % 7), 0.5), copy=False))
                if turn >= 2:
                    times.append((time.perf_counter() - start) * 1e3)
        for engine in engines:
            engine.close()
        return {"ms": np.array([median(times) for times in spent], np.float32)}

    kept = store.get(f"equal time {settings.size} {settings.tokens} {counts} {settings.rounds}", measure)["ms"]
    ours, *theirs = [float(ms) for ms in kept]
    fitting = [count for count, ms in zip(counts, theirs, strict=True) if ms <= ours * SLACK]
    times = {"foveated": round(ours, 2)} | {f"uniform {n}": round(ms, 2) for n, ms in zip(counts, theirs, strict=True)}
    return max(fitting, default=counts[0]), times
