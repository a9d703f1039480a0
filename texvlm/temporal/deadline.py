"""Holding a time per call: what a call will cost is foretold from measured milliseconds a row, and relief is graded.

Relief never touches the bound on pixels or ages. In this order: turns of refresh and exact checks wait, gates
let more pass, and last fewer tokens are asked for, where the caller lets them be planned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from texvlm.budget.latency import LatencyController

STEPS = 5
"""Grades of relief: 0 for none, 1 puts off refresh and checks, from 2 on gates are wider, too."""

GATE_STEP = 1.4
"""Factor on the gates' share for each grade from 2 on."""

LOW = 0.75
"""Relief is taken back where the call is foretold to take less than this share of the target without it."""

PATIENCE = 8
"""Calls in a row that must be foretold so before it is."""


@dataclass(slots=True)
class Deadline:
    """Chooses the grade of relief for each call. Nothing here reads a clock.

    Attributes:
        target_ms: time that a call may take; None: no relief, ever.
        relief: grade in force, 0..STEPS.
        missed: calls that took longer than the target.
        full_tokens: of a view when there is no need; asks for fewer through `tokens` at the last grade.
    """

    target_ms: float | None
    full_tokens: int | None = None
    relief: int = field(default=0, init=False)
    missed: int = field(default=0, init=False)
    _row_ms: float | None = field(default=None, init=False, repr=False)
    _calm: int = field(default=0, init=False, repr=False)
    _fewer: LatencyController | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.target_ms is not None and not 0 < self.target_ms < math.inf:
            raise ValueError(f"deadline of {self.target_ms} ms; accepted: above 0, or None")
        if self.full_tokens is not None and self.full_tokens < 1:
            raise ValueError(f"full_tokens is {self.full_tokens}; accepted: tokens of a view, 1 or more, or None")
        if self.target_ms is not None and self.full_tokens is not None:
            least = max(self.full_tokens // 4, 1)
            self._fewer = LatencyController(self.target_ms, least, self.full_tokens)

    @property
    def gate_factor(self) -> float:
        """What the gates' shares are multiplied by."""
        return float(GATE_STEP ** max(self.relief - 1, 0))

    @property
    def short(self) -> bool:
        """Whether what can wait is to wait."""
        return self.relief > 0

    @property
    def tokens(self) -> int | None:
        """Tokens of a view that can be afforded; None where the caller set no number."""
        return None if self._fewer is None else self._fewer.tokens

    def predicted_ms(self, rows: float) -> float | None:
        """What a call of as many encoded rows will take; None before anything was measured."""
        return None if self._row_ms is None else self._row_ms * rows

    def plan(self, rows: float) -> int:
        """Choose the grade for a call.

        Args:
            rows: tokens that it is likely to encode, of all views.
        """
        predicted = self.predicted_ms(rows)
        if self.target_ms is None or predicted is None:
            return self.relief
        if predicted > self.target_ms:
            self.relief, self._calm = min(self.relief + 1, STEPS), 0
        elif predicted < LOW * self.target_ms:
            self._calm += 1
            if self._calm >= PATIENCE:
                self.relief, self._calm = max(self.relief - 1, 0), 0
        else:
            self._calm = 0
        return self.relief

    def observe(self, spent_ms: float, rows: int, *, tokens: int) -> None:
        """Take what a call took.

        Args:
            spent_ms: of the call.
            rows: tokens that it encoded, of all views.
            tokens: of each view.
        Raises:
            ValueError: a time that is negative or not finite.
        """
        if not 0 <= spent_ms < math.inf:
            raise ValueError(f"a call took {spent_ms} ms; accepted: a finite time, 0 or above")
        if self.target_ms is None:
            return
        self.missed += spent_ms > self.target_ms
        if rows:
            measured = spent_ms / rows
            # the median of the old value and the new would need a window; a clipped mean does as well
            old = measured if self._row_ms is None else self._row_ms
            self._row_ms = old + 0.2 * (min(measured, 3 * old) - old)
        if self._fewer is not None and (self.relief == STEPS or self._fewer.tokens < self._fewer.maximum):
            self._fewer.observe(spent_ms, used=tokens)
