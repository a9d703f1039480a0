"""What TemporalEncoder keeps of one source besides what is reused, and what is planned for one of its views."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch

from texvlm.encoders.features import Features
from texvlm.layouts.table import PADDING_LAYER, Table
from texvlm.motion.field import MotionField
from texvlm.temporal.anchoring import AnchorStep
from texvlm.temporal.change import ChangeRule, token_change
from texvlm.temporal.exact_check import Agreement, GateLoop
from texvlm.temporal.guarded_motion import Trouble
from texvlm.temporal.mode import PlainOrReuse
from texvlm.temporal.presets import AutoPreset
from texvlm.temporal.reports import ReuseReport
from texvlm.temporal.settings import TemporalSettings
from texvlm.temporal.transitions import Transition
from texvlm.tokens import TokenBatch

FOLLOW_ON = 6
"""Frames after the grid last moved for which a view still counts as one under a moving camera."""

NO_TRANSITION = Transition("none", 0, 0)

Way = Literal["reuse", "plain", "held"]


@dataclass(slots=True)
class Hint:
    """What is known of one source's frame besides its tokens.

    Attributes:
        transition: what the frame is.
        motion: backward flow to the frame of the last call.
        camera: kind of the camera's motion; empty where nobody looked.
        following: the tokens move along with the camera.
        believed: backward flow that says which tokens should show what they did, for the report.
        step: where the tokens went; None where they stay.
        trouble: what went wrong with the motion.
        whole: why the view is to be encoded whole; empty where it is not.
    """

    transition: Transition = NO_TRANSITION
    motion: MotionField | None = None
    camera: str = ""
    following: bool = False
    believed: MotionField | None = None
    step: AnchorStep | None = None
    trouble: Trouble = ""
    whole: str = ""

    def settle(self) -> None:
        """The model is to be told the true places."""
        if self.step is not None:
            self.step = self.step.settled()


@dataclass(slots=True, eq=False)
class ViewPlan:
    """How one view is going to be encoded.

    Attributes:
        view: of the batch.
        source: its source.
        way: with what is kept, plainly, or not at all.
        rule: which tokens are stale.
        gate: share of the gates.
        whole: why everything is encoded; empty where it is not.
        fell_back: what went wrong.
        hint: see Hint.
        check: what an exact check found.
    """

    view: int
    source: int
    way: Way
    rule: ChangeRule
    gate: float
    whole: str
    fell_back: str
    hint: Hint
    check: Agreement | None = None


@dataclass(slots=True, eq=False)
class _Hold:
    """Frames for which features were held, and calls with reuse since."""

    frames: int
    since: int = 0


@dataclass(slots=True, eq=False)
class Watched:
    """One source over time.

    Attributes:
        settings: in force.
        auto: who chooses them; None where the user did.
        switch: plain frames or reuse.
        loop: the gates' share.
        pts: of its last frame, seconds; NaN where not known.
        follow: frames for which it still counts as followed.
        force: why its next view is to be encoded whole.
        last: what its last view gave; kept where flashes are held.
        last_report: likewise.
        last_pixels: of its last view, where they are needed: (tokens, channels, patch, patch).
        last_table: of that view.
    """

    settings: TemporalSettings
    auto: AutoPreset | None
    switch: PlainOrReuse
    loop: GateLoop
    pts: float = math.nan
    follow: int = 0
    force: str = ""
    last: Features | None = None
    last_report: ReuseReport | None = None
    last_pixels: torch.Tensor | None = None
    last_table: Table | None = None
    _holds: list[_Hold] = field(default_factory=list)

    @classmethod
    def start(cls, settings: TemporalSettings, *, auto: bool) -> Watched:
        """A source of which nothing is known."""
        return cls(
            settings,
            AutoPreset() if auto else None,
            PlainOrReuse(settings.full_share),
            GateLoop(settings.gate, settings.target_cosine),
        )

    def check_time(self, source: int, pts: float) -> None:
        """ValueError where time goes backwards. Unknown times (NaN) and a frame given again are accepted."""
        if pts < self.pts:
            raise ValueError(
                f"source {source}: a frame of {pts:g} s after one of {self.pts:g} s; give frames in the order "
                f"of time, or reset({source}) to start again"
            )

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors kept here."""
        last = () if self.last is None else (self.last.tokens, self.last.prefix, self.last.pooled)
        return sum(part.nbytes for part in (self.last_pixels, *last) if part is not None)

    def use(self, settings: TemporalSettings) -> None:
        """Other settings from now on."""
        if settings != self.settings:
            self.settings = settings
            self.switch.share = settings.full_share
            self.loop = GateLoop(settings.gate, settings.target_cosine)

    def rule(self, *, refresh: bool) -> ChangeRule:
        """Which tokens of its next view are stale. Frames that were held count towards the age."""
        rule = self.settings.rule(moving=self.follow > 0, refresh=refresh)
        held = sum(hold.frames for hold in self._holds)
        if held and rule.max_age is not None:
            rule = replace(rule, max_age=max(rule.max_age - held, 1))
        return rule

    def start_anew(self) -> None:
        """Nothing from before may be used, as after a cut."""
        self.follow, self.force = 0, ""
        self.last = self.last_report = self.last_pixels = self.last_table = None
        self._holds.clear()

    def probe(self, batch: TokenBatch, view: int, rule: ChangeRule, std: tuple[float, ...]) -> float | None:
        """Share of a view's tokens that are stale against its last one; None where that had other tokens."""
        pixels, table = batch.pixels[view], batch.table[view]
        before = self.last_pixels
        if before is None or before.shape != pixels.shape or before.dtype != pixels.dtype:
            return None
        if self.last_table is None or not np.array_equal(self.last_table, table):
            return None
        change = token_change(pixels, before, measure=rule.measure, std=std)
        held = torch.from_numpy(table["layer"] != PADDING_LAYER).to(change.device)
        return float(((change > rule.threshold) & held).sum() / held.sum().clamp_min(1))

    def keep_pixels(self, batch: TokenBatch, view: int) -> None:
        """For `probe`, and for flashes that are held."""
        self.last_pixels, self.last_table = batch.pixels[view].clone(), batch.table[view].copy()

    def held(self, batch: TokenBatch, view: int, std: tuple[float, ...]) -> tuple[Features, ReuseReport] | None:
        """The last view's features for this one; None where there are none, or it has other tokens.

        The report's deviation is the sum of what it was and of what changed since, which is no less than it is.
        """
        now, table = batch.pixels[view], batch.table[view]
        last, before, report = self.last, self.last_pixels, self.last_report
        if last is None or before is None or report is None or before.shape != now.shape or before.dtype != now.dtype:
            return None
        if self.last_table is None or not np.array_equal(self.last_table, table):
            return None
        since = token_change(now, before, measure=self.settings.measure, std=std)
        frames = 1 if not self._holds or self._holds[-1].since else self._holds[-1].frames + 1
        if frames == 1:
            self._holds.append(_Hold(1))
        else:
            self._holds[-1].frames = frames
        padding = last.padding[0]
        return replace(last, pts=batch.pts[view : view + 1]), replace(
            report,
            reason="flash",
            encoded=torch.zeros_like(report.encoded),
            ages=(report.ages + frames).masked_fill(padding, 0),
            deviation=(report.deviation + since).masked_fill(padding, 0),
            moved=torch.zeros_like(report.moved),
            _flops=0,
        )

    def with_held_frames(self, report: ReuseReport, *, again: bool, renewed: bool) -> ReuseReport:
        """A report of reuse whose ages count the frames that were held, too.

        Args:
            report: of the view, as ReuseEncoder gives it.
            again: the same frame was given again.
            renewed: what is kept was made of this view where all of it was encoded.
        """
        if not self._holds:
            return report
        if report.level == "L0":
            if renewed:
                self._holds.clear()
            for hold in self._holds:
                hold.since += 0 if again else 1
            return report
        ages = report.ages
        for hold in self._holds:
            hold.since += 0 if again else 1
            ages = ages + hold.frames * (report.ages >= max(hold.since, 1)).to(ages.dtype)
        oldest = int(report.ages.max())
        self._holds = [hold for hold in self._holds if hold.since <= oldest]
        return replace(report, ages=ages)
