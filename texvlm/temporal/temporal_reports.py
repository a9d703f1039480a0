"""What TemporalEncoder says of each view, what it counts over all calls, and how it says that a source failed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields

from texvlm.errors import TexvlmError
from texvlm.temporal.exact_check import Agreement
from texvlm.temporal.reports import ReuseReport, TemporalFeatures
from texvlm.temporal.transitions import TransitionKind


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TemporalReport(ReuseReport):
    """One view of one call; see ReuseReport for what was encoded and reused.

    Attributes:
        preset: settings in force, by name.
        transition: what the frame is.
        threshold: bound on the deviation of this view's reused tokens, steps of 255. A held frame alone may
            exceed it: its reason is "flash".
        gate: share that the gates let pass.
        relief: grade of relief because of the deadline, 0 for none.
        camera: kind of the camera's motion; empty where nobody looked.
        warp_error: share of the tokens that should have moved along and were found stale; None without motion.
        time_ms: the view's share of the time that the call took.
        check: what an exact check found, where there was one.
        fell_back: what went wrong, where something did: "encoder", "motion slow", "motion failed", "warp".
    """

    preset: str = ""
    transition: TransitionKind = "none"
    threshold: float = 0.0
    gate: float = 0.0
    relief: int = 0
    camera: str = ""
    warp_error: float | None = None
    time_ms: float = 0.0
    check: Agreement | None = None
    fell_back: str = ""


@dataclass(slots=True)
class TemporalCounters:
    """Over all calls of a TemporalEncoder.

    Attributes:
        calls: that gave features.
        views: of them.
        tokens: of the views.
        tokens_encoded: of them.
        nothing_ran: views of which nothing was encoded.
        whole: views that were encoded whole, by reason.
        fallbacks: by cause: "encoder", "motion slow", "motion failed", "warp".
        failures: views that could not be encoded at all.
        cuts: first frames of shots.
        flashes: frames that were a flash, or seemed to be.
        checks: exact checks.
        deadlines_missed: calls beyond the deadline.
    """

    calls: int = 0
    views: int = 0
    tokens: int = 0
    tokens_encoded: int = 0
    nothing_ran: int = 0
    whole: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)
    failures: int = 0
    cuts: int = 0
    flashes: int = 0
    checks: int = 0
    deadlines_missed: int = 0

    def count(self, report: TemporalReport) -> None:
        """Take a view."""
        encoded = report.tokens_encoded
        self.views += 1
        self.tokens += report.tokens
        self.tokens_encoded += encoded
        self.nothing_ran += encoded == 0
        if report.level == "L0":
            self.whole[report.reason] += 1
        self.cuts += report.transition == "cut"
        self.flashes += report.transition == "flash"
        self.checks += report.check is not None

    def as_dict(self) -> dict[str, object]:
        """For reports; JSON-compatible."""
        # asdict makes another Counter of a Counter's items: it would count the pairs
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def _plain(value: int | Counter[str]) -> object:
    return dict(value) if isinstance(value, Counter) else value


class EncodeError(TexvlmError):
    """The encoder raised for some sources of a batch, also alone and for the whole view.

    Attributes:
        failures: what it raised, by source. They start anew at their next call.
        done: features of the other sources' views, in their order; None where there are none.
    """

    def __init__(self, failures: dict[int, Exception], done: TemporalFeatures | None) -> None:
        self.failures, self.done = failures, done
        source, first = next(iter(failures.items()))
        others = "" if len(failures) == 1 else f" (and {len(failures) - 1} more)"
        fine = 0 if done is None else len(done)
        super().__init__(
            f"the encoder failed for source {source}{others}, also alone: {type(first).__name__}: {first}; "
            f"features of {fine} other views are in `done`"
        )
