"""What it costs: a forward pass of ViTs of four sizes, and the way from frame to features.

Weights are random: time does not depend on them. A call that would take longer than the limit, going by
the rate of the model's smaller calls, is left out and said so; nothing is derived in its place.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.bench.baselines import DenseTokens
from texvlm.bench.machine import load_average
from texvlm.bench.report import Timing
from texvlm.bench.scenes import still
from texvlm.encoders import Encoder
from texvlm.encoders.untrained import untrained_vit
from texvlm.engine import Engine
from texvlm.evaluation.foveation import Tell
from texvlm.evaluation.report import CostPart, EncoderTime, EndToEnd, Origin
from texvlm.evaluation.settings import FOV_DEG, EvalSettings
from texvlm.layouts import Quadtree, UniformGrid
from texvlm.tokens import TokenBatch

Frame = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shape:
    """Width, blocks and heads of a plain ViT whose MLP is four times as wide."""

    width: int
    blocks: int
    heads: int


MODELS: Mapping[str, Shape] = {
    "ViT-Ti": Shape(192, 12, 3),
    "ViT-S": Shape(384, 12, 6),
    "ViT-B": Shape(768, 12, 12),
    "ViT-L": Shape(1024, 24, 16),
}
QUICK_MODELS: Mapping[str, Shape] = {"tiny": Shape(32, 2, 2)}
COUNTS = (172, 268, 1024, 4096)
BATCHES = (1, 16)
PATCH = 16
CHANNELS = 3

FRAME = (1920, 1080)
DENSE_SIDE = 1024
"""Side of the square picture that the dense way makes of a frame: 64 x 64 tokens of 16 pixels."""

WAY_MODEL = "ViT-B"
BUDGET_S = 30.0
"""A call is repeated for about as long as this."""


def run_cost(settings: EvalSettings, origin: Origin, *, tell: Tell) -> CostPart:
    """Measure."""
    models = QUICK_MODELS if settings.quick else MODELS
    counts = (16, 64) if settings.quick else COUNTS
    encoders: list[EncoderTime] = []
    for name, shape in models.items():
        tell(f"cost: {name}", len(encoders), len(models) * len(counts) * len(BATCHES))
        encoder = _untrained(shape, settings)
        rate: float | None = None
        for batch in BATCHES:
            for count in counts:
                row = _encoder_time(encoder, name, shape, count, batch, settings, rate)
                rate = row.gmacs_per_s or rate
                encoders.append(row)
    tell("cost: frame to features", 0, 1)
    ways = _ways(settings)
    tell("cost: frame to features", 1, 1)
    return CostPart(origin=origin, load_after=load_average(), encoders=encoders, ways=ways)


def multiply_adds(shape: Shape, tokens: int, *, patch: int = PATCH, channels: int = CHANNELS) -> int:
    """Multiply-adds of one view: patch embedding, projections, attention and MLP; class token counted.

    Norms, softmax and activations are left out, as is usual.
    """
    rows, d = tokens + 1, shape.width
    return tokens * channels * patch * patch * d + shape.blocks * (12 * rows * d * d + 2 * rows * rows * d)


def _untrained(shape: Shape, settings: EvalSettings) -> Encoder:
    return untrained_vit(shape.width, shape.blocks, shape.heads, image=64 if settings.quick else 224, patch=PATCH)


def _encoder_time(
    encoder: Encoder, name: str, shape: Shape, count: int, batch: int, settings: EvalSettings, rate: float | None
) -> EncoderTime:
    """Time one forward pass, or say why it was left out."""
    gmacs = multiply_adds(shape, count) / 1e9 * batch
    expected = 0.0 if rate is None else gmacs / rate
    row = EncoderTime(model=name, tokens=count, batch=batch, gmacs=round(gmacs, 3), ms=None, gmacs_per_s=None)
    if expected > settings.call_limit_s:
        row.note = f"left out: about {expected:.0f} s by the rate of a smaller call, over {settings.call_limit_s:g} s"
        return row
    row.ms = timed({"": partial(encoder, _tokens(count, batch))}, rounds=settings.rounds)[""]
    row.gmacs_per_s = float(f"{gmacs / row.ms.median_ms * 1e3:.4g}")
    return row


def timed(calls: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, Timing]:
    """Time calls in turns, after one of each that is not timed: as often as fits BUDGET_S, up to `rounds`."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    allowed = dict.fromkeys(calls, rounds)
    for turn in range(rounds + 1):
        for name, call in calls.items():
            if turn > allowed[name]:
                continue
            start = time.perf_counter()
            with torch.inference_mode():
                call()
            spent = time.perf_counter() - start
            if turn:
                seconds[name].append(spent)
            else:
                allowed[name] = max(1, min(rounds, int(BUDGET_S / spent)))
    return {name: Timing.of(spent) for name, spent in seconds.items()}


