"""The job itself: open everything, replay what a resume needs, then frame by frame into the folder.

With a model, frames gather behind the engine and go through it a few at a time (see FeatureMaker).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from texvlm.encode.album import Album, check_pictures
from texvlm.encode.feature_maker import FeatureMaker, Made, check_model
from texvlm.encode.model import JobModel, load_model
from texvlm.encode.report import JOB_STAGES, EncodeReport, Ledger
from texvlm.encode.settings import EncodeSettings
from texvlm.engine import Engine
from texvlm.errors import LookError, ModelError, SourceError, StoreError
from texvlm.fixation import GazeTrack, Look, Looker, LookPolicy, engine_arguments, scene_of
from texvlm.frames import Frame
from texvlm.layouts.base import Focus, Layout, to_texels
from texvlm.profiling import StageTimes
from texvlm.residency import SubmitReport
from texvlm.sources import Source
from texvlm.store import TokenStore, TokenWriter, open_tokens
from texvlm.store.meta import Status
from texvlm.tokens import TokenBatch


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a job is.

    Attributes:
        frame: frames behind it, replayed ones included.
        total: frames to come in all; None when the source does not say.
        replaying: frames that are stored already are being shown to the engine again.
        tiles_changed: share of this frame's tiles that were updated, 0..1.
    """

    frame: int
    total: int | None
    replaying: bool
    tiles_changed: float


