"""texvlm's own contestants: the levels of reuse with fixed settings, and TemporalEncoder, which chooses them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch

from texvlm.encoders import Encoder
from texvlm.evaluation.temporal.methods import Methods, Moment, Step
from texvlm.temporal.change import ChangeRule
from texvlm.temporal.encoder import TemporalEncoder
from texvlm.temporal.gates import Gate, Given, Threshold
from texvlm.temporal.reports import Level, ReuseReport, TemporalFeatures
from texvlm.temporal.reuse import ReuseEncoder
from texvlm.tokens import TokenBatch


class Running(Protocol):
    """What runs: one object for a clip."""

    @property
    def sources(self) -> frozenset[int]:
        """Sources that are known."""

    def __call__(self, batch: TokenBatch) -> TemporalFeatures:
        """Features of the next batch."""

    def state_bytes(self, source: int) -> int:
        """Bytes kept of a source."""


GateOf = Callable[[float], Gate]
"""Makes a gate of a share."""


@dataclass(slots=True, eq=False)
class Own:
    """A contestant that can follow another one, see Guided: its gates then take the same rows.

    Attributes:
        name: see Method.
        open: what runs, of an encoder and of what makes its gates.
    """

    name: str
    open: Callable[[Encoder, GateOf], Running]
    _running: Running | None = field(default=None, init=False, repr=False)
    _guide: Running | None = field(default=None, init=False, repr=False)
    _tape: list[torch.Tensor] = field(default_factory=list, init=False, repr=False)

    def begin(self, encoder: Encoder, sources: int) -> None:
        """See Method."""
        self._guide, self._running = None, self.open(encoder, Threshold)

    def follow(self, encoder: Encoder, guide: Encoder) -> None:
        """See Guided."""
        self._guide = self.open(guide, lambda share: _Noting(Threshold(share), self._tape))
        self._running = self.open(encoder, lambda share: Given(self._tape.pop(0)))

    def rehearse(self, batch: TokenBatch) -> None:
        """See Guided."""
        assert self._guide is not None
        self._tape.clear()
        self._guide(batch)

    def step(self, batch: TokenBatch, moment: Moment) -> Step:
        """See Method."""
        assert self._running is not None
        found = self._running(batch)
        reports: Sequence[ReuseReport] = found.reports
        return Step(
            found.features,
            torch.stack([report.encoded for report in reports]).cpu().numpy(),
            sum(report.flops for report in reports),
            sum(report.flops_full for report in reports),
            reports[0].level,
            moved=torch.stack([report.moved for report in reports]).cpu().numpy(),
            deviation=(torch.stack([report.deviation for report in reports]) / 255).cpu().numpy(),
        )

    def state_bytes(self) -> int:
        """See Method."""
        assert self._running is not None
        return sum(self._running.state_bytes(source) for source in self._running.sources)


@dataclass(frozen=True, slots=True, eq=False)
class _Noting:
    """A gate that notes which rows it took, call by call."""

    gate: Gate
    tape: list[torch.Tensor]

    def select(self, change: torch.Tensor) -> torch.Tensor:
        """See Gate."""
        rows = self.gate.select(change)
        self.tape.append(rows)
        return rows


def _level(name: str, level: Level, threshold: float, gate: float) -> Callable[[], Own]:
    def opened(encoder: Encoder, gate_of: GateOf) -> Running:
        rule = ChangeRule(threshold=threshold)
        return ReuseEncoder(encoder, level=level, rule=rule, gates=lambda block, site: gate_of(gate))

    return lambda: Own(name, opened)


def _auto() -> Own:
    return Own("auto", lambda encoder, gate_of: TemporalEncoder(encoder, gate_of=gate_of))


OWN: Methods = {
    "auto": _auto,
    "l1": _level("l1", "L1", 1.0, 0.0),
    "l2": _level("l2", "L2", 0.5, 0.1),
    "l2-fast": _level("l2-fast", "L2", 1.0, 0.15),
}
"""By name: what makes one."""
