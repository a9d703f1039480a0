"""What a call over time did: features, and for each view what was encoded, what was reused, and how far off that is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch

from texvlm.encoders.features import Features

Level = Literal["L0", "L1", "L2", "L3"]
"""How much is reused: see texvlm.temporal.

L0 nothing. L1 tokens that did not change stay out of the model. L2 in each block, rows that did not
change keep their keys, values and outputs. L3 as L2, with tokens that moved found again where they are.
"""


@dataclass(frozen=True, slots=True, eq=False)
class ReuseReport:
    """One view of one call.

    What lies on the device is read only when it is asked for.

    Attributes:
        source: which source.
        level: what was done; L0 where everything was encoded anew.
        reason: why, in a few words: "change", "first frame", "nothing changed", "cut", ...
        tokens: rows of the view that hold a token.
        encoded: bool, (tokens of the batch,): the token's pixels were embedded in this call.
        ages: int32, (tokens of the batch,): frames since each was; 0 for those of this call.
        deviation: float32, (tokens of the batch,): how far each token's pixels now lie from those that its
            features were made of, in steps of 255; at most the threshold, and 0 for those of this call.
        moved: bool, (tokens of the batch,): reused from another place, by motion or from another row.
        flops: floating-point operations of the blocks and the embedding in this call, a multiply-add counting two.
        flops_full: of encoding all of the view's tokens.
    """

    source: int
    level: Level
    reason: str
    tokens: int
    encoded: torch.Tensor
    ages: torch.Tensor
    deviation: torch.Tensor
    moved: torch.Tensor
    flops_full: int
    _flops: torch.Tensor | int = field(repr=False, default=0)

    @property
    def flops(self) -> int:
        """See above."""
        return int(self._flops)

    @property
    def tokens_encoded(self) -> int:
        """Tokens embedded in this call."""
        return int(self.encoded.sum())

    @property
    def oldest(self) -> int:
        """Greatest age, frames."""
        return int(self.ages.max())

    @property
    def worst_deviation(self) -> float:
        """Greatest deviation, steps of 255."""
        return float(self.deviation.max())

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(source={self.source}, {self.level} {self.reason!r}, "
            f"encoded={self.tokens_encoded}/{self.tokens}, oldest={self.oldest}, "
            f"worst_deviation={self.worst_deviation:.2f}, flops={self.flops / max(self.flops_full, 1):.1%})"
        )


@dataclass(frozen=True, slots=True, eq=False)
class TemporalFeatures:
    """Features of a batch and one report a view, in the order of the views."""

    features: Features
    reports: tuple[ReuseReport, ...]

    def __post_init__(self) -> None:
        if len(self.features) != len(self.reports):
            raise ValueError(f"{len(self.features)} views and {len(self.reports)} reports; need one each")

    def __len__(self) -> int:
        return len(self.reports)
