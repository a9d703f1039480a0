"""Agreement: every method against the full forward of the same tokens, frame by frame.

All methods and the full forward see each batch in turn, so a clip is decoded and tokenised once, and
nothing of it is kept but what the numbers are made of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name everybody knows it by)
from numpy.typing import NDArray

from texvlm.encoders import Encoder
from texvlm.encoders.features import Features
from texvlm.engine import Engine
from texvlm.evaluation.report import Origin
from texvlm.evaluation.temporal.clips import Clip
from texvlm.evaluation.temporal.engines import open_engine
from texvlm.evaluation.temporal.methods import Method, Methods, Moment, Step, choose
from texvlm.evaluation.temporal.outside import OutsideCheck
from texvlm.evaluation.temporal.report import AgreementPart, Closeness, Curves, shorten
from texvlm.evaluation.temporal.settings import TemporalSettings
from texvlm.tokens import TokenBatch

Tell = Callable[[str, int, int], None]
Save = Callable[[AgreementPart], None]


def run_agreement(
    encoder: Encoder,
    settings: TemporalSettings,
    origin: Origin,
    clips: Sequence[Clip],
    methods: Methods,
    *,
    before: AgreementPart | None = None,
    save: Save,
    tell: Tell,
) -> AgreementPart:
    """Measure.

    Args:
        encoder: with a classifier, or top-1 stays empty.
        settings: how much.
        origin: of the part.
        clips: to play.
        methods: to compare.
        before: what a run that was cut off had measured; it is not measured again.
        save: given the part after every clip.
        tell: told what is under way.
    """
    part = before or AgreementPart(origin=origin, rows=[])
    done = {(row.clip, row.layout) for row in part.rows}
    turns = [(clip, layout) for layout in settings.layouts for clip in clips]
    for index, (clip, layout) in enumerate(turns):
        tell(f"agreement: {clip.name}, {layout}", index, len(turns))
        if (clip.name, layout) not in done:
            part.rows += compare(encoder, settings, clip, layout, choose(methods, settings.methods))
            save(part)
    return part


def compare(
    encoder: Encoder, settings: TemporalSettings, clip: Clip, layout: str, methods: Sequence[Method]
) -> list[Closeness]:
    """Play one clip to all methods."""
    tallies = [_Tally(method, encoder, clip, settings.sure) for method in methods]
    engine: Engine | None = None
    with torch.inference_mode():
        try:
            for index, frame in enumerate(clip.open()):
                if engine is None:
                    engine = open_engine(settings, layout, frame.size, encoder)
                engine.submit(frame)
                batch = engine.tokens()
                full = encoder(batch)
                moment = Moment(index, (frame,), engine)
                for tally in tallies:
                    tally.add(index, batch, full, moment)
        finally:
            if engine is not None:
                engine.close()
    return [tally.row(layout) for tally in tallies]


class _Tally:
    """What one method did on one clip."""

    def __init__(self, method: Method, encoder: Encoder, clip: Clip, sure: float) -> None:
        self._method = method
        self._encoder = encoder
        self._clip = clip
        self._sure = sure
        self._check = OutsideCheck(torch.tensor(encoder.std)[:, None, None])
        self._class: list[float] = []
        self._patch: list[NDArray[np.float32]] = []
        self._encoded: list[float] = []
        self._same: list[bool] = []
        self._work = self._work_full = 0.0
        self._claimed: float | None = None
        self._after_cut = 0
        self._levels: Counter[str] = Counter()
        self._bytes = 0
        self._tokens = 0
        method.begin(encoder, 1)

    def add(self, index: int, batch: TokenBatch, full: Features, moment: Moment) -> None:
        """Let the method take a frame, and look at what it did."""
        step = self._method.step(batch, moment)
        self._check.add(batch, step)
        self._bytes = max(self._bytes, self._method.state_bytes())
        used = ~full.padding[0]
        self._tokens = int(used.sum())
        if index == 0:
            return
        reused = self._tokens - int(step.encoded[0].sum())
        self._encoded.append(1 - reused / self._tokens)
        self._levels[step.level] += 1
        self._work += step.work
        self._work_full += step.work_full
        if index in self._clip.cuts:
            self._after_cut += reused
        if step.deviation is not None:
            claimed = float(np.max(step.deviation[~step.encoded], initial=0.0))
            self._claimed = max(self._claimed or 0.0, claimed)
        self._class.append(float(cosine(step.features.prefix[0, 0], full.prefix[0, 0])))
        self._patch.append(cosine(step.features.tokens[0][used], full.tokens[0][used]).numpy())
        self._add_class(step, full)

    def _add_class(self, step: Step, full: Features) -> None:
        if self._encoder.classifier is None or full.pooled is None:
            return
        expected = self._encoder.classify(full)[0].softmax(dim=-1)
        if float(expected.max()) > self._sure:
            found = self._encoder.classify(step.features)[0]
            self._same.append(int(found.argmax()) == int(expected.argmax()))

    def row(self, layout: str) -> Closeness:
        """The numbers.

        Raises:
            ValueError: a clip of one frame.
        """
        if not self._class:
            raise ValueError(f"{self._clip.name} has one frame or none; give clips of two at least")
        patch = np.concatenate(self._patch)
        frames = np.array([frame.mean() for frame in self._patch])
        row = Closeness(
            clip=self._clip.name,
            kind=self._clip.kind,
            layout=layout,
            tokens=self._tokens,
            method=self._method.name,
            frames=len(self._class),
            encoded=float(np.mean(self._encoded)),
            work_saved=self._work_full / max(self._work, 1e-9 * self._work_full),
            class_mean=float(np.mean(self._class)),
            class_p1=float(np.percentile(self._class, 1)),
            patch_mean=float(patch.mean(dtype=np.float64)),
            patch_p1=float(np.percentile(patch, 1)),
            patch_frame_p1=float(np.percentile(frames, 1)),
            sure=len(self._same),
            top1=float(np.mean(self._same)) if self._same else None,
            worst_mean=self._check.worst_mean * 255,
            worst_max=self._check.worst_max * 255,
            claimed=None if self._claimed is None else self._claimed * 255,
            worst_age=self._check.worst_age,
            after_cut=self._after_cut if self._clip.cuts else None,
            levels=dict(self._levels),
            state_bytes=self._bytes,
            curves=Curves(class_cosine=[round(value, 5) for value in self._class]),
        )
        shorten(row)
        return row


def cosine(found: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Cosine of vectors along the last axis, float32."""
    return F.cosine_similarity(found.float(), expected.float(), dim=-1)
