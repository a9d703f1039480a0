"""TemporalEncoder: reuse over time that chooses for itself, view by view, and does not stumble.

    tokens + what is known of the frame -> plan -> reuse | plain | held -> features + reports
                                             ^                              |
                 preset, gates, deadline  <--+--  stale share, check, time  +

encoder = TemporalEncoder(load("model-folder"))
out = encoder(engine.tokens())          # out.features, as encoder(batch) gives; out.reports, one a view
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike

from texvlm.encoders.base import Encoder
from texvlm.engine import Engine
from texvlm.frames import Frame
from texvlm.layouts.anchored import AnchoredGrid
from texvlm.layouts.base import Layout
from texvlm.motion.field import MotionField
from texvlm.motion.opening import open_motion
from texvlm.motion.source import MotionSource
from texvlm.temporal.area_tokens import tokens_of
from texvlm.temporal.deadline import Deadline
from texvlm.temporal.exact_check import CheckTurns
from texvlm.temporal.following import BUSY, Follower, check_steps
from texvlm.temporal.gates import Gate, Threshold
from texvlm.temporal.plain_views import temporal_report, warp_error_of
from texvlm.temporal.presets import AUTO, PRESETS, FrameFacts, settings_of
from texvlm.temporal.reports import Level, TemporalFeatures
from texvlm.temporal.running import Part, SharedGate, ViewRunner, open_reuse
from texvlm.temporal.settings import TemporalSettings
from texvlm.temporal.shots import ShotWatch
from texvlm.temporal.small_pictures import small_picture
from texvlm.temporal.temporal_reports import EncodeError, TemporalCounters, TemporalReport
from texvlm.temporal.view_batches import joined_batches, joined_features
from texvlm.temporal.watched import FOLLOW_ON, NO_TRANSITION, Hint, ViewPlan, Watched
from texvlm.tokens import TokenBatch

SMALLEST = 64
"""Texels along a frame's shorter side, at least, for its mips to hold a small picture that tells cuts."""


