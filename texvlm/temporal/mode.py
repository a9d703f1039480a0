"""Whether reuse is worth it: encoding a whole view plainly costs less than gating nearly all of its rows."""

from __future__ import annotations

from dataclasses import dataclass, field

ENTER_AFTER = 2
"""Views in a row that must be beyond the share: one cut or flash is no reason."""

BACK = 0.75
"""Of the share: reuse starts again below it."""


@dataclass(slots=True)
class PlainOrReuse:
    """Switches a source between reuse and plain frames, with hysteresis.

    Attributes:
        share: stale share beyond which frames are encoded plainly; 1 for never.
        plain: whether they are.
        recent: stale share of late, a mean that forgets.
    """

    share: float
    plain: bool = field(default=False, init=False)
    recent: float = field(default=1.0, init=False)
    _beyond: int = field(default=0, init=False, repr=False)

    def observe(self, stale: float) -> bool:
        """Take a view's stale share, one that was not encoded whole for another reason; whether the next is plain."""
        self.recent += 0.3 * (stale - self.recent)
        self._beyond = self._beyond + 1 if stale > self.share else 0
        if self._beyond >= ENTER_AFTER:
            self.plain = True
        if stale < BACK * self.share:
            self.plain = False
        return self.plain
