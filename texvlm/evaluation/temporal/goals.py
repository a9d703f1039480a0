"""The goals, and whether a method meets them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from texvlm.evaluation.temporal.report import Closeness, Pace

TIME_SAVED: Mapping[str, float] = {
    "surveillance": 6.0,
    "screen": 6.0,
    "conversation": 3.0,
    "moving": 3.0,
    "action": 3.0,
    "cuts": 1.2,
}
"""Least saving of time by kind of clip, against the full forward of the same tokens."""

MEAN, P1, TOP1 = 0.99, 0.97, 0.97
"""Least cosine of class tokens and of patch tokens, mean and first percentile; least top-1 agreement."""

FASTER_THAN_DENSE = 80.0
"""Goal of the way from a coded frame to features, on surveillance."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one method meets the goals on one clip.

    Attributes:
        clip, kind, layout, method: which.
        close: by the cosines, the classes and, where there are cuts, no token reused at a cut.
        missed: what keeps it from being close, in words.
        fast: by the time of each (model, sources) measured; None where the kind has no goal.
    """

    clip: str
    kind: str
    layout: str
    method: str
    close: bool
    missed: tuple[str, ...]
    fast: dict[tuple[str, int], bool] | None

    @property
    def met(self) -> bool:
        """All goals that there are."""
        return self.close and (self.fast is None or (bool(self.fast) and all(self.fast.values())))


def missed(row: Closeness) -> tuple[str, ...]:
    """The goals of closeness that a row misses, each with what was seen."""
    wanted = [
        ("class mean", row.class_mean, MEAN),
        ("class p1", row.class_p1, P1),
        ("patch mean", row.patch_mean, MEAN),
        ("patch p1", row.patch_p1, P1),
    ]
    if row.top1 is not None:
        wanted.append(("top-1", row.top1, TOP1))
    found = [f"{name} {value:.3f}" for name, value, least in wanted if value < least]
    if row.after_cut:
        found.append(f"{row.after_cut} tokens reused at cuts")
    return tuple(found)


def verdicts(close: Iterable[Closeness], pace: Iterable[Pace]) -> list[Verdict]:
    """One for each row of `close`; time is looked up by clip and method, of whatever layout was timed."""
    paces: dict[tuple[str, str], dict[tuple[str, int], Pace]] = {}
    for timed in pace:
        paces.setdefault((timed.clip, timed.method), {})[timed.model, timed.sources] = timed
    found = []
    for row in close:
        lacks = missed(row)
        least = TIME_SAVED.get(row.kind)
        own = paces.get((row.clip, row.method), {})
        fast = None if least is None else {key: timed.saved >= least for key, timed in own.items()}
        found.append(Verdict(row.clip, row.kind, row.layout, row.method, not lacks, lacks, fast))
    return found
