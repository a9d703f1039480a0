"""A viewing session without a window: a source played, an engine, a fixation that moves, and what came of it.

One thread calls it, but for `point`, which any thread may. Whoever draws asks `advance` for something
new, draws what it gives, and says `presented`: from that come the latencies. Settings change between
two pictures; one that cannot be had raises ValueError and changes nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from time import perf_counter_ns

import numpy as np
import torch

from texvlm.backends import open_backend
from texvlm.backends.base import Backend, Counters
from texvlm.engine import Engine
from texvlm.errors import ClosedError
from texvlm.fixation import Look, Looker, engine_arguments, parse_look, scene_of
from texvlm.fixation.scene import GazePoint
from texvlm.frames import Frame
from texvlm.layouts import DEFAULT_TOKENS, Focus, Layout
from texvlm.regions import TileMask
from texvlm.viewer.meter import LATENCIES, Rate, StageMedians
from texvlm.viewer.player import Player
from texvlm.viewer.settings import ViewSettings
from texvlm.viewer.shown import Shown, ViewStatistics
from texvlm.viewer.tuning import next_layout, next_threshold, next_tokens

POINTER = "pointer"
"""Who chose a fixation, where the pointer did."""


class ViewSession:
    """Plays an input and keeps the tokens of a look at it up to date.

    Args:
        settings: what to look at, and how.
        backend: where frames live; None opens that of the settings, and closes it. One that is given
            stays open, and must be closed after the session.
        wake: called, on any thread, whenever `advance` may have something new.
    Raises:
        SourceError, ValueError, TypeError, BackendUnavailable, LookError, ModelError: a setting cannot be had.

    Attributes:
        settings: what it was opened with.
        player: pauses and steps.
        listeners: each called with every picture right after its tokens were made, on the session's thread.
        stages: times of stages; whoever draws adds its own.
        latencies_ms: from each fixation move until the picture with it was shown, the latest ones.
    """

    def __init__(
        self,
        settings: ViewSettings,
        *,
        backend: Backend | None = None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.settings = settings
        self.listeners: list[Callable[[Shown], None]] = []
        self.stages = StageMedians()
        self.latencies_ms: deque[float] = deque(maxlen=LATENCIES)
        self._layout = settings.make_layout(tokens=settings.tokens)
        self._layout_name = settings.layout
        self._budget = settings.tokens or DEFAULT_TOKENS  # what other layouts are asked for first
        self._asked: int | None = None  # a budget that no picture has yet
        self._threshold = settings.threshold
        self._looker = None if settings.look is None else _looker(settings.look)
        self._by_policy = self._looker is not None
        self._look = Look(np.array(settings.fixation, np.float64), why="fixed")
        self._wake = wake
        self._mailbox = threading.Lock()
        self._pointed: tuple[float, float] | None = None
        self._moved_ns: int | None = None  # of the first move that no picture shows yet
        self._showing_ns: int | None = None  # of the first move that the picture being drawn will show
        self._gaze: list[GazePoint] = []
        self._frame: Frame | None = None
        self._tiles: TileMask = np.zeros((0, 0), np.bool_)
        self._closed = False
        self._shown: Shown | None = None
        self._stale = False  # the tokens must be made again though nothing came
        self._frames = self._uploaded = self._uploaded_total = self._sampled = 0
        self._frame_rate, self._picture_rate = Rate(), Rate()
        self._closing = ExitStack()
        try:
            source = settings.open_source()
            reopen = settings.open_source if settings.loop else None
            self.player = Player(source, reopen=reopen, clocked=settings.clocked, wake=wake)
            self._closing.callback(self.player.close)
            if backend is None:
                backend = open_backend(settings.backend).backend
                self._closing.callback(backend.close)
            self._backend = backend
            self._engine = self._open_engine(source.size)
        except BaseException:
            self._closing.close()
            raise

    # ------------------------------------------------------------------ pictures

    def advance(self, now_ns: int | None = None) -> Shown | None:
        """Take the frame that is due and the newest fixation; the new picture, or None when nothing is new.

        Raises:
            SourceError: the input failed.
            LookError: the look policy failed; the next call asks a new one.
        """
        if self._closed:
            raise ClosedError("the viewing session is closed; open a new one")
        now_ns = perf_counter_ns() if now_ns is None else now_ns
        frame = self.player.take(now_ns / 1e9)
        if frame is not None:
            self._submit(frame, now_ns)
        moved = self._take_pointer()
        if self._frame is None or not (frame or moved or self._stale):
            return None
        if self._looker is not None and self._by_policy and frame is not None:
            self._look = self._ask(self._looker, frame)
        return self._make(self._frame, self._tiles)

    def presented(self, now_ns: int | None = None) -> None:
        """The last picture can be seen now."""
        now_ns = perf_counter_ns() if now_ns is None else now_ns
        self._picture_rate.note(now_ns / 1e9)
        if self._showing_ns is not None:
            self.latencies_ms.append((now_ns - self._showing_ns) / 1e6)
            self._showing_ns = None

    @property
    def shown(self) -> Shown | None:
        """The last picture; None before the first."""
        return self._shown

    @property
    def finished(self) -> bool:
        """The input has ended and its last picture was made."""
        return self.player.finished

    def due_in_s(self, now_ns: int | None = None) -> float | None:
        """Seconds until `advance` has something; None when only `wake` can tell."""
        if self._stale or (self._pointed is not None and self._frame is not None):
            return 0.0
        return self.player.due_in_s((perf_counter_ns() if now_ns is None else now_ns) / 1e9)

    # ------------------------------------------------------------------ the fixation

    def point(self, u: float, v: float, time_ns: int | None = None) -> None:
        """The pointer moved to (u, v) of the frame. From any thread; of several moves the last one counts.

        Args:
            u: across the frame, 0..1; further out is the edge.
            v: down.
            time_ns: when, on the clock of `time.perf_counter_ns`; now without it.
        Raises:
            ValueError: not finite.
        """
        if not (np.isfinite(u) and np.isfinite(v)):
            raise ValueError(f"pointer at ({u}, {v}); accepted: finite numbers, the frame spans 0..1")
        time_ns = perf_counter_ns() if time_ns is None else time_ns
        with self._mailbox:
            self._pointed = (min(max(u, 0.0), 1.0), min(max(v, 0.0), 1.0))
            if self._moved_ns is None:
                self._moved_ns = time_ns
        self._wake()

    @property
    def follows_policy(self) -> bool:
        """The look policy moves the fixation; else the pointer does."""
        return self._by_policy

    def follow_policy(self, policy: bool) -> None:
        """Let the look policy move the fixation, or the pointer; ValueError where there is no policy."""
        if policy and self._looker is None:
            raise ValueError("no look policy was given; open the viewer with --look POLICY")
        self._by_policy = policy
        self._stale = True

    def _take_pointer(self) -> bool:
        """Follow the pointer where it moved; whether the fixation did."""
        with self._mailbox:
            pointed, self._pointed = self._pointed, None
            moved_ns, self._moved_ns = self._moved_ns, None
        if pointed is None:
            return False
        if self._by_policy:
            # a policy may follow the pointer, too; its clock is the frames'
            time_s = None if self._frame is None else self._frame.pts
            if time_s is not None:
                self._gaze.append(GazePoint(time_s, *pointed))
            return False
        if self._look.why == POINTER and bool((self._look.fixations[0] == pointed).all()):
            return False  # along the edge of the frame, say: no picture will show it
        if self._frame is not None:
            self._showing_ns = moved_ns if self._showing_ns is None else self._showing_ns
        self._look = Look(np.array(pointed), why=POINTER)
        return True

    def _ask(self, looker: Looker, frame: Frame) -> Look:
        gaze, self._gaze = self._gaze, []
        return looker.look(scene_of(self._engine, time_s=frame.pts, report=_Changed(self._tiles), gaze=gaze))

    # ------------------------------------------------------------------ settings

    @property
    def layout(self) -> Layout:
        """Where tokens lie now."""
        return self._layout

    @property
    def layout_name(self) -> str:
        """Its name."""
        return self._layout_name

    @property
    def threshold(self) -> float:
        """Largest difference that a tile may keep, a fraction of full scale."""
        return self._threshold

    def set_layout(self, name: str, tokens: int | None = None) -> None:
        """Another layout, or another token budget. ValueError or TypeError when it does not fit; nothing changes."""
        layout = self.settings.make_layout(name, tokens)
        self._check(layout)
        self._layout, self._layout_name, self._stale = layout, name, True
        self._asked = tokens

    def cycle_layout(self, step: int = 1) -> None:
        """The next layout (or with -1 the one before) that this frame and this budget can have."""
        name, tokens = next_layout(self.settings, self._layout_name, self._budget, step, self._fits)
        self.set_layout(name, tokens)

    def change_tokens(self, step: int) -> None:
        """A larger (1) or smaller (-1) token budget; ValueError where this layout has no other."""
        now = self._asked or self.tokens or self._budget
        tokens = next_tokens(self.settings, self._layout_name, now, step, self._fits)
        self.set_layout(self._layout_name, tokens)
        self._budget = tokens

    def set_threshold(self, threshold: float) -> None:
        """Another threshold: the frame is taken anew, whole. ValueError outside 0..1."""
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}; accepted: 0 (bit-exact) to 1, of full scale")
        if threshold == self._threshold:
            return
        before, self._threshold = self._threshold, threshold
        try:
            engine = self._open_engine(self.player.info.size)
        except BaseException:
            self._threshold = before
            raise
        self._engine.close()
        self._engine = engine
        self.stages.restart_totals()
        if self._frame is not None:
            self._tiles = self._engine.submit(self._frame).tiles
            self._stale = True

    def change_threshold(self, step: int) -> None:
        """The next looser (1) or stricter (-1) threshold of the ladder."""
        self.set_threshold(next_threshold(self._threshold, step))

    @property
    def tokens(self) -> int:
        """Tokens of the last picture; those of the settings before the first."""
        if self._shown is not None:
            return int(self._shown.batch.pixels.shape[1])
        return self.settings.tokens or 0

    # ------------------------------------------------------------------ state

    @property
    def engine(self) -> Engine:
        """The engine of the moment: it changes with the threshold."""
        return self._engine

    def statistics(self, now_ns: int | None = None) -> ViewStatistics:
        """How it is doing."""
        now_s = (perf_counter_ns() if now_ns is None else now_ns) / 1e9
        return ViewStatistics(
            pictures=0 if self._shown is None else self._shown.number,
            frames=self._frames,
            dropped=self.player.dropped,
            frames_per_s=self._frame_rate.per_s(now_s),
            pictures_per_s=self._picture_rate.per_s(now_s),
            stages_ms=self.stages.median_ms,
            tokens=self.tokens,
            tokens_sampled=self._sampled,
            tiles_share=float(self._tiles.mean()) if self._tiles.size else 0.0,
            bytes_uploaded=self._uploaded,
            bytes_uploaded_total=self._uploaded_total,
            latency_ms=self.latencies_ms[-1] if self.latencies_ms else None,
        )

    def close(self) -> None:
        """Stop playing and free everything that it opened. May be called twice."""
        if self._closed:
            return
        self._closed = True
        self._shown = self._frame = None
        self._closing.callback(self._engine.close)
        self._closing.close()

    def __enter__(self) -> ViewSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ inside

    def _open_engine(self, size: tuple[int, int]) -> Engine:
        return Engine(
            size, layout=self._layout, backend=self._backend, threshold=self._threshold, dtype=torch.uint8, channels=3
        )

    def _submit(self, frame: Frame, now_ns: int) -> None:
        before = self._engine.counters - Counters()
        before_s = None if self._frame is None else self._frame.pts
        if self._looker is not None and before_s is not None and frame.pts is not None and frame.pts < before_s:
            self._looker.reset()  # another round: policies count on times that never go back
            self._gaze = []
        self._tiles = self._engine.submit(frame).tiles
        self._uploaded = (self._engine.counters - before).bytes_uploaded
        self._uploaded_total += self._uploaded
        self._frame = frame
        self._frames += 1
        self._frame_rate.note(now_ns / 1e9)
        self.stages.note("decode", self.player.decode_ms)

    def _make(self, frame: Frame, tiles: TileMask) -> Shown:
        before = self._engine.counters.tokens_sampled
        self._shown, earlier = None, self._shown  # the engine's memory is about to be written again
        batch = self._engine.tokens(**engine_arguments([self._look]), layout=self._layout, copy=False)
        self._sampled = self._engine.counters.tokens_sampled - before
        self.stages.note_totals(self._engine.times_ms)
        self._stale, self._asked = False, None
        look = self._look
        self._shown = Shown(
            number=1 if earlier is None else earlier.number + 1,
            frame=self._frames,
            time_s=frame.pts,
            size=frame.size,
            batch=batch,
            tiles=tiles,
            fixations=look.fixations if look.score is None else np.empty((0, 2)),
            why=look.why,
        )
        for listener in self.listeners:
            listener(self._shown)
        return self._shown

    def _fits(self, layout: Layout) -> bool:
        try:
            self._check(layout)
        except (ValueError, TypeError):
            return False
        return True

    def _check(self, layout: Layout) -> None:
        """ValueError unless the layout can serve the frame and the look of the moment."""
        if self._frame is not None:
            self._engine.plan(**engine_arguments([self._look]), layout=layout)
        else:  # what is to come must be served, too
            size = self.player.info.size
            layout.plan(size, Focus(self._look.fixations * size))


def _looker(look: str) -> Looker:
    """Asks a named policy; one is made at once, so that a name that cannot be had is told when the session opens."""
    named = parse_look(look)
    ready = [named.make()]
    return Looker(lambda: ready.pop() if ready else named.make())


class _Changed:
    """A frame's report, as look policies ask for it."""

    def __init__(self, tiles: TileMask) -> None:
        self.tiles = tiles
