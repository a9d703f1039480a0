"""What an examination finds: one thing looked at, its state, and what would mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "missing", "failed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        state: "ok", "missing" (it is not here) or "failed" (it is here and does not work).
        detail: what was seen.
        advice: commands or checks that mend it, one a line; empty when nothing is to be done.
    """

    name: str
    state: State
    detail: str
    advice: tuple[str, ...] = ()