def _tokens(count: int, batch: int) -> TokenBatch:
    """Foveated tokens of noise, one view repeated."""
    side = DENSE_SIDE
    frame = np.random.default_rng(0).integers(0, 256, (side, side, CHANNELS), dtype=np.uint8)
    layout = UniformGrid(side=PATCH) if count == (side // PATCH) ** 2 else Quadtree(tokens=count, fov_deg=FOV_DEG)
    with Engine(layout=layout, backend="cpu") as engine:
        engine.submit(frame)
        return engine.tokens(np.full((batch, 2), 0.5), sources=0)


def _ways(settings: EvalSettings) -> list[EndToEnd]:
    """Frame to features in turns, of frames that change as a whole.

    Dense tokens are made as the benchmarks' baseline makes them, with the fastest resize.
    """
    name = next(iter(QUICK_MODELS)) if settings.quick else WAY_MODEL
    size = settings.size if settings.quick else FRAME
    dense_side = 128 if settings.quick else DENSE_SIDE
    encoder = _untrained((QUICK_MODELS if settings.quick else MODELS)[name], settings)
    frames = [still(size, seed) for seed in (1, 2)]
    options: dict[str, Any] = {"backend": "cpu", "mean": encoder.mean, "std": encoder.std}
    turn, place = itertools.count(), itertools.count()
    dense_count = (dense_side // PATCH) ** 2
    dense = DenseTokens(dense_side, PATCH)
    with Engine(layout=UniformGrid(side=PATCH), **options) as engine:
        engine.submit(np.zeros((dense_side, dense_side, CHANNELS), np.uint8))
        geometry = engine.tokens()
    counts = (settings.tokens,) if settings.quick else (settings.tokens, 172)
    engines = {f"quadtree {n}": Engine(tokens=n, fov_deg=FOV_DEG, **options) for n in counts}

    def next_frame() -> Frame:
        return frames[next(turn) % 2]

    def dense_tokens() -> TokenBatch:
        return replace(geometry, pixels=dense(next_frame())[None])

    def foveated_tokens(engine: Engine) -> TokenBatch:
        engine.submit(next_frame())
        return engine.tokens((0.3 + next(place) % 5 / 10, 0.5), copy=False)

    makers: dict[str, Callable[[], TokenBatch]] = {f"dense {dense_count}": dense_tokens}
    makers |= {way: partial(foveated_tokens, engine) for way, engine in engines.items()}
    whole = timed({way: _then(encoder, make) for way, make in makers.items()}, rounds=settings.rounds)
    alone = timed(makers, rounds=settings.rounds)
    for engine in engines.values():
        engine.close()
    dense_ms = whole[f"dense {dense_count}"].median_ms
    return [
        EndToEnd(
            model=name,
            way=way,
            frame=size,
            tokens=int(way.split()[-1]),
            ms=timing,
            tokenize_ms=alone[way].median_ms,
            faster_than_dense=round(dense_ms / timing.median_ms, 2),
        )
        for way, timing in whole.items()
    ]


def _then(encoder: Encoder, make: Callable[[], TokenBatch]) -> Callable[[], object]:
    return lambda: encoder(make())
