"""texvlm's own contestants: the levels of reuse with fixed settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from texvlm.encoders import Encoder
from texvlm.evaluation.temporal.methods import Methods, Moment, Step
from texvlm.temporal.change import ChangeRule
from texvlm.temporal.gates import Gate, Given, Site, Threshold
from texvlm.temporal.reports import Level
from texvlm.temporal.reuse import ReuseEncoder
from texvlm.tokens import TokenBatch


@dataclass(slots=True, eq=False)
class Reuse:
    """A ReuseEncoder. It can follow another one, see Guided: its gates then take the same rows.

    Attributes:
        name: see Method.
        level: of the ReuseEncoder.
        rule: likewise.
        gate: share of its gates.
    """

    name: str
    level: Level
    rule: ChangeRule
    gate: float
    _reuse: ReuseEncoder | None = field(default=None, init=False, repr=False)
    _guide: ReuseEncoder | None = field(default=None, init=False, repr=False)
    _taken: dict[tuple[int, Site], torch.Tensor] = field(default_factory=dict, init=False, repr=False)

    def begin(self, encoder: Encoder, sources: int) -> None:
        """See Method."""
        self._guide = None
        self._reuse = self._made(encoder, lambda block, site: Threshold(self.gate))

    def follow(self, encoder: Encoder, guide: Encoder) -> None:
        """See Guided."""
        self._guide = self._made(guide, lambda block, site: _Noting(Threshold(self.gate), self._taken, (block, site)))
        self._reuse = self._made(encoder, lambda block, site: Given(self._taken[block, site]))

    def rehearse(self, batch: TokenBatch) -> None:
        """See Guided."""
        assert self._guide is not None
        self._guide(batch)

    def _made(self, encoder: Encoder, gates: Callable[[int, Site], Gate]) -> ReuseEncoder:
        return ReuseEncoder(encoder, level=self.level, rule=self.rule, gates=gates)

    def step(self, batch: TokenBatch, moment: Moment) -> Step:
        """See Method."""
        assert self._reuse is not None
        found = self._reuse(batch)
        reports = found.reports
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
        assert self._reuse is not None
        return sum(self._reuse.state_bytes(source) for source in self._reuse.sources)


@dataclass(frozen=True, slots=True, eq=False)
class _Noting:
    """A gate that notes which rows it took."""

    gate: Gate
    taken: dict[tuple[int, Site], torch.Tensor]
    key: tuple[int, Site]

    def select(self, change: torch.Tensor) -> torch.Tensor:
        """See Gate."""
        rows = self.gate.select(change)
        self.taken[self.key] = rows
        return rows


def _maker(name: str, level: Level, threshold: float, gate: float) -> Callable[[], Reuse]:
    return lambda: Reuse(name, level, ChangeRule(threshold=threshold), gate)


OWN: Methods = {
    "l1": _maker("l1", "L1", 1.0, 0.0),
    "l2": _maker("l2", "L2", 0.5, 0.1),
    "l2-fast": _maker("l2-fast", "L2", 1.0, 0.15),
}
"""By name: what makes one."""