class TemporalEncoder:
    """An encoder over time for any number of sources, each on its own.

    A view is encoded with what is kept of its source (L2; L3 where tokens move along), or plainly where
    nearly everything changed, which is cheaper then; not at all where nothing did. After a cut everything is
    encoded. What goes wrong costs a full frame and is counted, see `counters`.

    Args:
        encoder: what encodes; in eval mode.
        preset: "auto" settles for each source by what its first seconds show; or the name of a preset, a
            TOML file of settings, or settings.
        check_every: instead of the settings'; see TemporalSettings.
        target_cosine: likewise.
        deadline_ms: likewise.
        full_tokens: of a view when there is time; makes `deadline.tokens` say how many to plan.
        motion: of `step`: what measures how the camera moves, or its name, see texvlm.motion.open_motion; None for
            nothing.
        grid: of `step`: tokens that move along with the camera, instead of the engine's layout.
        gate_of: what makes a gate of the settings' share.
        state_dtype: of kept block states, see ReuseEncoder.
        clock: seconds, never back; for tests, and for who simulates time.

    Raises:
        ValueError: settings that are not accepted.
        ModelError: settings that ask for L1, L2 or L3 by themselves, and an encoder that cannot.
    """

    def __init__(
        self,
        encoder: Encoder,
        preset: str | Path | TemporalSettings = AUTO,
        *,
        check_every: int | None = None,
        target_cosine: float | None = None,
        deadline_ms: float | None = None,
        full_tokens: int | None = None,
        motion: MotionSource | str | None = None,
        grid: AnchoredGrid | None = None,
        gate_of: Callable[[float], Gate] = Threshold,
        state_dtype: torch.dtype | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if grid is not None and motion is None:
            raise ValueError(
                'a grid that moves along needs to know how the camera moves; give motion="dis", or another'
            )
        given = {"check_every": check_every, "target_cosine": target_cosine, "deadline_ms": deadline_ms}
        self._changes = {name: value for name, value in given.items() if value is not None}
        self._settings = self._changed(settings_of(preset))
        self._auto = preset == AUTO
        self._encoder = encoder
        self._clock = clock
        gate = SharedGate(self._settings.gate, gate_of)
        insist = isinstance(preset, TemporalSettings)
        self._reuse = open_reuse(encoder, self._settings.level, gate, dtype=state_dtype, insist=insist)
        self._shots = ShotWatch()
        self._follower = Follower(open_motion(motion) if isinstance(motion, str) else motion, grid, clock=clock)
        self._checks = CheckTurns(self._settings.check_every)
        self._deadline = Deadline(self._settings.deadline_ms, full_tokens)
        self._watched: dict[int, Watched] = {}
        self.counters = TemporalCounters()
        self._runner = ViewRunner(
            encoder, self._reuse, gate, checks=self._checks, watched=self._watched, counters=self.counters
        )

    def _changed(self, settings: TemporalSettings) -> TemporalSettings:
        return replace(settings, **self._changes)  # type: ignore[arg-type]

    # ------------------------------------------------------------------ state

    @property
    def encoder(self) -> Encoder:
        """What encodes."""
        return self._encoder

    @property
    def most(self) -> Level:
        """The most that is reused with this encoder and these settings."""
        return "L0" if self._reuse is None else "L1" if self._reuse.level == "L1" else self._settings.level

    @property
    def sources(self) -> frozenset[int]:
        """Sources that are known."""
        return frozenset(self._watched)

    @property
    def deadline(self) -> Deadline:
        """What is foretold and given way to."""
        return self._deadline

    def settings(self, source: int) -> TemporalSettings:
        """Settings in force for a source."""
        watched = self._watched.get(source)
        return self._settings if watched is None else watched.settings

    def reset(self, source: int) -> None:
        """The next view of a source is its first one, as after a jump in time; its preset stays."""
        self._runner.start_anew(source)
        self._shots.reset(source)
        self._follower.reset(source)
        if source in self._watched:
            self._watched[source].pts = float("nan")

    def forget(self, source: int) -> None:
        """A source left: nothing of it is kept. Unknown ones are no error."""
        self.reset(source)
        self._shots.forget(source)
        self._follower.forget(source)
        self._watched.pop(source, None)
        self._checks.forget(source)

    def state_bytes(self, source: int) -> int:
        """Bytes of tensors kept for a source."""
        watched = self._watched.get(source)
        kept = 0 if self._reuse is None else self._reuse.state_bytes(source)
        return kept if watched is None else kept + watched.nbytes

    # ------------------------------------------------------------------ calls

    @torch.inference_mode(mode=False)  # what is kept outlives a caller's inference mode
    @torch.no_grad()
    def __call__(
        self,
        batch: TokenBatch,
        *,
        pictures: Mapping[int, ArrayLike] | None = None,
        motion: Mapping[int, MotionField] | None = None,
        whole: Mapping[int, str] | Iterable[int] = (),
    ) -> TemporalFeatures:
        """Features of a batch, and what they took.

        Args:
            batch: one view of each of some sources, in the order of time.
            pictures: for some sources, the frame as a small picture, see small_pictures.as_small_picture, to
                tell cuts by; made of the tokens for the others.
            motion: for some sources, backward flow to the frame of their last call.
            whole: sources that are encoded whole whatever changed, with the reason where a mapping is given.
        Returns:
            Features in the order of the views; reports are TemporalReport.
        Raises:
            ValueError, TypeError: a batch, picture or motion that is not accepted, or time that goes
                backwards: nothing has changed.
            EncodeError: the encoder raised for a source, also alone and for the whole view; the others'
                features are in it, and their states as after a good call.
        """
        self.check(batch, motion or {})
        reasons = dict(whole) if isinstance(whole, Mapping) else dict.fromkeys(whole, "asked for")
        looking = [source for source in batch.sources.tolist() if self.settings(source).cut_bar is not None]
        small = self._shots.pictures(batch, looking, pictures or {}, mean=self._encoder.mean, std=self._encoder.std)
        times = dict(zip(batch.sources.tolist(), batch.pts.tolist(), strict=True))
        hints = {
            source: Hint(
                motion=(motion or {}).get(source), believed=(motion or {}).get(source), whole=reasons.get(source, "")
            )
            for source in times
        }
        for source, picture in small.items():
            hints[source].transition = self._shots.update(source, picture, self.settings(source), times[source])
        return self.run(batch, hints)

    @torch.inference_mode(mode=False)
    @torch.no_grad()
    def step(
        self,
        engine: Engine,
        fixations: ArrayLike = (0.5, 0.5),
        *,
        sources: Sequence[int] | None = None,
        frames: Mapping[int, Frame] | None = None,
        layout: Layout | None = None,
    ) -> TemporalFeatures:
        """Tokens and features of the newest frames that an engine holds.

        With a grid, each source's tokens lie where its content has gone, and `fixations` and `layout` count for
        nothing. One step follows each frame: motion is measured from step to step.

        Args:
            engine: holds the frames.
            fixations: as for Engine.tokens, one for all sources or (sources, 2).
            sources: those with a new frame; all that have one by default.
            frames: as they were submitted, for what their codecs said; by source.
            layout: instead of the engine's; of one that is Subdivided, tokens are means of areas.
        Raises:
            ValueError, TypeError, EncodeError: see `__call__`.
        """
        listed = [s for s in range(engine.sources) if engine.frame_size(s)] if sources is None else list(sources)
        if not listed:
            raise ValueError("no source to take a step of; submit a frame first")
        points = np.asarray(fixations, np.float64)
        points = np.broadcast_to(points, (len(listed), 2)) if points.shape == (2,) else points
        if points.shape != (len(listed), 2) or not np.isfinite(points).all():
            seen = f"fixations of shape {points.shape} for {len(listed)} sources"
            raise ValueError(f"{seen}; accepted: (2,) or (sources, 2), finite")
        check_steps(engine, listed, self._watched)  # before anything learns of the frames
        hints: dict[int, Hint] = {}
        groups: dict[Layout | None, list[int]] = {}
        for source in listed:
            hints[source], planned = self._look(engine, source, (frames or {}).get(source))
            groups.setdefault(planned or layout, []).append(source)
        batches = [
            tokens_of(engine, points[[listed.index(s) for s in group]], sources=group, layout=planned)
            for planned, group in groups.items()
        ]
        batch = joined_batches(batches)
        self.check(batch, {})
        return self.run(batch, hints)

    def _look(self, engine: Engine, source: int, frame: Frame | None) -> tuple[Hint, Layout | None]:
        settings, watched = self.settings(source), self._watched.get(source)
        size = engine.frame_size(source)
        transition = NO_TRANSITION
        if settings.cut_bar is not None and size is not None and min(size) >= SMALLEST:
            time_s = math.nan if frame is None or frame.pts is None else frame.pts
            transition = self._shots.update(source, small_picture(engine, source), settings, time_s)
        busy = watched is None or watched.switch.recent > BUSY or watched.follow > 0
        return self._follower.look(engine, source, frame=frame, settings=settings, transition=transition, busy=busy)

    def check(self, batch: TokenBatch, motion: Mapping[int, MotionField]) -> None:
        """Refuse a batch that cannot be taken; changes nothing.

        Raises:
            ValueError, TypeError: see `__call__`.
        """
        self._encoder.check(batch)
        sources = batch.sources.tolist()
        if len(set(sources)) != len(sources):
            raise ValueError(f"views of sources {sources}; accepted: one view of each source in a call")
        for view, source in enumerate(sources):
            if source in self._watched:
                self._watched[source].check_time(source, float(batch.pts[view]))
            if source in motion:
                if not isinstance(motion[source], MotionField):
                    kind = type(motion[source]).__name__
                    raise TypeError(f"motion of source {source} is a {kind}; give a MotionField")
                motion[source].check_frame((int(batch.sizes[view, 0]), int(batch.sizes[view, 1])))

    def run(self, batch: TokenBatch, hints: Mapping[int, Hint]) -> TemporalFeatures:
        """As `__call__`, for who has found out about the frames already; `batch` has been checked.

        Args:
            batch: see `__call__`.
            hints: of its sources.
        """
        started = self._clock()
        sources = batch.sources.tolist()
        for source in sources:
            if source not in self._watched:
                self._watched[source] = Watched.start(self._settings, auto=self._auto)
        tokens = int(batch.pixels.shape[1])
        self._deadline.plan(sum(tokens * self._watched[source].switch.recent for source in sources))
        plans = [self._plan(batch, view, source, hints.get(source, Hint())) for view, source in enumerate(sources)]
        parts, failures = self._runner.run(batch, plans)
        parts.sort(key=lambda part: part.plan.view)
        parts = self._runner.checked(batch, parts, short=self._deadline.short)
        if self._deadline.target_ms is not None and batch.pixels.is_cuda:
            torch.cuda.synchronize(batch.pixels.device)
        spent_ms = 1000 * (self._clock() - started)
        reports = [self._learn(batch, part, spent_ms / len(parts)) for part in parts]
        self._deadline.observe(spent_ms, sum(report.tokens_encoded for report in reports), tokens=tokens)
        self.counters.deadlines_missed = self._deadline.missed
        for report in reports:
            self.counters.count(report)
        out = None
        if parts:
            self.counters.calls += 1
            joined = joined_features([part.features for part in parts], range(len(parts)))
            out = TemporalFeatures(joined, tuple(reports))
        if failures or out is None:
            raise EncodeError(failures, out) from next(iter(failures.values()))
        return out

    # ------------------------------------------------------------------ planning

    def _plan(self, batch: TokenBatch, view: int, source: int, hint: Hint) -> ViewPlan:
        watched = self._watched[source]
        whole, watched.force = hint.whole or watched.force, ""
        if hint.transition.kind == "cut":
            self._runner.start_anew(source)
            whole = "cut"
        if whole:
            hint.settle()
        watched.follow = FOLLOW_ON if hint.following else max(watched.follow - 1, 0)
        rule = watched.rule(refresh=not self._deadline.short)
        gate = watched.loop.share * self._deadline.gate_factor
        plan = ViewPlan(view, source, "reuse", rule, gate, whole, hint.trouble, hint)
        if self._reuse is None:
            plan.way, plan.whole = "plain", whole or "level L0"
        elif hint.transition.hold and watched.settings.flash == "hold" and watched.last is not None and not whole:
            plan.way = "held"
        elif watched.switch.plain and hint.believed is None and not whole:
            stale = watched.probe(batch, view, rule, self._encoder.std)
            if stale is None or watched.switch.observe(stale):
                plan.way, plan.whole = "plain", "nearly all changed"
        return plan

    # ------------------------------------------------------------------ learning

    def _learn(self, batch: TokenBatch, part: Part, spent_ms: float) -> TemporalReport:
        """Take what a view gave: for the next one, and into its report."""
        plan, features, report = part
        watched, hint = self._watched[plan.source], plan.hint
        pts = float(batch.pts[plan.view])
        if plan.way == "reuse":
            renewed = plan.check is None or hint.step is None
            report = watched.with_held_frames(report, again=pts == watched.pts, renewed=renewed)
        watched.pts = watched.pts if pts != pts else pts
        stale = report.tokens_encoded / max(report.tokens, 1)
        used = plan.way == "reuse" and plan.check is None and not plan.whole and report.reason != "first frame"
        if used:
            watched.switch.observe(stale)
        if plan.whole:
            self._follower.settle(plan.source)
        follows = plan.way == "reuse" and self._reuse is not None and self._reuse.level == "L3"
        motion = hint.believed if follows else None
        warp_error = None
        if motion is not None and used:
            warp_error = warp_error_of(batch, plan.view, motion, report)
            if warp_error is not None and warp_error > watched.settings.warp_error:
                plan.fell_back, watched.force, watched.follow = "warp", "warp error", 0
                self._follower.distrust(plan.source)
        if plan.fell_back and plan.fell_back != "encoder":
            self.counters.fallbacks[plan.fell_back] += 1
        level: Level = report.level if report.level in ("L0", "L1") else "L2" if motion is None else "L3"
        told = temporal_report(
            report,
            level=level,
            preset=watched.settings.name,
            transition=hint.transition.kind,
            threshold=plan.rule.threshold,
            gate=plan.gate,
            relief=self._deadline.relief,
            camera=hint.camera,
            warp_error=warp_error,
            time_ms=spent_ms,
            check=plan.check,
            fell_back=plan.fell_back,
        )
        if watched.auto is not None and (name := watched.auto.observe(FrameFacts.of(told))) is not None:
            watched.use(self._changed(PRESETS[name]))
        if plan.way == "plain" and self._reuse is not None:
            watched.keep_pixels(batch, plan.view)
        if watched.settings.flash == "hold" and plan.way != "held":
            watched.keep_pixels(batch, plan.view)
            watched.last, watched.last_report = features, told
        return told
