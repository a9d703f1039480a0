"""Exact checks: how far reused features lie from those of a whole frame, and gates that follow what is found.

The bound on pixels says what goes in; only comparing says what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch.nn.functional import cosine_similarity

from texvlm.encoders.features import Features


@dataclass(frozen=True, slots=True)
class Agreement:
    """Cosine between features of one view that were reused, and those of the whole frame encoded anew.

    Attributes:
        class_token: of the answer for the whole view; of the first prefix row, or the mean token, without.
        tokens: mean over the tokens.
        worst_tokens: 1st percentile of the tokens.
    """

    class_token: float
    tokens: float
    worst_tokens: float


def agreement(found: Features, exact: Features, view: int = 0, *, of: int = 0) -> Agreement:
    """Compare a view of some features with a view of others.

    Args:
        found: features to judge.
        exact: what they should be.
        view: of `found`.
        of: view of `exact`.
    Raises:
        ValueError: views of different shapes.
    """
    ours, theirs = found.tokens[view].detach().float(), exact.tokens[of].detach().float()
    if ours.shape != theirs.shape:
        raise ValueError(
            f"features of {tuple(ours.shape)} against {tuple(theirs.shape)}; give views of the same tokens"
        )
    held = ~exact.padding[of]
    cosines = cosine_similarity(ours[held], theirs[held], dim=-1)
    if found.pooled is not None and exact.pooled is not None:
        pair = found.pooled[view], exact.pooled[of]
    elif found.prefix.shape[1]:
        pair = found.prefix[view, 0], exact.prefix[of, 0]
    else:
        pair = ours[held].mean(dim=0), theirs[held].mean(dim=0)
    whole = cosine_similarity(pair[0].detach().float(), pair[1].detach().float(), dim=0)
    return Agreement(float(whole), float(cosines.mean()), float(cosines.quantile(0.01)))


@dataclass(slots=True)
class GateLoop:
    """A gate's share that follows what exact checks find.

    Tightened in proportion to how far the deviation (1 - cosine) exceeds the target's, loosened by little where
    it is well below: between half the target's deviation and all of it nothing changes.

    Attributes:
        start: share to begin with.
        target: patch cosine that is wanted; None leaves the share alone.
        low, high: the share stays within these multiples of `start`.
        share: what to use.
    """

    start: float
    target: float | None = None
    low: float = 0.25
    high: float = 2.0
    share: float = field(init=False)

    def __post_init__(self) -> None:
        self.share = self.start

    def observe(self, found: Agreement) -> float:
        """Take a check; the share from now on."""
        if self.target is None:
            return self.share
        excess = max(1 - found.tokens, 0.0) / (1 - self.target)
        if excess > 1:
            self.share *= max(0.5, 0.95 / excess)
        elif excess < 0.5:
            self.share *= 1.1
        self.share = min(max(self.share, self.low * self.start), self.high * self.start)
        return self.share


@dataclass(slots=True)
class CheckTurns:
    """Whose turn it is to be checked: one view a call at most, the one that waited longest.

    Attributes:
        every: frames of a source between two checks; None for never.
        patience: times `every` that a check waits while time is short.
    """

    every: int | None
    patience: int = 2
    _waited: dict[int, int] = field(default_factory=dict, init=False, repr=False)

    def choose(self, reused: list[int], *, short: bool) -> int | None:
        """The source to check in this call; None for none.

        Args:
            reused: sources of the call that reused anything.
            short: time is short.
        """
        if self.every is None:
            return None
        for source in reused:
            self._waited[source] = self._waited.get(source, 0) + 1
        least = self.every * self.patience if short else self.every
        due = [source for source in reused if self._waited[source] >= least]
        if not due:
            return None
        chosen = max(due, key=lambda source: self._waited[source])
        self._waited[chosen] = 0
        return chosen

    def forget(self, source: int) -> None:
        """The source left."""
        self._waited.pop(source, None)
