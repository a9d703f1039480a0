"""Features of an input, frame by frame, for uses that keep no folder."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from texvlm.encode.feature_maker import FeatureMaker, Made, check_model
from texvlm.encode.job import Progress, check_look, check_readout
from texvlm.encode.model import JobModel
from texvlm.encode.settings import EncodeSettings
from texvlm.encoders import Features
from texvlm.fixation import Looker, engine_arguments, scene_of


@dataclass(frozen=True, slots=True, eq=False)
class FrameFeatures:
    """What the model made of one frame.

    Attributes:
        frame: index among the frames that the settings hand out, 0 for the first.
        time_s: its presentation time, seconds; None when unknown.
        features: of one view.
    """

    frame: int
    time_s: float | None
    features: Features


def stream_features(
    settings: EncodeSettings,
    model: JobModel,
    *,
    start_s: float = 0.0,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> Iterator[FrameFeatures]:
    """Features of an input's frames, in their order; they come a batch at a time.

    Args:
        settings: as for `encode`, with a model.
        model: that model, loaded.
        start_s: frames before this time, seconds, are passed over.
        progress: called after each frame.
        stop: asked after each frame; True ends the stream after the frames that it has begun.
    Raises:
        SourceError, LookError, ModelError, ValueError, TypeError, BackendUnavailable: as `encode`.
    """
    settings = settings.resolved(model.encoder)
    layout, policy = settings.make_layout(), settings.make_policy()
    maker = FeatureMaker(model, batch=settings.features.batch if settings.features else 1)
    looker = Looker(lambda: policy)
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(settings.open_source())
        look = check_look(layout, policy, source.size)
        check_readout(model, policy)
        engine = stack.enter_context(settings.make_engine(source.size, layout))
        model.encoder.to(engine.device)
        check_model(model, layout, source.size, look)
        total = source.frames if settings.frames is None else min(source.frames or settings.frames, settings.frames)
        wanted = (item for item in enumerate(source) if item[1].pts is None or item[1].pts >= start_s)
        places: list[int] = []

        def handed_out(made: list[Made]) -> Iterator[FrameFeatures]:
            for (_, features), place in zip(made, places[: len(made)], strict=True):
                time_s = float(features.pts[0])
                yield FrameFeatures(place, None if math.isnan(time_s) else time_s, features)
            del places[: len(made)]

        for seen, (index, frame) in enumerate(islice(wanted, settings.frames), 1):
            report = engine.submit(frame)
            look = looker.look(scene_of(engine, time_s=frame.pts, report=report))
            batch = engine.tokens(**engine_arguments([look]))
            if not maker.fits(batch):
                yield from handed_out(maker.flush())
            places.append(index)
            yield from handed_out(maker.add(batch, look, room=maker.batch))
            if progress is not None:
                progress(Progress(seen, total, False, report.tiles_dirty / report.tiles_total))
            if stop is not None and stop():
                break
        yield from handed_out(maker.flush())