def encode(
    settings: EncodeSettings,
    out: str | Path,
    *,
    resume: bool = False,
    preview: str | Path | None = None,
    still: str | Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> EncodeReport:
    """Encode one input into a token folder.

    Whatever ends the job early, what was encoded is in the folder, and `resume` goes on from there:
    it shows the earlier frames to the engine again without sampling, and writes the same shards
    that an uninterrupted run writes.

    Args:
        settings: input, layout, fixation and so on.
        out: the token folder; made when missing.
        resume: go on with a folder that a stopped or killed run left; begin where there is none.
        preview: an mp4 to write: the frame, its token squares, its changed tiles, and what the
            tokens show. A resume draws the earlier frames as well.
        still: a PNG to write: the same sheet of one frame, the last whose number is a power of two.
        progress: called after each frame.
        stop: asked after each frame; True ends the job with status "stopped".
    Returns:
        What was done.
    Raises:
        SourceError: the input or the gaze file cannot be read. Where frames had been encoded the
            folder holds them and the message says how many.
        StoreError: the folder or a picture cannot be written, or the folder does not fit `resume`.
        LookError: the look policy failed; what was encoded before is in the folder.
        ModelError: the model cannot be used, and nothing was written; or it failed on frames, and what was
            encoded before them is in the folder.
        ValueError, TypeError, BackendUnavailable: settings that cannot be served; nothing was written.
    """
    started = perf_counter()
    check_pictures(settings, preview=preview, still=still)
    model = None if settings.features is None else load_model(settings)
    settings = settings.resolved(None if model is None else model.encoder)
    layout = settings.make_layout()
    policy = settings.make_policy()
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(settings.open_source())
        if resume and source.info.kind == "live":
            raise StoreError(f"{settings.input} is live and cannot be resumed: its earlier frames are gone")
        # Before the folder is touched: a layout that cannot serve this frame must leave nothing behind.
        look = check_look(layout, policy, source.size)
        engine = stack.enter_context(settings.make_engine(source.size, layout))
        if model is not None:
            model.encoder.to(engine.device)
            check_readout(model, policy)
            check_model(model, layout, source.size, look)
        writer = TokenWriter(
            out,
            store=settings.store,
            shard_frames=settings.shard_frames,
            settings=settings.for_comparison(engine.backend_name),
            engine=_without_counts(engine.describe()),
            resume=resume,
            contents=settings.contents,
            **_kept_of(settings, model),
        )
        stack.enter_context(writer)
        job = _Job(settings, source, engine, policy, writer, model)
        if not writer.complete:
            if preview is not None or still is not None:
                job.album = stack.enter_context(Album(source, settings, preview=preview, still=still))
            job.run(progress or _ignore, stop or _never)
        return job.report(started)


class _Job:
    """One run: what it reads from and writes to, and what it has done so far."""

    def __init__(
        self,
        settings: EncodeSettings,
        source: Source,
        engine: Engine,
        policy: LookPolicy,
        writer: TokenWriter,
        model: JobModel | None,
    ) -> None:
        self.settings, self.source, self.engine, self.policy, self.writer = settings, source, engine, policy, writer
        self.looker = Looker(lambda: policy)  # one source, one run
        self.maker = (
            None if model is None or settings.features is None else FeatureMaker(model, batch=settings.features.batch)
        )
        self.album: Album | None = None
        self.first_frame = writer.next_frame
        self.ledger = Ledger(writer.meta, engine_stages=engine.times_ms)
        self.times = StageTimes(*JOB_STAGES)
        self.status: Status = writer.meta.status
        self.span_s: tuple[float, float] | None = None  # times of the first and the last frame
        self.encoding_since = perf_counter()
        self._counted_from = copy(engine.counters)

    def run(self, progress: Callable[[Progress], None], stop: Callable[[], bool]) -> None:
        """Replay up to `first_frame`, encode from there, and finish the folder."""
        total = _least(self.source.frames, self.settings.frames)
        seen = 0
        self.status = "complete"
        with self._stored() as stored:
            for index, frame in enumerate(self._frames()):
                if index == self.first_frame:
                    self.encoding_since, self._counted_from = perf_counter(), copy(self.engine.counters)
                replaying = index < self.first_frame
                report = self._replay(frame, index, stored) if replaying else self._encode(frame, index)
                seen = index + 1
                progress(Progress(seen, total, replaying, report.tiles_dirty / report.tiles_total))
                if stop():
                    self.status = "stopped"
                    break
        if self.status == "complete" and seen < self.first_frame:
            raise StoreError(
                f"{self.settings.input} gave {seen} frames, but {self.writer.folder} holds {self.first_frame} of it; "
                "it is not the input that this folder was begun with"
            )
        self._flush()
        self.ledger.add_late(self.times.last_ms)
        self._record()
        self.writer.finish(self.status)

    def _frames(self) -> Iterator[Frame]:
        """The source's frames as far as they are wanted, timed; a failure says what is safe."""
        for _ in range(self.settings.frames) if self.settings.frames else count():
            try:
                with self.times.stage("decode", "decode"):
                    frame = next(self.source, None)
            except SourceError as error:
                raise SourceError(
                    f"{error}; the {self._saved()} frames before it are in {self.writer.folder}"
                ) from error
            if frame is None:
                return
            if frame.pts is not None:
                self.span_s = (self.span_s[0] if self.span_s else frame.pts, frame.pts)
            yield frame

    def _replay(self, frame: Frame, index: int, stored: TokenStore | None) -> SubmitReport:
        """Bring the engine to where it was; nothing is sampled before the last frame that is stored."""
        report = self.engine.submit(frame)
        look = self._look(frame, report)  # in every frame: a policy remembers
        drawn = self.album is not None and self.album.wants(index)
        batch = None if stored is None or not drawn else stored[index]
        if index == self.first_frame - 1 or (drawn and batch is None):
            # of the last one, so that `dirty` of the next frame is right
            sampled = self.engine.tokens(**engine_arguments([look]), copy=False)
            batch = batch or sampled
        if self.album is not None and drawn and batch is not None:
            self.album.draw(index, frame, batch, report, look)
        self.times.restart()
        return report

    def _encode(self, frame: Frame, index: int) -> SubmitReport:
        """One frame into the folder, and its counts and times into the ledger."""
        engine_ms = self.engine.times_ms
        report = self.engine.submit(frame)
        with self.times.stage("look", "plan"):
            look = self._look(frame, report)
        batch = self.engine.tokens(**engine_arguments([look]), copy=self.maker is not None)
        ledger = self.ledger
        if self.maker is not None and not self.maker.fits(batch):
            self._flush()
        ledger.work = self.engine.counters - self._counted_from
        self._record()  # first, because meta.json is written with the last frame of each shard
        if self.maker is None:
            with self.times.stage("write", "write"):
                self.writer.append(batch)
        else:
            self._make(self.maker, batch, look)
        if self.album is not None and self.album.wants(index):
            with self.times.stage("preview", "preview"):
                self.album.draw(index, frame, batch, report, look)
        spent = {stage: after - engine_ms[stage] for stage, after in self.engine.times_ms.items()}
        ledger.add({**self.times.last_ms, **spent})
        self.times.restart()
        ledger.tokens_per_frame = max(ledger.tokens_per_frame, batch.table.shape[1])
        ledger.tiles_dirty += report.tiles_dirty
        ledger.tiles_total += report.tiles_total
        ledger.size_changes += report.resized
        ledger.reallocations += report.reallocated
        return report

    def _make(self, maker: FeatureMaker, batch: TokenBatch, look: Look) -> None:
        """One more frame for the model; what this completes goes into the folder."""
        room = self.writer.room(batch)
        with self._saying_what_is_safe():
            with self.times.stage("model", "model"):
                made = maker.add(batch, look, room=room)
            self._append(made)

    def _flush(self) -> None:
        """Frames that still wait for the model, into the folder."""
        if self.maker is not None:
            with self._saying_what_is_safe():
                with self.times.stage("model", "model"):
                    made = self.maker.flush()
                self._append(made)

    def _append(self, made: list[Made]) -> None:
        with self.times.stage("write", "write"):
            for batch, features in made:
                self.writer.append(batch, features)

    @contextlib.contextmanager
    def _saying_what_is_safe(self) -> Iterator[None]:
        try:
            yield
        except (ModelError, ValueError) as error:
            done = self.writer.next_frame
            raise ModelError(f"{error}; the {done} frames before are in {self.writer.folder}") from error

    def _saved(self) -> int:
        """Frames that the folder will hold when this run now fails; those that wait for the model are among them."""
        self._flush()
        return self.writer.next_frame

    def _look(self, frame: Frame, report: SubmitReport) -> Look:
        """Where to look in a frame that was just submitted; a failure says what is safe."""
        try:
            return self.looker.look(scene_of(self.engine, time_s=frame.pts, report=report))
        except LookError as error:
            raise LookError(f"{error}; the {self._saved()} frames before it are in {self.writer.folder}") from error

    def _record(self) -> None:
        """Hand the totals so far to meta.json."""
        counters, timings_ms = self.ledger.totals()
        self.writer.record(counters=counters, timings_ms=timings_ms)

    @contextlib.contextmanager
    def _stored(self) -> Iterator[TokenStore | None]:
        """The folder opened for reading, where a resume has pictures of its frames to draw."""
        if self.album is None or self.first_frame == 0 or self.settings.contents == "features":
            yield None  # frames without tokens are sampled again
        else:
            with open_tokens(self.writer.folder) as stored:
                yield stored

    def report(self, started: float) -> EncodeReport:
        """What was done, once it is done."""
        meta, ledger = self.writer.meta, self.ledger
        now = perf_counter()
        path = getattr(self.policy, "path", None)
        coverage = path.coverage(*self.span_s) if isinstance(path, GazeTrack) and self.span_s else None
        album = self.album
        return EncodeReport(
            out=str(self.writer.folder),
            input=self.settings.input,
            status=self.status,
            frames=meta.frames,
            first_frame=self.first_frame,
            encoded=ledger.encoded,
            size=self.source.size,
            tokens_per_frame=ledger.tokens_per_frame or max((shard.tokens for shard in meta.shards), default=0),
            tokens_sampled=ledger.work.tokens_sampled,
            tokens_reused=ledger.work.tokens_reused,
            tiles_changed=ledger.tiles_changed,
            tiles_dirty=ledger.tiles_dirty,
            bytes_uploaded=ledger.work.bytes_uploaded,
            contents=meta.contents,
            model=meta.model,
            feature_shapes=meta.feature_shapes,
            bytes_written=sum(shard.bytes for shard in meta.shards),
            shards=len(meta.shards),
            size_changes=ledger.size_changes,
            reallocations=ledger.reallocations,
            first_frame_ms=ledger.first_ms,
            ms_per_frame=ledger.means_ms(),
            seconds=now - started,
            fps=ledger.encoded / max(now - self.encoding_since, 1e-9),
            backend=self.engine.backend_name,
            engine=self.engine.describe(),
            source=self.source.describe(),
            gaze=None if coverage is None else asdict(coverage),
            preview=album.preview if album is not None else None,
            still=album.still if album is not None else None,
        )


def check_look(layout: Layout, policy: LookPolicy, size: tuple[int, int]) -> Look:
    """A look like those of this policy; ValueError unless the layout can serve it on a frame of this size."""
    count = policy.count
    score = None if count is not None else np.ones((2, 2), np.float32)
    look = Look(np.full((count or 1, 2), 0.5), score=score)
    layout.plan(size, Focus(to_texels(look.fixations, size), look.weights, score))
    return look


def check_readout(model: JobModel, policy: LookPolicy) -> None:
    """ValueError where a read-out around fixations has none to go by."""
    if model.readout_deg is not None and policy.count is None:
        raise ValueError(
            f"a read-out around fixations needs some, and look {policy.name} gives a score map; leave the read-out "
            "out, or choose a look with fixations"
        )


def _kept_of(settings: EncodeSettings, model: JobModel | None) -> dict[str, Any]:
    """What a TokenWriter needs to know of features."""
    if model is None or settings.features is None:
        return {}
    return {"model": model.facts, "feature_dtype": settings.features.dtype, "group": settings.features.batch}


def _least(*counts: int | None) -> int | None:
    """The smallest of the counts that are known."""
    known = [count for count in counts if count is not None]
    return min(known) if known else None


def _without_counts(description: dict[str, object]) -> dict[str, Any]:
    """What made the tokens, as JSON, without what only a run makes known."""
    kept = {name: value for name, value in description.items() if name not in ("counters", "times_ms", "texture")}
    content: dict[str, Any] = json.loads(json.dumps(kept, default=str))
    return content


def _ignore(_: Progress) -> None:
    pass


def _never() -> bool:
    return False
