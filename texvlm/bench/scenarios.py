"""The scenarios: a share of tiles changed, everything changed, nothing changed, many views.

One timed call is what a user pays for one frame: `submit` of a host frame and `tokens` as a torch
tensor that the caller owns, default threshold and layout. Where a call serves several sources,
each of them gets a new frame.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.backends.base import Backend, Counters
from texvlm.bench.baselines import DenseTokens, PyramidTokens
from texvlm.bench.cost import Rates, dense_cost, integral_cost, pyramid_cost, texvlm_cost
from texvlm.bench.integral import IntegralTokens
from texvlm.bench.report import OURS, Case, Prediction
from texvlm.bench.scenes import Pattern, changing, still
from texvlm.bench.timing import Call, race, repeat
from texvlm.engine import Engine

DENSE, DENSE_AREA = "dense, linear", "dense, area"
PYRAMID = "pyramid + grid_sample"
INTEGRAL, INTEGRAL_CV = "integral image", "integral image, cv2"
DENSE_SIDE = 1024
RING_TOKENS = 172


@dataclass(frozen=True, slots=True)
class Scenario:
    """One case to run.

    Attributes:
        bench: which bench it belongs to.
        name: what the table calls it.
        size: (width, height) of the frames.
        share: of the tiles, changed from frame to frame, 0..1.
        pattern: where they lie.
        fixations: fixations of each view.
        views: views of each source, each with a token budget of its own.
        sources: videos, each with a new frame in every call.
        dtype: of the tokens.
        baselines: whether to time them too.
    """

    bench: str
    name: str
    size: tuple[int, int]
    share: float
    pattern: Pattern = "scattered"
    fixations: int = 1
    views: int = 1
    sources: int = 1
    dtype: torch.dtype = torch.float32
    baselines: bool = True


@dataclass(slots=True)
class Bench:
    """What all scenarios of a run share: an open backend, the token count, and this machine's rates.

    Attributes:
        backend: open; closed by whoever opened it.
        tokens: budget of the quadtree.
        rounds: timed frames of a scenario at 1080p; larger frames get fewer.
        seed: of the frames.
        bytes_per_s: measured copy bandwidth.
        call_ms: time of one call on a frame of one tile, filled in by `prepare`.
    """

    backend: Backend
    tokens: int
    rounds: int
    seed: int
    bytes_per_s: float
    call_ms: float = field(default=0.0)

    def prepare(self) -> None:
        """Measure the fixed cost of a call."""
        frame = still((16, 16), self.seed)
        with Engine(backend=self.backend, tokens=1) as engine:

            def call(_: int) -> None:
                engine.submit(frame)
                engine.tokens()

            self.call_ms = repeat(call, rounds=max(50, self.rounds)).p10_ms

    @property
    def rates(self) -> Rates:
        """For predictions."""
        return Rates(self.bytes_per_s, self.call_ms)

    def rounds_for(self, size: tuple[int, int]) -> int:
        """Fewer rounds where a frame is larger than 1080p."""
        return max(3, round(self.rounds * min(1.0, 1920 * 1080 / (size[0] * size[1]))))


def spread(count: int) -> NDArray[np.float64]:
    """`count` fixations (u, v), (count, 2): the centre, or a square lattice over the frame."""
    side = max(1, round(count**0.5))
    place = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(place, place), axis=-1).reshape(-1, 2)[:count]


def run_scenario(bench: Bench, scenario: Scenario) -> Case:
    """Time one scenario, texvlm and baselines in turns on the same frames."""
    if scenario.views > 1:
        points = spread(scenario.views)[:, None]
    else:
        points = np.broadcast_to(spread(scenario.fixations), (scenario.sources, scenario.fixations, 2))
    engine = Engine(
        sources=scenario.sources,
        tokens=bench.tokens,
        backend=bench.backend,
        dtype=scenario.dtype,
    )
    stages: dict[str, list[float]] = {}

    def ours(frame: NDArray[np.uint8]) -> torch.Tensor:
        reports = [engine.submit(frame, source) for source in range(scenario.sources)]
        before = engine.times_ms
        batch = engine.tokens(points)
        after = engine.times_ms
        for name in reports[0].times_ms:
            stages.setdefault(name, []).append(sum(report.times_ms[name] for report in reports))
        for name in ("plan", "sample"):
            stages.setdefault(name, []).append(after[name] - before[name])
        return batch.pixels

    with engine:
        frames = changing(scenario.size, scenario.share, scenario.pattern, bench.seed)
        ours(next(frames))
        counted = CountedCall(engine, ours)
        contestants: dict[str, Call] = {OURS: counted}
        baselines: dict[str, tuple[Call, Prediction]] = {}
        if scenario.baselines:
            baselines = make_baselines(bench, scenario, engine)
            contestants |= {name: call for name, (call, _) in baselines.items()}
        rounds = bench.rounds_for(scenario.size)
        timings = race(contestants, frames, rounds=rounds)
        calls = counted.calls
        frame_bytes = scenario.sources * scenario.size[0] * scenario.size[1] * 3
        tokens = int(np.prod(engine.plan(points).shape))
        work = counted.work
        prediction = texvlm_cost(
            work,
            calls,
            frame_bytes,
            tokens=tokens,
            patch=engine.layout.patch,
            item=scenario.dtype.itemsize,
            rates=bench.rates,
        )
        return Case(
            bench=scenario.bench,
            name=scenario.name,
            size=scenario.size,
            backend=engine.backend_name,
            dtype=str(scenario.dtype).removeprefix("torch."),
            sources=scenario.sources,
            fixations=scenario.fixations,
            tokens=tokens,
            timings=timings,
            ratios={name: round(timings[name].median_ms / timings[OURS].median_ms, 3) for name in baselines},
            stages_ms={name: round(float(np.median(ms[-rounds:])), 4) for name, ms in stages.items()},
            counters={name: count / calls for name, count in work.as_dict().items()},
            predictions={OURS: prediction} | {name: cost for name, (_, cost) in baselines.items()},
        )


class CountedCall:
    """A call of an engine that keeps count of how often it ran and of the work that it did."""

    def __init__(self, engine: Engine, call: Call) -> None:
        self._engine = engine
        self._call = call
        self._start = copy(engine.counters)
        self.calls = 0

    def __call__(self, frame: NDArray[np.uint8]) -> object:
        """Call it."""
        self.calls += 1
        return self._call(frame)

    @property
    def work(self) -> Counters:
        """Work of the engine since this was made."""
        return self._engine.counters - self._start


def make_baselines(bench: Bench, scenario: Scenario, engine: Engine) -> dict[str, tuple[Call, Prediction]]:
    """The baselines by name, each with its prediction."""
    rates = Rates(bench.bytes_per_s)
    frame_bytes = scenario.size[0] * scenario.size[1] * 3
    table = engine.plan(spread(scenario.fixations)[None])[0]
    patch = engine.layout.patch
    pyramid = PyramidTokens(scenario.size, table, patch)
    dense = dense_cost(frame_bytes, DENSE_SIDE, rates)
    integral = integral_cost(RING_TOKENS, patch, rates)
    return {
        DENSE: (DenseTokens(DENSE_SIDE), dense),
        DENSE_AREA: (DenseTokens(DENSE_SIDE, interpolation=cv2.INTER_AREA), dense),
        PYRAMID: (pyramid, pyramid_cost(frame_bytes, pyramid.top, len(table), patch, rates)),
        INTEGRAL: (IntegralTokens(), integral),
        INTEGRAL_CV: (IntegralTokens(opencv=True), integral),
    }


def run_fixations(bench: Bench, size: tuple[int, int]) -> Case:
    """A new fixation on a resident frame: `tokens` alone, the frame unchanged."""
    rng = np.random.default_rng(bench.seed)
    rounds = max(10, bench.rounds)
    points = rng.uniform(0.05, 0.95, (rounds + 3, 2))
    with Engine(tokens=bench.tokens, backend=bench.backend) as engine:
        engine.submit(still(size, bench.seed))
        engine.tokens()
        before, times = copy(engine.counters), engine.times_ms
        timing = repeat(lambda index: engine.tokens(points[index]), rounds=rounds)
        calls = rounds + 3
        work, after = engine.counters - before, engine.times_ms
        tokens = int(engine.plan().size)
        patch = engine.layout.patch
        prediction = texvlm_cost(work, calls, 0, tokens=tokens, patch=patch, item=4, rates=bench.rates)
        return Case(
            bench="fixation",
            name="new fixation",
            size=size,
            backend=engine.backend_name,
            tokens=tokens,
            timings={OURS: timing},
            stages_ms={name: round((after[name] - times[name]) / calls, 4) for name in ("plan", "sample")},
            counters={name: count / calls for name, count in work.as_dict().items()},
            predictions={OURS: prediction},
        )
