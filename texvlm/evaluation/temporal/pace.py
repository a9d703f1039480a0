"""Time: every method and the full forward on the same batches, in turns, in one run.

For each frame the order is another one, so that drift of the machine hits all alike. The ratio is
between totals over all timed frames, since a method's frames differ in cost. Several sources play the same
clip from different places. Weights decide nothing where gates look at pixels; where they look at
features, a model with random weights is run on the rows that a trained one's gates took, see Guided.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch

from texvlm.encoders import Encoder
from texvlm.encoders.untrained import untrained_vit
from texvlm.engine import Engine
from texvlm.evaluation.cost import MODELS, QUICK_MODELS
from texvlm.evaluation.report import Origin
from texvlm.evaluation.temporal.clips import Clip
from texvlm.evaluation.temporal.engines import open_engine
from texvlm.evaluation.temporal.methods import Guided, Method, Methods, Moment, Step, choose
from texvlm.evaluation.temporal.peers import Full
from texvlm.evaluation.temporal.report import Pace, Spent, TimePart, shorten
from texvlm.evaluation.temporal.settings import REAL, TemporalSettings, TimedRun
from texvlm.frames import Frame

WARM_UP = 20
"""Frames that every method plays before any is timed."""

Tell = Callable[[str, int, int], None]
Save = Callable[[TimePart], None]


def run_time(
    encoder: Encoder,
    settings: TemporalSettings,
    origin: Origin,
    clips: Sequence[Clip],
    methods: Methods,
    *,
    before: TimePart | None = None,
    save: Save,
    tell: Tell,
) -> TimePart:
    """Measure; arguments as for `agreement.run_agreement`."""
    part = before or TimePart(origin=origin, load_after=0.0, rows=[])
    done = {(row.clip, row.model, row.sources) for row in part.rows}
    turns = [(run, clip) for run in settings.timed for clip in clips]
    if turns:  # kernels are compiled at their first call, which is no frame's cost
        run, clip = turns[0]
        short = run.model_copy(update={"frames": min(run.frames, WARM_UP)})
        race(encoder, settings, clip, short, choose(methods, settings.methods))
    for index, (run, clip) in enumerate(turns):
        tell(f"time: {run.model} x {run.sources}, {clip.name}", index, len(turns))
        if (clip.name, run.model, run.sources) in done:
            continue
        chosen = encoder if run.model == REAL else _untrained(run.model, quick=settings.quick)
        guide = None if chosen is encoder else encoder
        part.rows += race(chosen, settings, clip, run, choose(methods, settings.methods), guide=guide)
        save(part)
    return part


def race(
    encoder: Encoder,
    settings: TemporalSettings,
    clip: Clip,
    run: TimedRun,
    methods: Sequence[Method],
    *,
    guide: Encoder | None = None,
) -> list[Pace]:
    """Time all methods on one clip, in turns; the first frame is played and not timed.

    Args:
        encoder: to time.
        settings: of the evaluation.
        clip: to play.
        run: how many sources and frames.
        methods: contestants.
        guide: a trained model that says which rows pass, where `encoder` is none.
    """
    contestants: list[Method] = [Full(), *methods]
    entries = [_Entry(method) for method in contestants]
    order = list(entries)
    makes: list[float] = []
    layout = settings.layouts[0]
    tokens = 0
    engine: Engine | None = None
    with torch.inference_mode():
        try:
            for entry in entries:
                entry.method.begin(encoder, run.sources)
                if guide is not None and isinstance(entry.method, Guided):
                    entry.method.follow(encoder, guide)
            for index, frames in enumerate(side_by_side(clip, run.sources, run.frames + 1)):
                if engine is None:
                    engine = open_engine(settings, layout, frames[0].size, encoder, sources=run.sources)
                start = time.perf_counter()
                for source, frame in enumerate(frames):
                    engine.submit(frame, source)
                batch = engine.tokens(sources=list(range(run.sources)))
                made = time.perf_counter() - start
                moment = Moment(index, frames, engine)
                tokens = int((~batch.is_padding[0]).sum())
                for entry in order:
                    if guide is not None and isinstance(entry.method, Guided):
                        entry.method.rehearse(batch)
                    start = time.perf_counter()
                    step = entry.method.step(batch, moment)
                    entry.add(index, time.perf_counter() - start, step)
                order.append(order.pop(0))
                if index:
                    makes.append(made)
        finally:
            if engine is not None:
                engine.close()
    if not makes:
        raise ValueError(f"{clip.name} has one frame or none; give clips of two at least")
    full, *others = entries
    played = {"clip": clip.name, "kind": clip.kind, "layout": layout, "tokens": tokens}
    rows = [
        Pace.model_validate(
            played
            | {
                "method": entry.method.name,
                "model": run.model,
                "sources": run.sources,
                "frames": len(makes),
                "make": Spent.of(makes),
                "full": Spent.of(full.seconds),
                "ours": Spent.of(entry.seconds),
                "saved": sum(full.seconds) / sum(entry.seconds),
                "saved_median": Spent.of(full.seconds).p50_ms / Spent.of(entry.seconds).p50_ms,
                "saved_with_make": (sum(makes) + sum(full.seconds)) / (sum(makes) + sum(entry.seconds)),
                "work_saved": entry.work_full / max(entry.work, 1e-9 * entry.work_full),
                "encoded": entry.encoded / (tokens * run.sources * len(makes)),
                "state_bytes": -(-entry.bytes // run.sources),
            }
        )
        for entry in others
    ]
    for row in rows:
        shorten(row)
    return rows


class _Entry:
    """One contestant, and what it has spent."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.seconds: list[float] = []
        self.work = self.work_full = 0.0
        self.encoded = 0
        self.bytes = 0

    def add(self, index: int, seconds: float, step: Step) -> None:
        """What one step took."""
        self.bytes = max(self.bytes, self.method.state_bytes())
        if index == 0:
            return
        self.seconds.append(seconds)
        self.work += step.work
        self.work_full += step.work_full
        self.encoded += int(step.encoded.sum())


def side_by_side(clip: Clip, sources: int, frames: int) -> Iterator[tuple[Frame, ...]]:
    """Frames of several sources that play one clip from places as far apart as it allows; the same for one source.

    Args:
        clip: to play.
        sources: how many.
        frames: of each; fewer where the clip ends.
    """
    if sources == 1:
        yield from ((frame,) for frame in islice(clip.open(), frames))
        return
    held = list(clip.open())
    frames = min(frames, len(held))
    starts = [round(source * (len(held) - frames) / (sources - 1)) for source in range(sources)]
    for index in range(frames):
        yield tuple(held[start + index] for start in starts)


def _untrained(name: str, *, quick: bool) -> Encoder:
    """A ViT with random weights by name.

    Raises:
        ValueError: no such model.
    """
    models = QUICK_MODELS if quick else MODELS
    if name not in models:
        raise ValueError(f"model {name!r}; accepted: {REAL}, {', '.join(models)}")
    shape = models[name]
    return untrained_vit(shape.width, shape.blocks, shape.heads, image=64 if quick else 224)
