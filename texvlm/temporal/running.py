"""ViewRunner: encodes views as they were planned, and gets the better of an encoder that raises."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from texvlm.encoders.base import Encoder
from texvlm.encoders.features import Features
from texvlm.encoders.merging import MergingEncoder
from texvlm.errors import ModelError
from texvlm.temporal.block_parts import FullFlops, parts_of
from texvlm.temporal.exact_check import CheckTurns, agreement
from texvlm.temporal.gates import Gate, Site
from texvlm.temporal.plain_views import plain_reports
from texvlm.temporal.reports import Level, ReuseReport
from texvlm.temporal.reuse import ReuseEncoder
from texvlm.temporal.temporal_reports import TemporalCounters
from texvlm.temporal.view_batches import joined_features, picked
from texvlm.temporal.watched import ViewPlan, Watched
from texvlm.tokens import TokenBatch

_log = logging.getLogger(__name__)

ALL = 1 << 30
"""Tokens that go in with a stale one, where a model can only take whole views."""


class Part(NamedTuple):
    """What one view gave; features of that view alone."""

    plan: ViewPlan
    features: Features
    report: ReuseReport


class ViewRunner:
    """Encodes with what is kept of each source, plainly, or not at all.

    Args:
        encoder: what encodes.
        reuse: what reuses; None to encode every view plainly.
        gate: of `reuse`.
        checks: whose turn an exact check is.
        watched: the sources; read and told of starts.
        counters: told of failures.
    """

    def __init__(
        self,
        encoder: Encoder,
        reuse: ReuseEncoder | None,
        gate: SharedGate,
        *,
        checks: CheckTurns,
        watched: Mapping[int, Watched],
        counters: TemporalCounters,
    ) -> None:
        self._encoder, self._reuse, self._gate = encoder, reuse, gate
        self._checks, self._watched, self._counters = checks, watched, counters
        self._full_flops = FullFlops(encoder)

    def start_anew(self, source: int) -> None:
        """Nothing that is kept of a source may be used."""
        if self._reuse is not None:
            self._reuse.reset(source)
        if source in self._watched:
            self._watched[source].start_anew()

    def run(self, batch: TokenBatch, plans: Sequence[ViewPlan]) -> tuple[list[Part], dict[int, Exception]]:
        """Encode views of one kind together; where that raises, one by one, whole."""
        groups: dict[object, list[ViewPlan]] = {}
        for plan in plans:
            groups.setdefault((plan.way, plan.rule, plan.gate), []).append(plan)
        parts: list[Part] = []
        failures: dict[int, Exception] = {}
        for group in groups.values():
            try:
                parts += self._group(batch, group)
                continue
            except Exception as error:
                _log.warning("encoding sources %s failed: %s", [plan.source for plan in group], error)
            for plan in group:
                self.start_anew(plan.source)
                plan.way, plan.whole, plan.fell_back = (
                    "reuse" if self._reuse is not None else "plain",
                    "encoder failed",
                    "encoder",
                )
                plan.hint.settle()
                self._counters.fallbacks["encoder"] += 1
                try:
                    parts += self._group(batch, [plan])
                except Exception as error:
                    failures[plan.source] = error
                    self._counters.failures += 1
                    self.start_anew(plan.source)
        return parts, failures

    def _group(self, batch: TokenBatch, group: Sequence[ViewPlan]) -> list[Part]:
        if group[0].way == "held":
            return self._held(batch, group)
        views = picked(batch, [plan.view for plan in group])
        if group[0].way == "plain" or self._reuse is None:
            features = self._encoder(views)
            for plan in group:
                if self._reuse is not None:
                    self._reuse.reset(plan.source)
            flops = self._full_flops(views.pixels.shape[1])
            sources, reasons = [plan.source for plan in group], [plan.whole for plan in group]
            reports: Sequence[ReuseReport] = plain_reports(features, sources, reasons, flops=flops)
        else:
            self._reuse.rule, self._gate.share = group[0].rule, group[0].gate
            follows = self._reuse.level == "L3"
            out = self._reuse(
                as_told(views, group),
                motion={plan.source: plan.hint.motion for plan in group if follows and plan.hint.motion is not None},
                whole={plan.source: plan.whole for plan in group if plan.whole},
            )
            features, reports = replace(out.features, rows=views.rows), out.reports
        return [
            Part(plan, joined_features([features], [place]), report)
            for place, (plan, report) in enumerate(zip(group, reports, strict=True))
        ]

    def _held(self, batch: TokenBatch, group: Sequence[ViewPlan]) -> list[Part]:
        """What the views gave before the flash; views that cannot be held are encoded."""
        parts, others = [], []
        for plan in group:
            held = self._watched[plan.source].held(batch, plan.view, self._encoder.std)
            if held is None:
                plan.way = "reuse"
                others.append(plan)
            else:
                parts.append(Part(plan, *held))
        return parts + (self._group(batch, others) if others else [])

    def checked(self, batch: TokenBatch, parts: list[Part], *, short: bool) -> list[Part]:
        """Encode one of the reused views whole, tell how far off it was, and go on with what is exact."""
        reused = [part for part in parts if part.plan.way == "reuse" and part.report.level != "L0"]
        chosen = self._checks.choose([part.plan.source for part in reused], short=short)
        if chosen is None or self._reuse is None:
            return parts
        at = next(place for place, part in enumerate(parts) if part.plan.source == chosen)
        plan, found, report = parts[at]
        try:
            if plan.hint.step is None:
                made = self._reuse(picked(batch, [plan.view]), whole={chosen: "exact check"})
                exact, again = made.features, made.reports[0]
            else:  # what is kept was made of other places than the true ones
                exact = self._encoder(picked(batch, [plan.view]))
                again = plain_reports(exact, [chosen], ["exact check"], flops=report.flops_full)[0]
        except Exception as error:
            _log.warning("the exact check of source %d failed: %s", chosen, error)
            self._counters.fallbacks["encoder"] += 1
            return parts
        plan.check = agreement(found, exact)
        self._watched[chosen].loop.observe(plan.check)
        both = replace(again, _flops=again.flops + report.flops)
        return [*parts[:at], Part(plan, exact, both), *parts[at + 1 :]]


def open_reuse(
    encoder: Encoder, level: Level, gate: SharedGate, *, dtype: torch.dtype | None, insist: bool
) -> ReuseEncoder | None:
    """What reuses at a level, or at the highest below it that the encoder can; None where it can none.

    Args:
        encoder: what encodes.
        level: the most that is wanted.
        gate: of the blocks.
        dtype: of kept block states.
        insist: refuse rather than do with less.
    Raises:
        ModelError: with `insist`, an encoder whose blocks cannot be taken apart.
    """
    if level == "L0":
        return None
    if level == "L1":
        return ReuseEncoder(encoder, level="L1")
    try:
        parts_of(encoder)
    except ModelError as refusal:
        if insist:
            raise
        if isinstance(encoder, MergingEncoder):
            _log.info("every view is encoded: %s", refusal)
            return None
        _log.info("views are encoded whole, or not at all: %s", refusal)
        return ReuseEncoder(encoder, level="L1", context=ALL)
    return ReuseEncoder(encoder, level="L3", gates=gate, state_dtype=dtype)


def as_told(batch: TokenBatch, plans: Sequence[ViewPlan]) -> TokenBatch:
    """The batch with the places that the model is told."""
    if all(plan.hint.step is None for plan in plans):
        return batch
    rows = batch.table.copy()
    for view, plan in enumerate(plans):
        if plan.hint.step is not None:
            rows[view] = plan.hint.step.told(rows[view])
    return replace(batch, rows=rows)


class SharedGate:
    """A plan of gates: the same everywhere, of another share for each group of views.

    Args:
        share: to begin with.
        made: what makes a gate of a share.
    """

    def __init__(self, share: float, made: Callable[[float], Gate]) -> None:
        self.share = share
        self._made = made

    def __call__(self, block: int, site: Site) -> Gate:
        """See GatePlan."""
        return self._made(self.share)
